"""Are n_rec, k_e and k_c varied independently enough to be told apart, and do they act together?

Correlations and variance inflation belong to the design alone. The interactions come from a quadratic response surface
in the standardised logarithms of the axes, fitted to the means of the configurations (weights: runs).
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from analysis.rows.means import LEVEL
from theory.fit.fit import aicc

FloatArray = npt.NDArray[np.float64]

AXES = ("n_rec", "k_e", "k_c")

VIF_LIMIT = 10.0
"""Variance inflation above which axes cannot be told apart (rule of thumb: a standard error 3.2 times as large)."""

SPARE = 3
"""Configurations beyond the number of terms that the response surface needs."""


class Pair(NamedTuple):
    """Correlation of two axes in this design, in logarithms."""

    first: str
    second: str
    correlation: float


class Inflation(NamedTuple):
    """How much the other axes inflate the variance of one axis's effect."""

    axis: str
    levels: int
    vif: float | None
    """None where the axis does not vary; infinite where the others determine it."""


class Interaction(NamedTuple):
    """Evidence for a product of two axes in the response surface."""

    first: str
    second: str
    coefficient: float
    """Change of the metric per product of one standard deviation of each logarithm."""
    half_width: float
    """Half-width of the 95 % interval."""
    delta_aicc: float
    """AICc without the term minus AICc with it: positive speaks for the interaction."""


class AxesCheck(NamedTuple):
    """What the design and the surface say about the axes."""

    pairs: tuple[Pair, ...]
    inflation: tuple[Inflation, ...]
    interactions: tuple[Interaction, ...]
    sentences: tuple[str, ...]


def check_axes(table: pd.DataFrame) -> AxesCheck:
    """Check the axes of a design.

    Args:
        table: `analysis.rows.means.configurations`.
    """
    varied = [name for name in AXES if table[name].nunique() > 1]
    logs = {name: np.log(table[name].to_numpy(float)) for name in varied}
    pairs = tuple(Pair(a, b, float(np.corrcoef(logs[a], logs[b])[0, 1])) for a, b in combinations(varied, 2))
    inflation = tuple(Inflation(name, int(table[name].nunique()), _vif(name, logs)) for name in AXES)
    interactions = _interactions(table, logs) if len(varied) > 1 else ()
    return AxesCheck(pairs, inflation, interactions, tuple(_sentences(inflation, interactions)))


def _vif(name: str, logs: dict[str, FloatArray]) -> float | None:
    if name not in logs:
        return None
    others = [value for other, value in logs.items() if other != name]
    if not others:
        return 1.0
    own = logs[name] - logs[name].mean()
    design = np.column_stack([np.ones(len(own)), *others])
    rest = own - design @ np.linalg.lstsq(design, own, rcond=None)[0]
    unexplained = float(rest @ rest) / float(own @ own)
    return 1 / unexplained if unexplained > 1e-12 else float("inf")


def _interactions(table: pd.DataFrame, logs: dict[str, FloatArray]) -> tuple[Interaction, ...]:
    metric, weight = table["mean"].to_numpy(float), table["n"].to_numpy(float)
    scaled = {name: (value - value.mean()) / value.std() for name, value in logs.items()}
    terms: dict[str, FloatArray] = {"1": np.ones(len(table))} | scaled
    terms |= {f"{name}^2": value**2 for name, value in scaled.items() if table[name].nunique() > 2}
    products = list(combinations(scaled, 2))
    terms |= {f"{a}*{b}": scaled[a] * scaled[b] for a, b in products}
    full = _weighted_fit(terms, metric, weight)
    if full is None:
        return ()
    found = []
    for a, b in products:
        name = f"{a}*{b}"
        without = _weighted_fit({key: value for key, value in terms.items() if key != name}, metric, weight)
        if without is not None:
            coefficient, error = full.values[name]
            half = float(stdtrit(full.freedom, (1 + LEVEL) / 2)) * error
            found.append(Interaction(a, b, coefficient, half, without.aicc - full.aicc))
    return tuple(found)


class _Fit(NamedTuple):
    values: dict[str, tuple[float, float]]
    freedom: int
    aicc: float


def _weighted_fit(terms: dict[str, FloatArray], metric: FloatArray, weight: FloatArray) -> _Fit | None:
    """Weighted least squares; None where the terms are dependent in this design or too many for it."""
    root = np.sqrt(weight / weight.mean())
    design = np.column_stack(list(terms.values())) * root[:, None]
    n, p = design.shape
    if n < p + SPARE or np.linalg.cond(design) > 1e6:
        return None
    values, *_ = np.linalg.lstsq(design, metric * root, rcond=None)
    rss = float(np.sum((metric * root - design @ values) ** 2))
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * rss / (n - p))
    score = aicc(rss, n, p, float(np.std(metric)))
    if score is None:
        return None
    pairs = zip(values.tolist(), errors.tolist(), strict=True)
    return _Fit(dict(zip(terms, pairs, strict=True)), n - p, score)


def _sentences(inflation: tuple[Inflation, ...], interactions: tuple[Interaction, ...]) -> list[str]:
    found = []
    high = [row.axis for row in inflation if row.vif is not None and row.vif > VIF_LIMIT]
    still = [row.axis for row in inflation if row.vif is None]
    if high:
        found.append(
            f"{' and '.join(high)} cannot be told apart in this design (variance inflation above {VIF_LIMIT:g}): "
            "add runs that vary one of them with the other fixed, such as 7 values of n_rec at one d_m."
        )
    elif len(still) < len(AXES) - 1:
        found.append("The axes that vary are varied independently enough to be told apart.")
    if still:
        found.append(
            f"{' and '.join(still)} did not vary: nothing can be said about {'it' if len(still) == 1 else 'them'}."
        )
    for row in interactions:
        strength = "supported" if row.delta_aicc > 2 else "not supported" if row.delta_aicc < -2 else "undecided"
        found.append(
            f"Interaction of {row.first} and {row.second}: {strength} "
            f"(AICc changes by {row.delta_aicc:+.1f} when it is dropped)."
        )
    if not interactions and len(still) < len(AXES) - 1:
        found.append("Interactions cannot be estimated in this design: too few or dependent configurations.")
    return found
