"""H4: does the law that was fitted to 10,000 to 100,000 predict 300,000 better than answers without theory do?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.rows.means import pooled_noise
from studies.answers import Answer, interval_text
from studies.interior_optimum.hypotheses import CONTRADICTED, NOT_DECIDED, NOT_RUN, SUPPORTED
from studies.statistics import DRAWS, FloatArray, interval

LAW, LAST, SURFACE = "the law", "the last value", "the quadratic surface"

WITHOUT_THEORY = "without_theory"
"""Key of a prediction that holds the answers without theory."""

FILE = "prediction.json"
"""File in the results directory with what was expected of the largest budget, by each measure that may be judged."""

COEFFICIENTS = 6
"""Of a full quadratic in two variables."""

POINT = ["budget", "k_c", "d_m"]
"""Columns that name a point."""


def without_theory(rows: pd.DataFrame, points: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """What two answers without theory expect of points that have not been run.

    Args:
        rows: the rows that the law was fitted to, with `value`.
        points: budget, k_c and d_m of each point to come.

    Returns:
        By the answer's name, one mean for each point: the value of the same d_m and k_c at the largest budget of
        `rows`, and a full quadratic surface in ln P and ln d_m, by least squares on the means, for each k_c.

    Raises:
        AnalysisError: a point's d_m was not run at the largest budget, or a k_c has too few points for a surface.
    """
    means = rows.groupby(POINT)["value"].mean()
    largest = float(rows["budget"].max())
    surfaces = {k_c: _surface(part) for k_c, part in means.reset_index().groupby("k_c")}
    expected: dict[str, list[float]] = {LAST: [], SURFACE: []}
    for point in points:
        k_c, d_m = float(point["k_c"]), float(point["d_m"])
        if (largest, k_c, d_m) not in means.index:
            raise AnalysisError(
                f"d_m = {d_m:g} at k_c = {k_c:g} has no row at P = {largest:,.0f}, whose value is one of the answers "
                "without theory: run it first"
            )
        expected[LAST].append(float(means[largest, k_c, d_m]))
        terms = _quadratic(np.array([float(point["budget"])]), np.array([d_m]))
        expected[SURFACE].append(float((terms @ surfaces[k_c])[0]))
    return expected


def _surface(means: pd.DataFrame) -> FloatArray:
    if len(means) < COEFFICIENTS:
        raise AnalysisError(
            f"k_c = {means['k_c'].iloc[0]:g}: {len(means)} points; a quadratic surface needs {COEFFICIENTS}"
        )
    terms = _quadratic(means["budget"].to_numpy(float), means["d_m"].to_numpy(float))
    return np.asarray(np.linalg.lstsq(terms, means["value"].to_numpy(float), rcond=None)[0])


def _quadratic(budget: FloatArray, d_m: FloatArray) -> FloatArray:
    """Terms of a full quadratic in ln P and ln d_m, [points, 6]."""
    # From fixed points near the middle of the study, so that squares of large logarithms lose no digits.
    x, y = np.log(budget / 1e5), np.log(d_m / 8)
    return np.stack([np.ones_like(x), x, y, x**2, x * y, y**2], axis=1)


def predicted(stored: Mapping[str, Any] | None, rows: pd.DataFrame, seed: int = 0) -> Answer:
    """H4: the law predicts the means at 300,000 with a smaller error than both answers without theory.

    Rule: supported if the ratio of its root mean square error to that of each of them has a 95 % interval (bootstrap
    over points) below one; contradicted if one of the two intervals lies above one, for then an answer without theory
    is better.

    Args:
        stored: the file that was written before the points were run; None where there is none.
        rows: the rows of 300,000, with `value`.
        seed: seed of the bootstrap.
    """
    question = "H4: the law predicts P = 300,000 better than the last value and a quadratic surface"
    if stored is None:
        return Answer(question, NOT_RUN, "No prediction has been written yet.", {})
    points = pd.DataFrame(stored["points"])
    expected = {LAW: points["mean"].tolist(), **stored[WITHOUT_THEORY]}
    means = rows.groupby(POINT)["value"].mean()
    index = pd.MultiIndex.from_frame(points[POINT].astype(float))
    lacking = int((~index.isin(means.index)).sum())
    if lacking:
        return Answer(question, NOT_RUN, f"{lacking} of the {len(points)} predicted points have no row yet.", {})
    measured = means.loc[index].to_numpy(float)
    errors = {name: np.array(values) - measured for name, values in expected.items()}
    drawn = np.random.default_rng(seed).integers(len(points), size=(DRAWS, len(points)))
    # The points as they are come first: they give the estimate.
    drawn = np.vstack([np.arange(len(points)), drawn])
    rmse = {name: np.sqrt((error[drawn] ** 2).mean(axis=1)) for name, error in errors.items()}
    ratios = {name: interval(rmse[LAW] / rmse[name]) for name in (LAST, SURFACE)}
    if any(low > 1 for _, low, _ in ratios.values()):
        verdict = CONTRADICTED
    else:
        verdict = SUPPORTED if all(high < 1 for _, _, high in ratios.values()) else NOT_DECIDED
    noise, _ = pooled_noise(rows, POINT)
    numbers = {
        "points": len(points),
        "made_at": stored["made_at"],
        "law": stored["law"],
        "seed_sd": noise,
        "ratios": ratios,
        "errors": {name: split_error(error) for name, error in errors.items()},
    }
    told = "; ".join(
        f"{name} {split['rmse']:.4f} (level {split['level']:+.4f}, shape {split['shape']:.4f})"
        for name, split in numbers["errors"].items()
    )
    compared = ", ".join(f"{interval_text(ends)} times that of {name}" for name, ends in ratios.items())
    spread = "" if noise is None else f" Seeds differ by {noise:.4f}."
    sentence = f"Root mean square error over {len(points)} points: {told}. The law's error is {compared}.{spread}"
    return Answer(question, verdict, sentence, numbers)


def split_error(error: FloatArray) -> dict[str, float]:
    """Split a root mean square error into its mean (level) and the rest (shape), whose squares add up to its own.

    >>> split_error(np.array([1.0, 3.0]))
    {'rmse': 2.23606797749979, 'level': 2.0, 'shape': 1.0}
    """
    return {"rmse": float(np.sqrt((error**2).mean())), "level": float(error.mean()), "shape": float(error.std())}
