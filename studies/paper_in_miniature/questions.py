"""The questions of a replication study that need no law: axes one by one, optima, ablations, architectures.

Each function takes rows and returns an `Answer`. A verdict follows from a 95 % interval by a fixed rule, never from the
look of a figure.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from analysis.laws.theory_fit import line_cost
from analysis.rows.means import LEVEL, budget_lines, configurations, pooled_noise, seed_noise
from analysis.rows.sweep import Dataset
from studies.answers import Answer, interval_text
from studies.statistics import (
    FloatArray,
    best_at_budgets,
    drawn_means,
    gain,
    interval,
    log_slope,
    vertex,
    welch,
)
from theory.data.cost import Cost

REPRODUCED, NOT_REPRODUCED, NOT_DECIDED = "reproduced", "not reproduced", "not decided at this scale"


class Base(NamedTuple):
    """The settings that the isobudget sweep of the study was run at."""

    d_tree: int
    d_branch: int
    n_rec: int
    """Neurons where another axis is varied alone."""
    d_m: int
    """Memory units where another axis is varied alone."""


def axis_alone(data: Dataset, axis: str, base: Base) -> Answer:
    """Does the metric get better along one axis while the others stand still?

    Rule: reproduced if the slope of the gain in the logarithm of the axis is positive (95 %) and no step to the next
    level makes it significantly worse; not reproduced if the slope is negative or a step does (5 %, shared by all).

    Args:
        data: the rows.
        axis: `n_rec`, `k_e` or `k_c`.
        base: where the other axes stand.
    """
    question = f"Does the metric improve along {axis} alone?"
    fixed = {"n_rec": base.n_rec, "d_m": base.d_m, "d_branch": base.d_branch, "d_tree": base.d_tree}
    # Complexity is varied through the memory units, connectivity through the synapses of a branch.
    del fixed[{"n_rec": "n_rec", "k_e": "d_m", "k_c": "d_branch"}[axis]]
    rows = data.rows
    for name, value in fixed.items():
        rows = rows[rows[name] == value]
    levels = np.sort(rows[axis].unique()).astype(float)
    sd, freedom = pooled_noise(rows, [axis])
    # Two levels have a slope but no shape, and without replicates there is no noise to judge a step by.
    if len(levels) < 3 or sd is None or rows.groupby(axis)["seed"].size().min() < 2:
        return Answer(question, NOT_DECIDED, f"Only {len(levels)} levels with replicates.", {"levels": levels.tolist()})
    grouped = rows.assign(gain=gain(rows, data.direction)).groupby(axis)["gain"]
    means, runs = grouped.mean().to_numpy(float), grouped.size().to_numpy(float)
    slope, low, high = _slope(np.log(rows[axis].to_numpy(float)), gain(rows, data.direction))
    # Neighbours are compared with the noise pooled over all levels: two or three seeds of one level would hardly tell.
    steps = np.diff(means) / (sd * np.sqrt(1 / runs[1:] + 1 / runs[:-1]))
    # Bonferroni: with every level that was run a step that looks worse by luck becomes likelier.
    worse = levels[1:][stdtr(freedom, steps) < (1 - LEVEL) / len(steps)]
    good = low > 0 and not len(worse)
    bad = high < 0 or len(worse) > 0
    verdict = REPRODUCED if good else NOT_REPRODUCED if bad else NOT_DECIDED
    sign = -1.0 if data.direction == "min" else 1.0
    sentence = (
        f"From {axis} = {levels[0]:,.0f} to {levels[-1]:,.0f} the {data.metric} goes from {sign * means[0]:.4g} to "
        f"{sign * means[-1]:.4g}; gain per e-fold {slope:.3g} ({low:.3g} to {high:.3g})"
        + (f"; significantly worse at {axis} = {', '.join(f'{w:,.0f}' for w in worse)}." if len(worse) else ".")
    )
    numbers = {
        "axis": axis,
        "held": fixed,
        "levels": levels.tolist(),
        "means": (sign * means).tolist(),
        "half": (stdtrit(freedom, (1 + LEVEL) / 2) * sd / np.sqrt(runs)).tolist(),
        "slope": [slope, low, high],
        "seed_sd": sd,
        "worse_at": worse.tolist(),
    }
    return Answer(question, verdict, sentence, numbers)


def _slope(x: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    """Least-squares slope with its 95 % interval."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    residual = y - y.mean() - slope * centred
    half = float(
        stdtrit(len(x) - 2, (1 + LEVEL) / 2) * np.sqrt(residual @ residual / (len(x) - 2) / (centred @ centred))
    )
    return slope, slope - half, slope + half


def interior_optimum(data: Dataset) -> Answer:
    """Is there, at each budget, a best d_m with significantly worse ones on both sides?

    Rule: reproduced if that holds at every budget (one-sided t-tests of both ends against the best, 5 %, pooled seed
    noise); not reproduced if the best lies at an end of every budget's range; otherwise not decided.
    """
    question = "Is there an interior optimum at fixed P?"
    table, noise = configurations(data), seed_noise(data)
    sign = -1.0 if data.direction == "min" else 1.0
    rows: list[dict[str, Any]] = []
    # The caller leaves other connectivities out, so that each budget has one line.
    for _, budget, part in budget_lines(table):
        if len(part) < 3 or noise.sd is None:
            continue
        means, runs, d_m = (part[name].to_numpy(float) for name in ("mean", "n", "d_m"))
        best = int(np.argmax(sign * means))
        # Only the ends are tested against the best: that values between them are worse as well is no question of an
        # optimum.
        behind = sign * (means[best] - means[[0, -1]])
        spread = noise.sd * np.sqrt(1 / runs[[0, -1]] + 1 / runs[best])
        p = stdtr(noise.freedom, -behind / spread)
        rows.append(
            {
                "budget": budget,
                "d_m": d_m[best],
                "n_rec": float(part["n_rec"].iloc[best]),
                "metric": float(means[best]),
                "range": [float(d_m[0]), float(d_m[-1])],
                "behind_at_ends": behind.tolist(),
                "p_at_ends": p.tolist(),
                "interior": bool(0 < best < len(means) - 1 and (p < 1 - LEVEL).all()),
            }
        )
    if not rows:
        return Answer(question, NOT_DECIDED, "No budget has three values of d_m with replicates.", {})
    interior = [row["budget"] for row in rows if row["interior"]]
    # An optimum at the end of every range contradicts an interior one; at some of them it may only lie outside what was
    # run.
    at_end = all(row["d_m"] in row["range"] for row in rows)
    verdict = REPRODUCED if len(interior) == len(rows) else NOT_REPRODUCED if at_end else NOT_DECIDED
    places = ", ".join(f"d_m = {row['d_m']:.0f} (N = {row['n_rec']:.0f}) at P = {row['budget']:,.0f}" for row in rows)
    sentence = f"Best measured: {places}; both ends significantly worse at {len(interior)} of {len(rows)} budgets."
    return Answer(question, verdict, sentence, {"budgets": rows, "seed_sd": noise.sd})


def local_optima(data: Dataset, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw the place of each budget's optimum under seed noise, without a law.

    A parabola in ln d_m goes through the best mean and its neighbours; its vertex, kept within the sampled range, is
    the optimum. The means are drawn anew from a normal distribution with the pooled seed noise.

    Returns:
        Budgets [b]; d_m [draws + 1, b] and n_rec likewise, the measured means in row 0.
    """
    table, noise, random = configurations(data), seed_noise(data), np.random.default_rng(seed)
    sign = 1.0 if data.direction == "min" else -1.0
    budgets, places, sizes = [], [], []
    for _, budget, part in budget_lines(table):
        # The neurons that a budget leaves at d_m follow from the counts, so that n_rec* is drawn with d_m*.
        cost = line_cost(data.rows[data.rows["budget"] == budget])
        if len(part) < 3 or cost is None or noise.sd is None:
            continue
        x, loss = np.log(part["d_m"].to_numpy(float)), sign * part["mean"].to_numpy(float)
        spread = noise.sd / np.sqrt(part["n"].to_numpy(float))
        d_m = np.exp(vertex(x, drawn_means(loss, spread, random)))
        budgets.append(budget)
        places.append(d_m)
        sizes.append(_neurons(cost, budget, d_m))
    return np.array(budgets), np.array(places).T, np.array(sizes).T


def _neurons(cost: Cost, budget: float, d_m: FloatArray) -> FloatArray:
    return np.asarray(cost.neurons(budget, d_m), dtype=np.float64)


def movement(data: Dataset) -> tuple[Answer, Answer]:
    """Does a larger P take more neurons and more complex ones, and does d_m* grow like the root of n_rec*?

    Rule: reproduced if both exponents' 95 % intervals lie above 0; not reproduced if one lies below; the square root if
    the interval of the exponents' ratio holds 1/2 and is narrower than 1/2, not reproduced if it excludes 1/2.
    """
    questions = (
        "Does a larger P move the optimum to more and to more complex neurons?",
        "Is d_m* ~ sqrt(n_rec*) (ratio of the exponents in P: 1/2)?",
    )
    budgets, d_m, n_rec = local_optima(data)
    # A line through two budgets has no residual, so nothing would tell an exponent from chance.
    if len(budgets) < 3:
        sentence = f"{len(budgets)} budgets with an optimum: no exponent."
        return tuple(Answer(question, NOT_DECIDED, sentence, {}) for question in questions)  # type: ignore[return-value]
    exponents = {name: log_slope(budgets, place) for name, place in (("n_rec", n_rec), ("d_m", d_m))}
    intervals = {name: interval(draws) for name, draws in exponents.items()}
    places = {
        "budgets": budgets.tolist(),
        "d_m": [interval(d_m[:, i]) for i in range(len(budgets))],
        "n_rec": [interval(n_rec[:, i]) for i in range(len(budgets))],
    }
    # "More and more complex": both sizes must grow.
    up = all(low > 0 for _, low, _ in intervals.values())
    down = any(high < 0 for _, _, high in intervals.values())
    sentence = (
        f"Law-free optimum from P = {budgets[0]:,.0f} to {budgets[-1]:,.0f}: "
        f"n_rec* ~ P^{interval_text(intervals['n_rec'])}, d_m* ~ P^{interval_text(intervals['d_m'])}; "
        f"d_m* from {places['d_m'][0][0]:.2g} to "
        f"{places['d_m'][-1][0]:.2g}."
    )
    moved = Answer(
        questions[0],
        REPRODUCED if up else NOT_REPRODUCED if down else NOT_DECIDED,
        sentence,
        {"exponents": intervals, "optima": places},
    )
    ratio = interval(exponents["d_m"] / exponents["n_rec"])
    # An interval that holds 1/2 because it holds everything supports nothing, so it must be narrow as well.
    holds, narrow = ratio[1] <= 0.5 <= ratio[2], ratio[2] - ratio[1] < 0.5
    verdict = NOT_REPRODUCED if not holds else REPRODUCED if narrow else NOT_DECIDED
    return moved, Answer(questions[1], verdict, f"Ratio of the exponents {interval_text(ratio)}.", {"ratio": ratio})


def ablation(base: pd.DataFrame, other: pd.DataFrame, direction: str, setting: str, value: str) -> dict[str, Any]:
    """Effect of one changed setting at equal P: gain over the base, paired by budget, d_m and seed.

    Args:
        base: rows of the study's own settings.
        other: rows with the changed one.
        direction: `min` or `max`.
        setting: its name.
        value: its value, as text.

    Returns:
        Mean gain with its 95 % interval over the pairs; of each budget the best d_m and its metric, changed and base.
    """
    # Paired, so that what differs between budgets, values of d_m and seeds cancels.
    key = ["budget", "d_m", "seed"]
    pairs = other[[*key, "value"]].merge(base[[*key, "value"]], on=key, suffixes=("", "_base"))
    sign = -1.0 if direction == "min" else 1.0
    difference = sign * (pairs["value"] - pairs["value_base"]).to_numpy(float)
    effect: dict[str, Any] = {"setting": setting, "value": value, "pairs": len(pairs), "gain": None}
    # Two differences give a standard deviation with one degree of freedom, whose t quantile is 12.7.
    if len(pairs) >= 3:
        half = stdtrit(len(pairs) - 1, (1 + LEVEL) / 2) * difference.std(ddof=1) / np.sqrt(len(pairs))
        mean = float(difference.mean())
        effect["gain"] = [mean, mean - float(half), mean + float(half)]
    means = pairs.groupby(["budget", "d_m"])[["value", "value_base"]].mean().mul(sign).groupby("budget")
    for name, table in (("best_d_m", means.idxmax().map(lambda place: place[1])), ("best_metric", means.max() * sign)):
        effect[name] = {
            f"{budget:g}": {"changed": float(row["value"]), "base": float(row["value_base"])}
            for budget, row in table.iterrows()
        }
    return effect


def architectures(elm: Dataset, others: Sequence[Dataset], rate_at_end: Collection[str] = ()) -> Answer:
    """Is the ELM Network better than gated networks of equal P?

    Rule: reproduced if at every shared budget it is significantly better than each of them (two-sided t-test, 5 %,
    variances of their own); not reproduced if at any it is significantly worse; otherwise not decided.

    Args:
        elm: the study's own rows.
        others: rows of the other architectures, each at its best learning rate.
        rate_at_end: ids of trials whose learning rate, the best, was the smallest or largest tried.
    """
    question = "Is the ELM Network better than LSTM, Chrono-LSTM and GRU at equal P?"
    sign = -1.0 if elm.direction == "min" else 1.0
    elm_runs = dict(best_at_budgets(elm))
    rows: list[dict[str, Any]] = []
    for data in others:
        for budget, runs in best_at_budgets(data):
            if budget not in elm_runs:
                continue
            mean, low, high = welch(
                sign * elm_runs[budget]["value"].to_numpy(float), sign * runs["value"].to_numpy(float)
            )
            values = {"elm": float(elm_runs[budget]["value"].mean()), "other": float(runs["value"].mean())}
            name, at_end = data.keys["architecture"], bool(runs["trial_id"].isin(rate_at_end).any())
            about = {"learning_rate": float(runs["learning_rate"].iloc[0]), "rate_at_end": at_end}
            rows.append({"budget": budget, "architecture": name, "lead": [mean, low, high]} | values | about)
    if not rows:
        return Answer(question, NOT_DECIDED, "No other architecture was run at these budgets.", {})
    ahead, behind = sum(r["lead"][1] > 0 for r in rows), sum(r["lead"][2] < 0 for r in rows)
    # The claim is about every budget and every architecture: one significant loss refutes it, one open comparison
    # leaves it open.
    verdict = REPRODUCED if ahead == len(rows) else NOT_REPRODUCED if behind else NOT_DECIDED
    listed = "; ".join(
        f"P = {r['budget']:,.0f}: ELM {r['elm']:.3f}, {r['architecture']} {r['other']:.3f}" for r in rows
    )
    sentence = f"Significantly better in {ahead} of {len(rows)} comparisons, significantly worse in {behind}. {listed}."
    ends = [f"{r['architecture']} at P = {r['budget']:,.0f}" for r in rows if r["rate_at_end"]]
    # The other architecture may be better than shown, and the reader must know it.
    if ends:
        sentence += f" Best learning rate at the end of those tried, so perhaps better yet: {', '.join(ends)}."
    return Answer(question, verdict, sentence, {"comparisons": rows})
