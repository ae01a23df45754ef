"""What a prediction that was written down before looking is worth beside answers without any theory."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.rows.means import LEVEL, pooled_noise
from analysis.rows.sweep import Dataset
from studies.answers import Answer, interval_text
from studies.paper_in_miniature.optima import VARIANTS, chosen
from studies.paper_in_miniature.questions import NOT_DECIDED, NOT_REPRODUCED, REPRODUCED
from studies.statistics import DRAWS, FloatArray

SURFACE_TERMS = 6
"""Coefficients of a full quadratic surface in two variables."""


def held_out(path: Path, rows: pd.DataFrame, earlier: Dataset) -> Answer:
    """Compare a prediction with what the trials then showed, and with what needs no theory.

    Answers without theory: the value of the same d_m at the largest earlier budget, and a full quadratic surface in
    ln P and ln d_m through the earlier means, in each variant of the rows. Rule: reproduced if the chosen law's root
    mean square error is smaller than that of each of them (95 % interval of the ratio, by bootstrap over the points)
    and it names the best d_m to within one sampled value; not reproduced if the error is larger than that of any;
    otherwise not decided.

    Args:
        path: file written by `studies.prediction`.
        rows: the rows of that sweep, with `value`.
        earlier: the rows of the smaller budgets at the same settings.
    """
    question = "Does the law predict the largest budget better than answers without theory?"
    if not path.exists():
        return Answer(question, NOT_DECIDED, "No prediction was made beforehand.", {})
    stored = json.loads(path.read_text(encoding="utf-8"))
    points = pd.DataFrame(stored["points"])
    means = rows.groupby(["budget", "n_rec", "d_m"])["value"].agg(["mean", "size"]).reset_index()
    both = points.assign(place=range(len(points))).merge(means, on=["budget", "n_rec", "d_m"], suffixes=("", "_seen"))
    both = both.sort_values("d_m", ignore_index=True)  # neighbours in the list are neighbours in d_m
    # A prediction that is checked at some of its points alone could be checked at those that suit it.
    if len(both) < len(points):
        return Answer(question, NOT_DECIDED, f"{len(points) - len(both)} of {len(points)} points were not run.", {})
    noise, _ = pooled_noise(rows, ["budget", "n_rec", "d_m"])
    if noise is None:
        return Answer(question, NOT_DECIDED, "No point was run twice, so there is no seed noise to measure by.", {})
    measured = both["mean_seen"].to_numpy(float)
    errors = both["mean"].to_numpy(float) - measured
    others = {name: told - measured for name, told in without_theory(earlier, both).items()}
    ratios = {name: _ratio(errors, other) for name, other in others.items()}
    better = np.argmin if rows["direction"].iloc[0] == "min" else np.argmax
    expected_best, measured_best = int(better(both["mean"])), int(better(measured))
    # Neighbouring values of d_m often cannot be told apart under seed noise.
    near = abs(expected_best - measured_best) <= 1
    verdict = NOT_DECIDED
    if any(low > 1 for _, low, _ in ratios.values()):
        verdict = NOT_REPRODUCED
    elif ratios and near and all(high < 1 for _, _, high in ratios.values()):
        verdict = REPRODUCED
    rmse, level = _rms(errors), float(errors.mean())
    # Coverage is counted over single runs, since the interval is of one new run.
    runs = rows.merge(points, on=["budget", "n_rec", "d_m"])
    covered = float(runs["value"].between(runs["low"], runs["high"]).mean())
    one_side = max(int((errors > 0).sum()), int((errors < 0).sum()))
    compared = "; ".join(
        f"{name} {_rms(other):.3g}, ratio {interval_text(ratios[name])}" for name, other in others.items()
    )
    sentence = (
        f"Error of the law {rmse:.3g} (seed noise {noise:.3g}), of which {level**2 / rmse**2:.0%} of the square are "
        f"one level: {level:+.3g}, {one_side} of {len(errors)} points with one sign; rest {errors.std():.3g}. Without "
        f"theory: "
        f"{compared}. {covered:.0%} of the new runs inside their 95 % interval; best d_m predicted "
        f"{both['d_m'].iloc[expected_best]:.0f}, measured {both['d_m'].iloc[measured_best]:.0f}."
    )
    numbers = {
        "rmse": rmse,
        "level": level,
        "shape": float(errors.std()),
        "seed_sd": noise,
        "coverage": covered,
        "without_theory": {name: {"rmse": _rms(other), "ratio": list(ratios[name])} for name, other in others.items()},
        "rivals": {
            name: _rms(np.asarray(values, dtype=float)[both["place"]] - measured)
            for name, values in stored["rivals"].items()
        },
    }
    return Answer(question, verdict, sentence, numbers | {"made_at": stored["made_at"], "law": stored["law"]})


def without_theory(earlier: Dataset, points: pd.DataFrame) -> dict[str, FloatArray]:
    """What somebody without a law expects at new points.

    Args:
        earlier: the rows of the smaller budgets.
        points: `budget` and `d_m` of each point.

    Returns:
        By name, one value a point; answers that the rows cannot give are missing.
    """
    answers: dict[str, FloatArray] = {}
    with_budget = earlier.rows[earlier.rows["budget"].notna()]
    last = with_budget[with_budget["budget"] == with_budget["budget"].max()].groupby("d_m")["value"].mean()
    if points["d_m"].isin(last.index).all():
        answers["the value of the same d_m one budget below"] = last.loc[points["d_m"]].to_numpy(float)
    for variant in VARIANTS:
        rows = chosen(earlier, variant).rows
        means = rows[rows["budget"].notna()].groupby(["budget", "d_m"])["value"].mean().reset_index()
        terms = _surface(means)
        if len(means) > SURFACE_TERMS and np.linalg.matrix_rank(terms) == SURFACE_TERMS:
            found = np.linalg.lstsq(terms, means["value"].to_numpy(float), rcond=None)[0]
            answers[f"quadratic surface ({variant.name})"] = _surface(points) @ found
    return answers


def _surface(points: pd.DataFrame) -> FloatArray:
    x, y = (np.log(points[name].to_numpy(float)) for name in ("budget", "d_m"))
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _rms(errors: FloatArray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _ratio(errors: FloatArray, others: FloatArray, seed: int = 0) -> tuple[float, float, float]:
    """Ratio of root mean square errors with its 95 % interval, by bootstrap over the points."""
    # Both at the same points in each draw, because what is hard for one is often hard for the other.
    places = np.random.default_rng(seed).integers(len(errors), size=(DRAWS, len(errors)))
    draws = np.sqrt((errors[places] ** 2).mean(axis=1) / (others[places] ** 2).mean(axis=1))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return _rms(errors) / _rms(others), float(low), float(high)
