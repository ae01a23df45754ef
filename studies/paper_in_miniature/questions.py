"""The questions of a replication study that need neither law nor optimum: axes, training, ablations, architectures.

Each function takes rows and returns an `Answer`. A verdict follows from a 95 % interval by a fixed rule, never from the
look of a figure.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit
from scipy.stats import linregress

from analysis.rows.effects import LEAST_PAIRS, gains, mean_interval, paired
from analysis.rows.means import LEVEL, pooled_noise
from analysis.rows.sweep import Dataset, Sweep
from studies.answers import Answer
from studies.statistics import FloatArray, best_at_budgets, gain, welch
from studies.yardsticks import Yardstick

REPRODUCED, NOT_REPRODUCED, NOT_DECIDED = "reproduced", "not reproduced", "not decided at this scale"

MEASURED = "measured"
"""Verdict of a question that asks how much, not whether."""

LEARNT = 0.99
"""Training accuracy from which a network has nothing left to learn from its training set."""


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
    Along k_e the rule must say the same without d_m = 1, which is another kind of network.

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
    answer = _along(rows, data, axis, fixed, question)
    if axis != "k_e" or not (rows["d_m"] == 1).any():
        return answer
    without = _along(rows[rows["d_m"] > 1], data, axis, fixed, question)
    verdict = answer.verdict if answer.verdict == without.verdict else NOT_DECIDED
    sentence = f"{answer.sentence} Without d_m = 1 ({without.verdict}): {without.sentence}"
    return answer._replace(verdict=verdict, sentence=sentence, numbers=answer.numbers | {"without": without.numbers})


def _along(rows: pd.DataFrame, data: Dataset, axis: str, fixed: dict[str, int], question: str) -> Answer:
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
    line = linregress(x, y)
    half = float(stdtrit(len(x) - 2, (1 + LEVEL) / 2) * line.stderr)
    return float(line.slope), float(line.slope) - half, float(line.slope) + half


def training(sweep: Sweep, data: Dataset, yardstick: Yardstick) -> Answer:
    """How far were the networks of each budget trained, and how fine can the test split tell them apart?

    Args:
        sweep: all rows and curves.
        data: the rows of the isobudget sweep.
        yardstick: what a simple model reaches.
    """
    question = "How far were networks of each budget trained?"
    rows = data.rows[data.rows["budget"].notna()]
    sign = -1.0 if data.direction == "min" else 1.0
    curves = sweep.curves[sweep.curves["split"] == "valid"].merge(rows[["trial_id", "budget"]], on="trial_id")
    by_step = curves.pivot_table(index=["budget", "trial_id"], columns="step", values="metric")
    numbers: dict[str, Any] = {"yardstick": yardstick._asdict()}
    told = []
    if by_step.shape[1] >= 2:
        before, end = by_step.columns[-2:]
        gains = (sign * (by_step[end] - by_step[before])).groupby("budget").mean()
        numbers["last_gain"] = {f"{budget:g}": float(value) for budget, value in gains.items()}
        listed = ", ".join(f"{value:.3f} at P = {budget:,.0f}" for budget, value in gains.items())
        told.append(f"The {data.metric} of the validation split gained from step {before} to {end}: {listed}")
    best = {budget: float(runs["value"].mean()) for budget, runs in best_at_budgets(data)}
    better = [budget for budget, value in best.items() if sign * (value - yardstick.value) > 0]
    numbers["above_yardstick"] = better
    budgets = ", ".join(f"{budget:,.0f}" for budget in better)
    told.append(f"{yardstick.name} reaches {yardstick.value:.3f}; better are the networks of P = {budgets or 'none'}")
    if data.metric == "accuracy":
        learnt = (rows["final_train_metric"] >= LEARNT).groupby(rows["budget"]).mean()
        numbers["learnt"] = {f"{budget:g}": float(share) for budget, share in learnt.items()}
        listed = ", ".join(f"{share:.0%} at P = {budget:,.0f}" for budget, share in learnt.items())
        top = max(best.values())
        error = float(np.sqrt(top * (1 - top) / yardstick.tests))
        numbers["test_error"] = error
        told.append(f"training accuracy is {LEARNT} or more in {listed}")
        told.append(f"{yardstick.tests} test recordings give an accuracy of {top:.2f} a standard error of {error:.3f}")
    return Answer(question, MEASURED, "; ".join(told) + ".", numbers)


def longer(short: Sequence[Dataset], more: Sequence[Dataset]) -> Answer:
    """What do more steps change at equal P: the order of d_m and k_c, and the lead of the best gated network?

    Args:
        short: the groups of the study, its own ELM Networks first.
        more: the groups that were trained longer; points that the study lacks are left out.
    """
    question = "What do more training steps change?"
    by_name = {data.keys["architecture"]: data for data in more}
    elm = by_name.pop("elm", None)
    if elm is None:
        return Answer(question, NOT_DECIDED, "No network was trained longer.", {})
    sign = -1.0 if elm.direction == "min" else 1.0
    tables = [data.rows.groupby(["budget", "k_c", "d_m"])["value"].mean() for data in (short[0], elm)]
    both = pd.concat(tables, axis=1, keys=["short", "long"]).dropna()
    steps = [int(data.rows["steps"].iloc[0]) for data in (short[0], elm)]
    told: list[str] = []
    numbers: list[dict[str, Any]] = []
    for group, part in both.groupby("budget"):
        budget, lines = float(str(group)), []
        for k_c, line in part.droplevel("budget").groupby("k_c"):
            places = ", ".join(
                f"{row['short']:.3f} to {row['long']:.3f} at d_m = {d_m:.0f}"
                for d_m, row in line.droplevel("k_c").iterrows()
            )
            lines.append(f"k_c = {k_c:.0f}: {places}")
        best = (sign * part).max() * sign
        numbers.append({"budget": budget, "steps": steps, "elm": best.tolist(), "leads": {}})
        told.append(f"P = {budget:,.0f}, {steps[0]:,} to {steps[1]:,} steps: {'; '.join(lines)}")
        for name, other in by_name.items():
            before = dict(best_at_budgets(next(data for data in short if data.keys["architecture"] == name)))[budget]
            after = dict(best_at_budgets(other))[budget]
            leads = [
                float(sign * (runs["value"].mean() - value)) for runs, value in zip((before, after), best, strict=True)
            ]
            numbers[-1]["leads"][name] = leads
            told.append(f"the lead of {name} over the best of these goes from {leads[0]:.3f} to {leads[1]:.3f}")
    return Answer(question, MEASURED, "; ".join(told) + ".", {"budgets": numbers})


def ablation(base: pd.DataFrame, other: pd.DataFrame, direction: str, setting: str, value: str) -> dict[str, Any]:
    """Effect of one changed setting at equal P: gain over the base, paired by budget, d_m and seed.

    Args:
        base: rows of the study's own settings.
        other: rows with the changed one.
        direction: `min` or `max`.
        setting: its name.
        value: its value, as text.

    Returns:
        Mean gain with its 95 % interval over the pairs, over all and at each d_m, and its slope in ln d_m; of each
        budget the best d_m and its metric, changed and base.
    """
    pairs = paired(base, other, ["budget", "d_m", "seed"])
    difference, sign = gains(pairs, direction), -1.0 if direction == "min" else 1.0
    effect: dict[str, Any] = {"setting": setting, "value": value, "pairs": len(pairs), "gain": None}
    if len(pairs) >= LEAST_PAIRS:
        effect["gain"] = list(mean_interval(difference))
    means = pairs.groupby(["budget", "d_m"])[["value", "value_base"]].mean().mul(sign).groupby("budget")
    effect["by_d_m"] = {
        f"{d_m:g}": list(mean_interval(difference[(pairs["d_m"] == d_m).to_numpy()]))
        for d_m in sorted(set(pairs["d_m"]))
    }
    # Where the effect depends on complexity, one number for all of them hides it.
    if len(pairs) >= LEAST_PAIRS and pairs["d_m"].nunique() > 1:
        effect["slope_in_ln_d_m"] = list(_slope(np.log(pairs["d_m"].to_numpy(float)), difference))
    for name, table in (("best_d_m", means.idxmax().map(lambda place: place[1])), ("best_metric", means.max() * sign)):
        effect[name] = {
            f"{budget:g}": {"changed": float(row["value"]), "base": float(row["value_base"])}
            for budget, row in table.iterrows()
        }
    return effect


def effect_answer(setting: str, base: float, effects: Sequence[Mapping[str, Any]], metric: str) -> Answer:
    """What a setting does to the metric; for rho_rec = 0 that is the question of the feed-forward network.

    Rule of that question: reproduced if recurrence helps at every d_m that was run (95 % interval over pairs), not
    reproduced if it harms at every one, otherwise not decided.

    Args:
        setting: what was changed.
        base: its value in the study.
        effects: what `ablation` found for each other value.
        metric: its name.
    """
    lines = [_effect_text(row) for row in effects if row["gain"] is not None]
    sentence = f"Gain in {metric} over {setting} = {base:g} at equal P, d_m and seed: {'; '.join(lines)}."
    if setting != "rho_rec":
        return Answer(f"What does {setting} do at equal P?", MEASURED, sentence, {"effects": effects})
    question = "Does recurrence help: is the feed-forward ELM (rho_rec = 0) worse at equal P?"
    zero: list[Any] = next((list(row["by_d_m"].values()) for row in effects if row["value"] == "0"), [])
    verdict = NOT_DECIDED
    if zero:
        # Gain over recurrence: the feed-forward network is worse where all of the interval lies below 0.
        worse, better = (all(row[2] < 0 for row in zero), all(row[1] > 0 for row in zero))
        verdict = REPRODUCED if worse else NOT_REPRODUCED if better else NOT_DECIDED
    return Answer(question, verdict, sentence, {"effects": effects})


def _effect_text(row: Mapping[str, Any]) -> str:
    mean, low, high = row["gain"]
    text = f"{row['value']}: {mean:+.3f} ({low:+.3f} to {high:+.3f})"
    slope = row.get("slope_in_ln_d_m")
    if slope is None or slope[1] <= 0 <= slope[2]:
        return text
    listed = ", ".join(
        f"{d_m}: {part[0]:+.3f} ({part[1]:+.3f} to {part[2]:+.3f})" for d_m, part in row["by_d_m"].items()
    )
    return f"{text}, which depends on d_m ({listed})"


def architectures(
    elm: Dataset,
    others: Sequence[Dataset],
    rate_at_end: Collection[str] = (),
    *,
    yardstick: Yardstick,
    claimed: bool,
) -> Answer:
    """Is the ELM Network better than gated networks of equal P?

    A network that a simple model beats is untrained, and nobody's superiority over it means anything. Rule, where the
    papers claim it: reproduced if each architecture has a trained network at a shared budget and the ELM Network is
    significantly better than every one of them (two-sided t-test, 5 %, variances of their own); not reproduced if it is
    significantly worse than any; otherwise not decided. Where they do not claim it, the answer is measured.

    Args:
        elm: the study's own rows.
        others: rows of the other architectures, each at its best learning rate.
        rate_at_end: ids of trials whose learning rate, the best, was the smallest or largest tried.
        yardstick: what a simple model reaches.
        claimed: whether the papers claim superiority on this kind of task.
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
            about = {
                "learning_rate": float(runs["learning_rate"].iloc[0]),
                "rate_at_end": bool(runs["trial_id"].isin(rate_at_end).any()),
                "trained": sign * (values["other"] - yardstick.value) > 0,
                "train_metric": float(runs["final_train_metric"].mean()),
            }
            name = data.keys["architecture"]
            rows.append({"budget": budget, "architecture": name, "lead": [mean, low, high]} | values | about)
    if not rows:
        return Answer(question, NOT_DECIDED, "No other architecture was run at these budgets.", {})
    trained = [row for row in rows if row["trained"]]
    verdict = _superiority(trained, {row["architecture"] for row in rows}) if claimed else MEASURED
    return Answer(question, verdict, _compared(rows, trained, yardstick), {"comparisons": rows})


def _superiority(trained: Sequence[Mapping[str, Any]], names: Collection[str]) -> str:
    if any(row["lead"][2] < 0 for row in trained):
        return NOT_REPRODUCED
    # The claim is about every architecture, so one that was never trained leaves it open.
    asked = {row["architecture"] for row in trained} == set(names)
    return REPRODUCED if asked and all(row["lead"][1] > 0 for row in trained) else NOT_DECIDED


def _compared(rows: Sequence[Mapping[str, Any]], trained: Sequence[Mapping[str, Any]], yardstick: Yardstick) -> str:
    ahead, behind = sum(r["lead"][1] > 0 for r in trained), sum(r["lead"][2] < 0 for r in trained)

    def listed(chosen: Sequence[Mapping[str, Any]]) -> str:
        return "; ".join(
            f"P = {r['budget']:,.0f}: ELM {r['elm']:.3f}, {r['architecture']} {r['other']:.3f}" for r in chosen
        )

    sentence = (
        f"Yardstick: {yardstick.name}, {yardstick.value:.3f}. Against networks that beat it, significantly better in "
        f"{ahead} of {len(trained)} comparisons, significantly worse in {behind}"
    )
    sentence += f" ({listed(trained)})." if trained else "."
    if untrained := [row for row in rows if not row["trained"]]:
        sentence += f" Untrained, so not compared: {listed(untrained)}."
    # The other architecture may be better than shown, and the reader must know it.
    if ends := [f"{r['architecture']} at P = {r['budget']:,.0f}" for r in rows if r["rate_at_end"]]:
        sentence += f" Best learning rate at the end of those tried, so perhaps better yet: {', '.join(ends)}."
    return sentence
