"""Refits of one fit on many other data sets at once: the engine of bootstrap, calibration and simulation."""

from typing import NamedTuple

import numpy as np

from theory.errors import unknown
from theory.fit.result import FitResult
from theory.fit.robust import reweight
from theory.fit.search import scan_index
from theory.fit.solver import solve
from theory.types import FloatArray
from theory.uncertainty.quantities import Draws
from theory.uncertainty.restore import Restored, restore

KINDS = ("cluster", "residual", "wild", "parametric")

STEPS, TOLERANCE = 60, 1e-8
"""Of a refit: it starts near its optimum, and resampling noise is far above this."""

JITTER = 0.3
"""Spread of the extra starts around the fit, in search coordinates."""

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
        weights: Factor on the weight of each of the problem's rows (merged rows for least squares), [sets, rows]; None:
            1.
        centre: First start of each set in search coordinates, [sets, p]; None: the fit.
        starts: Searches per set: the first from the centre, the others scattered around it.
        seed: Of the scattered starts.
    """
    restored = restore(fit)
    problem, compiled = restored.problem, restored.compiled
    sets = len(metric) if metric is not None else len(weights) if weights is not None else 1
    merged, within = (None, np.zeros(sets)) if metric is None else compiled.merge(metric)
    if metric is None:
        within = np.full(sets, compiled.within)
    changed = problem.with_data(merged, None if weights is None else problem.weights * weights)
    first = np.repeat(restored.x[None], sets, axis=0) if centre is None else centre
    begin = _starts(restored, first, starts, seed)
    index = np.repeat(np.arange(sets, dtype=np.int64), starts)
    if fit.given.loss == "least_squares":
        ends = solve(changed, begin, sets=index, steps=STEPS, tolerance=TOLERANCE)
        x, coefficients, cost = ends.x, ends.coefficients, ends.cost
        variance = (cost + within[index]) / (compiled.n - compiled.p)
    else:
        parts = [
            reweight(changed, begin[i : i + ROBUST_BLOCK], fit.given.loss, sets=index[i : i + ROBUST_BLOCK])
            for i in range(0, len(begin), ROBUST_BLOCK)
        ]
        x = np.concatenate([part.x for part in parts])
        coefficients = np.concatenate([part.coefficients for part in parts])
        variance = np.concatenate([part.scale for part in parts]) ** 2
        cost = variance
    best = np.argmin(cost.reshape(sets, starts), axis=1) + starts * np.arange(sets)
    kept = np.flatnonzero(np.isfinite(cost[best]))
    chosen = best[kept]
    draws = Draws(fit=fit, x=x[chosen], coefficients=coefficients[chosen], failed=sets - kept.size)
    return Refits(draws, variance[chosen], kept.astype(np.float64))


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
    given, n = fit.given, fit.n
    if kind == "cluster":
        rows = len(restore(fit).problem.design)
        return None, rng.multinomial(rows, np.full(rows, 1 / rows), size=count).astype(np.float64)
    mean = fit.predict(given.design) if at is None else at.predict(given.design)[0]
    root = np.ones(n) if given.weights is None else np.sqrt(given.weights / given.weights.mean())
    if kind == "parametric":
        return mean + rng.standard_normal((count, n)) * (fit.noise_sd if sd is None else sd) / root, None
    residual = root * (given.metric - fit.predict(given.design))
    residual = residual * np.sqrt(n / (n - fit.p))
    if kind == "residual":
        centred = residual - residual.mean()
        return mean + centred[rng.integers(0, n, (count, n))] / root, None
    configuration = given.design.configurations()
    signs = rng.integers(0, 2, (count, int(configuration.max()) + 1)) * 2.0 - 1
    return mean + signs[:, configuration] * residual / root, None


def _starts(restored: Restored, first: FloatArray, starts: int, seed: int) -> FloatArray:
    """[sets * starts, p]: the centre, then scattered points; a scanned parameter goes anywhere in its range."""
    problem, rng = restored.problem, np.random.default_rng(seed)
    sets, p = first.shape
    begin = np.repeat(first[:, None], starts, axis=1)
    begin[:, 1:] += JITTER * rng.standard_normal((sets, starts - 1, p))
    scan = scan_index(problem)
    if scan is not None and starts > 1:
        low, high = problem.free[scan].parameter.start_range
        begin[:, 1:, scan] = rng.uniform(low, high, (sets, starts - 1))
    return np.asarray(np.clip(begin.reshape(-1, p), problem.lower, problem.upper))
