"""From a results directory to the rows a law is fitted to, with a ledger of every row that was left out and why."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.errors import AnalysisError
from analysis.rows.groups import TRAINING_SETTINGS, split_rows
from analysis.rows.imported import is_import, read_import
from analysis.rows.learning_rates import RULE, choose_rates
from analysis.rows.plans import strays
from analysis.rows.published import published_sweep
from analysis.rows.sweep import (
    CURVE_COLUMNS,
    DESIGN_POINT,
    IDENTITY,
    MEASURES,
    Dataset,
    Exclusion,
    Measure,
    Selection,
    Sweep,
    sizes,
)
from cluster.errors import unknown_name
from model.registry import whole_settings
from sweeper.errors import DamageError
from sweeper.store.schema import DIVERGED, FINISHED, SCHEMAS, SPLITS
from sweeper.store.store import ResultsStore
from sweeper.store.where import matching_rows
from sweeper.words import counted

LARGEST = float(np.finfo(np.float32).max)
"""Largest metric that counts as measured: networks compute in float32, and squares of more are no numbers in a fit."""


def read_sweep(uri: str | os.PathLike[str], *, on_damage: Callable[[DamageError], None] | None = None) -> Sweep:
    """Read all trials of a results directory, of imported rows, or of a built-in table (``published:enwik8``).

    Args:
        uri: the directory or table.
        on_damage: what is told of parts that are left out because they are damaged; see `ResultsStore.open`.

    Raises:
        StoreError: not a results directory, another schema version, or a part that cannot be read.
        AnalysisError: unknown published table.
    """
    text = os.fspath(uri)
    if text.startswith("published:"):
        return published_sweep(text.removeprefix("published:"))
    if is_import(text):
        return read_import(text)
    store = ResultsStore.open(text, on_damage=on_damage)
    # A path that ends with a slash, as the shell completes it, names the same directory; the root itself has no last
    # part.
    label = text.rstrip("/").rsplit("/", 1)[-1] or text

    # Curves are by far the largest table, and fits need none of them, so they are read only when a figure or an alarm
    # asks.
    def read_curves() -> pd.DataFrame:
        rows = store.read("curves", CURVE_COLUMNS)
        ordered: pd.DataFrame = rows.sort_by([(name, "ascending") for name in CURVE_COLUMNS[:3]]).to_pandas()
        return ordered

    trials = store.read("trials").to_pandas()
    return Sweep(
        label=label,
        uri=text,
        trials=trials,
        grids=store.grids(),
        store=store,
        read_curves=read_curves,
        folder=store.local_path(),
    )


def datasets(sweep: Sweep, selection: Selection) -> list[Dataset]:
    """Split a sweep into groups that may be fitted, and write down what was left out.

    Args:
        sweep: the rows.
        selection: the column to analyse, the condition that rows must fulfil, and the group they must belong to.

    Returns:
        Largest group first; empty when there is no trial. A group may be without rows that enter.

    Raises:
        AnalysisError: the condition cannot be read or leaves no trial, there is no such group, or the metric was
            recorded for no finished trial at all.
    """
    measure, where = selection.measure, selection.where
    # Lanes write parts in the order in which trials happen to end. Sorted by id, the same rows give the same groups,
    # numbers and page bytes however the sweep ran.
    trials = sweep.trials.sort_values("trial_id", ignore_index=True)
    stray = strays(trials, sweep.plans).to_numpy(dtype=bool)
    keep, ledger = np.ones(len(trials), dtype=bool), []
    # The whole sweep is split before any row is filtered: `--group` must mean what the commands print for the whole
    # sweep, whatever `--where` drops.
    every = _split(trials, sweep, selection.tokens)
    families = pd.Series("", trials.index)
    for keys, rows in every:
        families[rows.index] = group_label(keys)
    if selection.group is not None:
        keep = (families == selection.group).to_numpy()
        if not keep.any():
            raise AnalysisError(unknown_name("--group", selection.group, families.unique()))
        others = tuple(trials.loc[~keep, "trial_id"])
        ledger += [Exclusion("group", f"belongs to another group than {selection.group}", others)] if others else []
    if where is not None:
        # `planned` is no stored column: whether a grid still asks for a row changes whenever somebody edits the grid
        fulfils = matching_rows(trials.assign(planned=(~stray).astype(int)), where)
        dropped = tuple(trials.loc[keep & ~fulfils, "trial_id"])
        ledger += [Exclusion("where", f"does not fulfil {where}", dropped)] if dropped else []
        keep = keep & fulfils
        # A condition that no trial fulfils is most often a typing error. An empty directory is none: its sweep has just
        # not begun.
        if len(trials) and not keep.any():
            raise AnalysisError(f"--where {where!r}: none of the {len(trials):,} trials fulfils it")
    _check_recorded(trials[keep], measure)
    lost = frozenset(trials.loc[stray, "trial_id"])
    # With fewer rows beside it fewer settings may tell a group apart, so it is named anew and keeps its old name too.
    parts = every if keep.all() else _split(trials[keep], sweep, selection.tokens)
    groups = [
        replace(
            (group := _dataset(keys, rows, selection, tuple(ledger), lost)),
            family=families[rows.index[0]] if families.nunique() > 1 else None,
            notes=(*sweep.notes, *group.notes),
        )
        for keys, rows in parts
    ]
    return sorted(groups, key=lambda group: (-len(group.rows), group.label))


def _split(trials: pd.DataFrame, sweep: Sweep, tokens: bool) -> list[tuple[dict[str, str], pd.DataFrame]]:
    """Rows by groups, with what sets each apart."""
    rows = with_design_columns(trials)
    hidden = spec_settings(rows)
    return list(split_rows(rows.join(hidden), list(hidden.columns), sweep.plans, tokens=tokens))


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
    # Grids often let d_mlp follow d_m (d_mlp = 2 d_m in the publications). The ratio stands still where d_mlp itself
    # moves with the size, so it tells whether the MLP's relative width is a setting of its own.
    ratio = trials["d_mlp"].astype("float64") / trials["d_m"].astype("float64")
    return trials.assign(size=sizes(trials), mlp_ratio=ratio)


def spec_settings(trials: pd.DataFrame) -> pd.DataFrame:
    """Settings that only the stored specs tell apart, one text column per setting that varies."""
    table, codes = distinct_specs(trials["spec"])
    known = set(SCHEMAS["trials"].names) | {"scheme", "mlp_ratio"}
    # Only the last part of a path is compared with the columns: what a column of the table holds already is judged
    # there.
    varying = [
        c for c in map(str, table.columns) if c.rsplit(".", 1)[-1] not in known and table[c].nunique(dropna=False) > 1
    ]
    return (
        table[varying].astype("str").take(codes).set_axis(trials.index) if varying else pd.DataFrame(index=trials.index)
    )


def distinct_specs(specs: pd.Series) -> tuple[pd.DataFrame, npt.NDArray[np.intp]]:
    """Read stored specs; a sweep repeats each for every seed, so those that differ by it alone are read once.

    Args:
        specs: JSON texts.

    Returns:
        The settings of each spec (`spec_leaves`), one row per different spec, and the row of each given one.
    """
    # A regular expression, because parsing every spec just to drop its seed would take the time that this saves.
    codes, _ = pd.factorize(specs.str.replace(r'"seed":\s*\d+', "", regex=True))
    first = specs.iloc[np.unique(codes, return_index=True)[1]].tolist()
    return pd.DataFrame([dict(spec_leaves(_whole(json.loads(text)), "")) for text in first]), codes


def _whole(spec: Any) -> Any:
    """A stored spec with the settings that it leaves out at their defaults, as a grid that names them has them."""
    match spec:
        case {"architecture": str(name), "model": dict(values)}:
            return {**spec, "model": whole_settings(name, values)}
    return spec


def spec_leaves(node: object, place: str) -> Iterator[tuple[str, Any]]:
    """Every setting of a spec with its path, such as ``training.steps``; lists as JSON texts."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from spec_leaves(value, f"{place}.{key}" if place else str(key))
    else:
        # A list, such as a schedule, is one setting: its length may differ from spec to spec, so its items cannot be
        # columns.
        yield place, node if isinstance(node, (str, int, float)) or node is None else json.dumps(node)


def _dataset(
    keys: dict[str, str],
    rows: pd.DataFrame,
    selection: Selection,
    ledger: tuple[Exclusion, ...],
    stray: frozenset[str],
) -> Dataset:
    everything, measure = rows, selection.measure
    rows, entries = _usable(rows.assign(value=rows[measure.column].to_numpy(dtype=float)), measure)
    # A loss is always better when it is smaller, whichever way the task's own metric points.
    sign = 1.0 if measure.is_loss or keys["direction"] == "min" else -1.0
    # Choosing the rate on the split that is analysed would make the chosen network look better than it is.
    column = Measure(kind=measure.kind, split="valid").column
    # A rate that is best for a short training need not be it for a long one.
    point = [*DESIGN_POINT, "tokens"] if selection.tokens else list(DESIGN_POINT)
    choice = choose_rates(rows, everything, point, column, sign)
    if not choice.keep.all():
        entries.append(Exclusion(RULE, choice.why, tuple(rows.loc[~choice.keep, "trial_id"])))
    rows = rows[choice.keep]
    # The realised sizes and the rate belong to it too, so that only runs of the very same network count as replicates.
    columns = [*DESIGN_POINT, "n_rec", "k_e", "k_c", "trainable_params", "learning_rate", "tokens"]
    rows = rows.assign(configuration=rows.groupby(columns, dropna=False, sort=True).ngroup())
    chance = rows["chance"].dropna().unique()
    return Dataset(
        label=group_label(keys),
        keys=keys,
        selection=selection,
        metric="loss" if measure.is_loss else keys["metric"],
        direction="min" if measure.is_loss else keys["direction"],
        # Chance is stored in units of the task's metric, so it says nothing about a loss; two different values say
        # nothing at all.
        chance=float(chance[0]) if len(chance) == 1 and not measure.is_loss else None,
        rows=rows.reset_index(drop=True),
        excluded=(*ledger, *entries),
        notes=(*(_pooled(rows) if selection.tokens else _followed(rows)), *_stray(rows, stray)),
    )


def _usable(rows: pd.DataFrame, measure: Measure) -> tuple[pd.DataFrame, list[Exclusion]]:
    """Rows with a value and sizes, and the ledger of all others."""
    entries = []
    for status, part in rows[rows["status"] != FINISHED].groupby("status", sort=True):
        entries.append(Exclusion(str(status), f"the trial's status is {status}", tuple(part["trial_id"])))
    rows = rows[rows["status"] == FINISHED]
    # Written with a negated `<=`, because NaN fulfils no comparison and must count as missing.
    missing = ~(rows["value"].abs() <= LARGEST)
    if missing.any():
        why = f"{measure.column} is missing, not finite or beyond {LARGEST:.2g}"
        entries.append(Exclusion("no value", why, tuple(rows.loc[missing, "trial_id"])))
    rows = rows[~missing]
    # Laws take logarithms of these sizes.
    sizes = rows[["n_rec", "k_e", "trainable_params"]].astype("float64")
    empty = ~((sizes > 0) & (sizes < np.inf)).all(axis=1)
    if empty.any():
        lacking = ", ".join(name for name in sizes.columns if not (sizes[name] > 0).all())
        why = f"{lacking or 'a size'} is not above 0: no network has such a size"
        entries.append(Exclusion("no size", why, tuple(rows.loc[empty, "trial_id"])))
    return rows[~empty], entries


def _followed(rows: pd.DataFrame) -> list[str]:
    """Training settings that differ within a group because its grid ties them to the budget."""
    notes = []
    for name in TRAINING_SETTINGS:
        if rows[name].nunique() > 1:
            # The two ends are enough to see the trend; a list of every budget would hide it.
            ends = rows.loc[[rows["budget"].idxmin(), rows["budget"].idxmax()]]
            low, high = (
                f"{value:,} at P = {size:,.0f}" for value, size in zip(ends[name], ends["budget"], strict=True)
            )
            notes.append(
                f"{name} follows P in the stored grid ({low}, {high}), so these rows cannot tell apart what P does and "
                f"what {name} does."
            )
    return notes


def _pooled(rows: pd.DataFrame) -> list[str]:
    """What must be known where trainings of different tokens stand in one group."""
    if rows["tokens"].nunique() < 2:
        return []
    low, high = rows["tokens"].min(), rows["tokens"].max()
    return [
        f"tokens differ from {low:,.0f} to {high:,.0f} and are an axis here: laws with tokens fit them; all other "
        "laws, best splits and curves at fixed P mix short and long trainings."
    ]


def _stray(rows: pd.DataFrame, stray: frozenset[str]) -> list[str]:
    unplanned = rows[rows["trial_id"].isin(stray)]
    if not len(unplanned):
        return []
    grids = ", ".join(sorted(unplanned["sweep"].unique()))
    return [
        f"{len(unplanned)} of {len(rows)} rows are not in the stored grid any more ({grids}); they enter because all "
        'their settings are those of the others. --where "planned == 1" leaves them out.'
    ]


def group_lines(groups: Sequence[Dataset]) -> list[str]:
    """What sets the groups of a sweep apart, and what must be known about their rows: the first lines of every command.

    Args:
        groups: what `datasets` returned.

    Returns:
        Sentences; empty where one group per task, data set, metric and architecture holds planned rows only.
    """
    families: dict[str, list[Dataset]] = {}
    for group in groups:
        families.setdefault(group_label({name: group.keys[name] for name in IDENTITY}), []).append(group)
    lines = []
    for name, members in families.items():
        # A lone group needs no line: its label in the headings says everything.
        if len(members) > 1:
            # the largest group is named whole, the others by what they have otherwise
            parts = [_difference(group.keys, members[0].keys if group is not members[0] else {}) for group in members]
            rows = [counted(len(group.rows), "row") for group in members]
            descriptions = "; ".join(f"{count} with {part}" for count, part in zip(rows, parts, strict=True))
            lines.append(f"{name}: {len(members)} groups of other settings, never fitted together: {descriptions}.")
    return lines + [f"{group.label}: {note}" for group in groups for note in group.notes]


def _difference(keys: dict[str, str], other: dict[str, str]) -> str:
    return ", ".join(f"{k} {v}" for k, v in keys.items() if k not in IDENTITY and other.get(k) != v)


def group_label(keys: dict[str, str]) -> str:
    """Name of a group, made of what its rows have in common and other groups have not."""
    settings = [f"{name} {value}" for name, value in keys.items() if name not in IDENTITY]
    data = [] if keys["data_name"] in ("none", keys["task"]) else [keys["data_name"]]
    # Imported rows may not say which architecture they are of.
    architecture = [] if keys["architecture"] == "none" else [keys["architecture"]]
    return ", ".join([keys["task"], *data, *architecture, *settings])
