"""Descriptions of a law's parameters: names, bounds, where searches start, signs."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from theory.errors import TheoryError
from theory.types import FloatArray

LEAST_SIZE = 1e-3
"""Share of its range that a number near 0 counts for where a step is taken relative to its size (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter that is searched, because the law is not linear in it.

    >>> Parameter(name="alpha", lower=0.01, upper=10.0).log
    True
    """

    name: str
    """Name in results and in `fixed`, `vary`, `priors`."""
    lower: float
    """Lower bound, natural units."""
    upper: float
    """Upper bound, natural units."""
    start: tuple[float, float] | None = None
    """Range of the starting values, within the bounds; None: the bounds."""
    log: bool = True
    """Whether the search runs in the logarithm (positive parameters)."""
    meaning: str = ""
    """One line for reports, with units."""

    def __post_init__(self) -> None:
        # Both bounds are finite, because starts are drawn between them.
        if not (np.isfinite([self.lower, self.upper]).all() and self.lower < self.upper):
            raise TheoryError(f"{self.name}: bounds ({self.lower}, {self.upper}) must be finite and in order")
        # Refused when the law is described: the search would only meet a logarithm that is not finite.
        if self.log and self.lower <= 0:
            raise TheoryError(
                f"{self.name}: lower bound {self.lower} must be above 0 for a logarithmic search (or set log=False)"
            )

    def to_search(self, value: float) -> float:
        """Natural units to the search coordinate."""
        # In the logarithm a step is the same factor everywhere, and a positive parameter cannot become negative.
        return float(np.log(value)) if self.log else float(value)

    def to_natural(self, coordinate: FloatArray) -> FloatArray:
        """Search coordinate to natural units."""
        return np.exp(coordinate) if self.log else coordinate

    def step(self, coordinate: FloatArray, share: float) -> FloatArray:
        """Return the step of a finite difference in the search coordinate: the same change in any unit.

        Args:
            coordinate: Search coordinates, any shape.
            share: Of a logarithm, the step itself; otherwise the share of the value, or of a thousandth of the bounds'
                range where the value is smaller than that.

        >>> gamma = Parameter(name="gamma", lower=-3.0, upper=3.0, log=False)
        >>> gamma.step(np.array([0.0, 2.0]), 1e-4).round(12).tolist()
        [6e-07, 0.0002]
        """
        if self.log:
            return np.full(np.shape(coordinate), share)
        # A parameter at 0 has no size to take a share of, so a part of its range stands in.
        return share * np.maximum(np.abs(coordinate), LEAST_SIZE * (self.upper - self.lower))

    @property
    def start_range(self) -> tuple[float, float]:
        """Range of the starting values in the search coordinate."""
        low, high = self.start or (self.lower, self.upper)
        # Bounds that a caller narrowed cut the usual starting range as well.
        return self.to_search(max(low, self.lower)), self.to_search(min(high, self.upper))


def inner_points(low: float, high: float, count: int) -> FloatArray:
    """Return the middles of `count` equal intervals of the logarithm: the ends would be searches that start at a bound.

    >>> inner_points(1.0, 1e4, 2).round(9).tolist()
    [10.0, 1000.0]
    """
    # Sizes are spaced by factors, and the kinks lie at sizes.
    first, last = np.log(low), np.log(high)
    return np.asarray(np.exp(first + (last - first) * (np.arange(count) + 0.5) / count))


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """A parameter in which the law is linear; solved exactly for every value of the others."""

    name: str
    """Name in results."""
    # One sign serves metrics of both directions: the problem turns it for a metric to be maximised.
    sign: Literal[0, 1] = 0
    """1: at least 0 for a metric to be minimised, at most 0 for one to be maximised; 0: free."""
    meaning: str = ""
    """One line for reports, with units."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A normal prior on a parameter's search coordinate (its logarithm where the search is logarithmic)."""

    mean: float
    """Centre of the prior in natural units."""
    sd: float
    """Standard deviation of the search coordinate; 0.2 for a logarithmic one means 20 %."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.sd) and self.sd > 0):
            raise TheoryError(f"prior: mean {self.mean} and sd {self.sd} must be finite, sd above 0")
