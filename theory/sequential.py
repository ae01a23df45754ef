"""Sequential design: a belief about the metric along budget lines, and the runs that make its optimum most certain.

The belief is the fitted law plus a smooth discrepancy (a Gaussian process; Kennedy and O'Hagan 2001), linearised in the
law's parameters. The discrepancy's amplitude is estimated with the noise by maximum likelihood: where the law's form is
right it vanishes and every run teaches about all budgets; where it is wrong it takes over, runs teach about their
neighbourhood only, and the design spreads out. So distrust of the law costs no separate rule, and it is announced.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from theory.base import Law
from theory.channel import FloatArray
from theory.data import Design
from theory.design import row_gradients
from theory.errors import TheoryError
from theory.fit import fit_law
from theory.laws import get_law
from theory.restore import as_draws, restore
from theory.result import FitResult

IntArray = npt.NDArray[np.int64]

AMPLITUDES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Discrepancy standard deviations that are tried, in units of the residual noise."""

LENGTHS = (0.7, 1.4)
"""Length scales of the discrepancy that are tried, in ln k_e; along ln budget twice as long (assumption: optima of
neighbouring budgets resemble each other)."""

NOISES = (0.5, 0.7, 1.0, 1.4)
"""Noise levels that are tried, in units of the residual standard deviation of the law."""

DISTRUST = 4.0
"""Gain in log-likelihood from which the discrepancy is called significant (chi-squared, 2 degrees: 2 %)."""

PLAUSIBLE = 10.0
"""Laws within this many AICc units of the best are not ruled out (Burnham and Anderson 2002, section 2.6)."""

STARTS = 8
"""Searches per fit: the previous batch's fit was checked with more, and a miss here costs runs, not conclusions."""

DRAWS = 96
"""Draws of each budget line that say where its optimum may lie."""

SPREAD_EVERY = 4
"""Every fourth pick is the place that is known worst instead of the one that teaches most about the optimum."""

INTERVAL_DRAWS = 2000
"""Draws behind an interval."""

JITTER = 1e-12
"""Added to the diagonal of a covariance, in units of its mean."""

COEFFICIENT_RANGE = 10.0
"""Prior standard deviation of a linear coefficient in units of the metric's range: a trace, so that matrices invert."""


class Hyper(NamedTuple):
    """What the runs say about noise and misfit."""

    noise: float
    """Standard deviation of a run."""
    amplitude: float
    """Standard deviation of the discrepancy; 0 where the law needs none."""
    length: float
    """Its length scale in ln k_e."""
    gain: float
    """Log-likelihood gained over the law alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Belief:
    """Joint normal belief about the mean metric at some places."""

    places: Design
    """[places]"""
    mean: FloatArray
    """[places], as a loss."""
    covariance: FloatArray
    """[places, places]"""
    loading: FloatArray
    """Covariance of the law's searched parameters (search coordinates) with the places, [parameters, places]."""
    spread: FloatArray
    """Variance of each searched parameter (search coordinates), [parameters]."""
    hyper: Hyper
    """Noise and discrepancy."""
    fit: FitResult
    """The law underneath."""
    plausible: tuple[FitResult, ...] = ()
    """Other laws that the runs do not rule out: their optima widen an interval."""

    @property
    def trusted(self) -> bool:
        """Whether the law needs no discrepancy."""
        return self.hyper.amplitude == 0 or self.hyper.gain < DISTRUST


def believe(design: Design, loss: npt.ArrayLike, places: Design, *, seed: int = 0) -> Belief:
    """Condition law and discrepancy on runs.

    Args:
        design: Runs so far.
        loss: Their metric, smaller is better, [runs].
        places: Where the belief is wanted.
        seed: Of the searches.

    Raises:
        TheoryError: no law can be fitted to so few runs.
    """
    observed = np.asarray(loss, dtype=np.float64)
    fit, *others = best_fits(design, observed, seed=seed)
    here = as_draws(fit, restore(fit))
    seen, wanted = row_gradients(here, design, None), row_gradients(here, places, None)
    residual = observed - here.predict(design)[0]
    prior = _prior_variance(fit, seen, float(np.ptp(observed)))
    base = (seen * prior) @ seen.T
    at, to = _coordinates(design), _coordinates(places)
    hyper = _estimate(base, at, residual, fit)
    shared = (wanted * prior) @ seen.T + _kernel(to, at, hyper)
    own = (wanted * prior) @ wanted.T + _kernel(to, to, hyper)
    factor = cho_factor(_steady(base + _kernel(at, at, hyper) + hyper.noise**2 * np.eye(len(design))))
    mean = here.predict(places)[0] + shared @ cho_solve(factor, residual)
    covariance = own - shared @ cho_solve(factor, shared.T)
    count = len(fit.free)
    lean = seen[:, :count]
    loading = prior[:count, None] * (wanted[:, :count].T - seen[:, :count].T @ cho_solve(factor, shared.T))
    return Belief(
        places=places,
        mean=mean,
        covariance=(covariance + covariance.T) / 2,
        loading=loading,
        spread=prior[:count] - prior[:count] ** 2 * np.sum(lean * cho_solve(factor, lean), axis=0),
        hyper=hyper,
        fit=fit,
        plausible=tuple(others),
    )


def best_fits(design: Design, loss: FloatArray, *, seed: int = 0) -> list[FitResult]:
    """Fit the laws that this many runs can support; smallest AICc first, without those that the runs rule out.

    Raises:
        TheoryError: none can be fitted.
    """
    fits, refused = [], []
    for law in _laws(design):
        try:
            fits.append(fit_law(law, design, loss, starts=STARTS, seed=seed, spare=3))
        except (TheoryError, np.linalg.LinAlgError) as error:  # a search may step onto a singular matrix
            refused.append(f"{error}")
    known = [fit for fit in fits if fit.usable and fit.aicc is not None]
    if not known:
        raise TheoryError(f"no law can be fitted to {len(design)} runs: {'; '.join(refused) or 'none is usable'}")
    known.sort(key=_score)
    return [fit for fit in known if _score(fit) <= _score(known[0]) + PLAUSIBLE]


def _score(fit: FitResult) -> float:
    return np.inf if fit.aicc is None else fit.aicc


def _laws(design: Design) -> list[str | Law]:
    laws: list[str | Law] = ["separable_power_law", get_law("effective_information", floor="additive")]
    if np.unique(design.budgets).size >= 3:
        laws.append(get_law("effective_information", floor="additive", link="boxcox"))
        laws.append(get_law("effective_information", floor="max"))
    return laws


def _prior_variance(fit: FitResult, gradients: FloatArray, span: float) -> FloatArray:
    """Variances of searched parameters (half their starting range) and of coefficients."""
    described = {parameter.name: parameter for parameter in fit.law.parameters}
    ranges = [described[label.split("[")[0]].start_range for label in fit.free]
    width = np.array([max(high - low, 1e-6) / 2 for low, high in ranges])
    size = np.sqrt(np.mean(gradients[:, len(width) :] ** 2, axis=0))
    return np.concatenate([width**2, (COEFFICIENT_RANGE * span / np.maximum(size, 1e-300)) ** 2])


def _coordinates(design: Design) -> FloatArray:
    """Where a run lies for the discrepancy: ln k_e, and half of ln budget, [rows, 2]."""
    return np.stack([np.log(design.k_e), np.log(design.params) / 2], axis=1)


def _kernel(one: FloatArray, other: FloatArray, hyper: Hyper) -> FloatArray:
    if hyper.amplitude == 0:
        return np.zeros((len(one), len(other)))
    distance = ((one[:, None] - other[None]) ** 2).sum(axis=2)
    return np.asarray(hyper.amplitude**2 * np.exp(-distance / (2 * hyper.length**2)))


def _estimate(base: FloatArray, at: FloatArray, residual: FloatArray, fit: FitResult) -> Hyper:
    """Maximise the likelihood over noise and discrepancy on a grid; the smallest amplitude of equals."""
    scale = max(fit.noise_sd, 1e-9 * float(np.abs(fit.given.metric).max()))
    one = Hyper(noise=1.0, amplitude=1.0, length=1.0, gain=0.0)
    shapes = {length: _kernel(at, at, one._replace(length=length)) for length in LENGTHS}
    alone, best = -np.inf, (-np.inf, one)
    for amplitude in AMPLITUDES:
        for length in LENGTHS if amplitude else LENGTHS[:1]:
            for noise in NOISES:
                tried = Hyper(noise * scale, amplitude * scale, length, 0.0)
                matrix = base + tried.amplitude**2 * shapes[length] + tried.noise**2 * np.eye(len(at))
                score = _log_likelihood(matrix, residual)
                if score > best[0] + 1e-9:
                    best = (score, tried)
        if amplitude == 0:
            alone = best[0]
    return best[1]._replace(gain=best[0] - alone)


def _steady(matrix: FloatArray) -> FloatArray:
    """Keep a covariance positive definite in floating point, also where runs have no noise at all."""
    return matrix + JITTER * float(np.mean(np.diag(matrix))) * np.eye(len(matrix))


def _log_likelihood(matrix: FloatArray, residual: FloatArray) -> float:
    factor, lower = cho_factor(_steady(matrix))
    return float(-0.5 * residual @ cho_solve((factor, lower), residual) - np.log(np.diag(factor)).sum())


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
    taken: IntArray | None = None,
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
        taken: Places among the candidates that were run.
        seats: Runs that each candidate can still take (seeds that are left); None: any number.
        spend: Sum of prices that may be spent.
        seed: Of the draws.
        cost_power: Gains are divided by price to this power.
    """
    rng = np.random.default_rng(seed)
    covariance, loading, spread = belief.covariance.copy(), belief.loading.copy(), belief.spread.copy()
    free = np.full(len(candidates), n) if seats is None else np.array(seats, dtype=np.int64)
    measured = set() if taken is None else set(taken.tolist())
    worth, noise = price**cost_power, belief.hyper.noise**2
    picks: list[Chosen] = []
    others = 0
    while len(picks) < n:
        payable = (free > 0) & (price <= spend)
        if not payable.any():
            break
        variance = np.maximum(np.diag(covariance)[candidates], 0) + noise
        lines = [_line_state(belief.mean[line], covariance[np.ix_(line, line)], rng) for line in goal.lines]
        gap = _unconfirmed(belief, candidates, measured)
        if lines and gap.max() > max(state.regret for state in lines):
            reason, gain = "confirm", worth * gap
        elif others % SPREAD_EVERY == SPREAD_EVERY - 1:
            reason, gain = "spread", np.log(variance / noise)
        else:
            reason, gain = "target", _target_gain(belief, lines, covariance, loading, goal, candidates) / variance
        others += reason != "confirm"
        best = int(np.argmax(np.where(payable, gain / worth, -np.inf)))
        chosen = int(candidates[best])
        spread = spread - loading[:, chosen] ** 2 / variance[best]
        loading = loading - np.outer(loading[:, chosen], covariance[chosen]) / variance[best]
        covariance = covariance - np.outer(covariance[:, chosen], covariance[chosen]) / variance[best]
        free[best] -= 1
        spend -= float(price[best])
        measured.add(chosen)
        picks.append(Chosen(chosen, reason))
    return Batch(picks=tuple(picks), after=replace(belief, covariance=covariance, loading=loading, spread=spread))


def _unconfirmed(belief: Belief, candidates: IntArray, measured: set[int]) -> FloatArray:
    """How much better each candidate is believed to be than everything that was run at its budget."""
    mean, budgets = belief.mean[candidates], belief.places.budgets[candidates]
    run = np.array([int(place) in measured for place in candidates])
    gap = np.zeros(len(candidates))
    for budget in np.unique(budgets):
        own = budgets == budget
        known = mean[own & run].min() if (own & run).any() else mean[own].max()
        gap[own] = np.maximum(known - mean[own], 0)
    return gap


class _LineState(NamedTuple):
    """What is believed about the optimum of one line."""

    chance: FloatArray
    """Of each place to be the optimum."""
    regret: float
    """Expected loss of the predicted optimum over the true one."""


def _line_state(mean: FloatArray, covariance: FloatArray, rng: np.random.Generator) -> _LineState:
    drawn = _draws_of(mean, covariance, rng, DRAWS)
    best = np.argmin(drawn, axis=1)
    chance = np.bincount(best, minlength=len(mean)) / DRAWS
    return _LineState(chance, float(np.mean(drawn[:, int(np.argmin(mean))] - drawn.min(axis=1))))


def _target_gain(
    belief: Belief,
    lines: list[_LineState],
    covariance: FloatArray,
    loading: FloatArray,
    goal: Goal,
    candidates: IntArray,
) -> FloatArray:
    total = np.zeros(len(candidates))
    for line, state in zip(goal.lines, lines, strict=True):
        moved = covariance[np.ix_(line, candidates)]
        total += state.chance @ (moved - moved[int(np.argmin(belief.mean[line]))]) ** 2
    if goal.places is not None:
        total += (covariance[np.ix_(goal.places, candidates)] ** 2).sum(axis=0)
    for name in goal.parameters:
        total += loading[belief.fit.free.index(name), candidates] ** 2
    return total


def _draws_of(mean: FloatArray, covariance: FloatArray, rng: np.random.Generator, count: int) -> FloatArray:
    """Draws of the belief along a line, [count, places]."""
    value, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(value, 0))
    return np.asarray(mean + rng.standard_normal((count, len(mean))) @ root.T)


class Located(NamedTuple):
    """Where a line's optimum is believed to lie."""

    d_m: float
    """Best estimate."""
    low: float
    """2.5 % quantile."""
    high: float
    """97.5 % quantile."""
    bracketed: bool
    """Whether estimate and interval lie inside the line."""

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval, relative to the estimate."""
        return (self.high - self.low) / 2 / self.d_m


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
    here = float(_vertex(ladder, belief.mean[line][None])[0])
    inside = ladder[0] < min(low, here) and max(high, here) < ladder[-1]
    return Located(float(np.exp(here)), float(np.exp(low)), float(np.exp(high)), bool(inside))


def _vertex(ladder: FloatArray, losses: FloatArray) -> FloatArray:
    """Place of each row's minimum on an even ladder, by the parabola through the least value and its neighbours."""
    best, rows = np.argmin(losses, axis=1), np.arange(len(losses))
    inner = np.clip(best, 1, len(ladder) - 2)
    before, here, after = (losses[rows, inner + side] for side in (-1, 0, 1))
    curvature = np.maximum(before - 2 * here + after, 1e-300)
    offset = np.clip((before - after) / (2 * curvature), -0.5, 0.5)
    found = ladder[inner] + offset * (ladder[1] - ladder[0])
    return np.asarray(np.where(best == inner, found, ladder[best]))


def parameter_interval(belief: Belief, name: str) -> tuple[float, float, float]:
    """Value and 95 % interval of a searched parameter.

    Raises:
        TheoryError: the law has no such parameter.
    """
    if name not in belief.fit.free:
        raise TheoryError(f"the law that fits best, {belief.fit.law.label}, has no {name}")
    place = belief.fit.free.index(name)
    described = {item.name: item for item in belief.fit.law.parameters}[name.split("[")[0]]
    here, half = described.to_search(belief.fit.values[name]), 1.96 * float(np.sqrt(max(0.0, belief.spread[place])))
    ends = described.to_natural(np.array([here - half, here + half]))
    return belief.fit.values[name], float(ends[0]), float(ends[1])


def space_filling(candidates: Design, taken: Design | None, n: int) -> IntArray:
    """Candidates far from each other and from what was run, in ln budget and ln k_e: what needs no law.

    The first is the middle of the range; ties go to the smaller budget.

    Args:
        candidates: What can be run.
        taken: What was run.
        n: How many, at most as many as there are candidates.
    """
    places = _unit(candidates, candidates)
    seen = np.empty((0, 2)) if taken is None else _unit(taken, candidates)
    order = np.argsort(candidates.budgets, kind="stable")
    picks: list[int] = []
    for _ in range(min(n, len(candidates))):
        if not len(seen):
            distance = -((places - 0.5) ** 2).sum(axis=1)
        else:
            distance = ((places[:, None] - seen[None]) ** 2).sum(axis=2).min(axis=1)
        distance[picks] = -np.inf
        best = int(order[np.argmax(np.round(distance[order], 12))])
        picks.append(best)
        seen = np.concatenate([seen, places[best : best + 1]])
    return np.array(picks, dtype=np.int64)


def _unit(design: Design, frame: Design) -> FloatArray:
    """ln budget and ln k_e of a design, the frame's range mapped to 0..1."""
    columns = []
    for values, ends in ((design.budgets, frame.budgets), (design.k_e, frame.k_e)):
        low, high = np.log(ends.min()), np.log(ends.max())
        columns.append((np.log(values) - low) / (high - low) if high > low else np.full(len(values), 0.5))
    return np.stack(columns, axis=1)
