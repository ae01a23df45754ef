"""What `fit-theory`, `verify`, `summary` and `compare` do."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.markup import escape

from analysis.commands.files import path_in_results, write_text
from analysis.commands.groups import group_views, tell_groups
from analysis.commands.pages import dashboard_payload, dashboard_records
from analysis.dashboard import page
from analysis.dashboard.compare_tab import compare_tab
from analysis.laws.theory_fit import FitSettings
from analysis.report.collect import collect, views_without_law
from analysis.report.compare import COLUMNS, comparison, comparison_rows, merged, with_distinct_ids
from analysis.report.console import make_console, print_comparison, print_report, print_summary
from analysis.report.html import report_html
from analysis.report.model import ReportSettings, report_json
from analysis.report.report import Done, assemble, card
from analysis.report.verify import LISTED
from analysis.report.verify import verify as verify_report
from analysis.rows.load import datasets, read_sweep
from analysis.rows.summary import as_json as summary_json
from analysis.rows.summary import nothing_to_go_on, summarise
from analysis.rows.sweep import Selection
from sweeper.errors import warn_of_damage


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
    base = Path(output).with_suffix("") if output else path_in_results(sweep, "fit")
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
