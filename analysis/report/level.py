"""How good the best network is, in one line of the answer: against guessing and simple models, and on which data."""

import json
from typing import Any

import numpy as np

from analysis.laws.view import View
from analysis.rows.axes import listed
from tasks.data.leaks import LEAST_TEXT_SHARE

GAP = 2.0
"""Seed noises of a run by which test and training must differ before the card says so. Assumption."""

SAME = 0.01
"""Difference of test and training, relative to the metric, that is never worth a word. Assumption."""


def level_line(view: View) -> str:
    """Say what the best network reaches, what simple models reach, how much was read, and what the data repeat.

    Args:
        view: one group of rows with at least one configuration.
    """
    sentences = [_reached(view), _training(view), _gap(view), _leak(view)]
    return f"Level: {' '.join(sentence for sentence in sentences if sentence)}"


def facts_of(view: View) -> dict[str, Any]:
    """What the newest row of a group knows of its data (`tasks.facts`); empty where none does."""
    rows = view.data.rows
    if "data_facts" not in rows:
        return {}
    known = rows[rows["data_facts"].notna()]
    if not len(known):
        return {}
    newest = known if known["ended_at"].isna().all() else known.sort_values("ended_at")
    return dict(json.loads(newest["data_facts"].iloc[-1]))


def _best(view: View) -> tuple[int, float]:
    """Position of the best configuration, and the sign that makes its metric a loss."""
    sign = 1.0 if view.data.direction == "min" else -1.0
    return int(np.argmin(sign * view.table["mean"].to_numpy(float))), sign


def _reached(view: View) -> str:
    data, (best, sign) = view.data, _best(view)
    value, budget = (float(view.table[name].iloc[best]) for name in ("mean", "budget"))
    where = "" if np.isnan(budget) else f" (P = {budget:,.0f})"
    told = f"{value:.4g} {data.measure.unit(data.keys['metric'])} at best{where}"
    # Simple models were measured by the task's metric on the test split, and by nothing else.
    if data.measure.is_loss or data.measure.split != "test":
        return f"{told}."
    simple: dict[str, float] = dict(facts_of(view).get("yardsticks", {}))
    if data.chance is not None:
        simple = {"guessing": data.chance} | simple
    if not simple:
        return f"{told}."
    beside = ", ".join(f"{name} {other:.4g}" for name, other in simple.items())
    unbeaten = [name for name, other in simple.items() if sign * (value - other) >= 0]
    names = [name if name == "guessing" or name.startswith("a ") else f"the {name}" for name in unbeaten]
    verdict = f"no network beats {listed(names)}" if unbeaten else f"better than {'all' if len(simple) > 1 else 'that'}"
    return f"{told}; {beside}: {verdict}."


def _training(view: View) -> str:
    """How much was read; what repeats the training data, or leaves most of it out, is told by the number of passes."""
    rows = view.data.rows
    steps, tokens = (rows[name].dropna().astype(float) for name in ("steps", "tokens"))
    if not len(steps) or not len(tokens):  # published and imported rows need not know it
        return ""
    read = f"Trained for {_range(steps.min(), steps.max())} steps, {_range(tokens.min(), tokens.max())} "
    size = facts_of(view).get("train_size")
    # Where the state is carried the size is in symbols, as tokens are; elsewhere a sequence has `length` of them.
    stream = view.data.keys["task"] == "text"
    if size is None:
        return f"{read}tokens."
    passes = tokens / size if stream else tokens / (size * rows.loc[tokens.index, "length"].astype(float))
    times = "once" if passes.min() == passes.max() == 1 else f"{_short(passes.min(), passes.max())} times"
    return f"{read}tokens: the training data {times}."


def _gap(view: View) -> str:
    """How much better training is than test, where that is more than noise."""
    data, (best, sign) = view.data, _best(view)
    column = data.measure.column.replace(data.measure.split, "train")
    if data.measure.split == "train" or column not in data.rows:
        return ""
    better = sign * (data.rows["value"] - data.rows[column].astype(float))
    gaps = better.groupby(data.rows["configuration"]).mean().reindex(view.table["configuration"]).to_numpy()
    gap, noise = float(gaps[best]), float(view.table["noise"].iloc[best])
    if not gap > max(SAME * abs(float(view.table["mean"].iloc[best])), 0.0 if np.isnan(noise) else GAP * noise):
        return ""
    told = f"It is {gap:.2g} better on the training data"
    # The smallest network can hold least of them: what it is better by, too, is a difference between the splits.
    if gaps[int(view.table["trainable_params"].to_numpy(float).argmin())] > gap / 2:
        return f"{told}, but so is the smallest network, which can hold little of them: the splits seem to differ."
    return f"{told}: it has learnt some of them by heart."


def _leak(view: View) -> str:
    """What of the test data stands in the training data; said also where it is nothing, if it was looked for."""
    leaks = [leak for leak in facts_of(view).get("leaks", ()) if leak["split"] == view.data.measure.split]
    if not leaks or not leaks[0]["total"]:
        return ""
    share, unit = leaks[0]["repeated"] / leaks[0]["total"], leaks[0]["unit"]
    if not leaks[0]["repeated"]:
        return f"None of the {unit} of {leaks[0]['split']} stands in the training data too."
    told = f"{share:.1%} of the {unit} of {leaks[0]['split']} stand in the training data too"
    # Of a text a few blocks always do, by stock phrases alone.
    few = unit.endswith("characters") and share <= LEAST_TEXT_SHARE
    return f"{told}." if few else f"{told}, so new data may score worse."


def _range(low: float, high: float) -> str:
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _short(low: float, high: float) -> str:
    ends = f"{low:.2g}", f"{high:.2g}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)
