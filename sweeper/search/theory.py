"""The search that knows the theory: each batch is what makes the asked quantity most certain per second of training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sweeper.errors import GridError
from sweeper.plan.search_section import SearchSettings
from sweeper.plan.targets import LEAST_TRIALS, Target, TargetError, read_target
from sweeper.search.space import Observation, Point, Proposal, Sizes, Space
from sweeper.search.theory_frame import Frame, design_of, make_frame
from sweeper.words import counted
from theory.errors import TheoryError
from theory.next_runs.belief import Belief, believe
from theory.next_runs.sequential import Batch, Goal, choose, locate_optimum, parameter_interval, space_filling

PURPOSES = {"target": "for the target", "confirm": "at a predicted optimum", "spread": "where least is known"}
"""What the reasons of picks say to people."""

IntArray = npt.NDArray[np.int64]


class Interval(NamedTuple):
    """What is known about a quantity."""

    estimate: float
    low: float
    high: float
    reason: str | None = None
    """Why there is no interval; the numbers are then NaN."""

    @property
    def half_width(self) -> float:
        """Half of the interval relative to the estimate; infinite without one."""
        return float("inf") if self.reason else (self.high - self.low) / 2 / abs(self.estimate)


class Paid(NamedTuple):
    """Runs that a number of seconds pays for."""

    points: tuple[Point, ...]
    reasons: tuple[str, ...]
    """Why each of them was picked: a key of `PURPOSES`."""
    batch: Batch
    sentences: tuple[str, ...]
    """What the choice rests on, for people."""


@dataclass(frozen=True, kw_only=True)
class TheorySearcher:
    """Sequential optimal design on the budget lines of a space whose one dimension is d_m."""

    space: Space
    targets: tuple[Target, ...] = (Target(quantity="d_m_opt"),)
    """What shall become certain."""
    seed: int = 0
    """Of draws and fits."""
    cost_power: float = 0.5
    """See `SearchSettings.cost_power`."""
    start: int = LEAST_TRIALS
    """Trials that fill the space before a law is fitted."""
    cache: dict[tuple[object, ...], Belief] = field(default_factory=dict, repr=False, compare=False)
    """The last belief, so that a batch and the stop rule share one fit."""

    @property
    def least(self) -> int:
        """Finished trials before which no law is fitted: the start, or one of each configuration where they are few."""
        return min(self.start, len(self._frame.points))

    def propose(self, history: Sequence[Observation], n: int) -> Proposal:
        """See `sweeper.search.space.Searcher`."""
        finished = sum(observation.loss is not None for observation in history)
        if finished < self.least:
            # No more than is missing, since what comes after can be chosen by a law.
            missing = min(n, self.least - finished)
            sentence = f"{finished} finished trials: the first {self.least} fill the space, before a law is fitted"
            return Proposal(self.fill(history, missing), (sentence,))
        try:
            belief, batch = self.batch(history, n)
        except TheoryError as error:
            return Proposal(
                self.fill(history, n), (f"no law guides the choice ({error}): these trials fill the space",)
            )
        places = [self._frame.points[pick.place] for pick in batch.picks]
        return Proposal(self._with_seeds(places, history), tuple(self._sentences(belief, batch)))

    def batch(self, history: Sequence[Observation], n: int, *, seconds: float = float("inf")) -> tuple[Belief, Batch]:
        """The belief and the runs chosen by it, within some seconds of training.

        Raises:
            TheoryError: no law can be fitted.
        """
        belief = self.belief(history)
        frame = self._frame
        index = {point: place for place, point in enumerate(frame.points)}
        # Every row counts as a run, failed ones too: their seeds are used up. Below, only finished ones count as
        # measured.
        run = [index[key] for o in history if (key := o.point._replace(seed=0)) in index]
        left = len(self.space.seeds) - np.bincount(np.array(run, dtype=np.int64), minlength=len(frame.points))
        finished = {index[key] for o in history if o.loss is not None and (key := o.point._replace(seed=0)) in index}
        return belief, choose(
            belief,
            self._goal(belief, finished),
            np.arange(len(frame.points)),
            frame.seconds,
            n,
            already_run=np.array(sorted(finished), dtype=np.int64),
            seats=np.maximum(left, 0),
            spend=seconds,
            # Each batch draws anew, and the same batch the same.
            seed=self.seed + len(history),
            cost_power=self.cost_power,
        )

    def affordable(self, history: Sequence[Observation], most: int, seconds: float) -> "Paid":
        """Runs chosen one after the other as long as their expected time lasts.

        Raises:
            TheoryError: no law can be fitted.
        """
        belief, batch = self.batch(history, most, seconds=seconds)
        points = self._with_seeds([self._frame.points[pick.place] for pick in batch.picks], history)
        reasons = tuple(pick.reason for pick in batch.picks)
        return Paid(points, reasons, batch, tuple(self._sentences(belief, batch)))

    def expected(self, history: Sequence[Observation], paid: "Paid", target: Target) -> tuple[Interval, Interval]:
        """A target's interval now, and as it is expected after some runs if the belief is right.

        Both are of the best law alone: which laws the runs will rule out cannot be expected.
        """
        alone = replace(self.belief(history), plausible=())
        return self._or_reason(alone, target), self._or_reason(replace(paid.batch.after, plausible=()), target)

    def _or_reason(self, belief: Belief, target: Target) -> Interval:
        try:
            return self.interval_of(belief, target)
        except TheoryError as error:
            return Interval(float("nan"), float("nan"), float("nan"), str(error))

    def belief(self, history: Sequence[Observation]) -> Belief:
        """Law and discrepancy, given all finished trials.

        Raises:
            TheoryError: no law can be fitted.
        """
        rows = [
            (sizes, o.point.budget, o.loss)
            for o in history
            if o.loss is not None and isinstance(sizes := self.space.measure(o.point), Sizes)
        ]
        key = tuple(rows)
        if key not in self.cache:
            if len(rows) < self.least:
                raise TheoryError(f"{counted(len(rows), 'finished trial')}, a law needs {self.least}")
            # Only the last belief is asked for again, and a belief holds a covariance of all places.
            self.cache.clear()
            design = design_of([(sizes, budget) for sizes, budget, _ in rows])
            losses, frame = [loss for _, _, loss in rows], self._frame
            self.cache[key] = believe(design, losses, frame.places, smooth=frame.smooth, seed=self.seed)
        return self.cache[key]

    def named(self, history: Sequence[Observation]) -> dict[int, Any]:
        """The value of d_m that the belief calls best at each budget, among those that were run.

        Raises:
            TheoryError: no law can be fitted.
        """
        belief, frame = self.belief(history), self._frame
        index = {point: place for place, point in enumerate(frame.points)}
        run = {index[key] for o in history if o.loss is not None and (key := o.point._replace(seed=0)) in index}
        best: dict[int, int] = {}
        for place in sorted(run):
            budget = frame.points[place].budget or 0
            # Among the networks that were run: a network that nobody has trained is not to be named best.
            if budget not in best or belief.mean[place] < belief.mean[best[budget]]:
                best[budget] = place
        return {budget: frame.points[place].settings[0][1] for budget, place in best.items()}

    def interval(self, history: Sequence[Observation], target: Target) -> Interval:
        """What is known about one quantity: 95 %, with the discrepancy where the law needs one."""
        try:
            belief = self.belief(history)
        except TheoryError as error:
            return Interval(float("nan"), float("nan"), float("nan"), str(error))
        return self._or_reason(belief, target)

    def interval_of(self, belief: Belief, target: Target) -> Interval:
        """What a belief says about one quantity; the widest one of all budgets where the target names none.

        Raises:
            TheoryError: the law that is fitted has no such parameter.
        """
        if target.quantity in ("alpha", "beta"):
            return Interval(*parameter_interval(belief, target.quantity))
        lines = self._lines_of(target)
        intervals = [self._at_line(belief, lines[budget], budget, target.quantity) for budget in lines]
        if target.quantity == "exponent":
            return _slope(list(lines), intervals)
        # A rule that names no budget asks for all of them, so the one known least decides.
        return max(intervals, key=lambda interval: interval.half_width)

    def _at_line(self, belief: Belief, line: IntArray, budget: float, quantity: str) -> Interval:
        # With the search's seed: the draws behind an interval are the same each time the rule is looked at.
        located = locate_optimum(belief, line, seed=self.seed)
        if quantity == "metric":
            best = line[int(np.argmin(belief.mean[line]))]
            # The belief is Gaussian: 1.96 standard deviations make 95 %.
            half = 1.96 * float(np.sqrt(belief.covariance[best, best]))
            return Interval(float(belief.mean[best]), float(belief.mean[best]) - half, float(belief.mean[best]) + half)
        reason = None
        if not located.bracketed:
            reason = f"the optimum at P = {budget:g} is not bracketed by the range of d_m"
        elif located.open_ended:
            reason = f"the interval of the optimum at P = {budget:g} reaches an end of the range of d_m"
        if quantity == "n_rec_opt":
            # The ends change places: at a fixed budget more memory units per neuron mean fewer neurons.
            estimate, high, low = self._frame.cost.neurons(budget, np.array([located.d_m, located.low, located.high]))
            return Interval(float(estimate), float(low), float(high), reason)
        return Interval(located.d_m, located.low, located.high, reason)

    def _goal(self, belief: Belief, finished: set[int]) -> Goal:
        lines: dict[float, IntArray] = {}
        tops: list[int] = []
        parameters: list[str] = []
        for target in self.targets:
            if target.quantity in ("alpha", "beta"):
                # The law that fits best now may not have the parameter; a later batch may prefer one that has.
                parameters += [target.quantity] if target.quantity in belief.fit.free else []
                continue
            target_lines = self._lines_of(target)
            if target.quantity == "metric":
                tops += [int(line[int(np.argmin(belief.mean[line]))]) for line in target_lines.values()]
            lines |= target_lines
        # Nothing that was asked for can be aimed at: knowing the optima helps every law, so the batch is not wasted.
        if not lines and not parameters:
            lines = self._lines_of(Target(quantity="d_m_opt"))
        rivals = [  # the best network is named among those that were run: where noise is heavy, they need replicates
            np.array(sorted(place for place in finished if self._frame.points[place].budget == budget), dtype=np.int64)
            for budget in lines
        ]
        return Goal(
            lines=(*lines.values(), *(line for line in rivals if len(line) > 1)),
            places=np.array(tops, dtype=np.int64) if tops else None,
            parameters=tuple(parameters),
        )

    def _lines_of(self, target: Target) -> dict[float, IntArray]:
        """Budget lines that a target is about: its own, all of the grid, or the two ends for a slope."""
        lines = self._frame.lines
        if target.budget is not None:
            return (
                {target.budget: lines[target.budget]}
                if target.budget in lines
                else self._frame.line_near(target.budget)
            )
        grid_lines = {
            float(budget): lines[float(budget)]
            for budget in self.space.budgets
            if budget is not None and float(budget) in lines
        }
        if target.quantity == "exponent":
            # Over the longest span of budgets, where an error of the ends tilts the slope least.
            return {budget: grid_lines[budget] for budget in (min(grid_lines), max(grid_lines))}
        return grid_lines

    def fill(self, history: Sequence[Observation], n: int) -> tuple[Point, ...]:
        """Configurations far from each other and from those tried, then replicates, the rarest first: needs no law."""
        frame = self._frame
        tried = Counter(o.point._replace(seed=0) for o in history)
        fresh = [place for place, point in enumerate(frame.points) if point not in tried]
        rows = [(sizes, o.point.budget) for o in history if isinstance(sizes := self.space.measure(o.point), Sizes)]
        spread = (
            [fresh[i] for i in space_filling(frame.places.take(fresh), design_of(rows) if rows else None, n)]
            if fresh
            else []
        )
        again = sorted((point for point in frame.points if point in tried), key=lambda point: tried[point])
        return self._with_seeds([*(frame.points[place] for place in spread), *again], history)[:n]

    def _with_seeds(self, places: Sequence[Point], history: Sequence[Observation]) -> tuple[Point, ...]:
        """Give each place its next free seed."""
        already_run = {observation.point for observation in history}
        points = []
        for place in places:
            for seed in self.space.seeds:
                point = place._replace(seed=seed)
                if point not in already_run:
                    already_run.add(point)
                    points.append(point)
                    break
        return tuple(points)

    def _sentences(self, belief: Belief, batch: Batch) -> list[str]:
        counts = Counter(pick.reason for pick in batch.picks)
        purposes = ", ".join(f"{counts[reason]} {purpose}" for reason, purpose in PURPOSES.items() if counts[reason])
        sentences = [
            f"{len(batch.picks)} trials chosen by {belief.fit.law.label}: {purposes}; noise {belief.hyper.noise:.3g}"
        ]
        # Said to people, because the trials then spread out in a way that the target alone does not explain.
        if not belief.trusted:
            sentences.append(
                f"the law is not trusted: the trials depart from it by {belief.hyper.departure:.2g} "
                f"(ln-likelihood +{belief.hyper.gain:.1f}), so a smooth correction guides the choice and spreads it out"
            )
        return sentences

    @cached_property
    def _frame(self) -> Frame:
        budgets = [target.budget for target in self.targets if target.budget is not None]
        return make_frame(self.space, budgets)


def _slope(budgets: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """d ln d_m / d ln P between two budgets, errors added in squares."""
    # Two ends that are the same budget are one line (`_lines_of`).
    reason = "an exponent needs two budgets" if len(budgets) < 2 else intervals[0].reason or intervals[1].reason
    if reason is not None:
        return Interval(float("nan"), float("nan"), float("nan"), reason)
    low, high = intervals
    span = float(np.log(budgets[1] / budgets[0]))
    slope = float(np.log(high.estimate / low.estimate)) / span
    # Half widths in ln d_m; the errors of the two ends are taken as independent.
    half = float(np.hypot(*(np.log(one.high / one.low) / 2 for one in intervals))) / span
    return Interval(slope, slope - half, slope + half)


def make_theory_searcher(space: Space, settings: SearchSettings) -> TheorySearcher:
    """The searcher of a grid, checked.

    Raises:
        GridError: the space has other dimensions than d_m, or no budgets.
        TargetError: a target cannot be read or reached.
    """
    names = [dimension.name for dimension in space.dimensions]
    if names != ["d_m"] or None in space.budgets:
        varied = ", ".join(names) or "nothing"
        without = " and has no budgets" if None in space.budgets else ""
        raise GridError(
            f"search: theory chooses d_m along `budgets`, n_rec being solved; this grid varies {varied}{without}. "
            "Give every other setting one value (a learning rate may be a rule), or use search kind optuna"
        )
    searcher = TheorySearcher(
        space=space,
        targets=tuple(read_target(text) for text in settings.target),
        seed=settings.seed,
        cost_power=settings.cost_power,
    )
    # Made here and not when first used: a target that cannot be reached is refused before any trial has run.
    assert searcher._frame.points, "a frame without points is refused when it is made"
    if len(space.budgets) < 2 and any(target.quantity == "exponent" for target in searcher.targets):
        raise TargetError("target: exponent: a slope over budgets needs two of them; the grid has one, add another")
    return searcher
