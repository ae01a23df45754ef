"""The second study: the prediction of its largest budget, then verdicts from stored rows.

    python -m studies.interior_optimum predict RESULTS
    python -m studies.interior_optimum verdicts RESULTS -o FOLDER

RESULTS holds the rows of all its grids but the pilots. `make study2` runs everything anew, `make study2-report` only
what follows from the stored rows.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pandas as pd

from analysis.dashboard.export import write_pictures
from analysis.errors import AnalysisError
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.rows.alarms import find_alarms, tail_gains
from analysis.rows.load import read_sweep
from analysis.rows.means import configurations
from analysis.rows.sweep import Dataset, Sweep, among
from studies.answers import Answer, markdown
from studies.interior_optimum.baselines import grid_text, tune
from studies.interior_optimum.estimators import lines
from studies.interior_optimum.figures import pictures
from studies.interior_optimum.hypotheses import (
    NOT_RUN,
    connectivity,
    estimated,
    far_enough,
    interior,
    movement,
    shift,
)
from studies.interior_optimum.prediction import WITHOUT_THEORY, predicted, without_theory
from studies.interior_optimum.rows import (
    BASELINES,
    BASELINES_PILOT,
    CONVERGED,
    CONVERGED_STEPS,
    HOLDOUT,
    K_C_128,
    LARGEST,
    LONGER,
    MAIN,
    SMALLER,
    Progress,
    elm,
    others,
    progress,
    replaced,
    up_to,
)
from studies.interior_optimum.worth import worth, yardstick
from studies.prediction import predict, refuse_late, write_prediction
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid
from sweeper.store.schema import FINISHED

PREDICTION = "prediction.json"
"""File in RESULTS with what was expected of the largest budget."""

UNDER_TRAINED = "under-trained"
"""The alarm whose points are trained twice as long."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def cli(debug: bool) -> None:
    """Prediction and verdicts of the second study (studies/interior_optimum/README.md)."""


@cli.command("predict")
@click.argument("results", type=click.Path(file_okay=False, path_type=Path))
def make_prediction(results: Path) -> None:
    """Fit the budgets up to 100,000 in RESULTS and write down what they expect of 300,000, before it is run."""
    plan, sweep, output = expand(load_grid(HOLDOUT)), read_sweep(results), results / PREDICTION
    refuse_late(output, plan, sweep)
    # Rows of the largest budget from another grid would have been looked at as well.
    if (sweep.trials["budget"] >= LARGEST).any():
        raise AnalysisError(f"{results}: holds rows of P = {LARGEST:,}; a prediction must come first")
    lack = progress(sweep, [MAIN]).lack
    if lack:
        raise AnalysisError(f"{results}: {lack}; a prediction from a part of them would be another one")
    data = elm(sweep)
    if data is None:
        raise AnalysisError(f"{results}: no ELM Network of the study has finished, so nothing can be predicted")
    expected = predict(fit_dataset(data, FitSettings()), plan)
    write_prediction(expected | {WITHOUT_THEORY: without_theory(data.rows, expected["points"])}, output)


@cli.command()
@click.argument("pilot", type=click.Path(file_okay=False, path_type=Path))
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), default=BASELINES, help="Grid to write.")
def baselines(pilot: Path, output: Path) -> None:
    """Write the grid of the other architectures from the rows of their PILOT."""
    tuned = tune(expand(load_grid(BASELINES_PILOT)), read_sweep(pilot))
    output.write_text(grid_text(BASELINES_PILOT.read_text(encoding="utf-8"), tuned), encoding="utf-8")
    for one in tuned:
        end = ", at an end of those tried" if one.at_end else ""
        settings = "".join(f", {name} = {value:g}" for name, value in one.model.items())
        place = f"{one.architecture} at P = {one.budget:,}"
        click.echo(f"{place}: {one.valid:.4f} with learning rate {one.learning_rate:g}{end}{settings}")
    click.echo(f"wrote {output}")


@cli.command()
@click.argument("results", type=click.Path(file_okay=False, path_type=Path))
@click.option("-o", "output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder.")
@click.option("--figures", is_flag=True, help="Draw figures of the answers into RESULTS/figures (needs Chromium).")
def verdicts(results: Path, output: Path, figures: bool) -> None:
    """Judge the hypotheses by the rows of RESULTS, complete or not; writes verdicts.json and verdicts.md."""
    output.mkdir(parents=True, exist_ok=True)
    answered = list(answers(read_sweep(results), results / PREDICTION))
    if figures:
        write_pictures(pictures(answered), results / "figures")
    document = [answer._asdict() for answer in answered]
    (output / "verdicts.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    table = markdown("Verdicts of the second study", {results.name: answered})
    (output / "verdicts.md").write_text(table, encoding="utf-8")
    click.echo(table)


def answers(sweep: Sweep, prediction: Path) -> Iterator[Answer]:
    """All hypotheses by the rows that there are, in the order of the page.

    Args:
        sweep: the rows of all grids but the pilots.
        prediction: file written before the largest budget was run.
    """
    data = elm(sweep)
    if data is None:
        yield Answer("H1 to H6", NOT_RUN, "No ELM Network of the study has finished yet.", {})
        return
    # The largest budget waits for its prediction; once its rows come in, a verdict without all of them would be early.
    largest = data.rows["budget"].eq(LARGEST).any()
    also = {HOLDOUT: largest, K_C_128: data.rows["k_c"].eq(128).any()}
    done = progress(sweep, [MAIN, *(grid for grid, begun in also.items() if begun)])
    for answer in _of_place(data):
        told = unless_run(answer, done)
        yield told if largest else told._replace(sentence=f"{told.sentence} P = {LARGEST:,} has not been run yet.")
    yield unless_run(_predicted(data, prediction), progress(sweep, [HOLDOUT]))
    long = elm(sweep, CONVERGED_STEPS)
    moved = far_enough(estimated(lines(data)), estimated(lines(long)) if long else [])
    yield unless_run(moved, progress(sweep, [MAIN, CONVERGED]))
    cells = others(sweep)
    # No other architecture is tuned for the largest budget.
    compared = worth(up_to(data, SMALLER), cells, yardstick() if cells else float("nan"))
    yield unless_run(compared, progress(sweep, [MAIN, BASELINES]))
    yield _exclusions(sweep, data)
    longer = elm(sweep, LONGER)
    if longer is not None:
        exchanged = replaced(data, longer)
        for answer in (*_of_place(exchanged), _predicted(exchanged, prediction)):
            yield answer._replace(question=f"{answer.question} (flagged points trained twice as long)")


def _of_place(data: Dataset) -> Iterator[Answer]:
    """H1 to H3."""
    found = estimated(lines(data))
    yield interior(found)
    for k_c in sorted(data.rows["k_c"].unique()):
        yield from movement(found, float(k_c))
    yield connectivity(data)
    yield shift(found)


def _predicted(data: Dataset, path: Path) -> Answer:
    stored: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return predicted(stored, data.rows[data.rows["budget"] == LARGEST])


def unless_run(answer: Answer, done: Progress) -> Answer:
    """Keep a verdict back until all its trials have been run; what it would be so far stands in its sentence."""
    if not done.lack:
        return answer
    so_far = "" if answer.verdict == NOT_RUN else f" So far: {answer.verdict}."
    return answer._replace(verdict=NOT_RUN, sentence=f"{done.lack}.{so_far} {answer.sentence}")


def _exclusions(sweep: Sweep, data: Dataset) -> Answer:
    """What the page must say beside the verdicts: points that may be trained too little, and trials without a value."""
    question = "Exclusions: which points raise the under-training alarm, and which trials have no value?"
    flagged = [one for one in find_alarms(sweep, data, configurations(data)) if one.kind == UNDER_TRAINED]
    failed = sweep.trials[sweep.trials["status"] != FINISHED]
    named = [f"{one.place}, k_c = {one.k_c:.0f}: {one.why}" for one in flagged]
    alarms = "; ".join(named) or "none"
    if not _can_be_alarmed(sweep, data):
        alarms = "not to be had, for no training was validated four times in its last fifth"
    lost = [_failure(row) for _, row in failed.iterrows()]
    sentence = f"Alarms: {alarms}. Trials without a value: {'; '.join(lost) or 'none'}."
    numbers = {"under_trained": [one._asdict() for one in flagged], "failed": failed["trial_id"].tolist()}
    return Answer(question, f"{len(flagged)} points, {len(failed)} trials", sentence, numbers)


def _can_be_alarmed(sweep: Sweep, data: Dataset) -> bool:
    """Whether any curve has as many validations at its end as the alarm asks for."""
    curves = sweep.curves[among(sweep.curves["trial_id"], data.rows["trial_id"])]
    return not tail_gains(curves[(curves["split"] == "valid") & (curves["step"] > 0)], "metric", data.direction).empty


def _failure(row: pd.Series) -> str:
    size = f"N = {row['n_rec']:.0f}" if pd.isna(row["d_m"]) else f"d_m = {row['d_m']:.0f}, k_c = {row['k_c']:.0f}"
    return f"{row['architecture']}, P = {row['budget']:,.0f}, {size}, seed {row['seed']} ({row['status']})"
