"""Digits that two numbers share, and the rows of the report."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST = 16.0
"""Digits of a float; equal numbers have no more."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Digits reached in one comparison."""

    name: str
    """What was computed."""
    number: str
    """Which number of it was compared."""
    digits: float
    """-log10 of the largest relative error."""
    least: float
    """Digits below which something is wrong."""

    @property
    def met(self) -> bool:
        """Whether the digits suffice."""
        return self.digits >= self.least


def digits(value: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the digits of the worst number of several: -log10 of its relative error (absolute where the reference
    is 0).

    >>> digits([1.0, 2.002], [1.0, 2.0]), digits(1.0, 1.0)
    (3.0, 16.0)
    """
    computed, expected = np.asarray(value, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    error = np.abs(computed - expected) / np.where(expected == 0, 1.0, np.abs(expected))
    # The worst number counts: a mean would hide one wrong parameter among many.
    worst = float(np.max(error))
    if not np.isfinite(worst):
        return 0.0
    # Rounded, so that an example in a docstring does not depend on the last bit.
    return min(MOST, round(-float(np.log10(max(worst, 10**-MOST))), 9))
