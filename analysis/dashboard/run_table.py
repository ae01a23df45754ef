"""All trials, for the Runs tab: every stored column, every setting of the specs, and why a trial entered no fit.

The page unpacks it when it is first needed: for the Runs tab, or for a CSV file.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.laws.view import View
from analysis.rows.load import distinct_specs
from analysis.rows.sweep import IDENTITY, Dataset, Measure, Sweep, among
from sweeper.store.schema import FINISHED, SCHEMAS

LISTED = 20_000
"""Most trials that the file lists; above it a seeded sample."""

SHOWN = (
    *("trial_id", "status", "enters", "budget", "n_rec", "d_m", "k_e", "k_c", "architecture"),
    *("learning_rate", "seed", "wall_s"),
)
"""Columns that the page shows before anybody has chosen; those with one value for all rows are left out."""

ALWAYS = frozenset({"trial_id", "status", "enters", "learning_rate"})
"""Columns that are shown even if they have one value for all rows."""

IN_THE_RECORD = frozenset({"spec", "trial_id", "reason"})
"""Stored columns that are not repeated: the spec is shown when a trial is opened."""


def run_table(sweep: Sweep, views: Sequence[View], listed: Iterable[str]) -> dict[str, Any]:
    """Collect the columns of the table.

    Args:
        sweep: all rows.
        views: groups with at least one row that enters.
        listed: trials that the file lists (`listed_ids`).

    Returns:
        `columns` (see `_column`), the names of those `shown` at first, and how many trials there are (`total`).
    """
    trials = sweep.trials[among(sweep.trials["trial_id"], listed)].reset_index(drop=True)
    group, enters, why = _fate(trials, views)
    # The stored reason says why the trial itself failed; the ledger's, why a finished one does not enter.
    reason = [
        stored if isinstance(stored, str) and stored else left
        for stored, left in zip(trials["reason"], why, strict=True)
    ]
    settings = spec_table(trials["spec"])
    columns = [
        {"name": "trial_id", "kind": "text", "texts": trials["trial_id"].tolist()},
        _column("status", trials["status"]),
        _column("enters", pd.Series(enters, dtype=object)),
        _column("reason", pd.Series(reason, dtype=object)),
        _column("group", pd.Series(group, dtype=object)),
        *(_column(name, trials[name]) for name in SCHEMAS["trials"].names if name not in {*IN_THE_RECORD, "status"}),
        *(_column(name, settings[name]) for name in settings.columns),
    ]
    # A column with one value for all rows tells no two trials apart; its value is found under Columns.
    alike = {column["name"] for column in columns if "same" in column} - ALWAYS
    shown = [name for name in SHOWN if name not in alike]
    metric = views[0].data.measure.column if views else Measure().column
    # Before the last column, the wall time, so that the metric stands beside the seed.
    shown.insert(len(shown) - 1, metric)
    return {"columns": columns, "shown": shown, "metric": metric, "total": len(sweep.trials)}


def listed_ids(sweep: Sweep, views: Sequence[View]) -> set[str]:
    """Trials that the file lists: all, or beyond `LISTED` those of the groups' samples and a sample of the others."""
    if len(sweep.trials) <= LISTED:
        return set(sweep.trials["trial_id"])
    ids = {trial_id for view in views for trial_id in sampled_rows(view.data)["trial_id"]}
    # Trials that failed are the ones people look for, so they are never crowded out by the finished ones.
    others = sweep.trials.loc[sweep.trials["status"] != FINISHED, "trial_id"]
    return ids | set(others if len(others) <= LISTED else others.sample(LISTED, random_state=0))


def sampled_rows(data: Dataset) -> pd.DataFrame:
    """Rows of a group that the file lists: all, or a seeded sample beyond `LISTED`."""
    if len(data.rows) <= LISTED:
        return data.rows
    # A fixed seed, because the same rows must give the same page.
    chosen = np.random.default_rng(0).choice(len(data.rows), LISTED, replace=False)
    # In the order of the rows, so that places of trials mean the same with and without sampling.
    return data.rows.iloc[np.sort(chosen)]


def _fate(trials: pd.DataFrame, views: Sequence[View]) -> tuple[list[str | None], list[str], list[str | None]]:
    """Of each trial its group, whether it enters the fit (yes or no), and the ledger's reason where it does not."""
    # A trial that the file does not list has no row here.
    place = {trial_id: number for number, trial_id in enumerate(trials["trial_id"])}
    group: list[str | None] = [None] * len(trials)
    enters = ["no"] * len(trials)
    why: list[str | None] = [None] * len(trials)
    for view in views:
        for trial_id in view.data.rows["trial_id"]:
            if trial_id in place:
                group[place[trial_id]], enters[place[trial_id]] = view.data.label, "yes"
        for entry in view.data.excluded:
            for trial_id in entry.trial_ids:
                if trial_id in place:
                    why[place[trial_id]] = entry.why
                    # A condition of --where stands in the ledger of every group, so it says nothing about the group.
                    group[place[trial_id]] = None if entry.rule == "where" else view.data.label
    return group, enters, why


def spec_table(specs: pd.Series) -> pd.DataFrame:
    """Settings that only the specs hold (optimiser, regularisation, schedule, ...), one column each.

    Args:
        specs: stored specs as JSON texts.
    """
    table, codes = distinct_specs(specs)
    known = {*SCHEMAS["trials"].names, "scheme", *IDENTITY}
    names = [name for name in map(str, table.columns) if name.rsplit(".", 1)[-1] not in known]
    return table[names].take(codes).reset_index(drop=True)


def _column(name: str, values: pd.Series) -> dict[str, Any]:
    """One column: its name, its kind (`number`, `text` or `time`) and its values as compactly as they allow.

    The values are `same` (one for all rows), `values` (packed numbers; times in milliseconds since 1970, UTC), `texts`,
    or `codes` with the `words` they stand for.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        epoch = pd.Timestamp(0, tz="UTC")
        seconds = np.asarray((values - epoch).dt.total_seconds(), dtype=np.float64)
        return {"name": name, "kind": "time"} | _numbers(seconds * 1e3)
    if values.dtype != object and pd.api.types.is_numeric_dtype(values.dtype) and values.dtype != bool:
        return {"name": name, "kind": "number"} | _numbers(values.to_numpy(dtype=float, na_value=np.nan))
    # pandas may hold a missing text as None or as NaN.
    texts = [None if value is None or value != value else str(value) for value in values]
    codes, words = pd.factorize(np.array(texts, dtype=object), use_na_sentinel=False)
    known = [word if isinstance(word, str) else None for word in words]
    if len(known) == 1:
        return {"name": name, "kind": "text", "same": known[0]}
    # Where most texts differ, the words are nearly as long as the texts and the codes come on top.
    if len(known) > len(texts) / 2:
        return {"name": name, "kind": "text", "texts": texts}
    return {"name": name, "kind": "text", "codes": codes.astype(np.int32), "words": known}


def _numbers(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    # Missing numbers are not equal to each other, so that a column of them needs a test of its own.
    if len(values) and (np.isnan(values).all() or (values == values[0]).all()):
        return {"same": None if np.isnan(values[0]) else float(values[0])}
    return {"values": values}


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters by which a spreadsheet takes a text for a formula and runs it."""


def safe_cell(text: str) -> str:
    """A text that a spreadsheet shows instead of running.

    >>> safe_cell("=1+1"), safe_cell("elm")
    ("'=1+1", 'elm')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def safe_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts no spreadsheet runs; numbers stay numbers."""
    texts = [
        name
        for name in frame.columns
        if not pd.api.types.is_numeric_dtype(frame[name].dtype)
        and not isinstance(frame[name].dtype, pd.DatetimeTZDtype)
    ]
    safe = {
        name: frame[name].map(lambda value: safe_cell(value) if isinstance(value, str) else value) for name in texts
    }
    return frame.assign(**safe)
