"""From a results directory to the rows a law is fitted to, with a ledger of every row that was left out and why."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analysis.errors import AnalysisError
from analysis.learning_rates import RULE, choose_rates
from sweeper.errors import unknown_name
from sweeper.store.schema import DIVERGED, FINISHED, SCHEMAS, SPLITS
from sweeper.store.store import ResultsStore
from sweeper.store.where import matching_rows

MEASURES = ("final_metric", "best_metric", "final_loss")
"""The task's metric at the end (default), at the step of the best validation metric, or the loss at the end in nats."""

IDENTITY = ("task", "data_name", "metric", "direction", "architecture")
"""Rows that differ here are never put into one fit."""

SETTINGS = ("l_mlp", "rho_rec", "tau_m_max", "mlp_ratio", "batch_size", "length", "steps")
"""Rows that differ here at one and the same design point are ablations of each other, and fitted apart."""

DESIGN_POINT = ("size", "d_m", "d_tree", "d_branch")
"""What makes a point of the grid; size is the budget, or n_rec where no budget was asked for."""


CURVE_COLUMNS = ["trial_id", "split", "step", "loss", "metric"]


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
        """Whether the loss is meant, in nats, and not the task's own metric."""
        return self.kind.endswith("loss")

    def describe(self, metric: str) -> str:
        """Name for axes, such as ``test bpc (at the end)``."""
        when = "at the end" if self.kind.startswith("final") else "at the best validation step"
        return f"{self.split} {'loss in nats' if self.is_loss else metric} ({when})"


class Exclusion(NamedTuple):
    """One entry of the ledger: rows that were left out by one rule."""

    rule: str
    why: str
    trial_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The rows of one task, metric and architecture that enter a fit."""

    label: str
    """What they have in common and other groups have not."""
    keys: dict[str, str]
    """Task, metric, architecture, and the settings that set this group apart from others."""
    measure: Measure
    """The column that was asked for."""
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

    @property
    def title(self) -> str:
        """Axis title of the metric."""
        return self.measure.describe(self.metric)

    @property
    def rows_sha256(self) -> str:
        """Hash of what enters the fit: ids, metric and sizes, whatever the order and the files."""
        rows = self.rows.sort_values("trial_id")
        digest = hashlib.sha256("\n".join(rows["trial_id"]).encode())
        digest.update(f"\n{self.measure.column}\n".encode())
        for name in ("value", "n_rec", "k_e", "k_c", "trainable_params"):
            digest.update(rows[name].to_numpy(dtype="<f8").tobytes())
        return digest.hexdigest()


def read_sweep(uri: str | os.PathLike[str]) -> Sweep:
    """Read all trials of a results directory, or one of the built-in tables (``published:enwik8``).

    Raises:
        StoreError: not a results directory, another schema version, or a part that cannot be read.
        AnalysisError: unknown published table.
    """
    text = os.fspath(uri)
    if text.startswith("published:"):
        from analysis.published import published_sweep

        return published_sweep(text.removeprefix("published:"))
    store = ResultsStore.open(text)
    label = text.rstrip("/").rsplit("/", 1)[-1] or text

    def read_curves() -> pd.DataFrame:
        rows = store.read("curves", CURVE_COLUMNS)
        ordered: pd.DataFrame = rows.sort_by([(name, "ascending") for name in CURVE_COLUMNS[:3]]).to_pandas()
        return ordered

    trials = store.read("trials").to_pandas()
    return Sweep(label=label, uri=text, trials=trials, grids=store.grids(), store=store, read_curves=read_curves)


def among(column: pd.Series, ids: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Whether each text of a column is one of `ids`; pandas' own `isin` takes a second per 100,000 of them.

    >>> among(pd.Series(["a", "b", "a"]), {"a"}).tolist()
    [True, False, True]
    """
    wanted = pa.array(list(ids), pa.large_string())
    found = pc.is_in(pa.array(column, pa.large_string()), value_set=wanted)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)


def datasets(sweep: Sweep, measure: Measure, where: str | None = None) -> list[Dataset]:
    """Split a sweep into groups that may be fitted, and write down what was left out.

    Args:
        sweep: the rows.
        measure: the column to analyse.
        where: condition that rows must fulfil (see `sweeper.store.where`).

    Returns:
        Largest group first; empty when no row fulfils the condition. A group may be without rows that enter.

    Raises:
        AnalysisError: the condition cannot be read, or the metric was recorded for no finished trial at all.
    """
    trials = sweep.trials.sort_values("trial_id", ignore_index=True)
    keep = np.ones(len(trials), dtype=bool) if where is None else matching_rows(trials, where)
    _check_recorded(trials[keep], measure)
    dropped = tuple(trials.loc[~keep, "trial_id"])
    ledger = (Exclusion("where", f"does not fulfil {where}", dropped),) if dropped else ()
    kept = with_design_columns(trials[keep])
    hidden = spec_settings(kept)
    groups = [_dataset(keys, rows, measure, ledger) for keys, rows in _groups(kept.join(hidden), list(hidden.columns))]
    return sorted(groups, key=lambda group: (-len(group.rows), group.label))


def _check_recorded(trials: pd.DataFrame, measure: Measure) -> None:
    finished = trials[trials["status"] == FINISHED]
    if len(finished) and finished[measure.column].isna().all():
        recorded = [c for c in _measure_columns() if finished[c].notna().any()]
        have = ", ".join(recorded) if recorded else "none of the metric columns"
        raise AnalysisError(
            f"--metric {measure.kind} --split {measure.split}: column {measure.column} is empty in all "
            f"{len(finished)} finished trials. Recorded: {have}."
        )


def _measure_columns() -> list[str]:
    names = [Measure(kind=kind, split=split).column for kind in MEASURES for split in SPLITS]
    return [name for name in names if name in SCHEMAS["trials"].names]


def rate_trials(sweep: Sweep, data: Dataset) -> pd.DataFrame:
    """Rows of a group with every learning rate that was run: those that enter, those of other rates, diverged ones."""
    ids = set(data.rows["trial_id"])
    ids.update(*(entry.trial_ids for entry in data.excluded if entry.rule in (RULE, DIVERGED)))
    return with_design_columns(sweep.trials[sweep.trials["trial_id"].isin(ids)])


def with_design_columns(trials: pd.DataFrame) -> pd.DataFrame:
    """Add `size` (see `DESIGN_POINT`) and `mlp_ratio`."""
    size = trials["budget"].astype("float64").where(trials["budget"].notna(), trials["n_rec"])
    ratio = trials["d_mlp"].astype("float64") / trials["d_m"].astype("float64")
    return trials.assign(size=size, mlp_ratio=ratio)


def spec_settings(trials: pd.DataFrame) -> pd.DataFrame:
    """Settings that only the stored specs tell apart, one text column per setting that varies.

    Specs that differ by their seed alone are read once.
    """
    bare = trials["spec"].str.replace(r'"seed":\s*\d+', "", regex=True)
    codes, _ = pd.factorize(bare)
    first = trials["spec"].iloc[np.unique(codes, return_index=True)[1]].tolist()
    table = pd.DataFrame([dict(_leaves(json.loads(text), "")) for text in first])
    known = set(SCHEMAS["trials"].names) | {"scheme", "mlp_ratio"}
    varying = [
        c for c in map(str, table.columns) if c.rsplit(".", 1)[-1] not in known and table[c].nunique(dropna=False) > 1
    ]
    return (
        table[varying].astype("str").take(codes).set_axis(trials.index) if varying else pd.DataFrame(index=trials.index)
    )


def _leaves(node: object, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, node if isinstance(node, (str, int, float)) or node is None else json.dumps(node)


def _groups(trials: pd.DataFrame, hidden: list[str]) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    for identity, rows in trials.groupby(list(IDENTITY), dropna=False, sort=True):
        common = {k: _text(v) for k, v in zip(IDENTITY, identity, strict=True)}
        points = rows.groupby(list(DESIGN_POINT), dropna=False)
        apart = [name for name in [*SETTINGS, *hidden] if (points[name].nunique(dropna=False) > 1).any()]
        if (rows.groupby("k_c")["d_tree"].nunique() > 1).any():
            apart.append("d_tree")
        if not apart:
            yield common, rows
            continue
        for values, part in rows.groupby(apart, dropna=False, sort=True):
            yield common | {k: _text(v) for k, v in zip(apart, values, strict=True)}, part


def _text(value: object) -> str:
    if value is None or value != value:  # NaN differs from itself
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _dataset(keys: dict[str, str], rows: pd.DataFrame, measure: Measure, ledger: tuple[Exclusion, ...]) -> Dataset:
    entries = list(ledger)
    unfinished = rows[rows["status"] != FINISHED]
    for status, part in unfinished.groupby("status", sort=True):
        entries.append(Exclusion(str(status), f"the trial's status is {status}", tuple(part["trial_id"])))
    everything, rows = rows, rows[rows["status"] == FINISHED]
    value = rows[measure.column].to_numpy(dtype=float)
    missing = rows.loc[~np.isfinite(value), "trial_id"]
    if len(missing):
        entries.append(Exclusion("no value", f"{measure.column} is missing or not finite", tuple(missing)))
    rows = rows.assign(value=value)[np.isfinite(value)]
    sign = 1.0 if measure.is_loss or keys["direction"] == "min" else -1.0
    column = Measure(kind=measure.kind, split="valid").column
    choice = choose_rates(rows, everything, list(DESIGN_POINT), column, sign)
    if not choice.keep.all():
        entries.append(Exclusion(RULE, choice.why, tuple(rows.loc[~choice.keep, "trial_id"])))
    rows = rows[choice.keep]
    columns = [*DESIGN_POINT, "n_rec", "k_e", "k_c", "trainable_params", "learning_rate"]
    rows = rows.assign(configuration=rows.groupby(columns, dropna=False, sort=True).ngroup())
    chance = rows["chance"].dropna().unique()
    return Dataset(
        label=_label(keys),
        keys=keys,
        measure=measure,
        metric="loss" if measure.is_loss else keys["metric"],
        direction="min" if measure.is_loss else keys["direction"],
        chance=float(chance[0]) if len(chance) == 1 and not measure.is_loss else None,
        rows=rows.reset_index(drop=True),
        excluded=tuple(entries),
    )


def _label(keys: dict[str, str]) -> str:
    settings = [f"{name} {value}" for name, value in keys.items() if name not in IDENTITY]
    data = [] if keys["data_name"] in ("none", keys["task"]) else [keys["data_name"]]
    return ", ".join([keys["task"], *data, keys["architecture"], *settings])
