"""Were the axes of a sweep varied independently enough to be told apart, and do they act together?

Variance inflation belongs to the design alone. The interactions come from a quadratic response surface in the
standardised logarithms of the axes, fitted by weighted least squares.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from theory.fit.fit import aicc
from theory.types import FloatArray

SPARE = 3
"""Rows beyond the number of terms that the response surface needs. Assumption: two would leave AICc undefined."""

DEPENDENT = 1e6
"""Condition number of the standardised terms above which they count as dependent. Assumption: half of a double's
digits are then lost in the normal equations."""


class Interaction(NamedTuple):
    """Evidence for a product of two axes in the response surface."""

    first: str
    second: str
    coefficient: float
    """Change of the metric per product of one standard deviation of each logarithm."""
    half_width: float
    """Half-width of the interval."""
    delta_aicc: float
    """AICc without the term minus AICc with it: positive speaks for the interaction."""


def variance_inflation(axis: str, logs: Mapping[str, FloatArray]) -> float:
    """How much the other axes inflate the variance of one axis's effect: 1 / (1 - R^2) of its regression on them.

    Args:
        axis: One of `logs`.
        logs: Logarithm of each axis that varies, [rows].

    Returns:
        1 where the axis stands alone; infinite where the others determine it.

    >>> a = np.array([0.0, 0.0, 1.0, 1.0])
    >>> round(variance_inflation("a", {"a": a, "b": np.array([0.0, 1.0, 0.0, 1.0])}), 6)
    1.0
    >>> variance_inflation("a", {"a": a, "b": 1 - a})
    inf
    """
    others = [value for name, value in logs.items() if name != axis]
    if not others:
        return 1.0
    centred = logs[axis] - logs[axis].mean()
    # The other axes are not centred, so their regression needs a constant.
    design = np.column_stack([np.ones(len(centred)), *others])
    rest = centred - design @ np.linalg.lstsq(design, centred, rcond=None)[0]
    unexplained = float(rest @ rest) / float(centred @ centred)
    # What least squares leaves of a centred column is rounding below this share, and its inverse would be a number that
    # means nothing.
    return 1 / unexplained if unexplained > 1e-12 else float("inf")


def interactions(
    logs: Mapping[str, FloatArray], metric: FloatArray, weights: FloatArray, *, level: float = 0.95
) -> list[Interaction]:
    """Ask each product of two axes whether the response surface needs it.

    Args:
        logs: Logarithm of each axis that varies, [rows].
        metric: Means of the configurations, [rows].
        weights: Runs behind each mean, [rows].
        level: Coverage of the interval of each coefficient.

    Returns:
        One entry for each pair of axes; none where the rows are too few or the terms depend on each other.
    """
    # Standardised, so that squares and products lean little on the axes themselves and coefficients compare between
    # axes.
    scaled = {name: (value - value.mean()) / value.std() for name, value in logs.items()}
    terms: dict[str, FloatArray] = {"1": np.ones(len(metric))} | scaled
    # an axis with two values has no curvature to fit: its square would repeat the constant
    terms |= {f"{name}^2": value**2 for name, value in scaled.items() if np.unique(value).size > 2}
    products = list(combinations(scaled, 2))
    terms |= {f"{a}*{b}": scaled[a] * scaled[b] for a, b in products}
    full = _weighted_fit(terms, metric, weights)
    if full is None:
        return []
    rows = []
    for a, b in products:
        name = f"{a}*{b}"
        # Each product is left out of the full surface, not added to the plain one: it must explain what no other term
        # does.
        without = _weighted_fit({key: value for key, value in terms.items() if key != name}, metric, weights)
        if without is not None:
            coefficient, error = full.values[name]
            half = float(stdtrit(full.freedom, (1 + level) / 2)) * error
            rows.append(Interaction(a, b, coefficient, half, without.aicc - full.aicc))
    return rows


class _Surface(NamedTuple):
    """A fitted response surface."""

    values: dict[str, tuple[float, float]]
    """Coefficient and standard error of each term."""
    freedom: int
    aicc: float


def _weighted_fit(terms: Mapping[str, FloatArray], metric: FloatArray, weights: FloatArray) -> _Surface | None:
    """Weighted least squares; None where the terms are dependent in this design or too many for it."""
    # Multiplying rows by the root of their weight turns weighted least squares into an ordinary one. Weights of mean 1
    # keep the residual variance in the metric's own units.
    root = np.sqrt(weights / weights.mean())
    design = np.column_stack(list(terms.values())) * root[:, None]
    n, p = design.shape
    # The condition number is asked of the weighted terms, for those are what is inverted below.
    if n < p + SPARE or np.linalg.cond(design) > DEPENDENT:
        return None
    values, *_ = np.linalg.lstsq(design, metric * root, rcond=None)
    rss = float(np.sum((metric * root - design @ values) ** 2))
    # The inverse of the normal matrix is safe here, because the condition number was limited above.
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * rss / (n - p))
    score = aicc(rss, n, p, float(np.std(metric)))
    if score is None:
        return None
    pairs = zip(values.tolist(), errors.tolist(), strict=True)
    return _Surface(dict(zip(terms, pairs, strict=True)), n - p, score)
