"""The replication study: a prediction before looking, then verdicts from stored rows.

    python -m studies.paper_in_miniature.study predict RESULTS GRID -o RESULTS/prediction.json
    python -m studies.paper_in_miniature.study verdicts RESULTS ... -o FOLDER

GRID is the one of the largest budget, such as studies/paper_in_miniature/grids/study_text_holdout.yaml.

`make study` runs everything anew, `make study-report` only what follows from the stored rows.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pandas as pd

from analysis.dashboard.export import write_pictures
from analysis.errors import AnalysisError
from analysis.laws.evidence import EvidenceSettings, intervals
from analysis.laws.findings import LawIntervals, plain
from analysis.laws.joint import joint_fits
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import make_view
from analysis.rows.alarms import rate_bounds
from analysis.rows.load import datasets, read_sweep
from analysis.rows.published import published_sweep
from analysis.rows.sweep import Dataset, Selection, Sweep
from studies.answers import Answer, markdown
from studies.paper_in_miniature.figures import study_pictures
from studies.paper_in_miniature.holdout import held_out
from studies.paper_in_miniature.laws import moved_exponent, noise_law
from studies.paper_in_miniature.optima import connectivity, interior_optimum, movement
from studies.paper_in_miniature.questions import (
    MEASURED,
    NOT_DECIDED,
    Base,
    ablation,
    architectures,
    axis_alone,
    effect_answer,
    longer,
    training,
)
from studies.prediction import predict, refuse_late, write_prediction
from studies.yardsticks import Yardstick, linear_model, ngram
from sweeper.errors import run_command
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid

CHANGED = ("rho_rec", "tau_m_max", "l_mlp", "d_branch")
"""Settings of the ablations."""

MOVES = {"tau_m_max": "alpha", "l_mlp": "alpha", "k_c": "beta"}
"""What the paper has each setting move; its d_branch is k_c here, since d_tree stands still."""

GATED = ("lstm", "chrono_lstm", "gru")
"""What the ELM Network is compared with."""

PUBLISHED = {"text": "enwik8", "shd": "shd_adding"}
"""The published table nearest to each task; its data are others."""

CLAIMED = ("shd",)
"""Tasks of the kind on which a paper claims superiority over gated networks: spoken digits (Spieler et al. 2024, the
ELM neuron). No claim is known of text."""

DRAWS = 300
"""Bootstrap draws behind the intervals of the exponents."""

FIXED_D_M = 4
"""d_m where other axes are varied alone."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def cli(debug: bool) -> None:
    """Predictions and verdicts of the replication study (studies/paper_in_miniature/grids/study_*.yaml)."""


@cli.command("predict")
@click.argument("results")
@click.argument("grid", type=click.Path(dir_okay=False))
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="JSON file.")
def make_prediction(results: str, grid: str, output: Path) -> None:
    """Fit what RESULTS holds and write down what it expects of GRID, none of whose trials may have been run."""
    plan, sweep = expand(load_grid(grid)), read_sweep(results)
    refuse_late(output, plan, sweep)
    # The prediction rests on the isobudget sweep alone; axes and ablations were run for other questions.
    write_prediction(predict(fit_dataset(_main(elm_groups(sweep)[0]), FitSettings()), plan), output)


@cli.command()
@click.argument("results", nargs=-1, required=True)
@click.option("-o", "output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder.")
@click.option("--figures", is_flag=True, help="Draw figures of the answers into RESULTS/figures (needs Chromium).")
def verdicts(results: tuple[str, ...], output: Path, figures: bool) -> None:
    """Answer the study's questions from the rows of each RESULTS; writes verdicts.json and verdicts.md."""
    output.mkdir(parents=True, exist_ok=True)
    by_task = {}
    for one in results:
        sweep = read_sweep(one)
        # The folder is named after the task.
        again = Path(f"{one.rstrip('/')}_longer")
        more = read_sweep(str(again)) if again.exists() else None
        by_task[Path(one).name] = answered = list(answers(sweep, Path(one) / "prediction.json", more))
        if figures:
            write_pictures(study_pictures(answered, _main(elm_groups(sweep)[0]).title), Path(one) / "figures")
    documents = {name: [answer._asdict() for answer in answered] for name, answered in by_task.items()}
    (output / "verdicts.json").write_text(json.dumps(documents, indent=1) + "\n", encoding="utf-8")
    table = markdown("Verdicts of the paper in miniature", by_task)
    (output / "verdicts.md").write_text(table, encoding="utf-8")
    click.echo(table)


def answers(sweep: Sweep, prediction: Path, more: Sweep | None = None) -> Iterator[Answer]:
    """All questions about one task, in the order of the study.

    Args:
        sweep: the rows of all its grids.
        prediction: file written before the largest budget was run.
        more: rows of some of its points that were trained longer.
    """
    settings, groups = FitSettings(), elm_groups(sweep)
    everything = groups[0]
    main, at_base = _main(everything), _at_base(everything)
    yield from law_free(everything)
    simple = _yardstick(main)
    yield training(sweep, at_base, simple)
    if more is not None:
        yield longer([everything, *_gated(sweep)], datasets(more, Selection()))
    # At one connectivity, so that no form has to explain connectivity as well.
    yield noise_law(at_base, settings)
    # The largest budget has a grid of its own, launched after the prediction had been committed.
    last = at_base.rows["sweep"].str.endswith("_holdout")
    yield held_out(prediction, at_base.rows[last], _take(at_base, at_base.rows[~last]))
    yield _against_published(main, settings)
    yield from _ablations(groups, main)
    yield from _exponents(sweep, groups, settings)
    gated = _gated(sweep)
    # Of all gated groups, because a best rate at the end of those tried favours the ELM Network.
    bounds = {trial for data in gated for _, _, trials in rate_bounds(sweep, data) for trial in trials}
    claimed = main.keys["task"] in CLAIMED
    yield architectures(at_base, gated, bounds, yardstick=simple, claimed=claimed)


def law_free(data: Dataset) -> Iterator[Answer]:
    """The questions about one group of networks that need no law."""
    base, at_base = _base(data), _at_base(data)
    for axis in ("n_rec", "k_e", "k_c"):
        yield axis_alone(data, axis, base)
    yield interior_optimum(at_base)
    yield from movement(at_base)
    yield connectivity(data)


def _yardstick(main: Dataset) -> Yardstick:
    """What a simple model reaches on the data that these rows were trained on."""
    row = main.rows.iloc[0]
    options = json.loads(row["spec"])["task_options"]
    if row["task"] != "text":
        return linear_model(row["task"], options)
    return ngram(options, **{name: int(row[name]) for name in ("steps", "batch_size", "length")})


def _against_published(main: Dataset, settings: FitSettings) -> Answer:
    """The law's exponents on these rows beside those on the published table of the related task."""
    related = PUBLISHED.get(main.keys["task"])
    question = "How do the law's exponents compare with those on the published table?"
    if related is None:
        return Answer(question, NOT_DECIDED, f"No table was published for {main.keys['task']}.", {})
    published = datasets(published_sweep(related), Selection())[0]
    numbers: dict[str, Any] = {}
    lines = []
    for name, data in (("here", main), (f"published:{related}", published)):
        law = fit_dataset(data, settings)
        estimates = intervals(law, EvidenceSettings(draws=DRAWS)) if law.fit is not None else None
        parameters = estimates.parameters if isinstance(estimates, LawIntervals) else ()
        rows = {row.quantity: plain(row) for row in parameters if row.quantity in ("alpha", "beta")}
        numbers[name] = {"law": law.fit.law.label if law.fit is not None else None, "parameters": list(rows.values())}
        ranges = ", ".join(
            f"{key} {row['estimate']:.2f}"
            + (f" ({row['low']:.2f} to {row['high']:.2f})" if row["low"] is not None else " (no interval)")
            for key, row in rows.items()
        )
        lines.append(f"{name}: {ranges or 'no interval'} [{numbers[name]['law']}]")
    return Answer(question, MEASURED, f"{'; '.join(lines)}. One published budget determines neither.", numbers)


def _ablations(groups: Sequence[Dataset], main: Dataset) -> Iterator[Answer]:
    rows = pd.concat([data.rows for data in groups], ignore_index=True)
    # The study's own settings are those that most of its rows have.
    base = {name: main.rows[name].mode().iloc[0] for name in CHANGED}
    for setting in CHANGED:
        # One setting at a time: all others as in the study, or the effect could be theirs.
        others_at_base = pd.Series(True, index=rows.index)
        for name in CHANGED:
            if name != setting:
                others_at_base &= rows[name] == base[name]
        # Ablations were run at some budgets alone; base rows of other budgets have nothing to be paired with.
        part = rows[others_at_base & rows["budget"].isin(_shared_budgets(rows, setting, base))]
        unchanged = part[part[setting] == base[setting]]
        changed = sorted(set(part[setting]) - {base[setting]})
        if not changed:
            continue
        effects = [
            ablation(unchanged, part[part[setting] == value], main.direction, setting, f"{value:g}")
            for value in changed
        ]
        yield effect_answer(setting, float(base[setting]), effects, main.metric)


def _exponents(sweep: Sweep, groups: Sequence[Dataset], settings: FitSettings) -> Iterator[Answer]:
    """Joint fits of the groups that differ in one setting."""
    views = [make_view(sweep, fit_dataset(data, settings)) for data in groups if len(data.rows)]
    differ = {name for data in groups for name in data.keys}
    differ |= {"k_c"} if any(data.rows["k_c"].nunique() > 1 for data in groups) else set()
    # A study that ran a part of the grids lacks some of these settings, and `joint_fits` refuses names that nothing
    # differs in.
    for setting in (name for name in MOVES if name in differ):
        for entry in joint_fits(views, [setting], settings):
            yield moved_exponent(entry, MOVES[setting])


def _shared_budgets(rows: pd.DataFrame, setting: str, base: dict[str, Any]) -> list[float]:
    return sorted(rows.loc[(rows[setting] != base[setting]) & rows["budget"].notna(), "budget"].unique().tolist())


def _gated(sweep: Sweep) -> list[Dataset]:
    return [data for data in datasets(sweep, Selection()) if data.keys["architecture"] in GATED]


def elm_groups(sweep: Sweep) -> list[Dataset]:
    """The groups of ELM Networks; the first is the largest, with the study's own settings."""
    groups = [data for data in datasets(sweep, Selection()) if data.keys["architecture"] == "elm"]
    if not groups:
        raise AnalysisError(f"{sweep.label}: no ELM Network among the rows")
    return groups


def _main(data: Dataset) -> Dataset:
    """The isobudget sweep and its plain sweep over n_rec, without the largest budget and without other axes."""
    # The rows that stood when the prediction was made: what was run later must not enter the law that it came from.
    return _take(data, data.rows[~data.rows["sweep"].str.endswith(("_holdout", "_axes", "_ablations"))])


def _at_base(data: Dataset) -> Dataset:
    """Without the runs of other connectivity."""
    return _take(data, data.rows[data.rows["d_branch"] == _base(data).d_branch])


def _take(data: Dataset, rows: pd.DataFrame) -> Dataset:
    return replace(data, rows=rows.reset_index(drop=True))


def _base(data: Dataset) -> Base:
    rows = data.rows
    # Runs without a budget and with another d_m belong to the sweep over k_e, in which n_rec stands still.
    alone = rows[rows["budget"].isna() & (rows["d_m"] != FIXED_D_M)]
    n_rec = int((alone if len(alone) else rows)["n_rec"].mode().iloc[0])
    d_tree, d_branch = (int(rows[name].mode().iloc[0]) for name in ("d_tree", "d_branch"))
    return Base(d_tree=d_tree, d_branch=d_branch, n_rec=n_rec, d_m=FIXED_D_M)


if __name__ == "__main__":
    run_command(cli)
