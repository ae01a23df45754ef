"""What one changed setting does to the metric at equal P: paired differences from a group's own settings."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from analysis.rows.groups import text
from analysis.rows.means import LEVEL
from analysis.rows.sweep import IDENTITY, Dataset

LEAST_PAIRS = 3
"""Pairs that an interval wants: two differences have one degree of freedom, whose t quantile is 12.7."""

TREE = ("d_tree", "d_branch")
"""Columns of the connectivity, which is one setting: k_c is their product, and one k_c may be split in several ways."""


class Effect(NamedTuple):
    """Gain of a changed setting over the group's own."""

    setting: str
    value: str
    """The changed value."""
    base: str
    """The group's own."""
    pairs: int
    """Runs of equal budget, d_m and seed (and connectivity, where that is not the setting)."""
    gain: float
    """Mean difference, positive where the changed setting is better; metric units."""
    low: float | None
    """Lower end of its 95 % interval over the pairs; None with fewer than `LEAST_PAIRS`."""
    high: float | None
    """Upper end."""


def setting_effects(data: Dataset, groups: Sequence[Dataset]) -> tuple[Effect, ...]:
    """Compare a group with every other that differs from it in one setting, and its connectivities with each other.

    Args:
        data: the group whose settings are the base.
        groups: all groups of the rows, this one among them.

    Returns:
        One effect for each setting and value that has a pair at equal P, numbers by size.
    """
    effects = []
    for setting, value, base, rows, others in sorted(_comparisons(data, groups), key=lambda row: _order(*row[:2])):
        key = ["budget", "d_m", *([] if setting == _name(TREE) else TREE), "seed"]
        difference = gains(paired(rows, others, key), data.direction)
        if len(difference):
            mean, low, high = mean_interval(difference)
            ends = (low, high) if len(difference) >= LEAST_PAIRS else (None, None)
            effects.append(Effect(setting, value, base, len(difference), mean, *ends))
    return tuple(effects)


def _comparisons(
    data: Dataset, groups: Sequence[Dataset]
) -> Iterator[tuple[str, str, str, pd.DataFrame, pd.DataFrame]]:
    """Setting, changed value, own value, and the rows of both."""
    for other in groups:
        if other is data or any(other.keys.get(name) != data.keys.get(name) for name in IDENTITY):
            continue
        names = {name for keys in (data.keys, other.keys) for name in keys}
        changed = [name for name in sorted(names) if data.keys.get(name) != other.keys.get(name)]
        # One setting at a time: of two nobody could say which of them had the effect.
        if len(changed) == 1:
            (name,) = changed
            yield name, other.keys.get(name, "none"), data.keys.get(name, "none"), data.rows, other.rows
    trees: Any = data.rows.groupby(list(TREE), dropna=False)  # keys are pairs, which its type does not know
    if data.rows["d_m"].isna().all() or len(trees) < 2:
        return
    # The group's own connectivity is that of most of its rows.
    own = trees.size().idxmax()
    for tree, rows in trees:
        if tree != own:
            yield _name(TREE), _name(map(text, tree)), _name(map(text, own)), trees.get_group(own), rows


def _name(parts: Iterable[str]) -> str:
    return " x ".join(parts)


def _order(setting: str, value: str) -> tuple[str, bool, float, str]:
    """Settings by the alphabet; their values by size, words behind them."""
    number = pd.to_numeric(value, errors="coerce")
    return setting, bool(pd.isna(number)), 0.0 if pd.isna(number) else float(number), value


def paired(base: pd.DataFrame, other: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Put runs with equal `key` beside each other: `value` of the changed setting, and `value_base`.

    Paired, so that what differs between budgets, sizes and seeds cancels. Runs without a budget have no equal P.

    Args:
        base: rows of the group's own settings.
        other: rows with the changed one.
        key: columns that must agree, `budget` among them.
    """
    columns = [*key, "value"]
    parts = (rows.loc[rows["budget"].notna(), columns] for rows in (other, base))
    return next(parts).merge(next(parts), on=list(key), suffixes=("", "_base"))


def gains(pairs: pd.DataFrame, direction: str) -> npt.NDArray[np.float64]:
    """Differences of `paired` runs, positive where the changed setting is better; `direction` is `min` or `max`."""
    sign = -1.0 if direction == "min" else 1.0
    return sign * (pairs["value"] - pairs["value_base"]).to_numpy(float)


def mean_interval(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean with its 95 % t interval; infinitely wide of a single value."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, -np.inf, np.inf
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half
