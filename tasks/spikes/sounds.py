"""The sounds of twenty spoken digits: formants, sources and durations, on the scale of the cochlea.

Formants are those of Klatt 1980 (JASA 67, 971), tables II and III, one male speaker of English; German sounds that the
tables lack take those of the nearest English sound. Durations are assumptions of ours, of the order that Klatt 1976
(JASA 59, 1208) reports.
"""

import math
from typing import NamedTuple


class Sound(NamedTuple):
    """One stretch of speech."""

    formants: tuple[int, int, int]
    """F1, F2, F3 in Hz."""
    milliseconds: int
    """Usual duration."""
    voicing: float
    """Level of the voice; a strong vowel has 1."""
    frication: float = 0.0
    """Level of the noise; [s] has 1."""
    noise: tuple[float, float] = (20.0, 2.0)
    """Centre of the noise and its half width, in ERB numbers."""


PER_DECADE, HERTZ_FACTOR = 21.4, 0.00437
"""Constants of `erb_number`."""


def erb_number(hertz: float) -> float:
    """Return the place on the cochlea that answers to a frequency, in ERB numbers (Glasberg and Moore 1990, eq. 4).

    Rounded to thousandths, so that the last digit of a logarithm, which differs between machines, does not matter.
    """
    return round(PER_DECADE * math.log10(HERTZ_FACTOR * hertz + 1), 3)


# Centres follow the formants to which Klatt's table III feeds noise: the sixth (4.9 kHz) for [s], the fourth to sixth
# for [t], the second for [k], none in particular for [f] and [th]. Widths, levels and the centre of "kh" are
# assumptions.
_HISS, _HUSH, _FLAT = (28.0, 2.5), (24.0, 2.5), (24.0, 6.0)
_BURST_T, _BURST_K = (27.0, 3.0), (22.5, 2.0)
SOUNDS = {
    # vowels, and the two ends of diphthongs
    "iy": Sound((310, 2020, 2960), 140, 0.8),
    "ih": Sound((400, 1800, 2570), 90, 0.9),
    "eh": Sound((530, 1680, 2500), 110, 1.0),
    "ey": Sound((480, 1720, 2520), 80, 1.0),
    "ey2": Sound((330, 2020, 2600), 80, 0.8),
    "aa": Sound((700, 1220, 2600), 120, 1.0),
    "ah": Sound((620, 1220, 2550), 100, 1.0),
    "ax": Sound((550, 1260, 2470), 60, 0.7),
    "ao": Sound((600, 990, 2570), 130, 1.0),
    "oy": Sound((550, 960, 2400), 90, 1.0),
    "oy2": Sound((360, 1820, 2450), 80, 0.8),
    "ow": Sound((540, 1100, 2300), 80, 1.0),
    "ow2": Sound((450, 900, 2300), 80, 0.8),
    "uh": Sound((450, 1100, 2350), 90, 0.9),
    "uw": Sound((350, 1250, 2200), 80, 0.8),
    "uw2": Sound((320, 900, 2200), 80, 0.7),
    "ay": Sound((660, 1200, 2550), 100, 1.0),
    "ay2": Sound((400, 1880, 2500), 90, 0.8),
    "ue": Sound((350, 1600, 2250), 90, 0.8),  # [y] of fuenf: F1 of [u], F2 between [u] and [i] (assumption)
    # sonorants; the first formant of [n] is Klatt's nasal pole
    "w": Sound((290, 610, 2150), 70, 0.6),
    "r": Sound((310, 1060, 1380), 70, 0.6),
    "l": Sound((310, 1050, 2880), 80, 0.6),
    "n": Sound((270, 1340, 2470), 80, 0.5),
    # fricatives
    "f": Sound((340, 1100, 2080), 100, 0.0, 0.35, _FLAT),
    "v": Sound((220, 1100, 2080), 70, 0.4, 0.15, _FLAT),
    "th": Sound((320, 1290, 2540), 100, 0.0, 0.3, _FLAT),
    "s": Sound((320, 1390, 2530), 120, 0.0, 1.0, _HISS),
    "z": Sound((240, 1390, 2530), 80, 0.4, 0.5, _HISS),
    "kh": Sound((300, 1600, 2600), 100, 0.0, 0.5, _HUSH),  # the ch of acht
    # plosives: closure, then burst
    "-": Sound((320, 1390, 2530), 60, 0.0),  # silent, so that its formants only lead to those of the next sound
    "b-": Sound((200, 1100, 2150), 60, 0.2),
    "t": Sound((400, 1600, 2600), 40, 0.0, 0.8, _BURST_T),
    "k": Sound((300, 1990, 2850), 40, 0.0, 0.8, _BURST_K),
}
"""By a name after the ARPABET; "-" is the closure before a plosive."""
_ENGLISH = (
    *("z ih r ow ow2", "w ah n", "- t uw uw2", "th r iy", "f ao r", "f ay ay2 v", "s ih - k s", "s eh v ax n"),
    *("ey ey2 - t", "n ay ay2 n"),
)
_GERMAN = (
    *("n uh l", "ay ay2 n s", "- t s v ay ay2", "- r ay ay2", "f iy r", "f ue n f", "z eh - k s", "z iy b- ax n"),
    *("aa kh - t", "n oy oy2 n"),
)
WORDS = tuple(tuple(SOUNDS[name] for name in word.split()) for word in (*_ENGLISH, *_GERMAN))
"""The sounds of class i: zero to nine in English, then null to neun in German, as in the Spiking Heidelberg Digits."""
