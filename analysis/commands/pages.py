"""What `dashboard` and `serve` do."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.commands.files import path_in_results, write_text
from analysis.commands.groups import make_views
from analysis.dashboard import page
from analysis.dashboard.panels import Tab
from analysis.dashboard.serve import make_server
from analysis.dashboard.tabs_law import group_tabs
from analysis.errors import AnalysisError
from analysis.laws.theory_fit import FitSettings
from analysis.laws.view import View
from analysis.report.report import card
from analysis.report.stored import evidence_in
from analysis.rows.imported import is_import
from analysis.rows.load import group_lines, read_sweep
from analysis.rows.sweep import Selection, Sweep, among
from sweeper.errors import warn_of_damage


def dashboard(uri: str, selection: Selection, settings: FitSettings, output: str | None) -> Path:
    """Write the page of a sweep as one HTML file."""
    sweep = read_sweep(uri, on_damage=warn_of_damage)
    target = Path(output) if output else path_in_results(sweep, "dashboard.html")
    # Object storage and published tables have no folder beside the rows.
    if target is None:
        raise AnalysisError(f"{uri}: not on this machine; say where the page should go with -o FILE")
    views = make_views(sweep, selection, settings)
    # Only a report beside the rows may lend the page its intervals: the page computes none.
    views = [view._replace(stored=evidence_in(view, path_in_results(sweep, "."))) for view in views]
    content = dashboard_payload(sweep, views, selection)
    write_text(target, page.html(content, dashboard_records(sweep, content)))
    return target


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
