"""Recordings for the tasks shd and shd_adding: found, binned once, and memory-mapped from the cache directory."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cluster.errors import path_hint
from tasks.batch import Split
from tasks.data.cache import build_verified, data_directory, noted_sha256, sha256_of, write_atomically
from tasks.data.fetch import fetch
from tasks.data.leaks import sequence_hashes, sequence_leaks, warn_of_leaks
from tasks.errors import DataError
from tasks.packages import package
from tasks.spikes.data_sets import H5_FILES, SHD, joint_sha256
from tasks.spikes.events import CHANNELS, SPLITS, Recordings, binned, check_events, check_recordings, read_recordings
from tasks.spikes.spec import DURATION_MS

EMBEDDED_FILE = Path(__file__).parents[1] / "embedded" / "shd_mini_v1.npz"
EMBEDDED_SHA256 = "a84d9abe458a7686c1ca37ecb2f85dd50e84b1330723307a7e9d342013f6bcc6"
CLASSES = 20
_H5_DATASETS = ("spikes/times", "spikes/units", "labels")
_H5_SPEAKERS = "extra/speaker"
"""Wanted by `validation: speakers` alone."""
# No speaker has this number, so a file without speakers cannot be split by them unnoticed.
_UNKNOWN_SPEAKER = -1
_MOST_LATE = 0.5
"""Share of a file's spikes that may lie beyond DURATION_MS: an assumption. Spoken digits end before 1.4 s, so that few
are late in SHD; nearly all are where the times are milliseconds."""
_MOST_SILENT = 0.5
"""Share of recordings without any spike above which a file is refused: an assumption."""
# Share of the random validation split and its seed, as in the published preprocessing.
_VALID_SHARE, _VALID_SEED = 0.2, 0
# Speakers of the training file that are held out with `validation: speakers`: an assumption, nothing is published.
_VALID_SPEAKERS = 2


class Prepared(NamedTuple):
    """Binned recordings of all splits, memory-mapped."""

    sha256: str
    """Hash of the source: of the file, or of the hashes of the h5 files in the order train, test."""
    cells: npt.NDArray[np.int32]
    """bin * CHANNELS + channel of every spike, [events]."""
    offsets: npt.NDArray[np.int64]
    """Start of every recording, and the end, [n + 1]."""
    label: npt.NDArray[np.int64]
    """Class of every recording, 0..19, [n]."""
    members: dict[Split, npt.NDArray[np.int64]]
    """Numbers of the recordings of every split."""


def prepare(data: str, *, bin_ms: int, validation: str, cache_dir: str | Path | None, where: str) -> Prepared:
    """Find the recordings, bin them once per bin size and map them.

    Args:
        data: "embedded" (shd-mini), "real" (SHD), a folder with shd_train.h5 and shd_test.h5, or a recordings file.
        bin_ms: width of a time bin.
        validation: "speakers" or "random".
        cache_dir: data directory; None for the default one.
        where: path of the task in the grid file, for messages.

    Raises:
        DataError: missing, damaged or unexpected content.
    """
    directory = data_directory(cache_dir)
    sources, read = _sources(data, bin_ms, directory, where)
    hashes = [noted_sha256(source, directory) for source in sources]
    if data == "embedded":
        _refuse_damaged(hashes[0])
    sha256 = joint_sha256(hashes)
    # The bin width is in the name, because every width is binned and stored apart.
    store = directory / "recordings" / f"{sha256[:24]}-{bin_ms}ms"
    build_verified(store.with_suffix(".npy"), lambda: _write_store(store, read()))
    # Mapped, so that the trials of one machine share the pages.
    cells = np.load(store.with_suffix(".npy"), mmap_mode="r")
    # The labels are small and stay in memory; the events are many and are mapped.
    with np.load(store.with_suffix(".npz")) as arrays:
        offsets, label, speaker, split = (arrays[name] for name in ("offsets", "label", "speaker", "split"))
    if len(cells) != offsets[-1]:
        raise DataError(f"{store}.npy: damaged; delete it and {store.name}.npz and start again")
    _refuse_silence(offsets, f"{where}.data: {data}")
    # Splits are made at loading and not stored, so that both ways of validating share one set of binned recordings.
    members = _members(speaker, split, validation, where)
    warn_of_leaks(
        data if data in ("embedded", "real") else Path(data).name,
        f"{sha256[:24]}-{bin_ms}ms-{validation}",
        directory,
        # Only called where no note of an earlier search is there.
        lambda: sequence_leaks(
            {
                name: sequence_hashes(cells[offsets[n] : offsets[n + 1]] for n in numbers)
                for name, numbers in members.items()
            },
            "recordings",
        ),
    )
    return Prepared(sha256, cells, offsets, label, members)


def check_embedded_recordings() -> None:
    """Hash the installed shd-mini anew.

    Raises:
        DataError: missing or damaged.
    """
    if not EMBEDDED_FILE.is_file():
        raise DataError(f"{EMBEDDED_FILE}: missing; install the package again")
    _refuse_damaged(sha256_of(EMBEDDED_FILE))


def _refuse_damaged(sha256: str) -> None:
    if sha256 != EMBEDDED_SHA256:
        raise DataError(
            f"{EMBEDDED_FILE}: damaged (SHA-256 {sha256}, expected {EMBEDDED_SHA256}); install the package again"
        )


def _refuse_silence(offsets: npt.NDArray[np.int64], where: str) -> None:
    """Refuse data in which most recordings hold nothing, since a network would train on silence without a word."""
    silent = np.diff(offsets) == 0
    if silent.mean() > _MOST_SILENT:
        raise DataError(
            f"{where}: {silent.sum()} of {len(silent)} recordings hold no spike in their first {DURATION_MS} ms; "
            "are the times in seconds?"
        )


def _sources(data: str, bin_ms: int, directory: Path, where: str) -> tuple[list[Path], Callable[[], Recordings]]:
    """Return the files behind `data` and what reads and bins them."""
    if data == "embedded":
        return [EMBEDDED_FILE], lambda: _coarser(read_recordings(EMBEDDED_FILE), bin_ms, where)
    place = fetch(SHD, cache_dir=directory) if data == "real" else Path(data)
    if place.is_dir():
        files = [place / name for name in H5_FILES]
        for file in files:
            if not file.is_file():
                raise DataError(
                    f"{where}.data: no such file: {file.absolute()} (a folder must hold {' and '.join(H5_FILES)})"
                )
        return files, lambda: read_h5(files, bin_ms)
    if not place.is_file():
        hint = path_hint(place, Path.exists, ("embedded", "generated", "real")) or (
            f" (valid: 'embedded', 'generated', 'real', a folder with {' and '.join(H5_FILES)}, or a file "
            "made by 'python -m tasks.make.speech convert')"
        )
        raise DataError(f"{where}.data: no such file or folder: {place.absolute()}{hint}")
    return [place], lambda: _coarser(read_recordings(place), bin_ms, where)


def _coarser(recordings: Recordings, bin_ms: int, where: str) -> Recordings:
    """Join bins to the wanted width; spikes from DURATION_MS on are dropped."""
    stored = recordings.about["bin_ms"]
    assert isinstance(stored, int)
    # wider bins are sums of whole stored ones; the times within a stored bin are gone
    if bin_ms % stored:
        raise DataError(
            f"{where}.bin_ms: {bin_ms} is not possible; the recordings are stored in bins of {stored} ms, so give a "
            "multiple of that"
        )
    bins, channels = np.divmod(recordings.cells, CHANNELS)
    kept = bins * stored < DURATION_MS
    bins //= bin_ms // stored
    # Joined bins of one recording must be sorted again, but never mix with those of another one.
    owner = np.repeat(np.arange(len(recordings.label)), np.diff(recordings.offsets))[kept]
    cells = (bins * CHANNELS + channels)[kept].astype(np.int32)
    order = np.lexsort((cells, owner))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(recordings.label)))])
    return recordings._replace(cells=cells[order], offsets=offsets)


def read_h5(files: Sequence[Path], bin_ms: int) -> Recordings:
    """Read the train and the test file of the Spiking Heidelberg Digits.

    Args:
        files: paths of shd_train.h5 and shd_test.h5.
        bin_ms: width of a time bin.

    Raises:
        DataError: not HDF5, groups missing, labels, channels or times out of range, or times that are no seconds.
    """
    parts: list[npt.NDArray[np.int32]] = []
    labels, speakers, splits = [], [], []
    # SHD has no validation split of its own; one is taken from the training file when the data are loaded.
    for path, split in zip(files, ("train", "test"), strict=True):
        times, units, label, speaker = _h5_columns(path)
        for number, (seconds, channels) in enumerate(zip(times, units, strict=True)):
            # Checked before binning, where a time that is not finite would become some bin.
            check_events(seconds, channels, f"{path}: recording {number}")
            parts.append(binned(seconds, channels, bin_ms=bin_ms, duration_ms=DURATION_MS))
        _refuse_other_units(path, times)
        labels.append(label)
        speakers.append(speaker)
        splits.append(np.full(len(label), SPLITS.index(split)))
    recordings = Recordings(
        cells=np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32),
        offsets=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
        label=np.concatenate(labels).astype(np.int64),
        speaker=np.concatenate(speakers).astype(np.int64),
        split=np.concatenate(splits),
        about={"bin_ms": bin_ms, "classes": [str(label) for label in range(CLASSES)]},
    )
    check_recordings(recordings, " and ".join(map(str, files)))
    return recordings


def _refuse_other_units(path: Path, times: Iterable[npt.NDArray[np.generic]]) -> None:
    seconds = np.concatenate([np.zeros(0), *(part.astype(np.float64) for part in times)])
    late = seconds * 1000 >= DURATION_MS
    if len(seconds) and late.mean() > _MOST_LATE:
        raise DataError(
            f"{path}: {late.mean():.0%} of its spikes lie beyond {DURATION_MS} ms (median time "
            f"{np.median(seconds):g}); times must be in seconds: divide milliseconds by 1e3, microseconds by 1e6"
        )


def _h5_columns(path: Path) -> list[npt.NDArray[np.generic]]:
    h5py = package("h5py", str(path))  # slow to import, and only needed once per cache
    try:
        with h5py.File(path, "r") as file:
            for name in _H5_DATASETS:
                if name not in file:
                    raise DataError(f"{path}: has no dataset {name!r}; expected {', '.join(_H5_DATASETS)}")
            columns = [file[name][:] for name in _H5_DATASETS]
            has_speakers = _H5_SPEAKERS in file
            columns.append(file[_H5_SPEAKERS][:] if has_speakers else np.full(len(columns[-1]), _UNKNOWN_SPEAKER))
    except OSError as error:
        raise DataError(f"{path}: not a readable HDF5 file ({error})") from error
    # Compared here, because zip would silently stop at the shortest.
    if len({len(column) for column in columns}) > 1:
        names = (*_H5_DATASETS, _H5_SPEAKERS)
        lengths = ", ".join(f"{name} {len(column)}" for name, column in zip(names, columns, strict=True))
        raise DataError(f"{path}: datasets differ in length ({lengths})")
    return columns


def _write_store(store: Path, recordings: Recordings) -> None:
    classes = recordings.about["classes"]
    # A task's number of outputs is fixed before the data are read, so other classes cannot be learnt.
    if not isinstance(classes, list) or len(classes) != CLASSES:
        raise DataError(f"the recordings name the classes {classes}; expected {CLASSES} of them")
    _check_counts(recordings)
    with write_atomically(store.with_suffix(".npy")) as file:
        np.save(file, recordings.cells)
    with write_atomically(store.with_suffix(".npz")) as file:
        np.savez(
            file,
            offsets=recordings.offsets,
            label=recordings.label,
            speaker=recordings.speaker,
            split=recordings.split,
        )


def _check_counts(recordings: Recordings) -> None:
    """Refuse more than 255 spikes in one cell, which a batch of bytes cannot hold."""
    cells, owner = recordings.cells, np.repeat(np.arange(len(recordings.label)), np.diff(recordings.offsets))
    # cells are sorted, so 256 equal ones stand in a row: the first and the last of such a run are equal
    too_many = (cells[255:] == cells[:-255]) & (owner[255:] == owner[:-255])
    if too_many.any():
        raise DataError(f"recording {owner[:-255][too_many][0]} has more than 255 spikes in one channel and time bin")


def _members(
    speaker: npt.NDArray[np.int64], split: npt.NDArray[np.int64], validation: str, where: str
) -> dict[Split, npt.NDArray[np.int64]]:
    """Choose the validation recordings among those that are not for testing."""
    pool = np.flatnonzero(split != SPLITS.index("test"))
    # As in the published preprocessing, whose validation voices are those of training: its score is higher than that on
    # the test voices.
    if validation == "random":
        # A constant seed: the split belongs to the data and must be the same for every trial.
        for_validation = np.random.default_rng(_VALID_SEED).binomial(1, _VALID_SHARE, size=len(pool)).astype(bool)
    # A source that names its validation recordings is followed.
    elif (split[pool] == SPLITS.index("valid")).any():
        for_validation = split[pool] == SPLITS.index("valid")
    elif (speaker[pool] == _UNKNOWN_SPEAKER).any():
        raise DataError(f"{where}.validation: 'speakers' needs the dataset {_H5_SPEAKERS!r}; give validation: random")
    else:
        # by speaker and not at random: a network that knows a voice finds its other recordings easier than new voices
        for_validation = np.isin(speaker[pool], np.unique(speaker[pool])[-_VALID_SPEAKERS:])
    # The test recordings are the source's own under both ways of validating.
    test = np.flatnonzero(split == SPLITS.index("test"))
    return {"train": pool[~for_validation], "valid": pool[for_validation], "test": test}
