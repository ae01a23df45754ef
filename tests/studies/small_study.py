"""Both halves of the second study with small grids, their rows, and ways to ask about them."""

from dataclasses import replace

import numpy as np
from click.testing import CliRunner

from studies.answers import Answer
from studies.interior_optimum import half, study
from studies.interior_optimum.half import Half
from studies.interior_optimum.task import BASELINES, CONVERGED, HOLDOUT, MAIN, SPIKES, TEXT, Task
from sweeper.plan.expand import Plan, PlanRow, expand
from sweeper.plan.grid import parse_grid

TRAINING = """
training:
  preset: paper
  steps: {steps}
  batch_size: 32
  length: 32
  eval_every: 2000
  learning_rate: {rate}
"""

ELM = """
name: {name}
task: {{name: text, data: embedded, alphabet: letters}}
model: {{d_m: [2, 4, 6, 9, 14], d_tree: 4, d_branch: [4, 16], rho_rec: 0.5}}
budgets: {budgets}
seeds: 2
limits: {{n_rec: [4, 6000]}}
"""

CELLS = """
name: cells
task: {name: text, data: embedded, alphabet: letters}
budgets: [10_000, 30_000, 100_000]
seeds: 2
blocks: [{architecture: lstm}, {architecture: chrono_lstm}, {architecture: gru}]
"""


def grid(template: str, steps: int = 4000, rate: object = 0.006, **given: object) -> str:
    return template.format(**given) + TRAINING.format(steps=steps, rate=rate)


def metric(row: PlanRow) -> float:
    """A made-up truth with an optimum that moves with the budget; LSTMs and GRUs are worse."""
    if row.spec.architecture != "elm":
        return 3.3 - 0.1 * np.log(row.budget)
    model = row.spec.model
    best = np.log(5) + 0.15 * np.log(row.budget / 10_000) + 0.2 * (model.d_branch == 16)
    return 3 - 0.1 * np.log(row.budget) + 0.05 * (np.log(model.d_m) - best) ** 2 - 0.1 * (model.d_branch == 16)


def written(task: Task, folder, texts: dict[str, str]) -> tuple[Task, dict[str, Plan]]:
    """A half whose grids are these, and the plan of each."""
    task = replace(task, grids=folder)
    for part, text in texts.items():
        task.grid(part).write_text(text)
    return task, {part: expand(parse_grid(text)) for part, text in texts.items()}


def of_spikes(template: str) -> str:
    """A grid of text as one of spikes."""
    return (
        template.replace("name: text, data: embedded, alphabet: letters", "name: shd, data: generated, bin_ms: 10")
        .replace("d_tree: 4", "d_tree: 8")
        .replace("length: 32", "length: 100")
    )


def text_half(folder) -> tuple[Task, dict[str, Plan]]:
    """The half on text with the grids of a small study in place of the shipped ones."""
    texts = {
        MAIN: grid(ELM, name="main", budgets=[10_000, 30_000, 100_000]),
        HOLDOUT: grid(ELM, name="holdout", budgets=[300_000]),
        CONVERGED: grid(ELM, name="converged", budgets=[10_000], steps=16_000),
        BASELINES: CELLS + TRAINING.format(steps=4000, rate=0.01),
    }
    return written(TEXT, folder, texts)


def spikes_half(folder) -> tuple[Task, dict[str, Plan]]:
    """The half on spikes, likewise."""
    texts = {
        MAIN: grid(ELM, steps=3000, name="main", budgets=[10_000, 30_000, 100_000]),
        HOLDOUT: grid(ELM, steps=3000, name="holdout", budgets=[300_000]),
        CONVERGED: grid(ELM, steps=12_000, name="converged", budgets=[10_000]),
    }
    return written(SPIKES, folder, {part: of_spikes(text) for part, text in texts.items()})


def accuracy(row: PlanRow) -> float:
    """The truth of text, turned around: more is better, and at most 0.96."""
    return 0.96 - (metric(row) - 1.6) / 10


def told(task: Task, sweep, predictions=None) -> dict[str, Answer]:
    """The first answer to each hypothesis."""
    found: dict[str, Answer] = {}
    for answer in half.answers(Half(task=task, sweep=sweep, predictions=predictions or {})):
        found.setdefault(answer.question.split(":")[0], answer)
    return found


def without(sweep, rows):
    """A sweep without some of its rows, given as a mask."""
    return replace(sweep, trials=sweep.trials[~rows].reset_index(drop=True))


def invoke(monkeypatch, sweep, *arguments):
    """Run a command; every results directory holds the same rows."""
    for module in (study, half):
        monkeypatch.setattr(module, "read_sweep", lambda results: sweep)
    return CliRunner().invoke(study.cli, [str(argument) for argument in arguments])
