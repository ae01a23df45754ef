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

ROUNDS = 100
"""Most reweightings; few fits need more than 40."""

WARM = 10
"""First rounds of a search from least squares, with Huber's weights, which have no local optima of their own."""

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
    residual: FloatArray
    """Weighted prediction minus data, without the robust weights, [A, rows]."""


def reweight(
    problem: Problem,
    x: FloatArray,
    loss: str,
    *,
    sets: IntArray | None = None,
    threshold: float | None = None,
    counts: FloatArray | None = None,
    coefficients: FloatArray | None = None,
) -> Robust:
    """Run the reweighting from every row of x.

    Args:
        problem: Unmerged problem.
        x: Starting points, [A, p].
        loss: "tukey" or "huber".
        sets: Data set of each start where the problem has several.
        threshold: Huber's threshold in the problem's units; None: 1.345 scales of the residuals.
        counts: How often each row was drawn, [A, rows]; None: once. A row drawn twice is two residuals, not one of
            twice the weight: weights would move the median and the thresholds.
        coefficients: Coefficients at the starting points, [A, groups, q]: the reweighting goes on from that fit; None:
            it begins with least squares.
    """
    data_sets = np.arange(len(x), dtype=np.int64) if sets is None else sets
    metric = problem.metric if problem.metric.ndim == 1 else problem.metric[data_sets]
    base = problem.weights if problem.weights.ndim == 1 else problem.weights[data_sets]
    rows = len(problem.design)
    drawn = np.ones((len(x), rows)) if counts is None else counts
    # The median of residuals is too small because the fit took up part of the noise, as a standard deviation over n
    # instead of n - p is.
    spare = rows / max(1, rows - x.shape[1] - len(problem.signs))
    weights = np.ones((len(x), rows))

    def searched(robust: FloatArray, steps: int, tolerance: float) -> tuple[FloatArray, FloatArray]:
        data = problem.with_data(np.broadcast_to(metric, robust.shape), base * drawn * robust)
        end = solve(data, x, steps=steps, tolerance=tolerance)
        return end.x, end.coefficients

    # A refit goes on where the fit ended: least squares first would lead it past the fit's own optimum to another.
    first = 0 if coefficients is None else WARM
    if coefficients is None:
        x, coefficients = searched(weights, 50, 1e-6)
    scale = lowest = np.full(len(x), np.inf)
    # Tukey's loss has many local optima. Huber's is convex, so the first rounds lead to the same neighbourhood from
    # anywhere.
    for step in range(first, ROUNDS):
        with np.errstate(all="ignore"):
            residual = np.sqrt(base) * (problem.predict(x, coefficients) - metric)
        # The floor keeps an exact fit from dividing by 0.
        scale = np.maximum(MAD * _median(np.abs(residual), drawn) * np.sqrt(spare), 1e-14)
        if step == WARM:
            lowest = scale / 2  # Tukey's scale may not implode on the rows that it keeps
        if step > WARM:
            scale = np.maximum(scale, lowest)
        kind = "huber" if step < WARM else loss
        fresh = _weights(residual, limits(scale, kind, threshold), kind)
        change = np.abs(fresh - weights).max()
        weights = fresh
        # Weights that stand still before the loss changes from Huber's to Tukey's say nothing of the end.
        if change < SETTLED and step > WARM:
            break
        x, coefficients = searched(weights, 25, 1e-9)
    return Robust(x, coefficients, weights, scale, residual)


def limits(scale: FloatArray, loss: str, threshold: float | None) -> FloatArray:
    """Return where the loss bends (Huber) or rejects (Tukey), in the problem's units, [A].

    Args:
        scale: Robust standard deviations, [A].
        loss: "tukey" or "huber".
        threshold: Huber's, where the fit took it from replicates.
    """
    if loss == "tukey":
        return TUKEY * scale
    return HUBER * scale if threshold is None else np.full(scale.shape, threshold)


def objective(residual: FloatArray, limit: FloatArray, loss: str, counts: FloatArray | None = None) -> FloatArray:
    """Return the sum of rho over the rows, [A]: comparable between searches of the same data at the same limit.

    Args:
        residual: [A, rows].
        limit: See `limits`, [A].
        loss: "tukey" or "huber".
        counts: How often each row was drawn, [A, rows].
    """
    size, edge = np.abs(residual), limit[:, None]
    if loss == "tukey":
        # Without its usual factor edge^2 / 6, which is the same for all searches that are compared at one limit.
        rho = 1 - (1 - np.minimum(size / edge, 1) ** 2) ** 3
    else:
        rho = np.where(size < edge, size**2 / 2, edge * size - edge**2 / 2)
    return np.asarray((rho if counts is None else rho * counts).sum(axis=1))


def _median(size: FloatArray, counts: FloatArray) -> FloatArray:
    """Median of each row of sizes, each counted as often as it was drawn, [A]."""
    # A row that was drawn twice counts as two residuals, so the middle is looked for in the running total of the
    # counts.
    order = np.argsort(size, axis=1)
    ranked = np.take_along_axis(size, order, axis=1)
    total = np.cumsum(np.take_along_axis(counts, order, axis=1), axis=1)
    half = total[:, -1:] / 2
    # With an even total the median is the mean of the two in the middle; with an odd one both are the same.
    ends = [np.argmax(reached, axis=1)[:, None] for reached in (total >= half, total > half)]
    return np.asarray(sum(np.take_along_axis(ranked, end, axis=1)[:, 0] for end in ends) / 2)


def _weights(residual: FloatArray, limit: FloatArray, loss: str) -> FloatArray:
    size, edge = np.abs(residual), limit[:, None]
    if loss == "tukey":
        return np.asarray(np.where(size < edge, (1 - (size / edge) ** 2) ** 2, 0.0))
    return np.asarray(edge / np.maximum(size, edge))


def variance_factor(
    residual: FloatArray, limit: FloatArray, loss: str, parameters: int, counts: FloatArray | None = None
) -> FloatArray:
    """Return s^2 of the covariance s^2 (J^T J)^-1 of an M-estimator: [sum psi^2 / (n - p)] / [mean psi']^2, [A].

    Args:
        residual: Weighted residuals, [A, rows].
        limit: Where the fit's loss bends or rejects, see `limits`, [A].
        loss: "tukey" or "huber".
        parameters: p.
        counts: How often each row was drawn, [A, rows].
    """
    edge = limit[:, None]
    inside = np.abs(residual) < edge
    if loss == "tukey":
        ratio = np.where(inside, (residual / edge) ** 2, 1.0)
        # psi is the derivative of rho and slope that of psi: the variance of an M-estimator is a ratio of the two
        # (Huber 1981).
        psi, slope = residual * (1 - ratio) ** 2, np.where(inside, (1 - ratio) * (1 - 5 * ratio), 0.0)
    else:
        psi, slope = np.clip(residual, -edge, edge), inside.astype(np.float64)
    drawn = np.ones(residual.shape) if counts is None else counts
    rows = drawn.sum(axis=1)
    # with every residual beyond the threshold the mean is 0: one row's worth keeps the interval wide and finite
    slopes = np.maximum((drawn * slope).sum(axis=1) / rows, 1 / rows)
    return np.asarray((drawn * psi**2).sum(axis=1) / (rows - parameters) / slopes**2)


def replicate_scale(metric: FloatArray, configurations: IntArray, weights: FloatArray | None = None) -> float | None:
    """Return a seed standard deviation that outliers do not move: the median absolute difference of seed pairs; None
    with fewer than 5 pairs.

    Args:
        metric: [rows].
        configurations: Number of each row's configuration, [rows].
        weights: 1 / variance up to a factor, [rows]; the standard deviation is that of a run of weight 1. None: equal.

    >>> round(replicate_scale(np.array([0.0, 1.0] * 6), np.repeat(np.arange(6), 2)), 6)
    1.048358
    """
    variance = np.ones_like(metric) if weights is None else 1 / weights
    gaps: list[float] = []
    for configuration in np.unique(configurations):
        rows = np.flatnonzero(configurations == configuration)
        first, second = (rows[pairs] for pairs in np.triu_indices(rows.size, 1))
        # The variance of a difference is the sum of the two; runs of weight 1 have 2.
        gaps.extend(
            (np.abs(metric[first] - metric[second]) * np.sqrt(2 / (variance[first] + variance[second]))).tolist()
        )
    # A difference of two runs has sqrt(2) times the standard deviation of one, and 0.6745 standard deviations are the
    # median of its absolute value for normal noise.
    return float(np.median(gaps) / np.sqrt(2) / 0.6744897501960817) if len(gaps) >= 5 else None
