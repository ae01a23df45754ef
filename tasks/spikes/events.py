"""Spikes of many recordings in one compact file: what shd-mini is stored in and what a user's recordings become."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.errors import DataError

CHANNELS = 700
SPLITS = ("train", "valid", "test")
_ARRAYS = ("counts", "planes", "label", "speaker", "split", "about")
# A fixed date makes the bytes of the file, and so its hash, depend on the content alone.
_DATE = (1980, 1, 1, 0, 0, 0)


class Recordings(NamedTuple):
    """Binned spikes of n recordings with their labels."""

    cells: npt.NDArray[np.int32]
    """bin * CHANNELS + channel of every spike, sorted within a recording, [events]."""
    offsets: npt.NDArray[np.int64]
    """Start of every recording in `cells`, and the end, [n + 1]."""
    label: npt.NDArray[np.int64]
    """Class of every recording, [n]."""
    speaker: npt.NDArray[np.int64]
    """Speaker number of every recording, [n]."""
    split: npt.NDArray[np.int64]
    """Position in SPLITS of every recording, [n]."""
    about: Mapping[str, object]
    """name, bin_ms, classes (names), speakers (names) and how the recordings were made."""


def write_recordings(path: Path, recordings: Recordings) -> None:
    """Write an npz file: differences of the sorted cells in three byte planes, compressed with LZMA.

    Raises:
        DataError: the cells are not sorted within a recording.
    """
    steps = _steps(recordings)
    # Three byte planes hold steps up to 2**24 - 1, which unsorted cells would not respect.
    if len(steps) and (steps.min() < 0 or steps.max() > 0xFFFFFF):
        raise DataError(f"{path}: the spikes of a recording must be sorted and less than 2**24 cells apart")
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "counts": np.diff(recordings.offsets).astype(np.uint32),
        # high bytes are nearly all zero, and zeros beside each other compress better than between other bytes
        "planes": np.stack([steps >> shift & 0xFF for shift in (0, 8, 16)]).astype(np.uint8),
        # The smallest types that hold the values, since the file is part of the installation.
        "label": recordings.label.astype(np.uint8),
        "speaker": recordings.speaker.astype(np.uint16),
        "split": recordings.split.astype(np.uint8),
        "about": np.frombuffer(json.dumps(recordings.about, sort_keys=True).encode(), dtype=np.uint8),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name in _ARRAYS:
            content = io.BytesIO()
            np.lib.format.write_array(content, arrays[name], allow_pickle=False)
            # Written by hand, since np.savez knows no LZMA.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _DATE), content.getvalue(), zipfile.ZIP_LZMA)


def _steps(recordings: Recordings) -> npt.NDArray[np.int32]:
    # differences of sorted cells are small numbers; the first of every recording counts from 0
    steps = np.diff(recordings.cells, prepend=np.int32(0))
    starts = recordings.offsets[:-1][np.diff(recordings.offsets) > 0]
    steps[starts] = recordings.cells[starts]
    return steps


def read_recordings(path: Path) -> Recordings:
    """Read what `write_recordings` wrote.

    Raises:
        DataError: not such a file, damaged, empty or with values out of range.
    """
    try:
        # Without pickles, since the file may come from anybody.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _ARRAYS}
        about = json.loads(arrays["about"].tobytes())
        if not isinstance(about["classes"], list) or not isinstance(about["bin_ms"], int | float):
            raise ValueError("`about` is not as it was written")
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a recordings file ({error}); expected the arrays {', '.join(_ARRAYS)}") from error
    offsets = np.concatenate([[0], np.cumsum(arrays["counts"], dtype=np.int64)])
    planes = arrays["planes"].astype(np.int32)
    steps = planes[0] | planes[1] << 8 | planes[2] << 16
    # The two arrays are stored apart, so a file that was cut or edited shows here.
    if offsets[-1] != len(steps):
        raise DataError(f"{path}: damaged; it holds {len(steps)} spikes but counts {offsets[-1]}")
    # one sum over all recordings, less what stands before each: a loop over recordings would take longer
    totals = np.cumsum(steps, dtype=np.int64)
    before = np.concatenate([[0], totals])[offsets[:-1]]
    cells = (totals - np.repeat(before, arrays["counts"])).astype(np.int32)
    # Widened again, so that sums and indices of them cannot overflow.
    label, speaker, split = (arrays[name].astype(np.int64) for name in ("label", "speaker", "split"))
    recordings = Recordings(cells, offsets, label, speaker, split, about)
    check_recordings(recordings, str(path))
    return recordings


def check_recordings(recordings: Recordings, where: str) -> None:
    """Check what the loaders rely on.

    Raises:
        DataError: no recordings, uneven lengths or a label that has no class.
    """
    n = len(recordings.label)
    if n == 0:
        raise DataError(f"{where}: holds no recordings")
    if not n == len(recordings.offsets) - 1 == len(recordings.speaker) == len(recordings.split):
        raise DataError(f"{where}: labels, speakers, splits and spikes differ in number")
    classes = recordings.about["classes"]
    assert isinstance(classes, list)
    if not 0 <= recordings.label.min() <= recordings.label.max() < len(classes):
        wrong = recordings.label[(recordings.label < 0) | (recordings.label >= len(classes))][0]
        raise DataError(f"{where}: label {wrong} is out of range; valid are 0 to {len(classes) - 1}")


def check_events(times: npt.NDArray[np.generic], units: npt.NDArray[np.generic], where: str) -> None:
    """Check the spikes of one recording as they stand in a file.

    Args:
        times: seconds, [n].
        units: channel of every spike, [n].
        where: file and recording, for messages.

    Raises:
        DataError: uneven lengths, a time that is not finite or negative, or a channel that does not exist.
    """
    if len(times) != len(units):
        raise DataError(f"{where} has {len(times)} times and {len(units)} channels")
    for values, noun in ((times, "time"), (units, "channel")):
        if values.dtype.kind not in "fiu":
            raise DataError(f"{where} holds {noun}s of type {values.dtype}; expected numbers")
    # Compared in double precision, so that the message shows the number as it stands in the file.
    seconds = times.astype(np.float64)
    if not np.isfinite(seconds).all():
        # float16, the usual type of these files, ends at 65,504: milliseconds fit, microseconds become infinite.
        raise DataError(f"{where} has the time {seconds[~np.isfinite(seconds)][0]}; times are seconds and finite")
    if (seconds < 0).any():
        raise DataError(
            f"{where} has the time {seconds[seconds < 0][0]:g}; times are seconds from the start, 0 or more"
        )
    channels = units.astype(np.float64)
    # A channel that is no whole number would be cut to one that was not meant.
    wrong = (channels < 0) | (channels >= CHANNELS) | (channels != np.floor(channels))
    if wrong.any():
        raise DataError(f"{where} has a spike in channel {units[wrong][0]}; valid are 0 to {CHANNELS - 1}")


def binned(
    times: npt.NDArray[np.floating], units: npt.NDArray[np.integer], *, bin_ms: int, duration_ms: int
) -> npt.NDArray[np.int32]:
    """Bin the spikes of one recording.

    Floor division in float64 is exact for every float16 time below a second and bins of whole milliseconds: these
    times are multiples of 2**-24, so that a quotient which is no whole number is at least 2**-34 away from one, and
    rounding moves it by less than 2**-43. In float16 it would not be.

    Args:
        times: seconds, 0 or more, [n].
        units: channel of every spike, 0 to CHANNELS - 1, [n].
        bin_ms: width of a bin.
        duration_ms: spikes from here on are dropped.

    Returns:
        Sorted bin * CHANNELS + channel of the kept spikes.
    """
    milliseconds = times.astype(np.float64) * 1000
    kept = milliseconds < duration_ms
    bins = np.floor(milliseconds[kept] / bin_ms).astype(np.int32)
    return np.sort(bins * np.int32(CHANNELS) + units[kept].astype(np.int32))
