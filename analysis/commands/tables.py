"""What `import` and `export` do."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.markup import escape

from analysis.commands.files import with_path
from analysis.commands.groups import make_views
from analysis.dashboard.export import Format, pictures, write_figures
from analysis.dashboard.run_table import safe_frame
from analysis.errors import AnalysisError
from analysis.imports.mapping import ImportSettings
from analysis.imports.tables import import_rows
from analysis.laws.theory_fit import FitSettings
from analysis.report.console import make_console
from analysis.rows.imported import write_import
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection
from sweeper.words import counted


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
