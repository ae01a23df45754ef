"""From any table to the columns of trials: by name, by arithmetic of columns, or not at all, which leaves them null."""

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.rows.sweep import MEASURES, Measure
from cluster.errors import unknown_name
from sweeper.store.schema import FINISHED, SCHEMAS, SPLITS, STATUSES

TEXTS = ("trial_id", "task", "data_name", "metric_name", "direction", "architecture", "status", "reason")
"""Columns of text that a table may give; `metric_name` is the column `metric` of the store."""

OURS = frozenset(("hash_scheme", "attempt", "sweep", "metric", "spec", "data_sha256", "started_at", "ended_at"))
"""Columns that say something about this platform's own trials, or have another name here."""

NUMBERS = tuple(
    name
    for name in SCHEMAS["trials"].names
    if name not in OURS and str(SCHEMAS["trials"].field(name).type) in ("int64", "double")
)
"""Columns of numbers that a table may give."""

METRIC = "metric"
"""Short for the metric at the end of training on the split that was named."""

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}

_WITH_UNIT = re.compile(r"^[-+]?[\d.,]+(?:[eE][-+]?\d+)?\s*([A-Za-z%µ][\w%/]*)?$")


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """How to read a table."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    """Column of the table, or arithmetic such as ``flop / (6 * size)``, by our column."""
    task: str | None = None
    """Task of all rows; None where a column names it."""
    direction: str | None = None
    """`min` or `max`; None where a column names it."""
    metric_name: str | None = None
    """Name of what was measured; by default that of its column."""
    split: str = "test"
    """Split on which `metric` was measured."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Unit by our column; stored and shown, never converted."""
    settings: Sequence[str] = ()
    """Further columns of the table whose values keep rows apart."""


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Read ``name=value,name=value``.

    >>> pairs("--map", ["n_rec=width,metric=val_loss", "k_e=flop / n"])
    {'n_rec': 'width', 'metric': 'val_loss', 'k_e': 'flop / n'}
    """
    found: dict[str, str] = {}
    for item in (part.strip() for text in texts for part in text.split(",")):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (name and equals and value):
            raise AnalysisError(f"{option}: {item!r} is not of the form name=value")
        if name in found:
            raise AnalysisError(f"{option}: {name} is given twice, as {found[name]!r} and {value!r}")
        found[name] = value
    return found


def mapped(frame: pd.DataFrame, settings: ImportSettings, *, place: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Turn a table into rows with the columns of trials; what it lacks is null.

    Args:
        frame: the table; columns that have our names are taken by them.
        settings: the mapping and what all rows share.
        place: name of the table, for messages.

    Returns:
        The rows, and the mapping with the columns that were taken by name.

    Raises:
        AnalysisError: an unknown column on either side, a value that is no number, ids that occur twice, no metric, no
            size, no task or no direction.
    """
    if not len(frame):
        raise AnalysisError(f"{place}: no row")
    mapping = _mapping(frame, settings)
    for name in settings.units:
        if name not in mapping:
            raise AnalysisError(unknown_name("--units", name, mapping))
    for name in settings.settings:
        if name not in frame.columns:
            raise AnalysisError(unknown_name("--settings", name, map(str, frame.columns)))
    values: dict[str, Any] = dict.fromkeys(SCHEMAS["trials"].names)
    metric_column = Measure(kind="final_metric", split=settings.split).column
    for name, source in mapping.items():
        where = f"--map {name}={source}"
        column = _evaluate(frame, source, where)
        if name in TEXTS:
            values["metric" if name == "metric_name" else name] = (
                column.astype("string").astype(object).where(column.notna(), None)
            )
        else:
            values[metric_column if name == METRIC else name] = _numbers(column, f"{place}: {where}")
    rows = pd.DataFrame(values, index=range(len(frame)))
    _constants(rows, settings, mapping, place)
    _check(rows, place)
    rows["spec"] = _specs(frame, settings.settings)
    numbers = {name: rows[name].astype("float64") for name in NUMBERS}
    return rows.assign(**numbers, code_version="imported"), mapping


def _mapping(frame: pd.DataFrame, settings: ImportSettings) -> dict[str, str]:
    targets = {METRIC, *TEXTS, *NUMBERS}
    for name in settings.mapping:
        if name not in targets:
            raise AnalysisError(unknown_name("--map", name, targets))
    if settings.split not in SPLITS:
        raise AnalysisError(unknown_name("--split", settings.split, SPLITS))
    named = {str(name): str(name) for name in frame.columns if name in targets}
    # Our own tables have the metric's name in a column that is called `metric`.
    if METRIC in named and not pd.api.types.is_numeric_dtype(frame[METRIC]):
        named = {k: v for k, v in named.items() if k != METRIC} | {"metric_name": METRIC}
    return named | dict(settings.mapping)


def _evaluate(frame: pd.DataFrame, source: str, place: str) -> pd.Series:
    """A column, or arithmetic of columns."""
    # First as a name, since names of other tools hold any sign, such as `config/width`.
    if source in frame.columns:
        return frame[source].reset_index(drop=True)
    try:
        node = ast.parse(source, mode="eval").body
    except SyntaxError:
        raise AnalysisError(unknown_name(place, source, map(str, frame.columns))) from None

    def value(part: ast.AST) -> Any:
        if isinstance(part, ast.Constant) and isinstance(part.value, (int, float)):
            return float(part.value)
        if isinstance(part, ast.Name):
            if part.id not in frame.columns:
                raise AnalysisError(unknown_name(place, part.id, map(str, frame.columns)))
            return _numbers(frame[part.id].reset_index(drop=True), place)
        if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub):
            return -value(part.operand)
        if isinstance(part, ast.BinOp) and type(part.op) in _OPERATORS:
            return _OPERATORS[type(part.op)](value(part.left), value(part.right))
        raise AnalysisError(f"{place}: expected a column or arithmetic of columns with + - * / ** and numbers")

    return pd.Series(value(node), index=range(len(frame)))


def _numbers(column: pd.Series, place: str) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    bad = column.notna() & numbers.isna()
    if not bad.any() and not pd.api.types.is_bool_dtype(column):
        return numbers.astype("float64")
    texts = column[column.notna()].astype(str).str.strip()
    units: dict[str, tuple[Any, str]] = {}
    for row, text in texts.items():
        match = _WITH_UNIT.match(text)
        if match:
            units.setdefault(match.group(1) or "", (row, text))
    if len(units) > 1:
        (first, one), (second, two) = list(units.values())[:2]
        raise AnalysisError(
            f"{place}: mixed units, {one!r} in row {_row(first)} and {two!r} in row {_row(second)}; write plain "
            "numbers of one unit"
        )
    # A column of truth values has none that is bad by itself.
    wrong = texts[bad[texts.index]] if bad.any() else texts
    raise AnalysisError(f"{place}: {wrong.iloc[0]!r} in row {_row(wrong.index[0])} is not a number")


def _row(index: Any) -> int:
    """Rows are counted from 1, without the header, as a person counts them."""
    return int(index) + 1


def _constants(rows: pd.DataFrame, settings: ImportSettings, mapping: Mapping[str, str], place: str) -> None:
    """Fill in what all rows share."""
    measures = [name for name in _measures() if rows[name].notna().any()]
    if not measures:
        raise AnalysisError(f"{place}: no metric; name its column with --map metric=COLUMN")
    for name, value in (("task", settings.task), ("direction", settings.direction)):
        if value is not None:
            rows[name] = value
        elif rows[name].isna().any():
            raise AnalysisError(f"{place}: no {name}; give --{name}, or its column with --map {name}=COLUMN")
    if settings.metric_name is not None or rows["metric"].isna().all():
        sources = [mapping[name] for name in (METRIC, *measures) if name in mapping]
        rows["metric"] = settings.metric_name or sources[0]
    rows["status"] = rows["status"].where(rows["status"].notna(), FINISHED)
    if "trial_id" not in mapping:
        rows["trial_id"] = [f"row-{number}" for number in range(1, len(rows) + 1)]
    rows["sweep"] = "imported"


def _measures() -> list[str]:
    names = [Measure(kind=kind, split=split).column for kind in MEASURES for split in SPLITS]
    return [name for name in names if name in NUMBERS]


def _check(rows: pd.DataFrame, place: str) -> None:
    if rows["trial_id"].isna().any():
        raise AnalysisError(f"{place}: no trial_id in row {_row(rows['trial_id'].isna().idxmax())}")
    twice = rows["trial_id"].duplicated()
    if twice.any():
        count = int(twice.sum())
        raise AnalysisError(
            f"{place}: trial_id {rows.loc[twice, 'trial_id'].iloc[0]!r} occurs twice"
            + (f", and {count - 1} others" if count > 1 else "")
            + "; ids name one row each"
        )
    for name, valid in (("direction", ("min", "max")), ("status", STATUSES)):
        for value in rows[name].unique():
            if value not in valid:
                raise AnalysisError(f"{place}: {unknown_name(name, value, valid)}")
    if rows[["n_rec", "trainable_params"]].isna().all(axis=None):
        raise AnalysisError(f"{place}: no size; give --map n_rec=COLUMN or --map trainable_params=COLUMN")


def _specs(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Settings as the stored specs hold them; `analysis.rows.groups` keeps rows of different ones apart."""
    columns = {name: frame[name].tolist() for name in names}
    return [
        # An empty cell is a value too: rows without it are apart from rows with it.
        json.dumps({name: None if pd.isna(column[row]) else _plain(column[row]) for name, column in columns.items()})
        for row in range(len(frame))
    ]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value if isinstance(value, (int, float)) else str(value)
