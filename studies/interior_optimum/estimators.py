"""The two estimators of ln d_m* that the second study fixed before its first trial, with their intervals.

Both work on the means over seeds at one P and one k_c, as a function of x = ln d_m. Neither looks at another budget or
knows a law.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.laws.theory_fit import line_cost
from analysis.rows.means import LEVEL, budget_lines, pooled_noise
from analysis.rows.sweep import Dataset
from studies.statistics import FloatArray, drawn_means, gain, interval, vertex
from theory.data.cost import Cost

QUADRATIC, CUBIC = "quadratic", "cubic"

LEAST_LEVELS = {QUADRATIC: 3, CUBIC: 4}
"""Levels of d_m below which the polynomial is not determined."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """The runs at one P and one k_c."""

    budget: float
    k_c: float
    d_m: FloatArray
    """Levels that were run, rising, [levels]."""
    losses: tuple[FloatArray, ...]
    """The metric of each level's seeds, less is better."""
    noise: float
    """Standard deviation between seeds, pooled over all points of this P."""
    cost: Cost | None
    """Parameter counts along d_m; None where the rows do not determine them."""

    @property
    def means(self) -> FloatArray:
        """Mean over seeds, [levels]."""
        return np.array([values.mean() for values in self.losses])

    @property
    def runs(self) -> FloatArray:
        """Seeds of each level, [levels]."""
        return np.array([len(values) for values in self.losses], dtype=np.float64)

    @property
    def place(self) -> str:
        """The line in words."""
        return f"P = {self.budget:,.0f}, k_c = {self.k_c:.0f}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """ln d_m* of one line by one estimator."""

    draws: FloatArray
    """ln d_m*: of the measured means in row 0, then of each draw, [draws + 1]. An end of the range that was run where
    the metric is best there."""
    ends: tuple[float, float]
    """ln d_m of the outermost levels."""

    @property
    def interval(self) -> tuple[float, float, float]:
        """Estimate with its 95 % interval."""
        return interval(self.draws)

    @property
    def inside(self) -> float:
        """Share of the draws strictly between the outermost levels."""
        low, high = self.ends
        return float(((self.draws[1:] > low) & (self.draws[1:] < high)).mean())

    @property
    def is_interior(self) -> bool:
        """Whether at least 97.5 % of the draws lie between the outermost levels."""
        return self.inside >= (1 + LEVEL) / 2


def lines(data: Dataset) -> list[Line]:
    """The lines of a data set, by growing k_c and budget; a budget without replicates has no noise and no line."""
    found = []
    for k_c, budget, rows in budget_lines(data.rows):
        at_budget = data.rows[data.rows["budget"] == budget]
        noise, _ = pooled_noise(at_budget, ["configuration"])
        if noise is not None:
            found.append(_line(rows, budget=budget, k_c=k_c, noise=noise, direction=data.direction))
    return found


def _line(rows: pd.DataFrame, *, budget: float, k_c: float, noise: float, direction: str) -> Line:
    parts = sorted(rows.groupby("d_m"), key=lambda part: float(str(part[0])))
    return Line(
        budget=budget,
        k_c=k_c,
        d_m=np.array([float(str(d_m)) for d_m, _ in parts]),
        losses=tuple(-gain(part, direction) for _, part in parts),
        noise=noise,
        cost=line_cost(rows),
    )


def estimates(line: Line, seed: int = 0) -> dict[str, Estimate]:
    """ln d_m* of one line by both estimators, from the same draws of the means.

    Args:
        line: the runs. Levels may have different numbers of seeds: each mean is drawn with the pooled noise over the
            root of its own number. A level without a run is not there.
        seed: seed of the draws.

    Returns:
        By the estimator's name; an estimator is missing where there are fewer levels than its polynomial needs.
    """
    x = np.log(line.d_m)
    # Lines of equal length would otherwise share their draws, and differences between them would lose their noise.
    random = np.random.default_rng([seed, round(line.budget), round(line.k_c)])
    drawn = drawn_means(line.means, line.noise / np.sqrt(line.runs), random)
    found = {}
    if len(x) >= LEAST_LEVELS[QUADRATIC]:
        found[QUADRATIC] = vertex(x, drawn)
    if len(x) >= LEAST_LEVELS[CUBIC]:
        found[CUBIC] = cubic_minimum(x, drawn)
    ends = (float(x[0]), float(x[-1]))
    return {name: Estimate(draws=draws, ends=ends) for name, draws in found.items()}


def cubic_minimum(x: FloatArray, losses: FloatArray) -> FloatArray:
    """Place of the smallest value, between the outermost levels, of the least-squares cubic through all levels.

    Args:
        x: Levels, rising, [levels]; four or more.
        losses: Means at the levels, one row a draw, [draws, levels].

    Returns:
        [draws]. A cubic without a minimum between the outermost levels, or with a smaller value at one of them, is
        smallest at that level, and this is what is returned.
    """
    # On [-1, 1] the powers differ from each other most, which keeps the digits of the coefficients.
    middle, half = (x[0] + x[-1]) / 2, (x[-1] - x[0]) / 2
    d, c, b, a = np.polynomial.polynomial.polyfit((x - middle) / half, losses.T, 3)
    # Roots of the slope 3 a z^2 + 2 b z + c, in the form that stays exact where the cubic is nearly a parabola. A slope
    # without real roots has a cubic without extrema, for which the ends alone are candidates.
    with np.errstate(divide="ignore", invalid="ignore"):
        larger = -b - np.copysign(np.sqrt(b**2 - 3 * a * c), b)
        roots = np.stack([larger / (3 * a), c / larger])
    # Written so that a root that is none is not between the levels either; there the lower end stands in for it.
    inner = np.where(np.abs(roots) <= 1, roots, -1.0)
    candidates = np.concatenate([np.full((1, len(a)), -1.0), np.full((1, len(a)), 1.0), inner])
    best = np.argmin(((a * candidates + b) * candidates + c) * candidates + d, axis=0)
    # The ends are given back to the last digit, since a place counts as interior where it lies strictly between them.
    places = np.concatenate([np.full((1, len(a)), x[0]), np.full((1, len(a)), x[-1]), middle + half * inner])
    return np.asarray(places[best, np.arange(len(a))])


def neurons(line: Line, estimate: Estimate) -> FloatArray:
    """n_rec* of each draw: the neurons that the budget leaves at d_m*; the line must have counts."""
    assert line.cost is not None
    return np.asarray(line.cost.neurons(line.budget, np.exp(estimate.draws)), dtype=np.float64)
