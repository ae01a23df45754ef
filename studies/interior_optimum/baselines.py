"""From the pilot of the other architectures to the grid that H6 is judged by."""

from typing import Any, NamedTuple

import yaml

from analysis.errors import AnalysisError
from analysis.rows.sweep import Sweep
from sweeper.plan.expand import Plan, PlanRow
from sweeper.store.schema import FINISHED

SEEDS = 4
"""Of every network in the study."""

HEADER = """\
# Study 2, text: the architectures that H6 compares with, each at the learning rate and setting of the best validation
# metric in study2_text_baselines_pilot. Written by `python -m studies.interior_optimum baselines`.
"""


class Tuned(NamedTuple):
    """The best setting of one architecture at one budget."""

    architecture: str
    budget: int
    model: dict[str, Any]
    """What the pilot varied of the network."""
    learning_rate: float
    valid: float
    """Its validation metric."""
    at_end: bool
    """Whether the rate is the smallest or largest one tried."""


def tune(plan: Plan, sweep: Sweep) -> list[Tuned]:
    """Choose by the validation split among all trials of one architecture and budget.

    Args:
        plan: the pilot; all its trials must have been run, those that diverged among them.
        sweep: its rows.

    Raises:
        AnalysisError: a trial of the pilot has no row, or all of an architecture's diverged.
    """
    rows = sweep.trials.set_index("trial_id")
    missing = len(set(plan.trials) - set(rows.index))
    # A choice among a part of the trials would be tuned less than the ELM Network was.
    if missing:
        raise AnalysisError(f"{plan.name}: {missing} of {len(plan.trials)} trials have not been run; launch it again")
    finished = rows[rows["status"] == FINISHED]["final_valid_metric"]
    valid = {str(trial_id): float(metric) for trial_id, metric in finished.items()}
    groups: dict[tuple[str, int], list[tuple[str, PlanRow]]] = {}
    for trial_id, row in plan.trials.items():
        assert row.spec is not None  # runnable rows have a spec
        assert row.budget is not None
        groups.setdefault((row.spec.architecture, row.budget), []).append((trial_id, row))
    return [_best(name, budget, groups[name, budget], valid) for name, budget in sorted(groups)]


def _best(name: str, budget: int, trials: list[tuple[str, PlanRow]], valid: dict[str, float]) -> Tuned:
    scored = [(valid[trial_id], row) for trial_id, row in trials if trial_id in valid]
    if not scored:
        raise AnalysisError(f"{name} at P = {budget:,}: every trial of the pilot diverged; try smaller learning rates")
    best, row = min(scored, key=lambda pair: pair[0])
    rates = [float(other.settings["learning_rate"]) for _, other in trials]
    # The grid's values hold network and training alike, and the spec's training says which are which.
    model = {key: value for key, value in row.settings.items() if not hasattr(row.spec.training, key)}  # type: ignore[union-attr]
    rate = float(row.settings["learning_rate"])
    return Tuned(name, budget, model, rate, float(best), rate in (min(rates), max(rates)))


def grid_text(pilot: str, tuned: list[Tuned]) -> str:
    """The grid of the comparison.

    Args:
        pilot: text of the pilot's grid, whose task and training it keeps.
        tuned: what was chosen.
    """
    given = yaml.safe_load(pilot)
    training = {key: value for key, value in given["training"].items() if key != "learning_rate"}
    blocks = [
        {
            "architecture": one.architecture,
            "budgets": [one.budget],
            "model": one.model,
            "training": {"learning_rate": one.learning_rate},
        }
        for one in tuned
    ]
    grid = {
        "name": given["name"].removesuffix("_pilot"),
        "task": given["task"],
        "seeds": SEEDS,
        "training": training,
        "blocks": blocks,
    }
    return HEADER + yaml.safe_dump(grid, sort_keys=False, default_flow_style=None, width=120)
