"""Commands that turn speech into spikes: the maker of shd-mini and the converter for one's own recordings.

Run `python -m tasks.make.speech --help`. Needs the extra `speech`: numba, and soundfile for flac; `mini` also needs the
programs espeak-ng and flite.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import scipy.io.wavfile

from cluster.command_line import Group
from tasks.data.cache import sha256_of
from tasks.errors import DataError
from tasks.packages import package
from tasks.spikes.events import SPLITS, Recordings, binned, write_recordings
from tasks.spikes.spec import DURATION_MS

try:
    from tasks.make.cochlea import RMS_LEVEL, SAMPLE_RATE, spikes
    from tasks.make.synthesis import CLASSES, at_sample_rate, placed, speak, trimmed, utterances
except DataError as error:  # the extra is missing: one line to whoever called this file as a command
    if __name__ == "__main__":
        sys.exit(f"Error: {error}")
    raise


BIN_MS = click.IntRange(1, DURATION_MS)
_RAMP_SECONDS = 0.03
"""Rise and fall at the ends of a sound."""
# Names of the Free Spoken Digit Dataset (7_jackson_32.wav) and of the Heidelberg Digits (lang-german_speaker-03_...).
_PATTERNS = (
    r"(?P<digit>\d)_(?P<speaker>[^_]+)_\d+",
    r"lang-(?P<language>english|german)_speaker-(?P<speaker>\d+)_trial-\d+_digit-(?P<digit>\d)",
)


def sound_to_cells(sound: npt.NDArray[np.float64], *, seed: int, bin_ms: int) -> npt.NDArray[np.int32]:
    """Level a sound, ramp its ends, and return the binned spikes of the cochlea.

    Args:
        sound: samples at SAMPLE_RATE, [n].
        seed: of the nerve fibres.
        bin_ms: width of a bin.

    Returns:
        Sorted bin * CHANNELS + channel.
    """
    # a sound that began at once would click, which excites all channels
    ramp = np.hanning(2 * int(_RAMP_SECONDS * SAMPLE_RATE))[: int(_RAMP_SECONDS * SAMPLE_RATE)]
    level = sound * (RMS_LEVEL / np.sqrt(np.mean(sound**2)))
    level[: len(ramp)] *= ramp
    level[-len(ramp) :] *= ramp[::-1]
    times, units = spikes(level, seed=seed)
    return binned(times, units, bin_ms=bin_ms, duration_ms=DURATION_MS)


def _joined(
    parts: Sequence[npt.NDArray[np.int32]],
    labels: Sequence[int],
    speakers: Sequence[str],
    splits: Sequence[str],
    about: dict[str, object],
) -> Recordings:
    # Sorted, so that a speaker's number does not depend on the order of the files.
    names = sorted(set(speakers))
    return Recordings(
        cells=np.concatenate(parts),
        offsets=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
        label=np.asarray(labels, dtype=np.int64),
        speaker=np.asarray([names.index(speaker) for speaker in speakers], dtype=np.int64),
        split=np.asarray([SPLITS.index(split) for split in splits], dtype=np.int64),
        about={**about, "speakers": names, "classes": list(CLASSES), "duration_ms": DURATION_MS},
    )


@click.group(cls=Group)
def main() -> None:
    """Turn speech into 700-channel spikes."""


@main.command()
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--bin-ms", default=1, show_default=True, type=BIN_MS, help="Width of a time bin.")
@click.option("--seed", default=1, show_default=True, help="Of pitch, speed, noise and nerve fibres.")
def mini(target: Path, bin_ms: int, seed: int) -> None:
    """Make the spoken digits of shd-mini anew (about ten minutes)."""
    # One generator in a fixed order of draws, so that the file can be made again byte for byte.
    random = np.random.default_rng(seed)
    parts, listed = [], utterances(random)
    with click.progressbar(listed, label="speaking and listening") as bar:
        for number, utterance in enumerate(bar):
            sound = placed(speak(utterance.command), random)
            # a seed for each utterance, or all would share the chance of their nerve fibres
            parts.append(sound_to_cells(sound, seed=seed * 100_000 + number, bin_ms=bin_ms))
    labels, speakers, splits = zip(*((u.label, u.speaker, u.split) for u in listed), strict=True)
    about: dict[str, object] = {"name": "shd-mini", "bin_ms": bin_ms, "seed": seed, "source": "espeak-ng and flite"}
    _write(target, _joined(parts, labels, speakers, splits, about))


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--bin-ms", default=1, show_default=True, type=BIN_MS, help="Width of a time bin.")
@click.option(
    "--pattern", help="Regular expression for file names with the groups digit, speaker and, if any, language."
)
@click.option("--valid", "valid_speakers", multiple=True, help="Speaker of the valid split (repeatable).")
@click.option("--test", "test_speakers", multiple=True, help="Speaker of the test split (repeatable).")
def convert(
    folder: Path,
    target: Path,
    bin_ms: int,
    pattern: str | None,
    valid_speakers: tuple[str, ...],
    test_speakers: tuple[str, ...],
) -> None:
    """Turn a folder of spoken digits (wav, flac) into a file for `data:` of the tasks shd and shd_adding.

    File names as in the Free Spoken Digit Dataset and the Heidelberg Digits are understood. Without --valid and --test
    the last two speakers by name are held out, one for each.
    """
    # A folder is listed in whatever order the file system has; sorted, the same recordings give the same file.
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".wav", ".flac"})
    labels_and_speakers = [_parsed(path, [pattern] if pattern else _PATTERNS) for path in files]
    if not labels_and_speakers:
        raise click.ClickException(f"{folder}: no wav or flac files")
    speakers = [speaker for _, speaker in labels_and_speakers]
    splits = _splits(speakers, valid_speakers, test_speakers)
    parts = []
    with click.progressbar(files, label="listening") as bar:
        # The file's number is the seed of its nerve fibres, so that recordings do not share their chance.
        for number, path in enumerate(bar):
            # Trimmed, so that silence before a word does not push its end out of the first second.
            parts.append(sound_to_cells(trimmed(_read_sound(path)), seed=number, bin_ms=bin_ms))
    about: dict[str, object] = {"name": folder.resolve().name, "bin_ms": bin_ms, "source": "recordings"}
    _write(target, _joined(parts, [label for label, _ in labels_and_speakers], speakers, splits, about))


def _parsed(path: Path, patterns: Iterable[str]) -> tuple[int, str]:
    for pattern in patterns:
        match = re.search(pattern, path.name)
        if match:
            groups = match.groupdict()
            # German digits are the classes from 10 on, as in the Spiking Heidelberg Digits.
            return int(groups["digit"]) + 10 * (groups.get("language") == "german"), groups["speaker"]
    raise click.ClickException(f"{path}: the name tells no digit and speaker; give --pattern")


def _splits(speakers: Sequence[str], valid: tuple[str, ...], test: tuple[str, ...]) -> list[str]:
    names = sorted(set(speakers))
    for name in (*valid, *test):
        if name not in names:
            raise click.ClickException(f"no speaker {name!r}; choose among {', '.join(names)}")
    # Splits are by speaker, so that a network is tested on voices that it has not heard.
    if len(names) < 3:
        raise click.ClickException(f"only {len(names)} speakers; train, valid and test need one each")
    rest = [name for name in names if name not in (*valid, *test)]
    test = test or (rest.pop(),)
    valid = valid or (rest.pop(),)
    return ["test" if name in test else "valid" if name in valid else "train" for name in speakers]


def _read_sound(path: Path) -> npt.NDArray[np.float64]:
    """Return the mean of a file's audio channels at SAMPLE_RATE."""
    if path.suffix.lower() == ".wav":
        rate, samples = scipy.io.wavfile.read(path)
    else:
        try:
            soundfile = package("soundfile", str(path), extra="speech")  # wave files do not need it
        except DataError as error:
            raise click.ClickException(str(error)) from error
        samples, rate = soundfile.read(path)
    # Stereo becomes mono as the mean; whole numbers and fractions alike, since the level is set later.
    samples = samples.astype(np.float64).reshape(len(samples), -1).mean(axis=1)
    # Silence could not be scaled to a level.
    if not samples.any():
        raise click.ClickException(f"{path}: is silent")
    return at_sample_rate(samples, rate)


def _write(target: Path, recordings: Recordings) -> None:
    try:
        write_recordings(target, recordings)
    except DataError as error:
        raise click.ClickException(str(error)) from error
    spikes_each = len(recordings.cells) / len(recordings.label)
    click.echo(
        f"{target}: {len(recordings.label)} recordings, {spikes_each:.0f} spikes each, SHA-256 {sha256_of(target)}"
    )


if __name__ == "__main__":
    main()
