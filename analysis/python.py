"""Rows, laws, figures and reports from Python: `analysis.read` (docs/python.md)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from analysis.errors import AnalysisError
from analysis.imports.mapping import ImportSettings, mapped
from analysis.imports.tables import unused
from analysis.laws.law_choice import BEST
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import View, make_view, with_baselines
from analysis.report.collect import describe, views_without_law
from analysis.report.html import report_html
from analysis.report.model import Report, ReportSettings
from analysis.report.report import assemble, card
from analysis.rows.imported import Origin, imported_sweep
from analysis.rows.load import datasets, read_sweep
from analysis.rows.summary import nothing_to_go_on
from analysis.rows.sweep import Dataset, Measure, Selection, Sweep
from cluster.errors import unknown_name
from sweeper.store.store import ResultsStore
from theory.optimum.allocation import Allocation, optimum

if TYPE_CHECKING:
    import plotly.graph_objects as go


def read(
    source: str | os.PathLike[str] | pd.DataFrame,
    *,
    where: str | None = None,
    group: str | None = None,
    metric: str = "final_metric",
    split: str = "test",
    mapping: Mapping[str, str] | None = None,
    task: str | None = None,
    direction: str | None = None,
) -> "Rows":
    """Read rows: a results directory, imported rows, a published table, or a frame of one's own.

    Args:
        source: the directory, ``published:enwik8``, or a frame, whose columns `mapping`, `task` and `direction` explain
            as in `analysis import`.
        where: condition that rows must fulfil, such as ``"budget >= 1e5"``.
        group: one group of rows by its name; the largest by default.
        metric: `final_metric`, `best_metric` or `final_loss`.
        split: `train`, `valid` or `test`.
        mapping: column of the frame, or arithmetic of its columns, by our column.
        task: what was learnt, for all rows of the frame.
        direction: `min` or `max`, for all rows of the frame.

    Raises:
        AnalysisError: no row enters, or the frame or an argument is not understood.
    """
    if isinstance(source, pd.DataFrame):
        how = ImportSettings(mapping=mapping or {}, task=task, direction=direction, split=split)
        rows, taken = mapped(source, how, place="frame")
        origin = Origin(
            source="a frame", source_sha256=None, kind="frame", mapping=taken, unused=unused(source, taken, how)
        )
        sweep = imported_sweep(rows, origin, label="frame")
    elif mapping or task or direction:
        raise AnalysisError("mapping, task, direction: of a frame only; `analysis import` takes them for a file")
    else:
        sweep = read_sweep(source)
    selection = Selection(measure=Measure(kind=metric, split=split), where=where, group=group)
    groups = [data for data in datasets(sweep, selection) if len(data.rows)]
    if not groups:
        raise AnalysisError(nothing_to_go_on(sweep))
    return Rows(sweep=sweep, data=groups[0], groups=tuple(data.label for data in groups), selection=selection)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One group of rows, and what can be asked of it."""

    sweep: Sweep
    """All rows of the source."""
    data: Dataset
    """The group."""
    groups: tuple[str, ...]
    """Names of all groups of the source, largest first."""
    selection: Selection
    """What was asked for."""

    @property
    def frame(self) -> pd.DataFrame:
        """The rows that enter, with the metric as `value`."""
        return self.data.rows

    def curves(self) -> pd.DataFrame:
        """Training curves of these rows, all columns of the table `curves`, ordered by trial, split and step.

        Raises:
            AnalysisError: these rows have no results directory.
        """
        store = self._store("curves")
        rows = store.read("curves", trial_ids=pa.chunked_array([self.frame["trial_id"].tolist()], pa.string()))
        ordered: pd.DataFrame = rows.sort_by(
            [(name, "ascending") for name in ("trial_id", "split", "step")]
        ).to_pandas()
        return ordered

    def predictions(self) -> pd.DataFrame:
        """Test predictions of these rows, one row per sequence, of trials with `training.record: predictions`.

        Raises:
            AnalysisError: these rows have no results directory, or no trial of theirs has any.
            DamageError: a file is not readable.
        """
        store = self._store("predictions")
        kept = set(store.names("predictions", ".parquet"))
        tables = [store.read_predictions(name) for name in self.frame["trial_id"] if name in kept]
        found = [table for table in tables if table is not None]
        if not found:
            raise AnalysisError(
                f"{self.sweep.uri}: no trial of these rows has predictions; "
                "their grid needs `training: {record: predictions}`"
            )
        frame: pd.DataFrame = pa.concat_tables(found).to_pandas()
        return frame

    def _store(self, what: str) -> ResultsStore:
        if self.sweep.store is None:
            raise AnalysisError(f"{self.sweep.uri}: no results directory, so there are no {what}")
        return self.sweep.store

    def fit(
        self,
        law: str = BEST,
        *,
        loss: str = "least_squares",
        huber_threshold: float | None = None,
        starts: int = 32,
        seed: int = 0,
    ) -> "FittedRows":
        """Fit a law and its rivals.

        Args:
            law: `best`, or one such as ``effective_information:floor=max`` or ``mylaw.py:saturating``.
            loss: `least_squares`, `tukey` or `huber`.
            huber_threshold: residual beyond which `huber` is linear, in units of the fitted metric.
            starts: searches per fit.
            seed: seed of the starting points.

        Raises:
            AnalysisError: the law or an option is unknown.
        """
        settings = FitSettings(law=law, loss=loss, huber_threshold=huber_threshold, starts=starts, seed=seed)
        (view,) = with_baselines([make_view(self.sweep, fit_dataset(self.data, settings))])
        return FittedRows(rows=self, settings=settings, view=view)

    @cached_property
    def _best(self) -> "FittedRows":
        return self.fit()

    def optimum(self, budget: float) -> Allocation:
        """Best split of a budget by the best law; see `FittedRows.optimum`."""
        return self._best.optimum(budget)

    def figure(self, name: str) -> "go.Figure":
        """Draw a figure with the best law; see `FittedRows.figure`."""
        return self._best.figure(name)

    def report(self) -> "WrittenReport":
        """Report the best law; see `FittedRows.report`."""
        return self._best.report()

    def _repr_html_(self) -> str:
        (view,) = views_without_law(self.sweep, [self.data])
        return _html(self.data.label, card(view, fitted=False))


@dataclass(frozen=True, kw_only=True)
class FittedRows:
    """A group of rows with its law."""

    rows: Rows
    """The rows."""
    settings: FitSettings
    """How they were fitted."""
    view: View = field(repr=False)
    """Everything known about them."""

    @property
    def values(self) -> dict[str, float]:
        """Parameters of the law by name; empty where none could be fitted."""
        return {} if self.view.law.fit is None else dict(self.view.law.fit.values)

    def optimum(self, budget: float) -> Allocation:
        """Best split of a budget by the law, within the d_m that were run and at the connectivity of most rows.

        Args:
            budget: trainable parameters P of the whole network.

        Raises:
            AnalysisError: there is no law, or nothing says what these networks cost along d_m.
            TheoryError: the budget is too small for a network.
        """
        law, frame = self.view.law, self.rows.frame
        k_c = float(frame["k_c"].mode().iloc[0])
        if law.fit is None:
            raise AnalysisError(f"{self.rows.data.label}: no law: {'; '.join(r.sentence for r in law.refused)}")
        if k_c not in law.costs:
            raise AnalysisError(f"{self.rows.data.label}: no optimum: rows with several d_m are needed")
        d_m = frame.loc[frame["k_c"] == k_c, "d_m"].astype(float)
        return optimum(law.fit, budget, law.costs[k_c], d_m_range=(float(d_m.min()), float(d_m.max())))

    @cached_property
    def figures(self) -> "dict[str, go.Figure]":
        """All figures by name, as Plotly figures with titles."""
        from analysis.figures.notebook import view_figures  # loads Plotly, which fits do without

        return view_figures(self.view)

    def figure(self, name: str) -> "go.Figure":
        """Draw one figure.

        Args:
            name: such as `isobudget-d_m`, or its beginning, which gives the first: `isobudget`.

        Raises:
            AnalysisError: there is no such figure of these rows.
        """
        matching = [full for full in self.figures if full == name or full.startswith(f"{name}-")]
        if not matching:
            raise AnalysisError(unknown_name("figure", name, self.figures))
        return self.figures[matching[0]]

    def report(self) -> "WrittenReport":
        """Write what these rows show as a report, without intervals (`analysis fit-theory` computes those)."""
        settings = ReportSettings(selection=self.rows.selection, fit=self.settings, evidence=None)
        done = describe(self.view, None)
        return WrittenReport(report=assemble(self.rows.sweep, [done], settings), view=self.view)

    def _repr_html_(self) -> str:
        return _html(self.rows.data.label, card(self.view))


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """A report of one group."""

    report: Report
    """Its numbers."""
    view: View = field(repr=False)
    """What its figures show."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as one HTML file that opens without a network.

        Args:
            path: the file.
        """
        target = Path(path)
        target.write_text(report_html(self.report, [self.view]), encoding="utf-8")
        return target

    def _repr_html_(self) -> str:
        return _html(self.view.data.label, card(self.view))


def _html(title: str, lines: tuple[str, ...]) -> str:
    return f"<h4>{escape(title)}</h4>" + "".join(f"<p>{escape(line)}</p>" for line in lines)
