"""What the rows say without any law: means of configurations, noise between seeds, optimum per budget, frontier.

Arrays and frames in, frames out; every number a figure or a table shows about the measurement comes from here.
"""

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from analysis.rows.sweep import Dataset
from theory.data.replicates import Noise, pure_error
from theory.fit.result import Direction
from theory.optimum.frontier import pareto

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
"""Confidence level of every interval of this package."""

FLAT_SHARE = 0.01
"""Assumption: where no point was replicated, means within 1 % of the budget's range count as equally good."""

CONFIGURATION = [
    "budget",
    "n_rec",
    "d_m",
    "d_tree",
    "d_branch",
    "k_e",
    "k_c",
    "trainable_params",
    "readout_params",
    "learning_rate",
]


class Optimum(NamedTuple):
    """The best measured configuration of one budget and connectivity."""

    budget: float
    k_c: float
    best: int
    """Position in the configuration table."""
    band: tuple[int, ...]
    """Positions of all configurations that cannot be told from the best one."""
    tolerance: float
    """Distance from the best mean up to which a configuration belongs to the band (largest one used)."""
    tolerance_kind: str
    """Where the tolerance comes from, as a phrase."""
    extend: str | None
    """Side to extend when the best configuration lies at the end of the sampled range; None when bracketed."""


class Frontier(NamedTuple):
    """The best configuration of each size, as long as no smaller size beats it."""

    position: npt.NDArray[np.int64]
    """Positions in the configuration table, by growing trainable_params."""
    membership: FloatArray | None
    """Probability of each configuration of the table to lie on the frontier under seed noise."""


def configurations(data: Dataset) -> pd.DataFrame:
    """Average the replicates.

    Returns:
        One row per configuration, ordered by k_c, budget and d_m, with `mean`, `n` (runs), `sd` (None-like NaN for one
        run) and `half` (half-width of the 95 % interval of the mean from the pooled sd; NaN for one run).
    """
    rows = data.rows
    grouped = rows.groupby("configuration", sort=True)
    table = grouped[CONFIGURATION].first()
    table["mean"] = grouped["value"].mean()
    table["n"] = grouped["value"].size()
    table["sd"] = grouped["value"].std()
    noise = seed_noise(data)
    table["half"] = np.nan
    if noise.sd is not None:
        quantile = stdtrit(noise.freedom, (1 + LEVEL) / 2)
        table["half"] = np.where(table["n"] > 1, quantile * noise.sd / np.sqrt(table["n"]), np.nan)
    for name in ("budget", "d_m", "d_tree", "d_branch"):
        table[name] = table[name].astype("float64")
    return table.reset_index().sort_values(["k_c", "budget", "d_m", "n_rec"], ignore_index=True)


def budget_lines(table: pd.DataFrame) -> list[tuple[float, float, pd.DataFrame]]:
    """Split rows or configurations into (k_c, budget, part), in that order; those without a budget are on no line."""
    with_budget = table[table["budget"].notna()]
    grouped = with_budget.groupby(["k_c", "budget"], sort=True)
    return [(float(cast(Any, key)[0]), float(cast(Any, key)[1]), part) for key, part in grouped]


def configuration(table: pd.DataFrame, position: int) -> dict[str, float]:
    """The numbers of one configuration, by column."""
    return {str(name): float(table[name].iloc[position]) for name in table.columns}


def seed_noise(data: Dataset) -> Noise:
    """Pool the variance between seeds over all configurations with at least two runs."""
    return pooled_noise(data.rows, ["configuration"])


def pooled_noise(rows: pd.DataFrame, by: list[str]) -> Noise:
    """Pool the variance of `value` within the groups that share the values of some columns."""
    numbers = rows.groupby(by, dropna=False).ngroup().to_numpy().astype(np.int64)
    return pure_error(rows["value"].to_numpy(float), numbers)


def optima(data: Dataset, table: pd.DataFrame) -> list[Optimum]:
    """Find the best measured configuration of each budget and k_c, and those that are as good within the noise.

    Args:
        data: the rows.
        table: `configurations(data)`.
    """
    noise = seed_noise(data)
    return [_optimum(part, budget, k_c, data.direction, noise) for k_c, budget, part in budget_lines(table)]


def _optimum(part: pd.DataFrame, budget: float, k_c: float, direction: str, noise: Noise) -> Optimum:
    loss = part["mean"].to_numpy(float) * (1.0 if direction == "min" else -1.0)
    runs, d_m, position = part["n"].to_numpy(float), part["d_m"].to_numpy(float), part.index.to_numpy()
    best = int(np.argmin(loss))
    if noise.sd is None or runs[best] == 1:
        limit = np.full(len(loss), FLAT_SHARE * float(np.ptp(loss)))
        kind = f"within {FLAT_SHARE:.0%} of the budget's range, for want of replicates"
    else:
        spread = noise.sd * np.sqrt(1 / runs + 1 / runs[best])
        limit = stdtrit(noise.freedom, (1 + LEVEL) / 2) * spread
        kind = "not worse in a 95 % t-test with the pooled seed noise"
    band = position[loss - loss[best] <= limit]
    return Optimum(
        budget=budget,
        k_c=k_c,
        best=int(position[best]),
        band=tuple(int(i) for i in band),
        tolerance=float(limit.max()),
        tolerance_kind=kind,
        extend=_side(d_m, float(d_m[best])),
    )


def _side(d_m: FloatArray, best: float) -> str | None:
    if len(np.unique(d_m)) < 2:
        return "more values of d_m"
    if best == d_m.min():
        return "smaller d_m"
    return "larger d_m" if best == d_m.max() else None


def frontier(data: Dataset, table: pd.DataFrame, *, seed: int = 0) -> Frontier:
    """Find the best configuration of each budget and its chance to be the best under seed noise.

    Configurations of one declared budget compete with each other although their realised sizes differ by less than one
    neuron; rows without a budget compete at their realised size.

    Args:
        data: the rows.
        table: `configurations(data)`.
        seed: seed of the draws.
    """
    if not len(table):
        return Frontier(np.empty(0, dtype=np.int64), None)
    rows = data.rows
    level = rows["budget"].astype("float64").fillna(rows["trainable_params"]).to_numpy(float)
    labels = rows["configuration"].to_numpy()
    direction: Direction = "min" if data.direction == "min" else "max"
    found = pareto(
        level, rows["value"].to_numpy(float), configurations=labels, direction=direction, seed=seed, tolerance=0
    )
    place = pd.Series(np.arange(len(table)), index=table["configuration"]).loc[labels[found.row]].to_numpy()
    membership = None
    if found.probability is not None:
        membership = np.zeros(len(table))
        membership[place] = found.probability
    return Frontier(np.asarray(place[found.member], dtype=np.int64), membership)
