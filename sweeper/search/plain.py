"""Searches that look at no result: the whole grid in order, and independent draws."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.plan.expand import refinement_levels
from sweeper.search.space import Observation, Point, Proposal, Space

TRIES = 200
"""Draws in a row that are infeasible or known already, after which a space counts as exhausted (assumption)."""


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
            # Taken also where it cannot be run, so that it is measured no second time; then no other seed can be run
            # either, because sizes do not depend on it.
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
        # Worked out anew each time, like everything a search knows: the store alone says what was tried.
        known = {observation.point for observation in history}
        fresh = (point for point in self._points() if point not in known)
        runnable = (point for point in fresh if not isinstance(self.space.measure(point), str))
        return Proposal(tuple(itertools.islice(runnable, n)))

    def _points(self) -> Iterator[Point]:
        """Ends and middles of the axes first, as a plan runs them, so that an interrupted grid is balanced."""
        axes = [dimension.levels(self.levels) for dimension in self.space.dimensions]
        ranks = [refinement_levels(len(axis)) for axis in axes]
        places = list(itertools.product(*(range(len(axis)) for axis in axes)))
        # The sort is stable: within a level the places keep the order of the grid.
        places.sort(key=lambda place: max((rank[i] for rank, i in zip(ranks, place, strict=True)), default=0))
        # Seeds outermost, as in a plan; the last budget, by custom the largest, first, so that the long trials of a
        # batch do not begin last.
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
        # A text as seed is hashed the same way on every machine, which hash() is not.
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
