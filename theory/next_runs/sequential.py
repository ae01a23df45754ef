"""Sequential design: the runs that make what is asked for most certain, given a belief; and what a belief says.

Where the law's form is right, the belief (`theory.next_runs.belief`) lets every run teach about all budgets; where it
is wrong, runs teach about their neighbourhood only, and the design spreads out by itself.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.data.design import Design
from theory.errors import TheoryError
from theory.next_runs.belief import Belief
from theory.types import FloatArray

IntArray = npt.NDArray[np.int64]

DRAWS = 96
"""Draws of each budget line that say where its optimum may lie."""

SPREAD_EVERY = 4
"""Every fourth pick is the place that is known worst instead of the one that teaches most about the optimum."""

INTERVAL_DRAWS = 2000
"""Draws behind an interval."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Goal:
    """What the runs are for."""

    lines: tuple[IntArray, ...] = ()
    """Places of each budget line whose optimum is asked for."""
    places: IntArray | None = None
    """Places whose mean is asked for, such as the frontier at a budget that was never run."""
    parameters: tuple[str, ...] = ()
    """Searched parameters of the law that are asked for."""


class Chosen(NamedTuple):
    """One run to do."""

    place: int
    """Row of the belief's places."""
    reason: str
    """target, confirm or spread."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Runs to do, in order."""

    picks: tuple[Chosen, ...]
    """The same place may be picked again: another seed."""
    after: Belief
    """What will be believed afterwards if the belief is right: the same means, a smaller covariance."""


def choose(
    belief: Belief,
    goal: Goal,
    candidates: IntArray,
    price: FloatArray,
    n: int,
    *,
    already_run: IntArray | None = None,
    seats: npt.ArrayLike | None = None,
    spend: float = np.inf,
    seed: int = 0,
    cost_power: float = 0.5,
) -> Batch:
    """Pick runs one after the other, each for what it adds to those before it.

    A pick's worth is the fall of sum_x p(x) Var[f(x) - f(best)] over the places x of each line, p(x) being the chance
    that x is the line's optimum: the variance that regret comes from. A predicted optimum that was not run yet is
    run as soon as not having it costs more than not knowing better where it is, for what is not measured is not found.
    Every fourth of the other picks is the place that is known worst.

    Args:
        belief: About all places.
        goal: What is asked for.
        candidates: Places that can be run.
        price: Cost of each candidate, any unit.
        n: Number of runs.
        already_run: Places among the candidates that were run.
        seats: Runs that each candidate can still take (seeds that are left); None: any number.
        spend: Sum of prices that may be spent.
        seed: Of the draws.
        cost_power: Gains are divided by price to this power.
    """
    rng = np.random.default_rng(seed)
    # Every pick is foreseen before the next one is chosen; otherwise a batch would be the same run many times.
    after = belief
    free = np.full(len(candidates), n) if seats is None else np.array(seats, dtype=np.int64)
    measured = set() if already_run is None else set(already_run.tolist())
    worth, noise = price**cost_power, belief.hyper.noise**2
    picks: list[Chosen] = []
    others = 0
    while len(picks) < n:
        payable = (free > 0) & (price <= spend)
        if not payable.any():
            break
        # What a run shows is the mean and its noise; rounding can leave a variance that is known exactly slightly below
        # 0.
        variance = np.maximum(np.diag(after.covariance)[candidates], 0) + noise
        lines = [_line_state(belief.mean[line], after.covariance[np.ix_(line, line)], rng) for line in goal.lines]
        # Means do not change within a batch (no result is in yet), so the original belief serves; only `measured`
        # grows.
        gap = _unconfirmed(belief, candidates, measured)
        if lines and gap.max() > max(state.regret for state in lines):
            # Times its worth, which the choice below divides by: a confirmation goes to the best candidate, not to a
            # cheap one.
            reason, gain = "confirm", worth * gap
        elif others % SPREAD_EVERY == SPREAD_EVERY - 1:
            # Twice the information that a run at the place gives about its mean.
            reason, gain = "spread", np.log(variance / noise)
        else:
            reason, gain = "target", _target_gain(after, lines, goal, candidates) / variance
        others += reason != "confirm"
        best = int(np.argmax(np.where(payable, gain / worth, -np.inf)))
        place = int(candidates[best])
        after = foresee(after, place)
        free[best] -= 1
        spend -= float(price[best])
        measured.add(place)
        picks.append(Chosen(place, reason))
    return Batch(picks=tuple(picks), after=after)


def foresee(belief: Belief, place: int) -> Belief:
    """Return what will be believed after a run if the belief is right: the same means, a smaller covariance.

    Args:
        belief: Before the run.
        place: Row of its places.
    """
    covariance, loading = belief.covariance, belief.loading
    # Rounding can leave the variance of a place that is known exactly slightly below 0.
    variance = max(float(covariance[place, place]), 0.0) + belief.hyper.noise**2
    return replace(
        belief,
        # The update of a normal belief by one run, of rank one; it does not depend on the run's result.
        covariance=covariance - np.outer(covariance[:, place], covariance[place]) / variance,
        loading=loading - np.outer(loading[:, place], covariance[place]) / variance,
        spread=belief.spread - loading[:, place] ** 2 / variance,
    )


def _unconfirmed(belief: Belief, candidates: IntArray, measured: set[int]) -> FloatArray:
    """How much better each candidate is believed to be than everything that was run at its budget."""
    mean, budgets = belief.mean[candidates], belief.places.budgets[candidates]
    run = np.array([int(place) in measured for place in candidates])
    gap = np.zeros(len(candidates))
    for budget in np.unique(budgets):
        at_budget = budgets == budget
        # At a budget without runs everything beats its worst candidate, so the best one there is worth a first run.
        best_run = mean[at_budget & run].min() if (at_budget & run).any() else mean[at_budget].max()
        gap[at_budget] = np.maximum(best_run - mean[at_budget], 0)
    return gap


class _LineState(NamedTuple):
    """What is believed about the optimum of one line."""

    chance: FloatArray
    """Chance of each place to be the optimum."""
    regret: float
    """Expected loss of the predicted optimum over the true one."""


def _line_state(mean: FloatArray, covariance: FloatArray, rng: np.random.Generator) -> _LineState:
    drawn = _draws_of(mean, covariance, rng, DRAWS)
    best = np.argmin(drawn, axis=1)
    # Counted over draws, since the place of a minimum of a normal field has no chance in closed form.
    chance = np.bincount(best, minlength=len(mean)) / DRAWS
    return _LineState(chance, float(np.mean(drawn[:, int(np.argmin(mean))] - drawn.min(axis=1))))


def _target_gain(belief: Belief, lines: list[_LineState], goal: Goal, candidates: IntArray) -> FloatArray:
    covariance, loading = belief.covariance, belief.loading
    total = np.zeros(len(candidates))
    for line, state in zip(goal.lines, lines, strict=True):
        # A run at candidate c lowers Var[f(x) - f(best)] by the square of Cov(x, c) - Cov(best, c), over the variance
        # of the run, by which the caller divides.
        moved = covariance[np.ix_(line, candidates)]
        total += state.chance @ (moved - moved[int(np.argmin(belief.mean[line]))]) ** 2
    if goal.places is not None:
        total += (covariance[np.ix_(goal.places, candidates)] ** 2).sum(axis=0)
    for name in goal.parameters:
        total += loading[belief.fit.free.index(name), candidates] ** 2
    return total


def _draws_of(mean: FloatArray, covariance: FloatArray, rng: np.random.Generator, count: int) -> FloatArray:
    """Draws of the belief along a line, [count, places]."""
    # No Cholesky factor: along a smooth line a covariance is singular to rounding, which an eigenvalue cut at 0
    # survives.
    value, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(value, 0))
    return np.asarray(mean + rng.standard_normal((count, len(mean))) @ root.T)


class Located(NamedTuple):
    """Where a line's optimum is believed to lie."""

    d_m: float
    """Best estimate of the optimal d_m."""
    low: float
    """Lower end of the interval: the 2.5 % quantile."""
    high: float
    """Upper end of the interval: the 97.5 % quantile."""
    bracketed: bool
    """Whether the estimate lies inside the line."""
    open_ended: bool
    """Whether the interval reaches an end of the line, beyond which it may go on."""

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval, relative to the estimate."""
        return (self.high - self.low) / 2 / self.d_m

    @property
    def relative_sd(self) -> float:
        """Standard deviation of ln d_m that an interval of this width would have if it were normal."""
        return float(np.log(self.high / self.low) / 2 / 1.96)


def locate_optimum(belief: Belief, line: IntArray, *, seed: int = 0) -> Located:
    """The optimal d_m of a line whose places are evenly spaced in ln d_m, with a 95 % interval from draws.

    The interval is widened to the optima of all laws that the runs do not rule out: the spread between laws is often
    wider than each one's interval.
    """
    d_m = belief.places.d_m
    if d_m is None:
        raise TheoryError("places: the line has no d_m, so its optimum has no place")
    drawn = _draws_of(
        belief.mean[line], belief.covariance[np.ix_(line, line)], np.random.default_rng(seed), INTERVAL_DRAWS
    )
    ladder = np.log(d_m[line])
    low, high = np.quantile(_vertex(ladder, drawn), [0.025, 0.975])
    others = [float(_vertex(ladder, fit.predict(belief.places.take(line))[None])[0]) for fit in belief.plausible]
    low, high = min([low, *others]), max([high, *others])
    estimate = float(_vertex(ladder, belief.mean[line][None])[0])
    return Located(
        float(np.exp(estimate)),
        float(np.exp(low)),
        float(np.exp(high)),
        bracketed=bool(ladder[0] < estimate < ladder[-1]),
        open_ended=bool(low <= ladder[0] or high >= ladder[-1]),
    )


def _vertex(ladder: FloatArray, losses: FloatArray) -> FloatArray:
    """Place of each row's minimum on an even ladder, by the parabola through the least value and its neighbours."""
    best, rows = np.argmin(losses, axis=1), np.arange(len(losses))
    # A minimum at an end has no neighbour beyond, so it stays at its place (the last line).
    inner = np.clip(best, 1, len(ladder) - 2)
    before, middle, after = (losses[rows, inner + side] for side in (-1, 0, 1))
    # Three equal values have no curvature: the tiny number keeps 0 / 0 away and the offset is then 0.
    curvature = np.maximum(before - 2 * middle + after, 1e-300)
    offset = np.clip((before - after) / (2 * curvature), -0.5, 0.5)
    vertex = ladder[inner] + offset * (ladder[1] - ladder[0])
    return np.asarray(np.where(best == inner, vertex, ladder[best]))


def parameter_interval(belief: Belief, name: str) -> tuple[float, float, float]:
    """Value and 95 % interval of a searched parameter.

    Raises:
        TheoryError: the law has no such parameter.
    """
    if name not in belief.fit.free:
        raise TheoryError(f"the law that fits best, {belief.fit.law.label}, has no {name}")
    place = belief.fit.free.index(name)
    described = belief.fit.searched[name].parameter
    value, half = described.to_search(belief.fit.values[name]), 1.96 * float(np.sqrt(max(0.0, belief.spread[place])))
    ends = described.to_natural(np.array([value - half, value + half]))
    return belief.fit.values[name], float(ends[0]), float(ends[1])


def space_filling(candidates: Design, already_run: Design | None, n: int) -> IntArray:
    """Candidates far from each other and from what was run, in ln budget and ln k_e: what needs no law.

    The first is the middle of the range; ties go to the smaller budget.

    Args:
        candidates: What can be run.
        already_run: What was run.
        n: How many, at most as many as there are candidates.
    """
    # Distances are compared in shares of each axis's range, so that neither axis decides by its unit.
    places = _unit(candidates, candidates)
    occupied = np.empty((0, 2)) if already_run is None else _unit(already_run, candidates)
    order = np.argsort(candidates.budgets, kind="stable")
    picks: list[int] = []
    for _ in range(min(n, len(candidates))):
        if not len(occupied):
            distance = -((places - 0.5) ** 2).sum(axis=1)
        else:
            distance = ((places[:, None] - occupied[None]) ** 2).sum(axis=2).min(axis=1)
        # Duplicates of a pick are at distance 0, and so is the pick itself: only this keeps it from being chosen again.
        distance[picks] = -np.inf
        # Rounded, so that places that are equally far in exact arithmetic are ties, which the order by budget then
        # breaks.
        best = int(order[np.argmax(np.round(distance[order], 12))])
        picks.append(best)
        occupied = np.concatenate([occupied, places[best : best + 1]])
    return np.array(picks, dtype=np.int64)


def _unit(design: Design, frame: Design) -> FloatArray:
    """ln budget and ln k_e of a design, the frame's range mapped to 0..1."""
    columns = []
    for values, ends in ((design.budgets, frame.budgets), (design.k_e, frame.k_e)):
        low, high = np.log(ends.min()), np.log(ends.max())
        columns.append((np.log(values) - low) / (high - low) if high > low else np.full(len(values), 0.5))
    return np.stack(columns, axis=1)
