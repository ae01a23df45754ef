"""The search of one fit: seeded starts, least squares or a robust loss, priors, and the polish at the end."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.data.design import IntArray
from theory.errors import TheoryError
from theory.fit.compile import Compiled
from theory.fit.problem import Problem
from theory.fit.result import FitInput, Starts
from theory.fit.robust import HUBER, SETTLED, limits, objective, replicate_scale, reweight
from theory.fit.solver import NON_FINITE, Polished, Solution, polish, solve
from theory.types import FloatArray

SCAN = 48
"""Values of a kinked parameter (k_floor of the max floor) that are each searched on their own first: it has a local
minimum per interval of data."""

AGREE = 1e-6
"""Relative difference of sums of squares below which two searches found the same optimum."""

NOISE_FREE = 1e-12
"""Share of the metric's sum of squares below which residuals are rounding."""

MANY_ROWS = 4000
"""Beyond this many configurations the starts run on a seeded subsample; the best ends are then searched on all rows."""

SUBSAMPLE = 1000


FIRST_STEPS, FIRST_TOLERANCE = 50, 1e-4
"""The first part of every search: enough to tell the starts that lead to the optimum from those that do not."""

WITHIN = 1.1
"""Searches go on after the first part where their sum of squares is within this factor of the smallest (assumption):
a kink keeps searches that end elsewhere busy for longer than all others together."""

ROBUST_ENDS = 12
"""Different least-squares optima from which the reweighting starts."""

PRIOR_ROUNDS = 30
"""Most updates of the noise that a prior is weighed against."""


class Found(NamedTuple):
    """The outcome of the searches."""

    best: Polished
    starts: Starts
    non_finite: int
    problem: Problem
    """The problem as polished: with the penalties of priors and the weights of a robust loss."""
    rss: float
    """Sum of squares of the data alone in the problem's units, merged replicates included, without robust weights."""
    robust_weights: FloatArray | None = None
    robust_scale: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class PriorPenalty:
    """Normal priors as residuals (x - mean) / sd, in units of the noise."""

    columns: IntArray
    """Searched parameters that have a prior."""
    mean: FloatArray
    """Their centres in search coordinates."""
    sd: FloatArray
    """Their standard deviations divided by the noise."""

    def __call__(self, x: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return values [A, k] and Jacobian [A, p, k]."""
        # A normal prior adds a squared residual to minus twice the log-likelihood, once the data's residuals are in
        # units of their noise; dividing sd by the noise brings both to the problem's units.
        values = (x[:, self.columns] - self.mean) / self.sd
        slopes = np.zeros((len(x), x.shape[1], self.columns.size))
        slopes[:, self.columns, np.arange(self.columns.size)] = 1 / self.sd
        return values, slopes


def search(compiled: Compiled, inputs: FitInput) -> Found:
    """Run all starts, polish the best, and count how many agree with it."""
    problem = compiled.problem
    ends, full = _multi_start(problem, inputs)
    if inputs.loss != "least_squares":
        return _robust(compiled, inputs, ends)
    # Stable, so that equal costs keep the order of the starts on every machine.
    order = np.argsort(ends.cost, kind="stable")
    best = polish(problem, ends.x[order[0]])
    # A subsample's costs can only be compared with each other, not with the polished cost of all rows.
    starts = _agreement(ends.cost, best.cost if full else float(ends.cost[order[0]]), problem)
    if inputs.priors:
        # A prior may favour another optimum than the data alone, so some runners-up are searched again with it.
        problem, best = _with_priors(compiled, inputs, ends.x[order[: min(4, order.size)]], best)
    rss = data_cost(problem, best.x) + compiled.within
    return Found(best, starts, _dropped(ends), problem, rss)


def data_cost(problem: Problem, x: FloatArray) -> float:
    """Sum of squares without penalties."""
    # Penalties stand behind the rows.
    residual = problem.evaluate(x[None], jacobian=False).residual[0, : len(problem.design)]
    return float(residual @ residual)


def prior_penalty(problem: Problem, inputs: FitInput, noise: float) -> PriorPenalty:
    """Build the penalty of the given priors against a noise standard deviation in the problem's units."""
    chosen = [(j, free.parameter) for j, free in enumerate(problem.free) if free.parameter.name in inputs.priors]
    priors = [inputs.priors[parameter.name] for _, parameter in chosen]
    return PriorPenalty(
        columns=np.array([j for j, _ in chosen], dtype=np.int64),
        mean=np.array([parameter.to_search(prior.mean) for (_, parameter), prior in zip(chosen, priors, strict=True)]),
        sd=np.array([prior.sd for prior in priors]) / noise,
    )


def _multi_start(problem: Problem, inputs: FitInput) -> tuple[Solution, bool]:
    """Search from every start; on many rows, on a subsample (second value False)."""
    # Laws of sizes have several optima, and nothing tells from a start which one it leads to.
    begin = start_points(problem, inputs)
    sample = _subsample(problem, inputs.seed)
    # Where the optima lie shows on a subsample too; the polish then runs on all rows.
    small = problem if sample is None else _rows(problem, sample)
    scan = scan_index(problem)
    if scan is not None:
        # All else first settles with the kinked parameter held, so that each scanned value is judged at its best before
        # it moves; a loose tolerance does, for the searches go on from there.
        begin = solve(small, begin, steps=30, tolerance=1e-3, frozen=scan).x
    ends = solve(small, begin, steps=FIRST_STEPS, tolerance=FIRST_TOLERANCE)
    if not np.isfinite(ends.cost).any():
        raise TheoryError(
            f"{problem.law.label}: not finite at any of {len(begin)} starts; check the sizes and the parameter bounds"
        )
    # Costs at the level of rounding differ by any factor, so searches of noise-free data are judged by an absolute one.
    limit = WITHIN * float(ends.cost.min()) + NOISE_FREE * _total(small)
    live = np.flatnonzero(ends.cost <= limit)
    for part, last in zip(ends, solve(small, ends.x[live]), strict=True):
        part[live] = last
    return ends, sample is None


def _total(problem: Problem) -> float:
    """Sum of squares of the metric, which is in units of its spread."""
    return float(np.sum(problem.weights * problem.metric**2))


def _dropped(ends: Solution) -> int:
    return int(np.count_nonzero(ends.code == NON_FINITE))


def _agreement(cost: FloatArray, reference: float, problem: Problem, tolerance: float = AGREE) -> Starts:
    # Costs at the level of rounding differ by any ratio, so optima of noise-free data agree on an absolute scale.
    noise_free = NOISE_FREE * _total(problem)
    limit = reference * (1 + tolerance) + noise_free
    others = cost[np.isfinite(cost) & (cost > limit)]
    gap = float((others.min() - reference) / reference) if others.size and reference > noise_free else None
    return Starts(total=cost.size, agreeing=max(1, int(np.count_nonzero(cost <= limit))), runner_up=gap)


def _with_priors(compiled: Compiled, inputs: FitInput, x: FloatArray, best: Polished) -> tuple[Problem, Polished]:
    """Refit with priors: the noise that they are weighed against follows from the residuals, so repeat until it
    settles."""
    problem, last = compiled.problem, 0.0
    for _ in range(PRIOR_ROUNDS):
        # Without the penalty: the distance from the prior is no noise of the data.
        # The noise includes the spread that was merged away, because it is that of single runs.
        noise = np.sqrt((data_cost(problem, best.x) + compiled.within) / (compiled.n - compiled.p))
        if abs(noise - last) <= SETTLED * noise:  # `restore` weighs the prior against the noise of the end
            break
        last = noise
        problem = replace(problem, penalties=(prior_penalty(problem, inputs, float(noise)),))
        ends = solve(problem, np.concatenate([x, best.x[None]]))
        best = polish(problem, ends.x[int(np.argmin(ends.cost))])
    return problem, best


def _robust(compiled: Compiled, inputs: FitInput, ends: Solution) -> Found:
    """Reweight from the different least-squares optima and keep the smallest robust objective."""
    problem = compiled.problem
    if inputs.priors:
        raise TheoryError(f"priors: not available with loss {inputs.loss!r}; use least_squares")
    order = np.argsort(ends.cost, kind="stable")
    # Many searches end in the same optimum, which needs reweighting once. Costs are sorted, so a jump above the one
    # before is a new optimum; the difference of two infinite costs is nan and counts as none.
    fresh = np.append(True, np.diff(ends.cost[order]) > 1e-4 * ends.cost[order][:-1]) & np.isfinite(ends.cost[order])
    x = ends.x[order[fresh][:ROBUST_ENDS]]
    threshold = huber_threshold(compiled, inputs)
    reweighted = reweight(problem, x, inputs.loss, threshold=threshold)
    # Objectives at their own scales could not be compared: a search with a larger scale would count its outliers for
    # less.
    limit = limits(np.full(len(x), reweighted.scale.min()), inputs.loss, threshold)
    reached = objective(reweighted.residual, limit, inputs.loss)
    chosen = int(np.argmin(reached))
    weights = reweighted.weights[chosen]
    weighted = problem.with_data(weights=problem.weights * weights)
    best = polish(weighted, reweighted.x[chosen])
    # every start counts with the end that it led to; those whose least-squares optimum was not tried count against
    tried = np.append(reached, np.inf)
    by_start = np.empty(order.size)
    by_start[order] = tried[np.minimum(np.cumsum(fresh) - 1, len(x))]
    starts = _agreement(by_start, float(reached[chosen]), problem, 1e-4)
    residual = np.sqrt(problem.weights) * (problem.predict(best.x[None], best.coefficients[None])[0] - problem.metric)
    return Found(
        best, starts, _dropped(ends), weighted, float(residual @ residual), weights, float(reweighted.scale[chosen])
    )


def huber_threshold(compiled: Compiled, inputs: FitInput) -> float | None:
    """The threshold that was set, or 1.345 replicate standard deviations, in the problem's units; None without enough
    replicates, or for other losses."""
    if inputs.loss != "huber":
        return None
    if inputs.huber_threshold is not None:
        return inputs.huber_threshold / compiled.scale
    sd = replicate_scale(inputs.metric, inputs.design.configurations(), compiled.weights)
    return None if not sd else HUBER * sd / compiled.scale


def start_points(problem: Problem, inputs: FitInput) -> FloatArray:
    """Draw the starts: a Latin hypercube over the starting ranges (logarithmic where the search is), scanned values
    spread evenly: [starts, p]."""
    # A law without searched parameters has one solution, and a single empty start leads to it.
    dimension = len(problem.free)
    if dimension == 0:
        return np.empty((1, 0))
    scan = scan_index(problem)
    count = inputs.starts if scan is None or inputs.near is not None else max(inputs.starts, SCAN)
    ranges = np.array([free.parameter.start_range for free in problem.free])
    unit = latin_hypercube(count, dimension, inputs.seed)
    points = ranges[:, 0] + unit * (ranges[:, 1] - ranges[:, 0])
    scanned = problem.law.scan(count)
    if scan is not None and scanned is not None:
        parameter = problem.free[scan].parameter
        points[:, scan] = [parameter.to_search(float(value)) for value in scanned[1]]
    if inputs.near is not None:
        # A label that has no value there (a level of other rows) begins in the middle of its range.
        known = [inputs.near.get(free.label) for free in problem.free]
        first = [
            middle if value is None else free.parameter.to_search(value)
            for value, free, middle in zip(known, problem.free, ranges.mean(axis=1), strict=True)
        ]
        points = np.concatenate([[first], points])
    return np.asarray(np.clip(points, problem.lower, problem.upper))


def latin_hypercube(count: int, dimension: int, seed: int) -> FloatArray:
    """Draw points that cover the range of each dimension evenly, even where they are few: [count, dimension] in [0, 1].

    They are those of scipy.stats.qmc.LatinHypercube, whose module takes half a second to load: as long as several fits.
    """
    # scipy draws from a child of the generator that it is handed.
    (rng,) = np.random.default_rng(seed).spawn(1)
    inside = rng.uniform(size=(count, dimension))
    places = np.tile(np.arange(1, count + 1), (dimension, 1))
    for place in places:
        rng.shuffle(place)
    return np.asarray((places.T - inside) / count)


def scan_index(problem: Problem) -> int | None:
    """Return which searched parameter has a kink that the starts must scan; None if there is none, or it varies."""
    scanned = problem.law.scan(1)
    if scanned is None:
        return None
    names = [free.parameter.name for free in problem.free]
    return names.index(scanned[0]) if names.count(scanned[0]) == 1 else None


def _subsample(problem: Problem, seed: int) -> npt.NDArray[np.int64] | None:
    rows = len(problem.design)
    if rows <= MANY_ROWS:
        return None
    # Sorted, so that the rows keep their order.
    return np.sort(np.random.default_rng(seed).choice(rows, SUBSAMPLE, replace=False))


def _rows(problem: Problem, index: npt.NDArray[np.int64]) -> Problem:
    # A subsample may miss a group, and the problem numbers its groups without gaps.
    groups = np.unique(problem.groups[index], return_inverse=True)[1].ravel().astype(np.int64)
    return replace(
        problem,
        design=problem.design.take(index),
        metric=problem.metric[index],
        weights=problem.weights[index],
        groups=groups,
        levels=problem.levels.take(index),
    )
