"""What the commands of `analysis` do, behind the command line."""

import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import pandas as pd
from rich.console import Console
from rich.markup import escape

from analysis.dashboard import page
from analysis.dashboard.compare_tab import compare_tab
from analysis.dashboard.export import Format, pictures, write_figures
from analysis.dashboard.panels import Tab
from analysis.dashboard.run_table import safe_frame
from analysis.dashboard.serve import make_server
from analysis.dashboard.tabs_law import group_tabs
from analysis.errors import AnalysisError
from analysis.html import to_json
from analysis.imports.mapping import ImportSettings
from analysis.imports.tables import import_rows
from analysis.laws.findings import MeasuredValue
from analysis.laws.next_steps import next_steps
from analysis.laws.step_grid import step_grid
from analysis.laws.suggest import SUFFIX, SuggestSettings
from analysis.laws.suggest import suggest as make_suggestion
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import View, make_view, with_baselines, with_effects
from analysis.report.collect import collect, views_without_law
from analysis.report.compare import COLUMNS, comparison, comparison_rows, merged, with_distinct_ids
from analysis.report.console import (
    make_console,
    print_comparison,
    print_report,
    print_suggestion,
    print_summary,
    print_table,
)
from analysis.report.equal_work import EXPLAINED as EXPLAINED_WORK
from analysis.report.equal_work import equal_work as compare_work
from analysis.report.equal_work import equal_work_table
from analysis.report.html import report_html
from analysis.report.model import ReportSettings, report_json
from analysis.report.report import Done, assemble, card
from analysis.report.stored import evidence_in
from analysis.report.verify import LISTED
from analysis.report.verify import verify as verify_report
from analysis.rows.imported import is_import, write_import
from analysis.rows.learning_rates import fit_rule
from analysis.rows.load import datasets, group_lines, rate_trials, read_sweep
from analysis.rows.summary import as_json as summary_json
from analysis.rows.summary import nothing_to_go_on, summarise
from analysis.rows.sweep import DESIGN_POINT, Dataset, Measure, Selection, Sweep, among
from sweeper.errors import warn_of_damage
from sweeper.words import counted

if TYPE_CHECKING:
    from analysis.activity.collect import ActivitySettings, ResidualSettings
    from analysis.activity.report import NetworkActivity
    from analysis.activity.residual_report import NetworkResiduals

    Network = TypeVar("Network", NetworkActivity, NetworkResiduals)


def fit_theory(
    uri: str,
    settings: ReportSettings,
    *,
    output: str | None,
    as_json: bool,
) -> None:
    """Fit the law to every group of a sweep; print the report and save it as JSON and HTML."""
    sweep = read_sweep(uri)
    groups = datasets(sweep, settings.selection)
    # First of all: which rows are kept apart decides what every number below is about.
    tell_groups(groups)
    # One name for both files, whichever ending was given.
    base = Path(output).with_suffix("") if output else _path_in_results(sweep, "fit")
    finished: list[Done] = []
    for done in collect(sweep, groups, settings):
        finished.append(done)
        # On stderr, so that `--json` prints the document alone.
        click.echo(f"fitted {len(finished)} of {len(groups)}: {done.group.label}", err=True)
        if base is not None and len(finished) < len(groups):
            # Fits of many groups take minutes: an interrupted run leaves a report of those that are done.
            so_far = assemble(sweep, finished, settings, joint=False)
            write_text(base.with_suffix(".json"), report_json(so_far.to_dict(), unfinished=True))
    report = assemble(sweep, finished, settings)
    document = report_json(report.to_dict())
    if not as_json:  # first the numbers, then the files: a full disk costs nobody the report
        print_report(report, make_console())
    saved = []
    if base is not None:
        write_text(base.with_suffix(".json"), document)
        write_text(base.with_suffix(".html"), report_html(report, [done.view for done in finished]))
        saved = [str(base.with_suffix(suffix)) for suffix in (".json", ".html")]
    if as_json:
        # Last, so that the files are there when a program has read the document.
        print(document, end="")
        return
    where_to = "not saved: give -o FILE for a sweep that is not on this machine"
    make_console().print(f"saved: {' and '.join(saved)}" if saved else where_to, soft_wrap=True)


def measured(files: Sequence[str], fixed: Sequence[str]) -> tuple[MeasuredValue, ...]:
    """Read values that were measured before the fit; see `analysis.activity.exponents.measured_values`."""
    if not (files or fixed):
        return ()
    # Here and not above: the statistics behind it load longer than other commands take.
    from analysis.activity.exponents import measured_values

    return measured_values(files, fixed)


def activity(uri: str, where: str | None, settings: "ActivitySettings", *, output: str | None, as_json: bool) -> None:
    """Record the saved networks of a sweep; print what their neurons do and save it as JSON and HTML."""
    # Here and not above: the statistics behind it load longer than other commands take.
    from analysis.activity import timescales
    from analysis.activity.collect import learned, recorded
    from analysis.activity.report import EXPLAINED, activity_json, activity_page, activity_table, sentences

    sweep, rows, base = _saved_networks(uri, where, output, "activity")
    networks, left_out = _those_that_ran(recorded(sweep, rows, settings), len(rows))
    learnt = list(learned(sweep, rows))
    if not networks and not learnt:
        raise AnalysisError(f"{uri}: none of {counted(len(rows), 'saved network')} could be recorded; {left_out[0]}")
    content = activity_json(networks, learnt, asdict(settings) | {"where": where})
    if as_json:
        print(to_json(content))
    else:
        console = make_console()
        if networks:
            print_table(activity_table(networks), console)
            for sentence in sentences(networks):
                console.print(f"[yellow]•[/yellow] {escape(sentence)}")
            console.print(EXPLAINED, style="dim")
        if learnt:
            print_table(timescales.timescale_table(learnt), console)
            console.print(timescales.EXPLAINED, style="dim")
    subtitle = f"{settings.split} split, {rows['data_name'].iloc[0]}; burn-in of {settings.burn_in} steps"
    _save(base, content, activity_page(networks, learnt, f"Activity: {sweep.label}", subtitle))


def residuals(uri: str, where: str | None, settings: "ResidualSettings", *, output: str | None, as_json: bool) -> None:
    """Run the saved networks of a sweep of neuronio; print how they miss the voltage and save it as JSON and HTML."""
    # Here and not above: the statistics behind it load longer than other commands take.
    from analysis.activity import residual_report as report
    from analysis.activity.collect import with_residuals

    sweep, rows, base = _saved_networks(uri, where, output, "residuals")
    networks, left_out = _those_that_ran(with_residuals(sweep, rows, settings), len(rows))
    if not networks:
        raise AnalysisError(f"{uri}: none of {counted(len(rows), 'saved network')} could be run; {left_out[0]}")
    content = report.residual_json(networks, asdict(settings) | {"where": where})
    if as_json:
        print(to_json(content))
    else:
        console = make_console()
        print_table(report.residual_table(networks), console)
        console.print(report.EXPLAINED, style="dim")
    subtitle = f"{settings.split} split, {networks[0].data_name}"
    _save(base, content, report.residual_page(networks, f"Residuals: {sweep.label}", subtitle))


def _saved_networks(uri: str, where: str | None, output: str | None, name: str) -> tuple[Sweep, pd.DataFrame, Path]:
    """The sweep, the rows whose networks were kept, and where the result goes, without a suffix."""
    from analysis.activity.collect import networks_of

    sweep = read_sweep(uri, on_damage=warn_of_damage)
    rows = networks_of(sweep, where)
    base = Path(output).with_suffix("") if output else _path_in_results(sweep, name)
    if base is None:
        raise AnalysisError(f"{uri}: not on this machine; say where the page should go with -o FILE")
    return sweep, rows, base


def _those_that_ran(found: "Iterable[Network | tuple[str, str]]", asked: int) -> "tuple[list[Network], list[str]]":
    """Say which networks were run, and which were left out and why; return both."""
    networks = []
    left_out: list[str] = []
    for place, made in enumerate(found, 1):
        if isinstance(made, tuple):
            left_out.append(f"left out: trial {made[0]}: {made[1]}")
            click.echo(left_out[-1], err=True)
        else:
            networks.append(made)
            click.echo(f"ran {place} of {asked}: {made.label}", err=True)
    return networks, left_out


def _save(base: Path, content: Any, html: str) -> None:
    write_text(base.with_suffix(".json"), to_json(content))
    write_text(base.with_suffix(".html"), html)
    click.echo(f"saved: {base.with_suffix('.json')} and {base.with_suffix('.html')}", err=True)


def verify(path: str, results: str | None) -> bool:
    """Recompute a report, print what differs, and tell whether it holds."""
    verdict = verify_report(path, results)
    console = make_console()
    for sentence in verdict.versions:
        console.print(f"[yellow]•[/yellow] another version of {escape(sentence)}")
    for difference in verdict.differences[:LISTED]:
        console.print(
            f"[red]✗[/red] {escape(difference.place)}: the report says {escape(difference.reported)}, "
            f"the rows give {escape(difference.recomputed)}",
            soft_wrap=True,
        )
    if verdict.holds:
        console.print(f"[green]✓[/green] {verdict.numbers:,} entries recomputed from the rows; every one agrees.")
    else:
        console.print(f"{len(verdict.differences):,} of {verdict.numbers:,} entries differ: the report does not hold.")
    return verdict.holds


def summary(uri: str, selection: Selection, *, as_json: bool) -> None:
    """Print a sweep on one screen."""
    # Commands that only look go on without a damaged part and say so; reports and suggestions refuse it.
    sweep = read_sweep(uri, on_damage=warn_of_damage)
    groups = datasets(sweep, selection)
    views = views_without_law(sweep, groups)
    content = summarise(sweep, views)
    if as_json:
        print(json.dumps(summary_json(content), indent=1, allow_nan=False))
    else:
        print_summary(content, {view.data.label: card(view, fitted=False) for view in views}, make_console())


def dashboard(uri: str, selection: Selection, settings: FitSettings, output: str | None) -> Path:
    """Write the page of a sweep as one HTML file."""
    sweep = read_sweep(uri, on_damage=warn_of_damage)
    target = Path(output) if output else _path_in_results(sweep, "dashboard.html")
    # Object storage and published tables have no folder beside the rows.
    if target is None:
        raise AnalysisError(f"{uri}: not on this machine; say where the page should go with -o FILE")
    views = make_views(sweep, selection, settings)
    # Only a report beside the rows may lend the page its intervals: the page computes none.
    views = [view._replace(stored=evidence_in(view, _path_in_results(sweep, "."))) for view in views]
    content = dashboard_payload(sweep, views, selection)
    write_text(target, page.html(content, dashboard_records(sweep, content)))
    return target


def compare(
    uris: Sequence[str], selection: Selection, settings: FitSettings, *, output: str | None, as_json: bool
) -> Path | None:
    """Print the optima of several sweeps side by side; write a page of all of them with -o."""
    sweeps = with_distinct_ids([read_sweep(uri) for uri in uris])
    groups = [datasets(sweep, selection) for sweep in sweeps]
    for of_sweep in groups:
        tell_groups(of_sweep)
    views = [
        view._replace(
            # Groups of two sweeps may have one name, and the table, the page and its links tell them apart by it.
            data=replace(view.data, label=f"{sweep.label}: {view.data.label}") if len(sweeps) > 1 else view.data
        )
        for sweep, of_sweep in zip(sweeps, groups, strict=True)
        for view in group_views(sweep, of_sweep, settings)
    ]
    for sweep, of_sweep in zip(sweeps, groups, strict=True):
        if not any(len(data.rows) for data in of_sweep):  # or it would be missing without a word
            click.echo(nothing_to_go_on(sweep), err=True)
    lines = comparison(views)
    if as_json:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in comparison_rows(lines)]
        print(json.dumps(rows, indent=1, allow_nan=False))
    else:
        print_comparison(lines, make_console())
    if output is None:
        return None
    whole = merged(sweeps)
    content = dashboard_payload(whole, views, selection, first=[compare_tab(lines)])
    write_text(Path(output), page.html(content, dashboard_records(whole, content)))
    return Path(output)


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


def suggest(uri: str, selection: Selection, settings: SuggestSettings, output: str | None) -> None:
    """Choose the next runs for the largest group of a sweep; write or print their grid."""
    sweep, groups, console = *_groups_to_go_on(uri, selection), make_console()
    # A grid is about one family of networks: the largest, unless --where or --group names another.
    suggestion = make_suggestion(sweep, groups[0], settings)
    others = f" (the largest of {len(groups)} groups; --group NAME chooses another)" if len(groups) > 1 else ""
    print_suggestion(suggestion, groups[0].label + others, console)
    _write_grid(suggestion.grid, output, uri, console)


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


def tell_groups(groups: Sequence[Dataset]) -> None:
    """Say before anything else which rows are kept apart, on stderr: what a command prints may be read by a program."""
    for line in group_lines(groups):
        click.echo(line, err=True)


def serve(
    uri: str,
    selection: Selection,
    settings: FitSettings,
    *,
    address: tuple[str, int],
    ready: Callable[[str], object],
) -> None:
    """Serve the live page until interrupted.

    Args:
        uri: results directory.
        selection: rows and metric.
        settings: how to fit.
        address: host and port to listen at; port 0 takes a free one.
        ready: called once with the page's address, as soon as it can be opened.
    """

    if is_import(uri):
        raise AnalysisError(f"{uri}: imported rows do not change; `analysis dashboard` writes their page")

    # All laws are fitted anew whenever rows change; how often that may happen is the server's business.
    def build(sweep: Sweep, live: Mapping[str, Any]) -> dict[str, Any]:
        return dashboard_payload(sweep, make_views(sweep, selection, settings), selection, live=live)

    server = make_server(uri, build, host=address[0], port=address[1])
    try:
        ready(f"http://{address[0]}:{server.server_address[1]}/")
        # The server looks this often whether it shall end; by default half a second passes.
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        return
    finally:
        server.server_close()


def make_views(sweep: Sweep, selection: Selection, settings: FitSettings) -> list[View]:
    """Fit and describe every group of a sweep that has rows."""
    return group_views(sweep, datasets(sweep, selection), settings)


def group_views(sweep: Sweep, groups: Sequence[Dataset], settings: FitSettings) -> list[View]:
    """Fit and describe those of some groups that have rows."""
    views = [make_view(sweep, fit_dataset(data, settings)) for data in groups if len(data.rows)]
    return with_effects(with_baselines(views))


def dashboard_payload(
    sweep: Sweep,
    views: list[View],
    selection: Selection,
    *,
    first: Sequence[Tab] = (),
    live: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Collect what the page shows.

    Args:
        sweep: all rows.
        views: groups with rows.
        selection: rows and metric that were asked for.
        first: tabs that come before those of the groups.
        live: settings of the served page.
    """
    lines = [
        f"Metric: {selection.measure.column}; means over seeds; 95 % intervals of the mean from the seed noise of its "
        "budget.",
        f"Rows: {sweep.uri}" + (f", where {selection.where}" if selection.where else ""),
    ]
    # Everything that is needed to make the page again: rows by their hash, what was left out, and the law that is
    # drawn.
    for view in views:
        left = ", ".join(f"{len(e.trial_ids)} {e.rule}" for e in view.data.excluded) or "none"
        lines.append(
            f"{view.data.label}: {len(view.data.rows)} runs, left out: {left}; rows sha256 {view.data.rows_sha256}"
        )
        if view.overlay:
            lines.append(f"{view.data.label}: dashed = {view.overlay.law}")
    warnings = group_lines([view.data for view in views]) if views else ["No finished trial with a value yet."]
    tabs = [[*first, *group_tabs(view)] for view in views]
    answers = [card(view) for view in views]
    return page.payload(sweep, views, tabs, answers, provenance=lines, warnings=warnings, live=live)


def dashboard_records(sweep: Sweep, content: Mapping[str, Any]) -> dict[str, Any]:
    """Specs and curves of the trials that a page lists."""
    return page.records(sweep, sweep.trials[among(sweep.trials["trial_id"], content["table"]["columns"][0]["texts"])])


def import_table(source: str, settings: ImportSettings, *, kind: str, study: str | None, output: str) -> None:
    """Write a table of another tool as a directory that every command reads, and say what became of its columns."""
    rows, origin, left_out = import_rows(source, settings, kind=kind, study=study)
    write_import(output, rows, origin)
    console = make_console()
    taken = ", ".join(name if name == column else f"{name} = {column}" for name, column in origin.mapping.items())
    console.print(f"{counted(len(rows), 'row')} imported from {escape(source)}: {escape(taken)}", soft_wrap=True)
    if left_out:
        console.print(f"left out: {left_out:,} trials that have not ended", soft_wrap=True)
    if origin.unused:
        names = ", ".join(origin.unused)
        console.print(
            f"not used: {escape(names)} (--settings NAME,... keeps rows of different values apart)", soft_wrap=True
        )
    console.print(f"wrote {escape(output)}. Next: analysis fit-theory {escape(shlex.quote(output))}", soft_wrap=True)


def export(uri: str, selection: Selection, output: str) -> int:
    """Write the rows that enter, with the metric as `value`, as Parquet or CSV.

    Returns:
        The number of rows.
    """
    path = Path(output)
    if path.suffix not in (".parquet", ".csv"):
        raise AnalysisError(f"-o {output}: the name must end in .parquet or .csv")
    sweep = read_sweep(uri)
    # Groups stay apart in the file as well: whoever reads it should not fit rows together that differ in a setting.
    frames = [data.rows.assign(group=data.label) for data in datasets(sweep, selection)]
    # An empty sweep gives an empty table with its columns, which a script can read as any other.
    rows = pd.concat(frames, ignore_index=True) if frames else sweep.trials.iloc[:0]
    with_path(
        path,
        lambda: (
            safe_frame(rows).to_csv(path, index=False) if path.suffix == ".csv" else rows.to_parquet(path, index=False)
        ),
    )
    return len(rows)


def export_figures(
    uri: str, selection: Selection, settings: FitSettings, *, folder: str, only: Sequence[str], how: Format
) -> list[Path]:
    """Write the figures of a sweep as SVG, PNG or PDF files.

    Args:
        uri: results directory or published table.
        selection: rows and metric.
        settings: how to fit the laws that are drawn.
        folder: where the files go.
        only: names or patterns of the figures; empty for all of them.
        how: format, theme and size.

    Returns:
        Paths of the files.
    """
    views = make_views(read_sweep(uri), selection, settings)
    paths: list[Path] = []
    with_path(Path(folder), lambda: paths.extend(write_figures(views, Path(folder), only, how)))
    return paths


def figure_names(uri: str, selection: Selection, settings: FitSettings) -> list[str]:
    """Names of all figures of a sweep, by which `export_figures` draws some of them."""
    return [picture.name for picture in pictures(make_views(read_sweep(uri), selection, settings))]


def _path_in_results(sweep: Sweep, name: str) -> Path | None:
    """Path of a file in the results directory itself; None for object storage and published tables."""
    return Path(sweep.folder) / name if sweep.folder else None


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is seen whole or not at all."""
    # The number of the process keeps two commands that write the same file out of each other's half-written text.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def write() -> None:
        try:
            temporary.write_text(text, encoding="utf-8")
            # On one file system a rename happens at once: a reader sees the old file or the new one.
            temporary.replace(path)
        finally:
            # A write that failed half-way leaves nothing behind.
            temporary.unlink(missing_ok=True)

    with_path(path, write)


def with_path(path: Path, write: Callable[[], object]) -> None:
    """Run a writer, turning the system's refusal into one line."""
    try:
        write()
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be written: {error.strerror or error}") from error
