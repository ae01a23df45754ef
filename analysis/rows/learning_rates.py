"""Learning-rate fairness: the best rate of each design point, how much it matters, and a rule to reuse it.

A wrong learning rate at large d_m fakes an optimum, so every design point is represented by its own best rate, chosen
on the validation split over the seeds that all its rates have in common.
"""

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.errors import AnalysisError
from sweeper.store.schema import DIVERGED

RULE = "learning rate"
"""Name of the rule in the ledger of rows left out."""

SPREAD = 1.5
"""Ratio of the largest to the smallest value of a size from which on its power is fitted; below it is 0. Assumption."""

RULE_POINTS = 4
"""Design points with several rates below which no rule is fitted. Assumption."""

EXACT = 1e-3
"""Relative deviation of a rate from a rule that four significant digits and the fit of its powers explain."""

Json = dict[str, Any]

FloatArray = npt.NDArray[np.float64]


class Choice(NamedTuple):
    """What became of the rates of several design points."""

    keep: pd.Series
    """Whether each row has the best rate of its design point."""
    why: str
    """The rule in one line, for the ledger."""


class Rates(NamedTuple):
    """The rates of one design point."""

    score: dict[float, float]
    """Mean validation metric by rate, as a loss; infinite for a rate at which a common seed diverged."""
    runs: dict[float, int]
    """Finished runs by rate."""
    diverged: dict[float, int]
    """Diverged runs by rate."""
    best: float
    """The chosen rate; the smaller one of two equals."""


def choose_rates(
    finished: pd.DataFrame, everything: pd.DataFrame, point: list[str], column: str, sign: float
) -> Choice:
    """Keep the best learning rate of each design point; the test split is never asked.

    Args:
        finished: rows with a value.
        everything: the group's rows of any status: a rate that diverged for a seed loses to one that did not.
        point: columns that make a design point.
        column: validation metric to choose by.
        sign: 1 if smaller is better, -1 if larger.

    Raises:
        AnalysisError: a design point has several rates and rows without a validation metric.
    """
    # Design points with a single rate have nothing to choose and keep all rows.
    keep = pd.Series(True, index=finished.index)
    several = finished.groupby(point, dropna=False)["learning_rate"].transform("nunique") > 1
    # Falling back to the test split would choose by the very numbers that are reported.
    if finished.loc[several, column].isna().any():
        raise AnalysisError(
            f"several learning rates at one design point, but {column} is missing, so none can be chosen. "
            "Choose one: --where 'learning_rate == ...'."
        )
    if not several.any():
        return Choice(keep, "")
    for _, part in everything.groupby(point, dropna=False):
        runs = finished.loc[part.index.intersection(finished.index)]
        if runs["learning_rate"].nunique() > 1:
            rates = rates_of(runs, part[part["status"] == DIVERGED], column, sign)
            keep[runs.index] = runs["learning_rate"] == rates.best
    return Choice(keep, "another learning rate is better on the validation split, over the seeds they share")


def rates_of(finished: pd.DataFrame, diverged: pd.DataFrame, column: str, sign: float) -> Rates:
    """Compare the rates of one design point over the seeds that all of them tried.

    A pilot often runs one seed at every rate and more seeds at the winner: the mean over all seeds would then be an
    unfair comparison, for the winner of one seed regresses to its mean. Without a common seed all seeds count.
    """
    by_rate = {float(cast(Any, rate)): part for rate, part in finished.groupby("learning_rate")}
    lost = {float(cast(Any, rate)): set(part["seed"]) for rate, part in diverged.groupby("learning_rate")}
    tried = {rate: set(part["seed"]) | lost.get(rate, set()) for rate, part in by_rate.items()}
    # Seeds that diverged were tried as well: leaving them out would reward the rate at which only easy seeds survive.
    common = set.intersection(*tried.values()) or set.union(*tried.values())
    score: dict[float, float] = {}
    for rate, part in by_rate.items():
        shared = part.loc[part["seed"].isin(common), column].astype("float64")
        unstable = bool(lost.get(rate, set()) & common)
        # A rate at which a seed diverges is a gamble, even if its finished seeds are the best.
        score[rate] = np.inf if unstable or not len(shared) else sign * float(shared.mean())
    if np.isinf(list(score.values())).all():  # every rate diverged for some seed: then what finished decides
        score = {rate: sign * float(part[column].mean()) for rate, part in by_rate.items()}
    runs = {rate: len(part) for rate, part in by_rate.items()}
    counted = {rate: len(seeds) for rate, seeds in lost.items()}
    # Of two equals the smaller one, because it is the more stable of them and the choice must not depend on the order
    # of rows.
    return Rates(score, runs, counted, min(score, key=lambda rate: (score[rate], rate)))


def rate_section(trials: pd.DataFrame, entering: pd.DataFrame, value: str, direction: str, point: list[str]) -> Json:
    """What the report says about learning rates; {} where every design point has one.

    Args:
        trials: all finished and diverged rows of the group, losers included, with the columns of `point`.
        entering: the rows that enter.
        value: column of the metric that is analysed.
        direction: `min` or `max`.
        point: columns that make a design point.
    """
    rates = trials.groupby(point, dropna=False)["learning_rate"].nunique()
    if not (rates > 1).any():
        return {}
    sign = 1.0 if direction == "min" else -1.0
    rows, optima = [], _optima(trials, entering, value, sign)
    for _, part in trials.groupby(point, dropna=False):
        entered = part[part["trial_id"].isin(entering["trial_id"])]
        if not len(entered):
            continue
        diverged = part["status"] == DIVERGED
        means = {
            float(cast(Any, rate)): float(runs[value].mean()) for rate, runs in part[~diverged].groupby("learning_rate")
        }
        best = _number(entered, "learning_rate")
        # Architectures leave sizes empty that they do not have.
        named = {name: None if entered[name].isna().all() else _number(entered, name) for name in point}
        rows.append(
            named
            | {
                "n_rec": _number(entered, "n_rec"),
                "best": best,
                "metric": means[best],
                "others": [{"rate": rate, "metric": mean} for rate, mean in means.items() if rate != best],
                "diverged": sorted(float(rate) for rate in part.loc[diverged, "learning_rate"].unique()),
            }
        )
    return {"points": rows, "optima": optima, "sentences": _sentences(rows, optima)}


def _number(rows: pd.DataFrame, name: str) -> float:
    """The value that all rows share."""
    return float(rows[name].iloc[0])


def _optima(trials: pd.DataFrame, entering: pd.DataFrame, value: str, sign: float) -> list[Json]:
    """Best measured d_m per size and k_c: with the best rate of each point, and with each single rate for all."""
    optima = []
    finished = trials[trials["status"] != DIVERGED]
    for _, part in finished.groupby(["size", "k_c"]):
        size, k_c = _number(part, "size"), _number(part, "k_c")
        entered = entering[(entering["size"] == size) & (entering["k_c"] == k_c)]
        levels = set(entered["d_m"].dropna())
        # A single d_m is the best whatever the rate, so nothing could be learnt from it.
        if len(levels) < 2:
            continue
        single = {}
        for rate, rows in part.groupby("learning_rate"):
            if set(rows["d_m"].dropna()) == levels:  # only a rate that every d_m was run with shows its own optimum
                single[f"{rate:g}"] = _best_d_m(rows, value, sign)
        optima.append({"size": size, "k_c": k_c, "best_of": _best_d_m(entered, value, sign), "single": single})
    return optima


def _best_d_m(rows: pd.DataFrame, value: str, sign: float) -> float:
    return float(cast(Any, (sign * rows.groupby("d_m")[value].mean()).idxmin()))


def _sentences(rows: list[Json], optima: list[Json]) -> list[str]:
    several = [row for row in rows if row["others"]]
    worst = [max((abs(o["metric"] - row["metric"]) for o in row["others"]), default=0.0) for row in several]
    sentences = [
        f"{len(several)} of {len(rows)} design points were run with several learning rates; each enters with the one "
        "that is best on the validation split over the seeds they share."
    ]
    if several:
        sentences.append(
            f"Another rate moves the metric by up to {max(worst):.3g} (median over points {np.median(worst):.3g})."
        )
    for row in optima:
        by_rate = ", ".join(f"{d_m:g} at rate {rate}" for rate, d_m in row["single"].items())
        if len(row["single"]) > 1:
            moved = any(d_m != row["best_of"] for d_m in row["single"].values())
            verdict = "one rate for all would move the optimum" if moved else "the optimum is the same at every rate"
            sentences.append(
                f"Size {row['size']:,.0f}: best d_m {row['best_of']:g}; with one rate for all: {by_rate}: {verdict}."
            )
    return sentences


class RateRule(NamedTuple):
    """``rate = scale n_rec^n_rec d_m^d_m``, least squares in logarithms."""

    scale: float
    n_rec: float
    d_m: float
    low: float
    high: float
    points: int
    factor: float
    """Typical factor (e to the residual standard deviation) between a point's own best rate and the rule."""

    def yaml(self) -> str:
        """The line for a grid's `training` section."""
        return (
            f"learning_rate: {{rule: {{scale: {self.scale:.6g}, n_rec: {self.n_rec:.4g}, d_m: {self.d_m:.4g}, "
            f"low: {self.low:g}, high: {self.high:g}}}}}"
        )


def fit_rule(trials: pd.DataFrame, column: str, direction: str, point: list[str]) -> RateRule:
    """Fit a power of n_rec and d_m to the best rates of a pilot.

    Each point's best rate is the vertex of the parabola in ln(rate) through its best rate and both neighbours, or the
    rate itself at an end of those tried. Powers of sizes that do not vary enough stay 0.

    Args:
        trials: rows of one group with several rates per design point, diverged ones included.
        column: validation metric.
        direction: `min` or `max`.
        point: columns that make a design point.

    Raises:
        AnalysisError: fewer than `RULE_POINTS` design points have several rates.
    """
    sign = 1.0 if direction == "min" else -1.0
    best_rates = []
    for _, part in trials.groupby(point, dropna=False):
        finished = part[part["status"] != DIVERGED]
        # A point with one rate says nothing about which rate is best there.
        if finished["learning_rate"].nunique() < 2:
            continue
        rates = rates_of(finished, part[part["status"] == DIVERGED], column, sign)
        best_rates.append((float(finished["n_rec"].iloc[0]), float(finished["d_m"].iloc[0]), vertex(rates.score)))
    if len(best_rates) < RULE_POINTS:
        raise AnalysisError(
            f"a learning-rate rule needs {RULE_POINTS} design points with several rates each, found {len(best_rates)}: "
            "launch a pilot with `training: {learning_rate: [...]}` over 2 or more values of d_m and budget"
        )
    # The rule is cut off at the rates that were tried: beyond them nothing is known.
    tried = trials["learning_rate"].astype("float64")
    n_rec, d_m, best = (np.array(values) for values in zip(*best_rates, strict=True))
    return _power(n_rec, d_m, best, float(tried.min()), float(tried.max()))


def power_rule(rows: pd.DataFrame) -> RateRule:
    """The rule through the rates of rows that already are the best of their design points."""
    n_rec, d_m, rate = (rows[name].to_numpy(float) for name in ("n_rec", "d_m", "learning_rate"))
    return _power(n_rec, d_m, rate, float(rate.min()), float(rate.max()))


def exact_rule(rows: pd.DataFrame) -> bool:
    """Whether the rates of rows are one power of their sizes to the digits a rule is rounded to, cut off at both ends.

    Args:
        rows: rows with `n_rec`, `d_m` and `learning_rate`.
    """
    rate = rows["learning_rate"].to_numpy(float)
    # the ends may be cut off by the rule's own range, so that only what lies between can show the power
    inside = rows[(rate > rate.min()) & (rate < rate.max())]
    if inside["learning_rate"].nunique() < RULE_POINTS or not (inside["n_rec"] > 0).all():
        return False
    rule = power_rule(inside)
    d_m = rows["d_m"].astype("float64").fillna(1.0).to_numpy(float)
    by_rule = rule.scale * rows["n_rec"].to_numpy(float) ** rule.n_rec * d_m**rule.d_m
    return bool(np.allclose(np.clip(by_rule, rate.min(), rate.max()), rate, rtol=EXACT))


def _power(n_rec: FloatArray, d_m: FloatArray, best: FloatArray, low: float, high: float) -> RateRule:
    """Least squares in logarithms; powers of sizes that do not vary enough stay 0."""
    # Networks without d_m have NaN there, and a size that hardly varies would get an arbitrary power from noise.
    columns, powers = [np.ones(len(best))], {}
    for name, values in (("n_rec", n_rec), ("d_m", d_m)):
        if np.isfinite(values).all() and values.max() / values.min() >= SPREAD:
            powers[name] = len(columns)
            columns.append(np.log(values))
    matrix = np.column_stack(columns)
    solution, _, _, _ = np.linalg.lstsq(matrix, np.log(best), rcond=None)
    residual = np.log(best) - matrix @ solution
    return RateRule(
        scale=float(np.exp(solution[0])),
        n_rec=float(solution[powers["n_rec"]]) if "n_rec" in powers else 0.0,
        d_m=float(solution[powers["d_m"]]) if "d_m" in powers else 0.0,
        low=low,
        high=high,
        points=len(best),
        # Rates differ by factors, so their typical deviation is one too.
        factor=float(np.exp(np.sqrt(np.mean(residual**2)))),
    )


def vertex(score: dict[float, float]) -> float:
    """Best rate between those tried: vertex of the parabola in ln(rate) through the best one and its neighbours.

    >>> round(vertex({0.001: 4.0, 0.01: 1.0, 0.1: 4.0}), 6)
    0.01
    """
    rates = sorted(rate for rate in score if np.isfinite(score[rate]))
    best = min(range(len(rates)), key=lambda i: score[rates[i]])
    # At an end there is no neighbour on the other side; extrapolating a parabola would promise more than was tried.
    if best in (0, len(rates) - 1):
        return rates[best]
    x = np.log(rates[best - 1 : best + 2])
    # Centred on the best rate, so that the vertex is a small distance from it, to be added.
    curvature, slope, _ = np.polyfit(x - x[1], [score[rate] for rate in rates[best - 1 : best + 2]], 2)
    # Noise can push the vertex far outside when the parabola is nearly flat, or turn it upside down.
    return float(np.exp(np.clip(x[1] - slope / (2 * curvature), x[0], x[2]))) if curvature > 0 else rates[best]


def rule_setting(rule: RateRule) -> dict[str, Any]:
    """A rule as a grid's `training.learning_rate` has it."""
    names = ("scale", "n_rec", "d_m", "low", "high")
    return {"rule": {name: float(f"{getattr(rule, name):.6g}") for name in names}}
