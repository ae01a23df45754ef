"""The questions about the optimum at fixed budgets: is it inside the range, does it move, what does connectivity do?

Every verdict is asked of two estimators (studies/interior_optimum/estimators.py), with and without the budgets that are
mostly read-out, and with and without d_m = 1. It holds only where all of them say the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr

from analysis.rows.means import LEVEL, budget_lines, configurations, pooled_noise
from analysis.rows.sweep import Dataset
from studies.answers import Answer, interval_text
from studies.interior_optimum.estimators import CUBIC, QUADRATIC, estimates, lines, neurons
from studies.paper_in_miniature.questions import MEASURED, NOT_DECIDED, NOT_REPRODUCED, REPRODUCED
from studies.statistics import FloatArray, interval, log_slope
from theory.fit.f_tests import holm

ESTIMATORS = (QUADRATIC, CUBIC)

READOUT_SHARE = 0.5
"""Share of P that the read-out may take; beyond it a budget says little about neurons. Assumption."""

FEWEST_BUDGETS = 3
"""Budgets of an exponent, at least: a line through two has no residual that tells an exponent from chance."""


class Variant(NamedTuple):
    """One of the selections of rows that a verdict must survive."""

    name: str
    """In words."""
    all_budgets: bool
    """Whether budgets that are mostly read-out are among them."""
    from_d_m: int
    """Smallest d_m among them: 1, or 2, since one memory unit has the shortest timescale alone and no memory."""


VARIANTS = (
    Variant("all rows", True, 1),
    Variant("without d_m = 1", True, 2),
    Variant("without budgets of mostly read-out", False, 1),
    Variant("without both", False, 2),
)


def chosen(data: Dataset, variant: Variant) -> Dataset:
    """The rows of one variant."""
    rows = data.rows[data.rows["budget"].isna() | (data.rows["d_m"] >= variant.from_d_m)]
    if not variant.all_budgets:
        rows = rows[~rows["budget"].isin(mostly_readout(data))]
    return replace(data, rows=rows.reset_index(drop=True))


def mostly_readout(data: Dataset) -> list[float]:
    """Budgets of which the read-out takes more than `READOUT_SHARE`."""
    shares = data.rows["readout_params"] / data.rows["budget"]
    return sorted(float(budget) for budget in data.rows.loc[shares > READOUT_SHARE, "budget"].unique())


def cut_short(data: Dataset) -> list[float]:
    """Budgets whose range of d_m does not reach down as far as that of others, d_m = 1 apart.

    A limit of the grid on n_rec ends such a range, and its end says nothing about fewer memory units.
    """
    lowest = data.rows[data.rows["budget"].notna() & (data.rows["d_m"] > 1)].groupby("budget")["d_m"].min()
    return [float(budget) for budget in lowest.index[lowest > lowest.min()]]


def interior_optimum(data: Dataset) -> Answer:
    """Is there, at each budget that can answer, a best d_m with significantly worse ones on both sides?

    Budgets that are mostly read-out, or whose range a limit of the grid cut short, cannot answer. Rule: reproduced if
    at all others, with and without d_m = 1, both outermost levels are worse than the best (one-sided t-tests with the
    seed noise of the budget, 5 %, Holm over all ends) and at least 97.5 % of the draws of both estimators lie between
    them; not reproduced if the best lies at an end of every such range; otherwise not decided.
    """
    question = "Is there an interior optimum at fixed P?"
    apart = {"mostly read-out": mostly_readout(data), "range cut by the grid's limit on n_rec": cut_short(data)}
    aside = {budget: why for why, budgets in apart.items() for budget in budgets}
    able = replace(data, rows=data.rows[~data.rows["budget"].isin(aside)].reset_index(drop=True))
    by_variant = {v.name: _ends(chosen(able, v)) for v in VARIANTS if not v.all_budgets}
    found = [row for rows in by_variant.values() for row in rows]
    numbers = {"budgets": by_variant, "set_aside": {f"{budget:g}": why for budget, why in aside.items()}}
    if not found:
        return Answer(question, NOT_DECIDED, "No budget has enough values of d_m with replicates.", numbers)
    at_end = all(row["d_m"] in row["range"] for row in found)
    interior = [row for row in found if row["interior"]]
    verdict = REPRODUCED if len(interior) == len(found) else NOT_REPRODUCED if at_end else NOT_DECIDED
    first = next(iter(by_variant.values()))
    parts = [
        "Best measured: "
        + ", ".join(f"d_m = {r['d_m']:.0f} (N = {r['n_rec']:.0f}) at P = {r['budget']:,.0f}" for r in first),
        *(
            f"{name}: both ends worse and both estimates inside at {sum(r['interior'] for r in rows)} of {len(rows)} "
            f"(largest p of an end {max(max(r['p_at_ends']) for r in rows):.2g}, by Holm "
            f"{max(max(r['p_holm']) for r in rows):.2g})"
            for name, rows in by_variant.items()
            if rows
        ),
    ]
    parts += [f"not asked of P = {budget:,.0f}: {why}" for budget, why in sorted(aside.items())]
    return Answer(question, verdict, "; ".join(parts) + ".", numbers)


def _ends(data: Dataset) -> list[dict[str, Any]]:
    """The best level of each budget against its outermost ones."""
    sign = -1.0 if data.direction == "min" else 1.0
    estimated = {line.budget: estimates(line) for line in lines(data)}
    rows: list[dict[str, Any]] = []
    for _, budget, part in budget_lines(configurations(data)):
        noise = pooled_noise(data.rows[data.rows["budget"] == budget], ["configuration"])
        both = estimated.get(budget, {})
        if noise.sd is None or not set(ESTIMATORS) <= set(both):
            continue
        means, runs, d_m = (part[name].to_numpy(float) for name in ("mean", "n", "d_m"))
        best = int(np.argmax(sign * means))
        # Only the ends are tested against the best: what lies between them is no question of an optimum inside.
        behind = sign * (means[best] - means[[0, -1]])
        p = stdtr(noise.freedom, -behind / (noise.sd * np.sqrt(1 / runs[[0, -1]] + 1 / runs[best])))
        rows.append(
            {
                "budget": budget,
                "d_m": float(d_m[best]),
                "n_rec": float(part["n_rec"].iloc[best]),
                "metric": float(means[best]),
                "range": [float(d_m[0]), float(d_m[-1])],
                "behind_at_ends": behind.tolist(),
                "p_at_ends": p.tolist(),
                "estimates": {name: np.exp(both[name].interval).tolist() for name in ESTIMATORS},
                "inside": {name: both[name].inside for name in ESTIMATORS},
                "estimates_inside": all(both[name].is_interior for name in ESTIMATORS),
            }
        )
    adjusted = holm([p for row in rows for p in row["p_at_ends"]])
    for place, row in enumerate(rows):
        row["p_holm"] = adjusted[2 * place : 2 * place + 2]
        row["interior"] = bool(max(row["p_holm"]) < 1 - LEVEL and row["estimates_inside"])
    return rows


def movement(data: Dataset) -> tuple[Answer, Answer, Answer]:
    """Does a larger P take more neurons and more complex ones, and does d_m* grow like the root of n_rec*?

    Rule: reproduced if the exponent's 95 % interval lies above 0 by both estimators in each variant of the rows; not
    reproduced if it lies below 0 in all of them; the square root if all intervals of the ratio of exponents hold 1/2
    and are narrower than 1/2, not reproduced if all exclude it.
    """
    questions = {
        "n_rec": "Does a larger P move the optimum to more neurons?",
        "d_m": "Does a larger P move the optimum to more complex neurons?",
        "ratio": "Is d_m* ~ sqrt(n_rec*) (ratio of the exponents in P: 1/2)?",
    }
    found = [exponents for variant in VARIANTS for exponents in _exponents(chosen(data, variant), variant)]
    # A variant without an exponent is one that the verdict was not asked of.
    complete = len(found) == len(VARIANTS) * len(ESTIMATORS)
    answers = []
    for name, question in questions.items():
        ranges = [row[name] for row in found]
        if not complete:
            short = (
                f"Fewer than {FEWEST_BUDGETS} budgets with an optimum in {len(VARIANTS) * 2 - len(found)} of the cases."
            )
            answers.append(Answer(question, NOT_DECIDED, short, {"exponents": found}))
            continue
        verdict = _root(ranges) if name == "ratio" else _sign(ranges)
        label = "ratio" if name == "ratio" else f"exponent of {name}*"
        answers.append(Answer(question, verdict, f"{label}, {_told(found, name)}.", {"exponents": found}))
    return answers[0], answers[1], answers[2]


def _exponents(data: Dataset, variant: Variant) -> list[dict[str, Any]]:
    by_estimator: dict[str, list[tuple[float, FloatArray, FloatArray]]] = {name: [] for name in ESTIMATORS}
    for line in lines(data):
        for name, estimate in estimates(line).items():
            # Without counts along d_m nobody knows how many neurons a place leaves.
            if line.cost is not None:
                by_estimator[name].append((line.budget, np.exp(estimate.draws), neurons(line, estimate)))
    rows: list[dict[str, Any]] = []
    for name, places in by_estimator.items():
        if len(places) < FEWEST_BUDGETS:
            continue
        budgets = np.array([budget for budget, _, _ in places])
        d_m, n_rec = (log_slope(budgets, np.stack([place[i] for place in places], axis=1)) for i in (1, 2))
        rows.append(
            {
                "variant": variant.name,
                "estimator": name,
                "budgets": budgets.tolist(),
                "places": [interval(place) for _, place, _ in places],
                "d_m": interval(d_m),
                "n_rec": interval(n_rec),
                "ratio": interval(d_m / n_rec),
            }
        )
    return rows


def _sign(ranges: Sequence[tuple[float, float, float]]) -> str:
    if all(low > 0 for _, low, _ in ranges):
        return REPRODUCED
    return NOT_REPRODUCED if all(high < 0 for _, _, high in ranges) else NOT_DECIDED


def _root(ranges: Sequence[tuple[float, float, float]]) -> str:
    holds = [low <= 0.5 <= high for _, low, high in ranges]
    # An interval that holds 1/2 because it holds everything supports nothing, so each must be narrow as well.
    if all(holds) and all(high - low < 0.5 for _, low, high in ranges):
        return REPRODUCED
    return NOT_DECIDED if any(holds) else NOT_REPRODUCED


def _told(found: Sequence[Mapping[str, Any]], name: str) -> str:
    by_variant: dict[str, list[str]] = {}
    for row in found:
        by_variant.setdefault(row["variant"], []).append(f"{row['estimator']} {interval_text(row[name])}")
    return "; ".join(f"{variant}: {', '.join(values)}" for variant, values in by_variant.items())


def connectivity(data: Dataset) -> Answer:
    """Which d_m is best at other connectivities, and what does k_c gain beside what d_m does?

    Only levels of d_m that every connectivity of a budget was run at are compared.
    """
    question = "Does the best d_m stay where it is at another k_c, and what does k_c itself gain?"
    sign = -1.0 if data.direction == "min" else 1.0
    table = configurations(data)
    told, numbers = [], []
    for budget, part in table[table["budget"].notna()].groupby("budget"):
        means = part.pivot_table(index="k_c", columns="d_m", values="mean")
        # A connectivity at which one value of d_m does not fit the budget takes that value out of the comparison.
        shared = means.dropna(axis=1, thresh=max(2, len(means) - 1)).dropna(axis=0)
        if len(shared) < 2 or shared.shape[1] < 2:
            continue
        best = {float(str(k_c)): float(str(place)) for k_c, place in (sign * shared).idxmax(axis=1).items()}
        base = float(part["k_c"].mode().iloc[0])
        own = (sign * means.loc[[base]]).to_numpy(float)[0]
        at_base, top = float(np.nanmax(own)), float((sign * shared).to_numpy(float).max())
        of_d_m = at_base - float(own[(means.columns.to_numpy(float) > 1) & np.isfinite(own)][0])
        numbers.append(
            {
                "budget": budget,
                "best_d_m": {f"{k_c:g}": d_m for k_c, d_m in best.items()},
                "gain_of_k_c": top - at_base,
                "gain_of_d_m": of_d_m,
            }
        )
        listed = ", ".join(f"{d_m:.0f} at k_c = {k_c:.0f}" for k_c, d_m in best.items())
        told.append(
            f"P = {budget:,.0f}: best of d_m = {', '.join(f'{v:.0f}' for v in shared.columns)} is {listed}; the best "
            f"k_c gains {top - at_base:.3f} over the best at k_c = {base:.0f}, where the best d_m gains {of_d_m:.3f} "
            "over the smallest above 1"
        )
    verdict = MEASURED if told else NOT_DECIDED
    return Answer(question, verdict, ". ".join(told) + "." if told else "One connectivity alone.", {"budgets": numbers})
