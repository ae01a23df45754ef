"""The search that knows the theory: each batch is what makes the asked quantity most certain per second of training."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from sweeper.errors import GridError
from sweeper.search import Observation, Point, Proposal, Sizes, Space
from sweeper.search_settings import SearchSettings
from sweeper.targets import LEAST_TRIALS, Target, TargetError, read_target
from theory.cost import Cost
from theory.data import Design
from theory.errors import TheoryError
from theory.locate import budget_line
from theory.sequential import Batch, Belief, Goal, believe, choose, locate_optimum, parameter_interval, space_filling

LEVELS = 24
"""Values of d_m that are considered where the grid gives a range."""

LINE = 40
"""Places along a budget line where its optimum may lie."""

REACH = 10.0
"""Factor between a target's budget and the nearest one of the grid beyond which nothing can be promised: one decade."""

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
    batch: Batch
    said: tuple[str, ...]


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

    def propose(self, history: Sequence[Observation], n: int) -> Proposal:
        """See `sweeper.search.Searcher`."""
        finished = sum(observation.loss is not None for observation in history)
        if finished < self.start:
            missing = min(n, self.start - finished)
            said = f"{finished} finished trials: the first {self.start} fill the space, before a law is fitted"
            return Proposal(self.fill(history, missing), (said,))
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
        run = [index[key] for o in history if (key := o.point._replace(seed=0)) in index]
        left = len(self.space.seeds) - np.bincount(np.array(run, dtype=np.int64), minlength=len(frame.points))
        finished = {index[key] for o in history if o.loss is not None and (key := o.point._replace(seed=0)) in index}
        return belief, choose(
            belief,
            self._goal(belief),
            np.arange(len(frame.points)),
            frame.seconds,
            n,
            taken=np.array(sorted(finished), dtype=np.int64),
            seats=np.maximum(left, 0),
            spend=seconds,
            seed=self.seed + len(history),
            cost_power=self.cost_power,
        )

    def affordable(self, history: Sequence[Observation], most: int, seconds: float) -> "Paid":
        """Runs chosen one after the other as long as their expected time lasts.

        Raises:
            TheoryError: no law can be fitted.
        """
        finished = sum(observation.loss is not None for observation in history)
        if finished < self.start:
            raise TheoryError(f"{finished} finished trials, a law needs {self.start}")
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
            if not rows:
                raise TheoryError("no finished trial yet")
            self.cache.clear()
            design = _design([(sizes, budget) for sizes, budget, _ in rows])
            self.cache[key] = believe(design, [loss for _, _, loss in rows], self._frame.places, seed=self.seed)
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
        found = [self._at_line(belief, lines[budget], budget, target.quantity) for budget in lines]
        if target.quantity == "exponent":
            return _slope(list(lines), found)
        return max(found, key=lambda interval: interval.half_width)

    def _at_line(self, belief: Belief, line: IntArray, budget: float, quantity: str) -> Interval:
        located = locate_optimum(belief, line, seed=self.seed)
        if quantity == "metric":
            best = line[int(np.argmin(belief.mean[line]))]
            half = 1.96 * float(np.sqrt(belief.covariance[best, best]))
            return Interval(float(belief.mean[best]), float(belief.mean[best]) - half, float(belief.mean[best]) + half)
        reason = None if located.bracketed else f"the optimum at P = {budget:g} is not bracketed by the range of d_m"
        if quantity == "n_rec_opt":
            estimate, high, low = self._frame.cost.neurons(budget, np.array([located.d_m, located.low, located.high]))
            return Interval(float(estimate), float(low), float(high), reason)
        return Interval(located.d_m, located.low, located.high, reason)

    def _goal(self, belief: Belief) -> Goal:
        lines: dict[float, IntArray] = {}
        tops: list[int] = []
        parameters: list[str] = []
        for target in self.targets:
            if target.quantity in ("alpha", "beta"):
                parameters += [target.quantity] if target.quantity in belief.fit.free else []
                continue
            own = self._lines_of(target)
            if target.quantity == "metric":
                tops += [int(line[int(np.argmin(belief.mean[line]))]) for line in own.values()]
            lines |= own
        if not lines and not parameters:
            lines = self._lines_of(Target(quantity="d_m_opt"))
        return Goal(
            lines=tuple(lines.values()),
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
        own = {
            float(budget): lines[float(budget)]
            for budget in self.space.budgets
            if budget is not None and float(budget) in lines
        }
        if target.quantity == "exponent":
            return {budget: own[budget] for budget in (min(own), max(own))}
        return own

    def fill(self, history: Sequence[Observation], n: int) -> tuple[Point, ...]:
        """Configurations far from each other and from those tried: what needs no law."""
        frame = self._frame
        tried = {o.point._replace(seed=0) for o in history}
        fresh = [place for place, point in enumerate(frame.points) if point not in tried]
        rows = [(sizes, o.point.budget) for o in history if isinstance(sizes := self.space.measure(o.point), Sizes)]
        found = (
            [fresh[i] for i in space_filling(frame.places.take(fresh), _design(rows) if rows else None, n)]
            if fresh
            else []
        )
        return self._with_seeds([frame.points[place] for place in found], history)

    def _with_seeds(self, places: Sequence[Point], history: Sequence[Observation]) -> tuple[Point, ...]:
        """Give each place its next free seed."""
        taken = {observation.point for observation in history}
        points = []
        for place in places:
            for seed in self.space.seeds:
                point = place._replace(seed=seed)
                if point not in taken:
                    taken.add(point)
                    points.append(point)
                    break
        return tuple(points)

    def _sentences(self, belief: Belief, batch: Batch) -> list[str]:
        why = {reason: sum(pick.reason == reason for pick in batch.picks) for reason in ("target", "confirm", "spread")}
        told = ", ".join(f"{count} {reason}" for reason, count in why.items() if count)
        said = [f"{len(batch.picks)} trials chosen by {belief.fit.law.label} ({told}); noise {belief.hyper.noise:.3g}"]
        if not belief.trusted:
            said.append(
                f"the law is not trusted: the trials depart from it by {belief.hyper.amplitude:.2g} "
                f"(ln-likelihood +{belief.hyper.gain:.1f}), so a smooth correction guides the choice and spreads it out"
            )
        return said

    @cached_property
    def _frame(self) -> "Frame":
        budgets = [target.budget for target in self.targets if target.budget is not None]
        return make_frame(self.space, budgets)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """Everything about a space that does not depend on results."""

    points: tuple[Point, ...]
    """Configurations that can be run, seed 0."""
    seconds: npt.NDArray[np.float64]
    """Expected time of each."""
    places: Design
    """The configurations, then the lines."""
    lines: dict[float, IntArray]
    """Places of each budget's line, evenly spaced in ln d_m."""
    cost: Cost
    """Counts along d_m."""

    def line_near(self, budget: float) -> dict[float, IntArray]:
        """The line of a budget that was asked for only after the frame was made.

        Raises:
            TheoryError: there is none.
        """
        raise TheoryError(
            f"P = {budget:g} has no line; name it among the targets. Budgets: {', '.join(f'{b:g}' for b in self.lines)}"
        )


def make_frame(space: Space, targets: Sequence[float]) -> Frame:
    """Lay out configurations and budget lines.

    Raises:
        TargetError: a target lies outside of what the space can reach.
        GridError: nothing can be run.
    """
    (dimension,) = space.dimensions
    found: list[tuple[Point, Sizes]] = []
    for budget in space.budgets:
        for value in dimension.levels(LEVELS):
            point = space.point(budget, {dimension.name: value}, 0)
            sizes = space.measure(point._replace(seed=space.seeds[0]))
            if isinstance(sizes, Sizes):
                found.append((point, sizes))
    if len({sizes.d_m for _, sizes in found}) < 3:
        raise GridError(
            f"search: theory needs 3 or more values of {dimension.name} that fit the budgets, found {len(found)}"
        )
    cost = _cost([sizes for _, sizes in found])
    designs = [_design([(sizes, point.budget) for point, sizes in found])]
    lines: dict[float, IntArray] = {}
    count = len(found)
    for place in sorted({float(b) for b in space.budgets if b is not None} | set(targets)):
        line = _line(place, [sizes for _, sizes in found], cost, [float(b) for b in space.budgets if b is not None])
        if line is None:
            continue
        designs.append(line)
        lines[place] = np.arange(count, count + len(line))
        count += len(line)
    return Frame(
        points=tuple(point for point, _ in found),
        seconds=np.array([sizes.seconds for _, sizes in found]),
        places=_joined(designs),
        lines=lines,
        cost=cost,
    )


def _line(budget: float, sizes: Sequence[Sizes], cost: Cost, budgets: Sequence[float]) -> Design | None:
    nearest = min(budgets, key=lambda own: max(own / budget, budget / own))
    if max(nearest / budget, budget / nearest) > REACH * (1 + 1e-9):
        raise TargetError(
            f"target: P = {budget:g} is more than a factor of {REACH:g} from the nearest budget of the grid, "
            f"{nearest:g}; add a budget nearer to it"
        )
    d_m = [size.d_m for size in sizes if size.d_m is not None]
    low, high = min(d_m), max(d_m)
    room = budget - cost.readout_params
    if room <= cost.k_c + float(cost.complexity(low)):
        raise TargetError(
            f"target: P = {budget:g} does not cover the read-out ({cost.readout_params:g}) and one neuron"
        )
    least = min(size.n_rec for size in sizes)
    ladder = np.exp(np.linspace(np.log(low), np.log(high), 400))
    fits = ladder[cost.neurons(budget, ladder) >= least * (1 - 1e-9)]
    if len(fits) < 2:
        return None
    return budget_line(budget, cost, np.exp(np.linspace(np.log(fits[0]), np.log(fits[-1]), LINE)))


def _cost(sizes: Sequence[Sizes]) -> Cost:
    """Counts along d_m as the configurations realise them, interpolated in logarithms."""
    known = {float(size.d_m): size for size in sizes if size.d_m is not None}
    d_m = sorted(known)
    curve = PchipInterpolator(np.log(d_m), np.log([known[value].k_e for value in d_m]), extrapolate=True)
    one = sizes[0]
    readout = one.trainable_params - one.n_rec * (one.k_e + one.k_c)
    return Cost(k_e=lambda x: np.exp(curve(np.log(x))), k_c=one.k_c, readout_params=readout)


def _design(rows: Sequence[tuple[Sizes, int | None]]) -> Design:
    sizes = [size for size, _ in rows]
    return Design(
        n_rec=np.array([size.n_rec for size in sizes]),
        k_e=np.array([size.k_e for size in sizes]),
        k_c=np.array([size.k_c for size in sizes]),
        trainable_params=np.array([size.trainable_params for size in sizes]),
        budget=np.array([float(budget or 0) for _, budget in rows]),
        d_m=np.array([float(size.d_m or 0) for size in sizes]),
    )


def _joined(designs: Sequence[Design]) -> Design:
    def column(name: str) -> npt.NDArray[np.float64]:
        return np.concatenate([getattr(design, name) for design in designs])

    return Design(
        n_rec=column("n_rec"),
        k_e=column("k_e"),
        k_c=column("k_c"),
        trainable_params=column("trainable_params"),
        budget=column("budget"),
        d_m=column("d_m"),
    )


def _slope(budgets: Sequence[float], found: Sequence[Interval]) -> Interval:
    """d ln d_m / d ln P between two budgets, errors added in squares."""
    low, high = found
    reason = low.reason or high.reason
    if reason is None and budgets[0] == budgets[-1]:
        reason = "an exponent needs two budgets"
    if reason is not None:
        return Interval(float("nan"), float("nan"), float("nan"), reason)
    span = float(np.log(budgets[-1] / budgets[0]))
    slope = float(np.log(high.estimate / low.estimate)) / span
    half = float(np.hypot(*(np.log(one.high / one.low) / 2 for one in found))) / span
    return Interval(slope, slope - half, slope + half)


def make_theory_searcher(space: Space, settings: SearchSettings) -> TheorySearcher:
    """The searcher of a grid, checked.

    Raises:
        GridError: the space has other dimensions than d_m, or no budgets.
        TargetError: a target cannot be read or reached.
    """
    names = [dimension.name for dimension in space.dimensions]
    if names != ["d_m"] or None in space.budgets:
        found = ", ".join(names) or "nothing"
        without = " and has no budgets" if None in space.budgets else ""
        raise GridError(
            f"search: theory chooses d_m along `budgets`, n_rec being solved; this grid varies {found}{without}. "
            "Give every other setting one value (a learning rate may be a rule), or use search kind optuna"
        )
    searcher = TheorySearcher(
        space=space,
        targets=tuple(read_target(text) for text in settings.target),
        seed=settings.seed,
        cost_power=settings.cost_power,
    )
    assert searcher._frame.points, "a frame without points is refused when it is made"
    return searcher
