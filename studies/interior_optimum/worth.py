"""H6: is the ELM Network worth it beside gated networks and linear recurrences of equal P?"""

from collections.abc import Sequence
from typing import Any

from analysis.rows.means import LEVEL
from analysis.rows.sweep import Dataset
from studies.answers import Answer
from studies.interior_optimum.hypotheses import CONTRADICTED, NOT_DECIDED, PARTS, SUPPORTED, Part, p_worse
from studies.statistics import best_at_budgets, gain
from tasks.loaders import load_task
from tasks.text.ngrams import witten_bell_bpc
from tasks.text.text import TextTask
from theory.fit.f_tests import holm

ARCHITECTURES = ("lstm", "chrono_lstm", "gru", "lru", "min_gru")

ORDER = 3
"""Context of the n-gram model that a trained network has to beat."""


def yardstick(order: int = ORDER) -> float:
    """Bits per character of the n-gram model of the training text, on the whole test split of the study's alphabet."""
    task = load_task("text", {"alphabet": "letters"})
    assert isinstance(task, TextTask)
    train, test = (task.ids(task.stream(split).characters) for split in ("train", "test"))
    return witten_bell_bpc(train, test, order=order, n_symbols=task.spec.n_in)


def worth(elm: Dataset, others: Sequence[Dataset], untrained_from: float) -> Answer:
    """H6: at each P the best ELM Network is better than every other architecture.

    Rule: supported if it is significantly better than each at each P (two-sided Welch tests on the seeds, 5 %, Holm
    over the architectures of one P); contradicted if it is significantly worse than one. An architecture that does not
    beat the n-gram model is untrained and not beaten, so that it leaves the question open. The best network of each
    is the one of the best validation metric.

    Args:
        elm: the ELM Networks.
        others: groups of other architectures; one architecture may have several, such as its dropouts.
        untrained_from: bits per character of the n-gram model.
    """
    question = "H6: at each P the best ELM Network is better than LSTM, Chrono-LSTM, GRU, LRU and minGRU"
    ours = dict(best_at_budgets(elm))
    column = elm.measure.column.replace(elm.measure.split, "valid")
    best: dict[tuple[float, str], Any] = {}
    for data in others:
        for budget, runs in best_at_budgets(data):
            key = (budget, data.keys["architecture"])
            if budget in ours and (key not in best or runs[column].mean() < best[key][column].mean()):
                best[key] = runs
    rows: list[dict[str, Any]] = []
    for budget in sorted({budget for budget, _ in best}):
        elms = -gain(ours[budget], elm.direction)
        names = [name for name in ARCHITECTURES if (budget, name) in best]
        losses = [-gain(best[budget, name], elm.direction) for name in names]
        corrected = holm([p_worse(values, elms, "two-sided") for values in losses])
        for name, values, p in zip(names, losses, corrected, strict=True):
            mean = float(values.mean())
            row = {"budget": budget, "architecture": name, "elm": float(elms.mean()), "other": mean, "p_holm": p}
            rows.append(row | {"outcome": _outcome(row, untrained_from)})
    if not rows:
        return Answer(question, NOT_DECIDED, "No other architecture has been run at these budgets.", {})
    outcomes = [row["outcome"] for row in rows]
    # An architecture that was never run at some P was not beaten there.
    complete = len(rows) == len(ours) * len(ARCHITECTURES)
    verdict = SUPPORTED if complete and set(outcomes) == {"beaten"} else NOT_DECIDED
    if "better" in outcomes:
        verdict = CONTRADICTED
    budgets = sorted({row["budget"] for row in rows})
    told = [f"P = {budget:,.0f}: {_at(budget, rows)}" for budget in budgets]
    parts = [_part(budget, rows)._asdict() for budget in budgets]
    below = [f"{budget:,.0f}" for budget, runs in ours.items() if runs["value"].mean() >= untrained_from]
    sentence = f"{'; '.join(told)}. The order-{ORDER} n-gram model has {untrained_from:.3f}"
    sentence += f", which the ELM Network itself does not beat at P = {', '.join(below)}." if below else "."
    return Answer(question, verdict, sentence, {"comparisons": rows, "n_gram": untrained_from, PARTS: parts})


def _part(budget: float, rows: Sequence[dict[str, Any]]) -> Part:
    outcomes = {row["outcome"] for row in rows if row["budget"] == budget}
    verdict = CONTRADICTED if "better" in outcomes else SUPPORTED if outcomes == {"beaten"} else NOT_DECIDED
    # Holm corrects among the architectures of one P alone.
    return Part(f"P = {budget:,.0f}", budget, verdict, _at(budget, rows), settled=True)


def _outcome(row: dict[str, Any], untrained_from: float) -> str:
    """What became of the other architecture: `beaten`, `better`, `open` or `untrained`."""
    differs = row["p_holm"] < 1 - LEVEL
    if differs and row["other"] < row["elm"]:
        return "better"
    if row["other"] >= untrained_from:
        return "untrained"
    return "beaten" if differs else "open"


def _at(budget: float, rows: Sequence[dict[str, Any]]) -> str:
    here = [row for row in rows if row["budget"] == budget]
    others = ", ".join(f"{row['architecture']} {row['other']:.3f} ({row['outcome']})" for row in here)
    return f"ELM {here[0]['elm']:.3f}, {others}"
