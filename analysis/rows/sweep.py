"""A sweep's rows as the analysis sees them, and the data sets that may be fitted together."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analysis.errors import AnalysisError
from analysis.rows.plans import StoredPlans, read_plans
from cluster.errors import unknown_name
from sweeper.store.schema import SPLITS
from sweeper.store.store import ResultsStore
from tasks.base import METRICS

MEASURES = ("final_metric", "best_metric", "final_loss")
"""The task's metric at the end (default), at the step of the best validation metric, or the loss at the end: nats, or
for tasks that are measured by errors of values the squared error."""


IDENTITY = ("task", "data_name", "metric", "direction", "architecture")
"""Rows that differ here are never put into one fit."""


DESIGN_POINT = ("size", "d_m", "d_tree", "d_branch")
"""What makes a point of the grid; for the size see `sizes`."""


CURVE_COLUMNS = ["trial_id", "split", "step", "loss", "metric", "gradient_norm"]


def no_curves() -> pd.DataFrame:
    """The curves of a sweep that has none."""
    return pd.DataFrame(columns=CURVE_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All rows of one results directory."""

    label: str
    """Short name, for titles."""
    uri: str
    """Where the rows come from."""
    trials: pd.DataFrame
    """The table `trials`, one row per trial."""
    grids: dict[str, str]
    """Texts of the grids launched there, by name."""
    store: ResultsStore | None = None
    """The open store; None for published tables and for several sweeps put together."""
    read_curves: Callable[[], pd.DataFrame] = no_curves
    """Reads all training curves, ordered by trial, split and step."""
    folder: str | None = None
    """Folder on this machine in which reports and pages go by default; None where there is none."""
    notes: tuple[str, ...] = ()
    """What must be known about all rows before any number: where imported ones come from, and what stands in."""

    @cached_property
    def plans(self) -> StoredPlans:
        """What the grids stored beside the rows ask for today."""
        return read_plans(self.grids)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """All training curves, ordered by trial, split and step; read when first asked for."""
        return self.read_curves()


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Which stored column is the metric."""

    kind: str = "final_metric"
    """One of `MEASURES`."""
    split: str = "test"
    """One of `SPLITS`."""

    def __post_init__(self) -> None:
        if self.kind not in MEASURES:
            raise AnalysisError(unknown_name("--metric", self.kind, MEASURES))
        if self.split not in SPLITS:
            raise AnalysisError(unknown_name("--split", self.split, SPLITS))

    @property
    def column(self) -> str:
        """Name of the column, such as ``final_test_metric``."""
        moment, what = self.kind.split("_")
        return f"{moment}_{self.split}_{what}"

    @property
    def is_loss(self) -> bool:
        """Whether the loss is meant and not the task's own metric."""
        return self.kind.endswith("loss")

    def unit(self, metric: str) -> str:
        """What is measured, such as ``bpc`` or ``loss in nats``, where `metric` is the task's own metric."""
        if not self.is_loss:
            return metric
        return "squared error" if metric in METRICS["mse"] else "loss in nats"

    def describe(self, metric: str) -> str:
        """Name for axes, such as ``test bpc (at the end)``, where `metric` is the task's own metric."""
        when = "at the end" if self.kind.startswith("final") else "at the best validation step"
        return f"{self.split} {self.unit(metric)} ({when})"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which rows of a sweep are analysed, and which column of them."""

    measure: Measure = field(default_factory=Measure)
    """The column that is the metric."""
    where: str | None = None
    """Condition that rows must fulfil (see `sweeper.store.where`); None for all rows."""
    group: str | None = None
    """Name of one group of the whole sweep, as every command prints it; None for all groups."""
    tokens: bool = False
    """Whether rows that differ in `steps` and `batch_size` alone form one group, for laws with an axis of tokens."""


class Exclusion(NamedTuple):
    """One entry of the ledger: rows that were left out by one rule."""

    rule: str
    why: str
    trial_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The rows that enter a fit: one task, data set, metric and architecture, and one set of all other settings."""

    label: str
    """What they have in common and other groups have not."""
    keys: dict[str, str]
    """Task, metric, architecture, and the settings that set this group apart from others."""
    selection: Selection
    """What was asked for: rows and column."""
    metric: str
    """Name of the measured quantity: the task's metric, or `loss`."""
    direction: str
    """`min` or `max`."""
    chance: float | None
    """Metric of a model that knows nothing."""
    rows: pd.DataFrame
    """Rows that enter, with columns `value` (the metric) and `configuration` (equal for replicates)."""
    excluded: tuple[Exclusion, ...]
    """The ledger: rows that were left out."""
    notes: tuple[str, ...] = ()
    """What a reader must know about these rows before any number: rows that no grid asks for any more, settings that
    follow the budget."""
    family: str | None = None
    """The group of the whole sweep that these rows come from, as `Selection.group` names it; None where it has one
    group only."""

    @property
    def measure(self) -> Measure:
        """The column that was asked for."""
        return self.selection.measure

    @property
    def title(self) -> str:
        """Axis title of the metric."""
        return self.measure.describe(self.keys["metric"])

    @property
    def rows_sha256(self) -> str:
        """Hash of what enters the fit: ids, metric and sizes, whatever the order and the files."""
        # Sorted, and with fixed widths and byte order, so that every machine and every order of reading gives one hash.
        rows = self.rows.sort_values("trial_id")
        # The metric's name belongs to it: the same rows with another metric are another fit.
        digest = hashlib.sha256("\n".join(rows["trial_id"]).encode())
        digest.update(f"\n{self.measure.column}\n".encode())
        for name in ("value", "n_rec", "k_e", "k_c", "trainable_params"):
            digest.update(rows[name].to_numpy(dtype="<f8").tobytes())
        return digest.hexdigest()


def sizes(rows: pd.DataFrame) -> pd.Series:
    """The budget of each row, or n_rec where no budget was asked for."""
    return rows["budget"].astype("float64").where(rows["budget"].notna(), rows["n_rec"])


def among(column: pd.Series, ids: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Whether each text of a column is one of `ids`; pandas' own `isin` takes a second per 100,000 of them.

    >>> among(pd.Series(["a", "b", "a"]), {"a"}).tolist()
    [True, False, True]
    """
    values = pa.array(list(ids), pa.large_string())
    matches = pc.is_in(pa.array(column, pa.large_string()), value_set=values)
    return np.asarray(matches.to_numpy(zero_copy_only=False), dtype=np.bool_)
