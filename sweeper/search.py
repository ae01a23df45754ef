"""The interface of all searches: a space of points, a history of what became of them, and the next points to try.

A search is a pure function of the history and its seed: the results store is the only ledger, so a search goes on from
the store alone, on another machine as well, and no database can be locked or lost.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sweeper.errors import GridError
from sweeper.plan import refinement_levels
from sweeper.search_settings import Range, SearchSettings

TRIES = 200
"""Suggestions of a sampler in a row that are infeasible or known before it is told to have nothing left."""


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
    """What a point turns out to be."""

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
        return Point(budget, tuple((dimension.name, values[dimension.name]) for dimension in self.dimensions), seed)


class Proposal(NamedTuple):
    """The next points; fewer than asked for where the space has no more."""

    points: tuple[Point, ...]
    said: tuple[str, ...] = ()
    """What the choice rests on, fallbacks included; for people."""


class Searcher(Protocol):
    """Chooses trials."""

    def propose(self, history: Sequence[Observation], n: int) -> Proposal:
        """The next `n` points, none of which is in the history."""


class Untried:
    """Hands out the seeds of configurations that were not tried yet."""

    def __init__(self, space: Space, history: Sequence[Observation]) -> None:
        self._space = space
        self._taken = {observation.point for observation in history}

    def next(self, budget: int | None, values: dict[str, Any]) -> Point | None:
        """The configuration with its first free seed, now taken; None where none is left or it cannot be run."""
        for seed in self._space.seeds:
            point = self._space.point(budget, values, seed)
            if point in self._taken:
                continue
            self._taken.add(point)
            return None if isinstance(self._space.measure(point), str) else point
        return None


@dataclass(frozen=True, kw_only=True)
class GridSearcher:
    """All combinations, seed by seed."""

    space: Space
    levels: int = 9
    """Values taken of a range."""

    def propose(self, history: Sequence[Observation], n: int) -> Proposal:
        """See `Searcher`."""
        known = {observation.point for observation in history}
        fresh = (point for point in self._points() if point not in known)
        runnable = (point for point in fresh if not isinstance(self.space.measure(point), str))
        return Proposal(tuple(itertools.islice(runnable, n)))

    def _points(self) -> Iterator[Point]:
        """Ends and middles of the axes first, as a plan runs them, so that an interrupted grid is balanced."""
        axes = [dimension.levels(self.levels) for dimension in self.space.dimensions]
        ranks = [refinement_levels(len(axis)) for axis in axes]
        places = list(itertools.product(*(range(len(axis)) for axis in axes)))
        places.sort(key=lambda place: max((rank[i] for rank, i in zip(ranks, place, strict=True)), default=0))
        for seed, place, budget in itertools.product(self.space.seeds, places, reversed(self.space.budgets)):
            named = {d.name: axis[i] for d, axis, i in zip(self.space.dimensions, axes, place, strict=True)}
            yield self.space.point(budget, named, seed)


@dataclass(frozen=True, kw_only=True)
class RandomSearcher:
    """Independent draws, uniform over budgets and values."""

    space: Space
    seed: int = 0
    """Of the draws."""

    def propose(self, history: Sequence[Observation], n: int) -> Proposal:
        """See `Searcher`."""
        rng = random.Random(f"{self.seed}-{len(history)}")
        untried, misses = Untried(self.space, history), 0
        points: list[Point] = []
        while len(points) < n and misses < TRIES:
            values = {dimension.name: dimension.draw(rng) for dimension in self.space.dimensions}
            point = untried.next(rng.choice(self.space.budgets), values)
            if point is None:
                misses += 1
                continue
            points.append(point)
            misses = 0
        return Proposal(tuple(points))


def make_searcher(settings: SearchSettings, space: Space) -> Searcher:
    """The search that a grid asks for.

    Raises:
        GridError: the space does not suit the search.
    """
    if settings.kind == "random":
        return RandomSearcher(space=space, seed=settings.seed)
    if settings.kind == "optuna":
        from sweeper.search_optuna import OptunaSearcher

        return OptunaSearcher(space=space, settings=settings)
    if settings.kind == "theory":
        from sweeper.search_theory import make_theory_searcher

        return make_theory_searcher(space, settings)
    if settings.kind == "grid":
        return GridSearcher(space=space)
    raise GridError(f"search.kind: {settings.kind!r} is not known")
