"""What the commands of `analysis` do, behind the command line."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from analysis import page, report
from analysis.console import make_console, print_report
from analysis.errors import AnalysisError
from analysis.load import Measure, Sweep, datasets, read_sweep
from analysis.tabs_law import group_tabs
from analysis.theory_fit import FitSettings, fit_dataset
from analysis.view import View, make_view


def fit_theory(
    uri: str, *, measure: Measure, where: str | None, settings: FitSettings, output: str | None, as_json: bool
) -> None:
    """Fit the law to every group of a sweep, print the report and save it as JSON."""
    sweep = read_sweep(uri)
    laws = [fit_dataset(data, settings) for data in datasets(sweep, measure, where)]
    found = report.build_report(sweep, laws, where=where)
    target = Path(output) if output else _beside(sweep, "fit.json")
    if target is not None:
        write_text(target, report.report_json(found))
    if as_json:
        print(report.report_json(found), end="")
        return
    console = make_console()
    print_report(found, console)
    console.print(f"saved: {target}" if target else "not saved: give -o FILE for a sweep that is not on this machine")


def dashboard(uri: str, *, measure: Measure, where: str | None, settings: FitSettings, output: str | None) -> Path:
    """Write the page of a sweep as one HTML file."""
    sweep = read_sweep(uri)
    views = [
        make_view(sweep, fit_dataset(data, settings)) for data in datasets(sweep, measure, where) if len(data.rows)
    ]
    target = Path(output) if output else _beside(sweep, "dashboard.html")
    if target is None:
        raise AnalysisError(f"{uri}: not on this machine; say where the page should go with -o FILE")
    write_text(target, dashboard_html(sweep, views, measure=measure, where=where))
    return target


def dashboard_html(sweep: Sweep, views: list[View], *, measure: Measure, where: str | None) -> str:
    """Build the page from its views."""
    lines = [
        f"Metric: {measure.column}; means over seeds; 95 % intervals of the mean from the pooled seed noise.",
        f"Rows: {sweep.uri}" + (f", where {where}" if where else ""),
    ]
    for view in views:
        left = ", ".join(f"{len(e.trial_ids)} {e.rule}" for e in view.data.excluded) or "none"
        lines.append(
            f"{view.data.label}: {len(view.data.rows)} runs, left out: {left}; rows sha256 {view.data.rows_sha256}"
        )
        if view.overlay:
            lines.append(f"{view.data.label}: dashed = {view.overlay.law}")
    warnings = [] if views else ["No finished trial with a value yet."]
    tabs = [group_tabs(view) for view in views]
    content = page.payload(sweep, views, tabs, provenance=lines, warnings=warnings)
    trials = sweep.trials[sweep.trials["trial_id"].isin(content["runs"]["id"])]
    return page.html(content, page.records(sweep, trials))


def export(uri: str, *, measure: Measure, where: str | None, output: str) -> int:
    """Write the rows that enter, with the metric as `value`, as Parquet or CSV; returns their number."""
    path = Path(output)
    if path.suffix not in (".parquet", ".csv"):
        raise AnalysisError(f"-o {output}: the name must end in .parquet or .csv")
    sweep = read_sweep(uri)
    frames = [data.rows.assign(group=data.label) for data in datasets(sweep, measure, where)]
    rows = pd.concat(frames, ignore_index=True) if frames else sweep.trials.iloc[:0]
    with_path(
        path, lambda: rows.to_csv(path, index=False) if path.suffix == ".csv" else rows.to_parquet(path, index=False)
    )
    return len(rows)


def _beside(sweep: Sweep, name: str) -> Path | None:
    """Path of a file in the results directory itself; None for object storage and published tables."""
    local = sweep.store.local_path() if sweep.store else None
    return Path(local) / name if local else None


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is seen whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def write() -> None:
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    with_path(path, write)


def with_path(path: Path, write: Callable[[], object]) -> None:
    """Run a writer, turning the system's refusal into one line."""
    try:
        write()
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be written: {error.strerror or error}") from error
