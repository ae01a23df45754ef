"""Robust losses: iteratively reweighted least squares around the variable projection, for many data sets at once.

Weights multiply the squared residuals, so the coefficients are robust too (a robust outer loss around an ordinary
inner solve is not). The scale is the median absolute residual times 1.4826: outliers do not move it. "tukey" gives
weight (1 - (r/c)^2)^2 within c = 4.685 scales and none beyond; "huber" gives 1 within its threshold and threshold/r
beyond, the threshold being 1.345 replicate standard deviations where there are replicates.
"""

from typing import NamedTuple

import numpy as np

from theory.data.design import IntArray
from theory.fit.problem import Problem
from theory.fit.solver import solve
from theory.types import FloatArray

TUKEY = 4.685
"""Rejection point in scales: 95 % efficiency for normal noise."""

HUBER = 1.345
"""Threshold in scales: 95 % efficiency for normal noise."""

MAD = 1.4826
"""Median absolute residual to standard deviation, for normal noise."""

ROUNDS = 40
"""Reweightings; the first ones with Huber's weights, which have no local optima of their own."""

WARM = 10
"""Rounds with Huber's weights before Tukey's."""

SETTLED = 1e-7
"""Largest change of a weight at which the reweighting ends."""


class Robust(NamedTuple):
    """The end of A reweighted searches."""

    x: FloatArray
    """[A, p]"""
    coefficients: FloatArray
    """[A, groups, q]"""
    weights: FloatArray
    """Weight of each row, 0 to 1, [A, rows]."""
    scale: FloatArray
    """Robust standard deviation of a residual in the problem's units, [A]."""
    objective: FloatArray
    """Sum of rho(residual / smallest scale), [A]: comparable between searches of the same data."""


def reweight(
    problem: Problem, x: FloatArray, loss: str, *, sets: IntArray | None = None, threshold: float | None = None
) -> Robust:
    """Run the reweighting from every row of x.

    Args:
        problem: Unmerged problem.
        x: Starting points, [A, p].
        loss: "tukey" or "huber".
        sets: Data set of each start where the problem has several.
        threshold: Huber's threshold in the problem's units; None: 1.345 scales of the residuals.
    """
    chosen = np.arange(len(x), dtype=np.int64) if sets is None else sets
    metric = problem.metric if problem.metric.ndim == 1 else problem.metric[chosen]
    base = problem.weights if problem.weights.ndim == 1 else problem.weights[chosen]
    rows = len(problem.design)
    spare = rows / max(1, rows - x.shape[1] - len(problem.signs))
    weights = np.ones((len(x), rows))
    end = solve(problem, x, sets=chosen, steps=50, tolerance=1e-6)
    x, coefficients = end.x, end.coefficients
    scale = lowest = np.full(len(x), np.inf)
    for step in range(ROUNDS):
        with np.errstate(all="ignore"):
            residual = np.sqrt(base) * (problem.predict(x, coefficients) - metric)
        scale = np.maximum(MAD * np.median(np.abs(residual), axis=1) * np.sqrt(spare), 1e-14)
        if step == WARM:
            lowest = scale / 2  # Tukey's scale may not implode on the rows that it keeps
        if step > WARM:
            scale = np.maximum(scale, lowest)
        fresh = _weights(residual, scale, "huber" if step < WARM else loss, threshold)
        change = np.abs(fresh - weights).max()
        weights = fresh
        if change < SETTLED and step > WARM:
            break
        end = solve(
            problem.with_data(np.broadcast_to(metric, weights.shape), base * weights), x, steps=25, tolerance=1e-9
        )
        x, coefficients = end.x, end.coefficients
    return Robust(x, coefficients, weights, scale, _objective(residual, float(scale.min()), loss))


def _weights(residual: FloatArray, scale: FloatArray, loss: str, threshold: float | None) -> FloatArray:
    size = np.abs(residual)
    if loss == "tukey":
        return np.asarray(
            np.where(size < TUKEY * scale[:, None], (1 - (size / (TUKEY * scale[:, None])) ** 2) ** 2, 0.0)
        )
    limit = HUBER * scale[:, None] if threshold is None else np.full((len(scale), 1), threshold)
    return np.asarray(limit / np.maximum(size, limit))


def _objective(residual: FloatArray, scale: float, loss: str) -> FloatArray:
    z = np.abs(residual) / scale
    if loss == "tukey":
        return np.asarray((1 - (1 - np.minimum(z / TUKEY, 1) ** 2) ** 3).sum(axis=1))
    return np.asarray(np.where(z < HUBER, z**2 / 2, HUBER * z - HUBER**2 / 2).sum(axis=1))


def variance_factor(residual: FloatArray, scale: float, loss: str, parameters: int) -> float:
    """Return s^2 of the covariance s^2 (J^T J)^-1 of an M-estimator: scale^2 [sum psi^2 / (n - p)] / [mean psi']^2.

    Args:
        residual: Weighted residuals, [rows].
        scale: Their robust standard deviation.
        loss: "tukey" or "huber".
        parameters: p.
    """
    z = residual / scale
    if loss == "tukey":
        inside = np.abs(z) < TUKEY
        ratio = np.where(inside, (z / TUKEY) ** 2, 1.0)
        psi, slope = z * (1 - ratio) ** 2, np.where(inside, (1 - ratio) * (1 - 5 * ratio), 0.0)
    else:
        psi, slope = np.clip(z, -HUBER, HUBER), (np.abs(z) < HUBER).astype(np.float64)
    return float(scale**2 * (psi**2).sum() / (z.size - parameters) / slope.mean() ** 2)


def replicate_scale(metric: FloatArray, configurations: IntArray) -> float | None:
    """Return a seed standard deviation that outliers do not move: the median absolute difference of seed pairs; None
    with fewer than 5 pairs.

    >>> round(replicate_scale(np.array([0.0, 1.0] * 6), np.repeat(np.arange(6), 2)), 6)
    1.048358
    """
    gaps: list[float] = []
    for configuration in np.unique(configurations):
        values = metric[configurations == configuration]
        first, second = np.triu_indices(values.size, 1)
        gaps.extend(np.abs(values[first] - values[second]).tolist())
    return float(np.median(gaps) / np.sqrt(2) / 0.6744897501960817) if len(gaps) >= 5 else None
