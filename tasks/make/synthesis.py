"""Spoken digits from the speech synthesisers espeak-ng and flite: the recordings behind shd-mini."""

import io
import shutil
import subprocess
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.io.wavfile
import scipy.signal

from tasks.errors import DataError
from tasks.make.cochlea import SAMPLE_RATE

ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
CLASSES = ENGLISH + GERMAN
"""Label i is the digit i % 10, English first, as in the Spiking Heidelberg Digits."""
REPETITIONS = 2
# Variants of espeak-ng that sound like people, not whispers, robots or Klatt synthesis; each speaks both languages.
_ESPEAK = {
    "train": (
        *("m1", "m3", "m7", "f1", "f2", "f4", "Andy", "Annie"),
        *("Gene", "Hugo", "linda", "Michael", "anika", "boris", "robert", "belinda"),
    ),
    "valid": ("m4", "f3", "Denis"),
    "test": ("m2", "f5", "Alex"),
}
# Voices of flite, made from recorded speech; English only.
_FLITE = {"train": ("kal16", "awb"), "valid": ("rms",), "test": ("slt",)}
_ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbclan")
_ENDINGS = (".", "?", "!", ",")


class Utterance(NamedTuple):
    """One spoken digit and how it was made."""

    label: int
    """Class, 0..19."""
    speaker: str
    """Voice name."""
    split: str
    """train, valid or test: by voice."""
    command: tuple[str, ...]
    """Command line that writes a wave file to standard output."""


def utterances(random: np.random.Generator) -> list[Utterance]:
    """List every utterance of shd-mini; pitch, speed and intonation are drawn from `random`."""
    utterances_made: list[Utterance] = []
    for split in ("train", "valid", "test"):
        for voice in _ESPEAK[split]:
            # One accent for a voice, as people have one.
            accent = _ACCENTS[int(random.integers(len(_ACCENTS)))]
            for label, word in enumerate(CLASSES):
                # The first ten classes are English, the others German.
                language = accent if label < 10 else "de"
                for _ in range(REPETITIONS):
                    # A variant is a timbre and no language, so the same voice speaks both.
                    command = _espeak(f"{language}+{voice}", word, random)
                    utterances_made.append(Utterance(label, f"espeak-{voice}", split, command))
        for voice in _FLITE[split]:
            for label, word in enumerate(ENGLISH):
                for _ in range(REPETITIONS):
                    utterances_made.append(Utterance(label, f"flite-{voice}", split, _flite(voice, word, random)))
    return utterances_made


def _espeak(voice: str, word: str, random: np.random.Generator) -> tuple[str, ...]:
    # pitch within 12 of the program's 50; speed in words a minute
    pitch, speed = int(random.integers(38, 63)), int(random.integers(105, 156))
    text = word + _ENDINGS[int(random.integers(len(_ENDINGS)))]
    return ("espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", text)


def _flite(voice: str, word: str, random: np.random.Generator) -> tuple[str, ...]:
    stretch = f"duration_stretch={random.uniform(0.95, 1.3):.3f}"
    text = word + _ENDINGS[int(random.integers(len(_ENDINGS)))]
    return ("flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", "/dev/stdout")


def speak(command: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Run a synthesiser and return its sound at SAMPLE_RATE, without the silence around it.

    Raises:
        DataError: the program is not installed or failed.
    """
    if shutil.which(command[0]) is None:
        raise DataError(f"{command[0]}: not installed; on Debian or Ubuntu run 'apt-get install espeak-ng flite'")
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise DataError(f"{' '.join(command)}: failed with code {done.returncode}: {done.stderr.decode().strip()}")
    rate, samples = scipy.io.wavfile.read(io.BytesIO(_with_true_sizes(done.stdout)))
    return trimmed(at_sample_rate(samples / 32768.0, rate))


def _with_true_sizes(wave: bytes) -> bytes:
    """Repair the two length fields of a wave file that was written to a pipe."""
    # whoever writes to a pipe cannot go back and fill the lengths in
    return (
        wave[:4]
        + (len(wave) - 8).to_bytes(4, "little")
        + wave[8:40]
        + (len(wave) - 44).to_bytes(4, "little")
        + wave[44:]
    )


def at_sample_rate(samples: npt.NDArray[np.float64], rate: int) -> npt.NDArray[np.float64]:
    """Resample from `rate` to SAMPLE_RATE."""
    # A polyphase filter takes a ratio of whole numbers, in lowest terms to be short.
    common = np.gcd(rate, SAMPLE_RATE)
    resampled: npt.NDArray[np.float64] = scipy.signal.resample_poly(samples, SAMPLE_RATE // common, rate // common)
    return resampled


def trimmed(sound: npt.NDArray[np.float64], *, threshold: float = 0.01) -> npt.NDArray[np.float64]:
    """Cut what is below `threshold` times the peak from both ends."""
    # Relative to the peak, since voices differ in level.
    loud = np.flatnonzero(np.abs(sound) > threshold * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1]


def placed(sound: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Add silence on both sides (30-130 ms before, 20-80 ms after) and noise 52-72 dB below the speech."""
    # Recordings of people never begin at the same moment, and are never without noise.
    before, after = (int(random.uniform(*span) * SAMPLE_RATE) for span in ((0.03, 0.13), (0.02, 0.08)))
    level = np.sqrt(np.mean(sound**2)) * 10 ** (random.uniform(-72, -52) / 20)
    padded = np.pad(sound, (before, after))
    noisy: npt.NDArray[np.float64] = padded + level * random.standard_normal(len(padded))
    return noisy
