"""Spoken digits without end: a recording is drawn from its number, so that none need be heard twice.

A word of `tasks.spikes.sounds` is said by a voice, at a pace, a level and a moment of its own, in noise. Its formants
glide along the cochlea, and how strongly a place is excited decides how often its channels spike. That is a model of
rates, far simpler than the cochlea that made shd-mini; it takes half a millisecond where that one takes 0.7 s.

A recording must be the same on every machine. So it follows from raw words of PCG64, a stream that numpy promises to
keep, by sums, products and quotients of whole arrays, which IEEE 754 rounds alike everywhere: no logarithm, no
exponential, and no sum whose order a library may choose.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.batch import Split
from tasks.errors import DataError
from tasks.sequences.sequences import Numbers
from tasks.spikes.events import CHANNELS
from tasks.spikes.sounds import HERTZ_FACTOR, PER_DECADE, WORDS, Sound, erb_number
from tasks.spikes.spec import DURATION_MS, bins_of_recording

Floats = npt.NDArray[np.float64]
GENERATED_SHA256 = "7f792d642e2ecedf41b848ffa733a8867f74ce472c571e24ead1694797f8cb37"
"""SHA-256 of what `check_generated` draws."""
STREAMS: dict[Split, int] = {"train": 0, "valid": 1, "test": 2}
"""First word of the seed of a split's recordings; the second is the recording's number."""
_CHECKED = 32
"""Recordings of each split that are drawn to see that this machine draws what others do."""

# The cochlea: places from the base (high pitch) to the apex, and the channels of each, which spike independently.
_PLACES = 100
_EACH = CHANNELS // _PLACES
_BASE_HZ, _APEX_HZ = 8000, 80
_FORMANT_WIDTH = 0.8
"""Half width of a formant in ERB numbers: an assumption, of the order of an auditory filter."""
_LEVELS = (1.0, 0.6, 0.35, 0.2)
"""Excitation by the four formants of a voice, which falls with pitch: an assumption."""
_SPIKES_PER_MS = 0.08
"""Rate of a channel that is excited without bound. A digit then has about 6,000 spikes; one of shd-mini has 7,700."""
_FOURTH_HZ = 3300
"""Fourth formant of every sound: the default of Klatt 1980, table I."""

# How recordings differ. Voices lie between 0.85 and 1.2 of the length of the speaker's vocal tract that Klatt measured,
# about the span from men to children of Peterson and Barney 1952 (JASA 24, 175); the rest are assumptions.
_VOICE = (-0.16, 0.2)
"""Logarithm of a voice's frequencies over Klatt's."""
_PACE, _STRETCH = (0.7, 1.4), (0.75, 1.25)
"""Durations over the usual ones: of all sounds of a word, and of each besides."""
_START_MS = (20.0, 150.0)
_GAIN, _EMPHASIS = (0.5, 2.0), (0.7, 1.3)
"""Level of a word, and of each source of each of its sounds besides."""
_SLUR = (-0.6, 0.6)
"""ERB numbers by which each formant of each sound misses its target."""
_NOISE = (0.0, 0.15)
"""Excitation of every place by noise that goes on throughout."""
_GLIDE_MS, _EDGE_MS = 30.0, 10.0
"""Half the time in which formants, and in which levels and noise, pass from one sound to the next."""

_OF_WORD, _OF_SOUND = 8, 8
"""Random numbers that a word and each of its sounds take, some of them spare."""
_DRAWN = _OF_WORD + _OF_SOUND * max(map(len, WORDS))


def _places() -> Floats:
    high, low = erb_number(_BASE_HZ), erb_number(_APEX_HZ)
    return np.asarray(high - (high - low) * (np.arange(_PLACES) + 0.5) / _PLACES)


def _targets(word: tuple[Sound, ...]) -> tuple[Floats, Floats, Floats]:
    """Return the four formants of the sounds in Hz and ERB numbers, [n, 4], and centre and width of noise, [n, 2]."""
    hertz = [(*sound.formants, _FOURTH_HZ) for sound in word]
    places = [[erb_number(formant) for formant in formants] for formants in hertz]
    return np.array(hertz, dtype=np.float64), np.array(places), np.array([sound.noise for sound in word])


_LOG10_E = 0.4342944819
_PLACE = _places()
_TARGETS = tuple(map(_targets, WORDS))
_SOURCES = tuple(np.array([(sound.voicing, sound.frication) for sound in word]) for word in WORDS)
_LASTING = tuple(np.array([float(sound.milliseconds) for sound in word]) for word in WORDS)


def _within(span: tuple[float, float], share: Floats) -> Floats:
    return span[0] + (span[1] - span[0]) * share


def _shares(raw: npt.NDArray[np.uint64]) -> Floats:
    """Turn raw words into numbers from 0 to 1: the upper 53 bits, which a float64 holds exactly."""
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def _label(shares: Floats) -> int:
    return int(shares[0] * len(WORDS))


def _shift(hertz: Floats) -> Floats:
    """ERB numbers by which a place moves for each unit of ln frequency: the derivative of `erb_number`."""
    return PER_DECADE * _LOG10_E * hertz / (hertz + 1 / HERTZ_FACTOR)


_NOISE_SHIFT = _shift(np.array([4000.0]))
"""Noise moves with the voice as 4 kHz does, wherever it lies: an assumption."""


def excitation(label: int, shares: Floats, time: Floats) -> Floats:
    """Return how strongly a spoken word excites the places of the cochlea.

    Args:
        label: class of the word.
        shares: random numbers from 0 to 1, [_DRAWN].
        time: ms, [T].

    Returns:
        Excitation, 0 in silence, about 1 at the first formant of a strong vowel, [T, _PLACES].
    """
    hertz, places, noises = _TARGETS[label]
    count = len(hertz)
    own = shares[_OF_WORD : _OF_WORD + _OF_SOUND * count].reshape(count, _OF_SOUND)
    voice = _within(_VOICE, shares[1])
    lasting = _LASTING[label] * _within(_PACE, shares[2]) * _within(_STRETCH, own[:, 0])
    borders = np.empty(count + 1)
    borders[0] = _within(_START_MS, shares[3])
    for i in range(count):
        borders[i + 1] = borders[i] + lasting[i]
    # Columns: four formants, centre and width of the noise, voicing, frication. The sounds before and after a word are
    # silent and otherwise like its first and last.
    values = np.zeros((count + 2, 8))
    values[1:-1, :4] = places + voice * _shift(hertz) + _within(_SLUR, own[:, 1:5])
    values[1:-1, 4] = noises[:, 0] + voice * _NOISE_SHIFT
    values[1:-1, 5] = noises[:, 1]
    values[1:-1, 6:] = _SOURCES[label] * _within(_EMPHASIS, own[:, 5:7])
    values[0, :6], values[-1, :6] = values[1, :6], values[-2, :6]
    track = _glided(values, borders, time)
    total = np.zeros((len(time), _PLACES))
    for formant, level in enumerate(_LEVELS):
        scaled = (_PLACE - track[:, formant, None]) / _FORMANT_WIDTH
        total += level * track[:, 6, None] / (1.0 + scaled * scaled)
    scaled = (_PLACE - track[:, 4, None]) / track[:, 5, None]
    total += track[:, 7, None] / (1.0 + scaled * scaled)
    gain = _within(_GAIN, shares[4])
    return np.asarray(gain * total)


def _glided(values: Floats, borders: Floats, time: Floats) -> Floats:
    """Let rows of values pass linearly into each other around the borders between them.

    Args:
        values: [n + 1, 8]; the first four columns glide, the others change at once.
        borders: ms, [n].
        time: ms, [T].

    Returns:
        Values over time, [T, 8].
    """
    half = np.array([_GLIDE_MS] * 4 + [_EDGE_MS] * 4)
    passed = np.clip((time[:, None, None] - borders[:, None] + half) / (2 * half), 0.0, 1.0)
    steps = passed * (values[1:] - values[:-1])
    track = np.repeat(values[:1], len(time), axis=0)
    for i in range(len(borders)):
        track += steps[:, i]
    return track


def recording(split: Split, number: int, bin_ms: int) -> npt.NDArray[np.uint8]:
    """Draw one recording.

    Args:
        split: each has recordings of its own.
        number: of the recording within its split.
        bin_ms: width of a time bin, 1 to 10. The same word is said in the same way whatever the width, but the spikes
            are drawn anew.

    Returns:
        Spikes, 0 or 1, [bins_of_recording(bin_ms), CHANNELS].
    """
    bits = _bits(split, number)
    shares = _shares(bits.random_raw(_DRAWN))
    starts = np.arange(0.0, DURATION_MS, bin_ms)
    widths = np.minimum(DURATION_MS - starts, bin_ms)
    bins = len(starts)
    excited = excitation(_label(shares), shares, starts + 0.5 * widths) + _within(_NOISE, shares[5])
    chance = _SPIKES_PER_MS * widths[:, None] * excited / (1.0 + excited)
    # Four spikes are decided by the four quarters of a raw word, in the same order on every machine.
    thresholds = np.repeat((chance * 65536.0).astype(np.uint16), _EACH, axis=1)
    quarters = bits.random_raw(bins * CHANNELS // 4).astype("<u8").view("<u2").reshape(bins, CHANNELS)
    return np.asarray(quarters < thresholds).view(np.uint8)


def _bits(split: Split, number: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence([STREAMS[split], number]))


class GeneratedDigits:
    """Words of a split, one after the other: example i is made of `words` recordings from number i * words on."""

    def __init__(self, split: Split, bin_ms: int, words: int) -> None:
        self._split, self._bin_ms, self._words = split, bin_ms, words

    def _members(self, numbers: Numbers) -> Numbers:
        members: Numbers = numbers[:, None] * self._words + np.arange(self._words)
        return members

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return spikes, uint8 [B, words * T, CHANNELS]."""
        bins = bins_of_recording(self._bin_ms)
        spikes = np.empty((len(numbers), self._words, bins, CHANNELS), dtype=np.uint8)
        for place, number in np.ndenumerate(self._members(numbers)):
            spikes[place] = recording(self._split, int(number), self._bin_ms)
        return torch.from_numpy(spikes.reshape(len(numbers), self._words * bins, CHANNELS))

    def targets(self, numbers: Numbers) -> Numbers:
        """Return the classes 0..19 of single words, and the sums of the digits of several, [B]."""
        members = self._members(numbers)
        labels = np.array([_label(_shares(_bits(self._split, int(n)).random_raw(1))) for n in members.ravel()])
        labels = labels.reshape(members.shape)
        # Digits of both languages count alike: class i is the digit i modulo 10.
        classes: Numbers = labels[:, 0] if self._words == 1 else (labels % 10).sum(axis=1)
        return classes


def check_generated() -> None:
    """Make sure that this machine draws the recordings that all others draw.

    Raises:
        DataError: it does not.
    """
    drawn = hashlib.sha256()
    for split in STREAMS:
        for number in range(_CHECKED):
            drawn.update(recording(split, number, bin_ms=10).tobytes())
    if drawn.hexdigest() != GENERATED_SHA256:
        raise DataError(
            f"digits-gen: this machine draws other recordings (SHA-256 {drawn.hexdigest()}, expected "
            f"{GENERATED_SHA256}); results could not be compared, so please report the versions of numpy and Python"
        )
