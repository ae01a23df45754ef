"""The interface of all searches: a space of points, a history of what became of them, and the next points to try.

A search is a pure function of the history and its seed: the results store is the only ledger, so a search goes on from
the store alone, on another machine as well, and no database can be locked or lost.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sweeper.plan.search_section import Range


class Point(NamedTuple):
    """One trial as a search sees it."""

    budget: int | None
    """P asked for."""
    settings: tuple[tuple[str, Any], ...]
    """The values of the dimensions, by name, in the order of the space."""
    seed: int
    """Replicate."""

    @property
    def values(self) -> dict[str, Any]:
        """The settings by name."""
        return dict(self.settings)


class Sizes(NamedTuple):
    """Sizes and cost of the network that a point describes, its budget being solved."""

    n_rec: float
    k_e: float
    k_c: float
    d_m: float | None
    trainable_params: float
    seconds: float
    """Expected time of the trial."""


class Observation(NamedTuple):
    """A point with a final row in the store."""

    point: Point
    loss: float | None
    """Validation metric, sign turned so that smaller is better; None where the trial did not finish."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One setting that is searched over."""

    name: str
    """Setting, such as `d_m` or `learning_rate`."""
    values: tuple[Any, ...] = ()
    """The values it may take; empty for a range."""
    range: Range | None = None
    """The range it may come from."""

    def draw(self, rng: random.Random) -> Any:
        """A random value."""
        # Ranges are drawn along their own scale: uniform in the logarithm where the range is logarithmic.
        return rng.choice(self.values) if self.range is None else self.range.at(rng.random())

    def levels(self, count: int) -> tuple[Any, ...]:
        """All values, or evenly spaced ones of a range."""
        return self.values if self.range is None else self.range.levels(count)

    def holds(self, value: Any) -> bool:
        """Whether a value belongs to the dimension."""
        if self.range is None:
            return value in self.values
        return isinstance(value, int | float) and self.range.low <= value <= self.range.high


@dataclass(frozen=True, kw_only=True)
class Space:
    """What may be searched."""

    budgets: tuple[int | None, ...]
    """Parameter budgets; (None,) where every size is given."""
    dimensions: tuple[Dimension, ...]
    """Settings that vary."""
    seeds: tuple[int, ...]
    """Replicates that a configuration may have."""
    measure: Callable[[Point], Sizes | str]
    """Sizes of a point, or why it cannot be run; costs no training."""

    def point(self, budget: int | None, values: dict[str, Any], seed: int) -> Point:
        """Put a point together."""
        # In the order of the space and not of `values`, so that equal points are equal tuples.
        return Point(budget, tuple((dimension.name, values[dimension.name]) for dimension in self.dimensions), seed)


class Proposal(NamedTuple):
    """The next points; fewer than asked for where the space has no more."""

    points: tuple[Point, ...]
    reasons: tuple[str, ...] = ()
    """What the choice rests on, fallbacks included; for people."""


class Searcher(Protocol):
    """Chooses trials."""

    def propose(self, history: Sequence[Observation], n: int) -> Proposal:
        """The next `n` points, none of which is in the history."""
