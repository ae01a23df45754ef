"""What `suggest`, `learning-rate` and `equal-work` do: what to run next, and how."""

import shlex
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from analysis.commands.files import write_text
from analysis.commands.groups import tell_groups
from analysis.errors import AnalysisError
from analysis.laws.next_steps import next_steps
from analysis.laws.step_grid import step_grid
from analysis.laws.suggest import SUFFIX, SuggestSettings
from analysis.laws.suggest import suggest as make_suggestion
from analysis.report.collect import views_without_law
from analysis.report.console import make_console, print_suggestion, print_table
from analysis.report.equal_work import EXPLAINED as EXPLAINED_WORK
from analysis.report.equal_work import equal_work as compare_work
from analysis.report.equal_work import equal_work_table
from analysis.rows.learning_rates import fit_rule
from analysis.rows.load import datasets, rate_trials, read_sweep
from analysis.rows.summary import nothing_to_go_on
from analysis.rows.sweep import DESIGN_POINT, Dataset, Measure, Selection, Sweep
from sweeper.errors import warn_of_damage
from sweeper.words import counted


def suggest(uri: str, selection: Selection, settings: SuggestSettings, output: str | None) -> None:
    """Choose the next runs for the largest group of a sweep; write or print their grid."""
    sweep, groups, console = *_groups_to_go_on(uri, selection), make_console()
    # A grid is about one family of networks: the largest, unless --where or --group names another.
    suggestion = make_suggestion(sweep, groups[0], settings)
    others = f" (the largest of {len(groups)} groups; --group NAME chooses another)" if len(groups) > 1 else ""
    print_suggestion(suggestion, groups[0].label + others, console)
    _write_grid(suggestion.grid, output, uri, console)


def suggest_step(uri: str, selection: Selection, number: int, name: str | None, output: str | None) -> None:
    """Write or print the grid of one of the next steps that report and card print."""
    sweep, groups, console = *_groups_to_go_on(uri, selection), make_console()
    (view,) = views_without_law(sweep, groups[:1])
    listed = next_steps(view)
    if not 1 <= number <= len(listed) or not listed[number - 1].points:
        numbers = ", ".join(str(place) for place, step in enumerate(listed, 1) if step.points)
        raise AnalysisError(f"--step {number}: no step with runs of its own; choose one of: {numbers or 'none'}")
    step = listed[number - 1]
    comments = (f"{step.what}: {step.why}.",)
    text = step_grid(sweep, view.data, step.points, name or sweep.label + SUFFIX, comments)
    console.print(f"{step.what} ({counted(step.trials, 'trial')}): {step.why}", soft_wrap=True, highlight=False)
    _write_grid(text, output, uri, console)


def _groups_to_go_on(uri: str, selection: Selection) -> tuple[Sweep, list[Dataset]]:
    """A sweep with its groups that have rows; which rows are kept apart is said."""
    sweep = read_sweep(uri)
    every = datasets(sweep, selection)
    tell_groups(every)
    groups = [data for data in every if len(data.rows)]
    if not groups:
        raise AnalysisError(nothing_to_go_on(sweep))
    return sweep, groups


def _write_grid(text: str, output: str | None, uri: str, console: Console) -> None:
    if output is None:
        print(text, end="")
        return
    write_text(Path(output), text)
    console.print(
        f"wrote {output}. Next: sweeper launch {shlex.quote(str(output))} -r {shlex.quote(uri)}",
        soft_wrap=True,
        highlight=False,
    )


def learning_rate(uri: str, selection: Selection) -> None:
    """Print the learning-rate rule of every group that was run with several rates."""
    sweep, console = read_sweep(uri), make_console()
    # a rate chosen by the test split would leak it into every number that is reported afterwards
    column = Measure(kind=selection.measure.kind, split="valid").column
    groups, refused = datasets(sweep, selection), []
    tell_groups(groups)
    for data in groups:
        try:
            rule = fit_rule(rate_trials(sweep, data), column, data.direction, list(DESIGN_POINT))
        except AnalysisError as error:  # one group without a pilot does not cost the others their rule
            refused.append(f"{data.label}: {error}")
            continue
        console.print(
            f"# {escape(data.label)}: {rule.points} design points, best rates off the rule by a factor of "
            f"{rule.factor:.2f} (residual sd)",
            soft_wrap=True,
        )
        console.print(escape(rule.yaml()), soft_wrap=True)
    # Only if no group has a rule the command has failed.
    if len(refused) == len(groups):
        raise AnalysisError(
            refused[0] if refused else f"{uri}: no row fulfils {selection.where or 'anything: no trial yet'}"
        )
    for sentence in refused:
        console.print(f"# {escape(sentence)}", soft_wrap=True)


def equal_work(uri: str, selection: Selection) -> None:
    """Print the best split at equal operations beside that at equal P, for every group with several budgets."""
    sweep, console = read_sweep(uri, on_damage=warn_of_damage), make_console()
    groups, refused = datasets(sweep, selection), []
    tell_groups(groups)
    for data in groups:
        try:
            lines = compare_work(data)
        except AnalysisError as error:  # a group of one budget does not cost the others their table
            refused.append(str(error))
            continue
        print_table(equal_work_table(lines), console, escape(data.label))
    if len(refused) == len(groups):
        raise AnalysisError(refused[0] if refused else f"{uri}: no row fulfils {selection.where or 'anything'}")
    console.print(EXPLAINED_WORK, style="dim")
    for sentence in refused:
        click.echo(sentence, err=True)
