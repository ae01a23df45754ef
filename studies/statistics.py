"""What the studies measure without a law: gains, local optima under seed noise, comparisons of two networks."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import ttest_ind

from analysis.rows.means import LEVEL
from analysis.rows.sweep import Dataset

DRAWS = 4000
"""Draws of the means under seed noise behind each interval of an optimum."""

NEIGHBOURS = 2
"""Values of d_m on each side of the best that the local parabola goes through."""

FloatArray = npt.NDArray[np.float64]


def gain(rows: pd.DataFrame, direction: str) -> FloatArray:
    """The metric with its sign such that more is better."""
    # Every rule is about more or less gain, so that it reads the same for errors and accuracies.
    return np.asarray(rows["value"], dtype=np.float64) * (-1.0 if direction == "min" else 1.0)


def drawn_means(loss: FloatArray, spread: FloatArray, random: np.random.Generator) -> FloatArray:
    """Draw the means of one line of configurations anew under their noise.

    Args:
        loss: Measured means, less is better, [levels].
        spread: Standard error of each mean, [levels].
        random: Source of the draws.

    Returns:
        [DRAWS + 1, levels]. The measured means come first: they give the estimate, the draws give its interval.
    """
    return np.vstack([loss, loss + spread * random.standard_normal((DRAWS, len(loss)))])


def vertex(x: FloatArray, losses: FloatArray) -> FloatArray:
    """Place of the optimum by a parabola through the best level and `NEIGHBOURS` levels on each side of it.

    Args:
        x: Levels, rising, [levels]; three or more.
        losses: Means at the levels, less is better, one row a draw, [draws, levels].

    Returns:
        The vertex of each draw, kept within the levels; the best level where the parabola opens downwards, [draws].
    """
    best = np.argmin(losses, axis=1)
    # At an end of the range the window moves inwards, so that it always holds five values where there are as many.
    first = np.clip(best - NEIGHBOURS, 0, max(0, len(x) - 2 * NEIGHBOURS - 1))
    places = x[best]
    # All draws with one window are one least-squares problem.
    for start in np.unique(first):
        near, drawn = slice(start, start + 2 * NEIGHBOURS + 1), np.flatnonzero(first == start)
        a, b, _ = np.polyfit(x[near], losses[drawn, near].T, 2)
        # A parabola that opens downwards has a worst place and no best one; then the best mean stands.
        up = a > 0
        places[drawn[up]] = np.clip(-b[up] / (2 * a[up]), x[0], x[-1])
    return np.asarray(places)


def interval(draws: FloatArray) -> tuple[float, float, float]:
    """The value of the measured means (row 0) with the 95 % range of the draws."""
    low, high = np.quantile(draws[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(draws[0]), float(low), float(high)


def log_slope(sizes: FloatArray, places: FloatArray) -> FloatArray:
    """Exponent of a power law through places at several sizes, by least squares in logarithms.

    Args:
        sizes: [b].
        places: [..., b].

    Returns:
        One exponent for each line of `places`, [...].
    """
    axis = np.log(sizes) - np.log(sizes).mean()
    # Least squares in logarithms, for all draws in one product.
    return np.asarray(np.log(places) @ axis / (axis @ axis))


def best_at_budgets(data: Dataset) -> Iterator[tuple[float, pd.DataFrame]]:
    """At each budget the runs of the configuration that is best on the validation split, never on the test split."""
    # Choosing by the test split would favour whatever has more configurations to choose among.
    column = data.measure.column.replace(data.measure.split, "valid")
    sign = 1.0 if data.direction == "min" else -1.0
    for budget, rows in data.rows[data.rows["budget"].notna()].groupby("budget"):
        score = sign * rows.groupby("configuration")[column].mean()
        yield float(str(budget)), rows[rows["configuration"] == score.idxmin()]


def welch(ours: FloatArray, theirs: FloatArray) -> tuple[float, float, float]:
    """Difference of means with Welch's 95 % interval."""
    # Welch's form, because architectures differ in how much their seeds vary.
    found = ttest_ind(ours, theirs, equal_var=False).confidence_interval(LEVEL)
    return float(ours.mean() - theirs.mean()), float(found.low), float(found.high)
