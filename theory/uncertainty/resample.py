"""Refits of one fit on many other data sets at once: the engine of bootstrap, calibration and simulation."""

from typing import NamedTuple

import numpy as np

from theory.errors import unknown
from theory.fit.restore import Restored, restore
from theory.fit.result import FitResult
from theory.fit.robust import limits, objective, reweight, variance_factor
from theory.fit.search import scan_index
from theory.fit.solver import solve
from theory.types import FloatArray
from theory.uncertainty.quantities import Draws

KINDS = ("cluster", "residual", "wild", "parametric")

STEPS, TOLERANCE = 60, 1e-8
"""Of a refit: it starts near its optimum, and resampling noise is far above this."""

JITTER = 0.3
"""Spread of the extra starts around the fit, in logarithms of parameters."""

JITTER_SHARE = 0.05
"""The same for parameters that are not searched in the logarithm, as a share of the range of their bounds."""

ROBUST_BLOCK = 200
"""Data sets that are reweighted together."""


class Refits(NamedTuple):
    """R refits."""

    draws: Draws
    variance: FloatArray
    """Residual variance of each in the problem's units, [R]."""
    kept: FloatArray
    """Index of the data set of each, [R]."""


def refit_many(
    fit: FitResult,
    *,
    metric: FloatArray | None = None,
    weights: FloatArray | None = None,
    centre: FloatArray | None = None,
    starts: int = 1,
    seed: int = 0,
) -> Refits:
    """Refit on other metrics or other weights of the same rows.

    Args:
        fit: The fit whose law and settings are used.
        metric: Metrics of the given rows, [sets, rows]; None: the data.
        weights: How often each of the problem's rows counts (merged rows for least squares), [sets, rows]; None: once.
        centre: First start of each set in search coordinates, [sets, p]; None: the fit.
        starts: Searches per set: the first from the centre, the others scattered around it.
        seed: Of the scattered starts.
    """
    restored = restore(fit)
    sets = len(metric) if metric is not None else len(weights) if weights is not None else 1
    first = np.repeat(restored.x[None], sets, axis=0) if centre is None else centre
    # Searches of one data set stand next to each other, so that the best of each set is a reshape away.
    begin = _starts(restored, first, starts, seed)
    refitted = _least_squares if fit.inputs.loss == "least_squares" else _robust
    ends = refitted(restored, begin, metric, weights, fit.inputs.loss)
    best = np.argmin(ends.cost.reshape(sets, starts), axis=1) + starts * np.arange(sets)
    # A data set without a finite fit is dropped and counted. The index of those that stay lets the caller put them back
    # in their places.
    kept = np.flatnonzero(np.isfinite(ends.cost[best]))
    chosen = best[kept]
    draws = Draws(fit=fit, x=ends.x[chosen], coefficients=ends.coefficients[chosen], failed=sets - kept.size)
    return Refits(draws, ends.variance[chosen], kept.astype(np.float64))


class _Ends(NamedTuple):
    """The end of every search, [sets * starts], those of one data set together."""

    x: FloatArray
    coefficients: FloatArray
    cost: FloatArray
    variance: FloatArray


def _least_squares(
    restored: Restored, begin: FloatArray, metric: FloatArray | None, weights: FloatArray | None, loss: str
) -> _Ends:
    # Both engines have one signature; least squares has nothing to choose.
    del loss
    problem, compiled = restored.problem, restored.compiled
    sets = len(metric) if metric is not None else len(weights) if weights is not None else 1
    index = np.repeat(np.arange(sets, dtype=np.int64), len(begin) // sets)
    # Least squares works on the means of configurations. New metrics have new means and a new spread within, which
    # belongs to the noise all the same; with the old metrics both stay.
    merged, within = (None, np.full(sets, compiled.within)) if metric is None else compiled.merge(metric)
    changed = problem.with_data(merged, None if weights is None else problem.weights * weights)
    ends = solve(changed, begin, sets=index, steps=STEPS, tolerance=TOLERANCE)
    data = ends.cost
    for penalty in problem.penalties:  # the noise is that of the data: the fit's own leaves the priors out as well
        data = data - (penalty(ends.x, index)[0] ** 2).sum(axis=1)
    return _Ends(ends.x, ends.coefficients, ends.cost, (data + within[index]) / restored.degrees)


def _robust(
    restored: Restored, begin: FloatArray, metric: FloatArray | None, weights: FloatArray | None, loss: str
) -> _Ends:
    """Reweight every data set, a block of them at a time."""
    sets = len(metric) if metric is not None else len(weights) if weights is not None else 1
    starts, shape = len(begin) // sets, (sets, len(restored.problem.design))
    data = np.broadcast_to(restored.problem.metric if metric is None else metric, shape)
    counts = np.ones(shape) if weights is None else weights
    # The rounds of a block go on until its slowest search has settled and hold several arrays of searches times rows,
    # so neither should grow with the number of draws.
    size = max(1, ROBUST_BLOCK // starts)
    parts = [
        _robust_block(restored, begin[i * starts : (i + size) * starts], data[i : i + size], counts[i : i + size], loss)
        for i in range(0, sets, size)
    ]
    return _Ends(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _robust_block(restored: Restored, begin: FloatArray, metric: FloatArray, counts: FloatArray, loss: str) -> _Ends:
    """Go on from the fit at the first start of each data set, and begin with least squares at the others."""
    problem, sets = restored.problem.with_data(metric), len(metric)
    index = np.repeat(np.arange(sets, dtype=np.int64), len(begin) // sets)
    drawn = counts[index]
    first = np.diff(index, prepend=-1) > 0
    # The shortcut of going on from the fit's coefficients is right only if the first starts are the fit itself. A
    # caller may also give its own centres.
    at_fit = bool((begin[first] == restored.x).all())
    parts = []
    for chosen in (np.flatnonzero(first), np.flatnonzero(~first)):
        if chosen.size:
            goes_on = at_fit and bool(first[chosen[0]])
            started = np.repeat(restored.coefficients[None], chosen.size, axis=0) if goes_on else None
            parts.append(
                reweight(
                    problem,
                    begin[chosen],
                    loss,
                    sets=index[chosen],
                    threshold=restored.threshold,
                    counts=drawn[chosen],
                    coefficients=started,
                )
            )
    # The two groups of searches ran apart; this puts their results back into the order of the starts.
    order = np.argsort(np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)]))
    x, coefficients, _, scale, residual = (np.concatenate(column)[order] for column in zip(*parts, strict=True))
    # one limit for all searches of a data set, as in the fit: each with its own would not be comparable
    smallest = np.minimum.reduceat(scale, np.flatnonzero(first))[index]
    cost = objective(residual, limits(smallest, loss, restored.threshold), loss, drawn)
    limit = limits(scale, loss, restored.threshold)
    return _Ends(x, coefficients, cost, variance_factor(residual, limit, loss, restored.compiled.p, drawn))


def resample(
    fit: FitResult, count: int, kind: str, *, rng: np.random.Generator, at: Draws | None = None, sd: float | None = None
) -> tuple[FloatArray | None, FloatArray | None]:
    """Draw data sets: metrics [count, rows given] or weights [count, rows of the problem].

    Args:
        fit: Where residuals come from.
        count: Data sets.
        kind: "cluster" (configurations with replacement), "residual" (residuals with replacement, widened by sqrt(n /
            (n - p))),
            "wild" (each configuration's residuals keep or flip their sign) or "parametric" (normal noise).
        rng: Random source.
        at: One draw of parameters to simulate from instead of the fit.
        sd: Noise of "parametric"; default: the fit's.
    """
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    inputs, n = fit.inputs, fit.n
    if kind == "cluster":
        design = restore(fit).problem.design
        # least squares has merged the seeds of a configuration; robust losses keep them, and they are drawn together
        codes = np.arange(len(design)) if fit.inputs.loss == "least_squares" else design.configurations()
        total = int(codes.max()) + 1
        # Drawing with replacement is a multinomial count for each configuration; as a weight it changes no array's
        # shape.
        return None, rng.multinomial(total, np.full(total, 1 / total), size=count)[:, codes].astype(np.float64)
    mean = fit.predict(inputs.design) if at is None else at.predict(inputs.design)[0]
    # Times the root of its weight every residual has the same variance, so residuals may be exchanged between rows.
    root = np.ones(n) if inputs.weights is None else np.sqrt(inputs.weights / inputs.weights.mean())
    if kind == "parametric":
        return mean + rng.standard_normal((count, n)) * (fit.noise_sd if sd is None else sd) / root, None
    residual = root * (inputs.metric - fit.predict(inputs.design))
    # A fit takes up part of the noise, so its residuals are too small by this factor.
    residual = residual * np.sqrt(n / (n - fit.p))
    if kind == "residual":
        # Centred, so that draws carry no shift of their own.
        centred = residual - residual.mean()
        return mean + centred[rng.integers(0, n, (count, n))] / root, None
    configuration = inputs.design.configurations()
    # All seeds of a configuration keep or flip their sign together: what a law misses there is common to them.
    signs = rng.integers(0, 2, (count, int(configuration.max()) + 1)) * 2.0 - 1
    return mean + signs[:, configuration] * residual / root, None


def _starts(restored: Restored, first: FloatArray, starts: int, seed: int) -> FloatArray:
    """[sets * starts, p]: the centre, then scattered points; a scanned parameter goes anywhere in its range."""
    problem, rng = restored.problem, np.random.default_rng(seed)
    sets, p = first.shape
    begin = np.repeat(first[:, None], starts, axis=1)
    spread = [
        JITTER if free.parameter.log else JITTER_SHARE * span
        for free, span in zip(problem.free, problem.upper - problem.lower, strict=True)
    ]
    # The first start stays at the centre, which is nearly always in the right valley.
    begin[:, 1:] += np.array(spread) * rng.standard_normal((sets, starts - 1, p))
    scan = scan_index(problem)
    if scan is not None and starts > 1:
        low, high = problem.free[scan].parameter.start_range
        # A kinked parameter has a local minimum in each interval of the data, which a start near the fit would never
        # leave.
        begin[:, 1:, scan] = rng.uniform(low, high, (sets, starts - 1))
    return np.asarray(np.clip(begin.reshape(sets * starts, p), problem.lower, problem.upper))
