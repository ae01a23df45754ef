"""The second study: the prediction of its largest budget, then verdicts from stored rows.

    python -m studies.interior_optimum predict RESULTS text
    python -m studies.interior_optimum verdicts RESULTS -o FOLDER

RESULTS holds one results directory for each half, `text` and `spikes`, with the rows of all its grids but the pilots.
`make study2` runs everything anew, `make study2-report` only what follows from the stored rows.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from analysis.dashboard.export import write_pictures
from analysis.errors import AnalysisError
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.rows.load import read_sweep
from analysis.rows.sweep import Measure
from studies.answers import Answer
from studies.interior_optimum.baselines import grid_text, tune
from studies.interior_optimum.figures import pictures
from studies.interior_optimum.half import Half, answers, read_half, unless_run
from studies.interior_optimum.page import page
from studies.interior_optimum.prediction import FILE, WITHOUT_THEORY, without_theory
from studies.interior_optimum.rows import LOSS, elm, ledger
from studies.interior_optimum.same import same_exponent
from studies.interior_optimum.task import BASELINES, BASELINES_PILOT, HOLDOUT, LARGEST, MAIN, TASKS, TEXT, Task
from studies.prediction import echo_points, predict, refuse_late
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def cli(debug: bool) -> None:
    """Prediction and verdicts of the second study (studies/interior_optimum/README.md)."""


@cli.command("predict")
@click.argument("results", type=click.Path(file_okay=False, path_type=Path))
@click.argument("task", type=click.Choice(list(TASKS)))
def make_prediction(results: Path, task: str) -> None:
    """Fit the budgets up to 100,000 of TASK in RESULTS and write down what they expect of 300,000, before it is run."""
    predict_largest(TASKS[task], results / task)


def predict_largest(task: Task, results: Path) -> None:
    """Write down what one half expects of its largest budget.

    Args:
        task: the half.
        results: its results directory.

    Raises:
        AnalysisError: somebody could have looked, or trials of the smaller budgets are missing.
    """
    plan, sweep, output = expand(load_grid(task.grid(HOLDOUT))), read_sweep(results), results / FILE
    refuse_late(output, plan, sweep)
    # Rows of the largest budget from another grid would have been looked at as well.
    if (sweep.trials["budget"] >= LARGEST).any():
        raise AnalysisError(f"{results}: holds rows of P = {LARGEST:,}; a prediction must come first")
    lack = ledger(task, sweep).of(MAIN).lack
    if lack:
        raise AnalysisError(f"{results}: {lack}; a prediction from a part of them would be another one")
    expected: dict[str, Any] = {}
    # The largest budget itself may bring the metric near its end, and then the loss must have been predicted as well.
    for measure in (Measure(), *[LOSS] * (task.ceiling is not None)):
        data = elm(sweep, task.steps, measure)
        if data is None:
            raise AnalysisError(f"{results}: no ELM Network of the study has finished, so nothing can be predicted")
        told = predict(fit_dataset(data, FitSettings()), plan)
        expected[measure.kind] = told | {WITHOUT_THEORY: without_theory(data.rows, told["points"])}
        click.echo(f"{data.metric}:")
        echo_points(told)
    output.write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    click.echo(f"wrote {output}")


@cli.command()
@click.argument("pilot", type=click.Path(file_okay=False, path_type=Path))
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), help="Grid to write.")
def baselines(pilot: Path, output: Path | None) -> None:
    """Write the grid of the other architectures from the rows of their PILOT."""
    grid, output = TEXT.grid(BASELINES_PILOT), output or TEXT.grid(BASELINES)
    tuned = tune(expand(load_grid(grid)), read_sweep(pilot))
    output.write_text(grid_text(grid.read_text(encoding="utf-8"), tuned), encoding="utf-8")
    for one in tuned:
        end = ", at an end of those tried" if one.at_end else ""
        settings = "".join(f", {name} = {value:g}" for name, value in one.model.items())
        place = f"{one.architecture} at P = {one.budget:,}"
        click.echo(f"{place}: {one.valid:.4f} with learning rate {one.learning_rate:g}{end}{settings}")
    click.echo(f"wrote {output}")


@cli.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder.")
@click.option("--figures", is_flag=True, help="Draw figures into the halves' folders in RESULTS (needs Chromium).")
def verdicts(results: Path, output: Path, figures: bool) -> None:
    """Judge the hypotheses by the rows of RESULTS, complete or not; writes verdicts.json and verdicts.md."""
    output.mkdir(parents=True, exist_ok=True)
    answered = both({name: read_half(task, results) for name, task in TASKS.items()})
    if figures:
        for name, told in answered.items():
            if drawn := pictures(told):
                write_pictures(drawn, results / name / "figures")
    document = {name: [answer._asdict() for answer in told] for name, told in answered.items()}
    (output / "verdicts.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    table = page(answered)
    (output / "verdicts.md").write_text(table, encoding="utf-8")
    click.echo(table)


def both(halves: Mapping[str, Half]) -> dict[str, list[Answer]]:
    """All answers about each half; what compares the two stands with the second one."""
    answered = {name: list(answers(half)) for name, half in halves.items()}
    text, spikes = halves["text"], halves["spikes"]
    lack = [f"{half.task.name}: {lack}" for half in (text, spikes) if (lack := half.ledger.of(*half.parts).lack)]
    answered["spikes"].append(unless_run(same_exponent(text.smaller, spikes.smaller), "; ".join(lack)))
    return answered
