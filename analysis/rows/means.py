"""What the rows say without any law: means of configurations, noise between seeds, optimum per budget, frontier.

Every number that a figure or a table shows about the measurement comes from here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from analysis.rows.sweep import IDENTITY, Dataset
from theory.data.moderated import RunNoise, difference_limits, run_noise
from theory.data.replicates import Noise, pure_error
from theory.fit.result import Direction
from theory.optimum.frontier import pareto

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
"""Confidence level of every interval of this package."""

AXES_OF_BAND = ("n_rec", "d_m", "k_e", "trainable_params")
"""Sizes for which the range that is as good is given."""

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
    "tokens",
]


class Optimum(NamedTuple):
    """The best measured configuration of one budget and connectivity."""

    budget: float
    k_c: float
    best: int
    """Position in the configuration table."""
    band: tuple[int, ...]
    """Positions of the configurations that cannot be told from the best one, on each side as far as the first d_m that
    is worse; the best one alone without seed noise."""
    good: Mapping[str, tuple[float, float]] | None
    """Range of each size (`AXES_OF_BAND`) that is as good: half-way, on a logarithmic scale, to the nearest
    configurations that were run and are worse. None where nobody can tell: no seed noise, or nothing to compare."""
    tolerance: float | None
    """Distance from the best mean up to which a configuration belongs to the band (largest one used)."""
    tolerance_kind: str
    """Where the tolerance comes from, as a phrase."""
    extend: str | None
    """Side to extend when the best configuration lies at the end of the sampled range and there is more beyond it."""
    bracketed: bool | None
    """Whether the best configuration has others on both sides; None for architectures that have no d_m to choose."""

    @property
    def verdict(self) -> str:
        """Whether the optimum is bracketed, in a few words."""
        if self.bracketed is None:
            return "nothing to split"
        if self.extend is not None:
            return f"no: extend towards {self.extend}"
        return "yes" if self.bracketed else "no: d_m = 1 is the smallest there is"

    def good_text(self, name: str) -> str:
        """The range of a size that is as good, such as ``2.4–4.9``."""
        return span((self.good or {}).get(name))


def span(pair: Sequence[float] | None) -> str:
    """A range that is as good, for reading.

    >>> span((353.0, 742.0)), span((2.449, 4.899)), span(None)
    ('353–742', '2.4–4.9', 'unknown')
    """
    if pair is None:
        return "unknown"
    low, high = pair
    return f"{low:,.0f}–{high:,.0f}" if high >= 100 else f"{low:.2g}–{high:.2g}"


class Frontier(NamedTuple):
    """The best configuration of each size, as long as no smaller size beats it."""

    position: npt.NDArray[np.int64]
    """Positions in the configuration table, by growing trainable_params."""
    membership: FloatArray | None
    """Probability of each configuration of the table to lie on the frontier under seed noise."""
    k_c: float | None = None
    """Connectivity of all its configurations; None where one frontier stands for the whole group."""
    others: tuple["Frontier", ...] = ()
    """Frontiers of the group's other connectivities."""


class Baseline(NamedTuple):
    """The best networks of another architecture, by growing size."""

    name: str
    """Architecture, with the settings that set it apart from others of its kind."""
    x: FloatArray
    """Trainable parameters."""
    y: FloatArray
    """Mean metric."""
    n_rec: FloatArray
    runs: FloatArray


def baseline(data: Dataset) -> Baseline:
    """The frontier of an architecture, to be drawn beside another one's.

    Args:
        data: its rows.
    """
    table = configurations(data)
    members = table.loc[frontier(data, table).position].sort_values("trainable_params")
    settings = [f"{name} {value}" for name, value in data.keys.items() if name not in IDENTITY]
    columns = (members[name].to_numpy(float) for name in ("trainable_params", "mean", "n_rec", "n"))
    return Baseline(", ".join([data.keys["architecture"], *settings]), *columns)


def configurations(data: Dataset) -> pd.DataFrame:
    """Average the replicates.

    Returns:
        One row per configuration, ordered by k_c, budget and d_m, with `mean`, `n` (runs), `sd` (between its own runs;
        NaN for one), `noise` (standard deviation of a single run, see `seed_noise`; NaN without replicates), `freedom`
        (its degrees of freedom), `borrowed` (whether other budgets stand in for it) and `half` (half-width of the 95 %
        interval of the mean; NaN for one run).
    """
    rows = data.rows
    grouped = rows.groupby("configuration", sort=True)
    table = grouped[CONFIGURATION].first()
    table["mean"] = grouped["value"].mean()
    table["n"] = grouped["value"].size()
    table["sd"] = grouped["value"].std()
    noise = seed_noise(data)
    table["noise"] = np.nan if noise is None else noise.sd
    table["freedom"] = np.nan if noise is None else noise.freedom
    table["borrowed"] = False if noise is None else noise.borrowed
    # A single run has no interval although the noise of its budget would give it one: a lone point with a bar would
    # claim a repetition that was never made. Student's t, because the noise is estimated from few pairs of seeds.
    quantile = stdtrit(table["freedom"].to_numpy(float), (1 + LEVEL) / 2)
    table["half"] = np.where(table["n"] > 1, quantile * table["noise"] / np.sqrt(table["n"]), np.nan)
    # Columns that are empty throughout, such as d_m of a gated network, come as objects; as floats they hold NaN like
    # all others.
    for name in ("budget", "d_m", "d_tree", "d_branch"):
        table[name] = table[name].astype("float64")
    return table.reset_index().sort_values(["k_c", "budget", "d_m", "n_rec"], ignore_index=True)


def budget_lines(table: pd.DataFrame) -> list[tuple[float, float, pd.DataFrame]]:
    """Split rows or configurations into (k_c, budget, part), in that order; those without a budget are on no line."""
    # Connectivities do not compete with each other at one budget, so each has its own line and its own optimum.
    with_budget = table[table["budget"].notna()]
    grouped = with_budget.groupby(["k_c", "budget"], sort=True)
    return [(float(cast(Any, key)[0]), float(cast(Any, key)[1]), part) for key, part in grouped]


def configuration(table: pd.DataFrame, position: int) -> dict[str, float]:
    """The numbers of one configuration, by column."""
    return {str(name): float(table[name].iloc[position]) for name in table.columns}


def seed_noise(data: Dataset) -> RunNoise | None:
    """Noise of a single run of each configuration, in the order of their numbers; None where none has two runs.

    The one estimate by which differences are judged: bands, intervals of means, and how far a law misses.
    """
    codes = np.unique(data.rows["configuration"].to_numpy(), return_inverse=True)[1].ravel().astype(np.int64)
    # The size is the budget, or n_rec where no budget was asked for.
    return run_noise(data.rows["value"].to_numpy(float), codes, data.rows["size"].to_numpy(float))


def noise_text(table: pd.DataFrame) -> str | None:
    """Noise of a single run in words, from the quietest to the noisiest size; None where it is unknown.

    Args:
        table: `configurations(data)`.
    """
    known = table[table["noise"].notna()]
    if not len(known):
        return None
    squares = known["noise"].astype(float) ** 2 * known["n"]
    size = known["budget"].fillna(known["n_rec"])
    means = squares.groupby(size).sum() / known["n"].groupby(size).sum()
    levels = sorted((float(np.sqrt(mean)), float(str(level))) for level, mean in means.items())
    (low, at_low), (high, at_high) = levels[0], levels[-1]
    if low == high:
        return f"{low:.2g}"
    symbol = "P" if known["budget"].notna().all() else "N"
    return f"{low:.2g} ({symbol} = {at_low:,.0f}) to {high:.2g} ({symbol} = {at_high:,.0f})"


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
    return [_optimum(part, budget, k_c, data.direction) for k_c, budget, part in budget_lines(table)]


def _optimum(part: pd.DataFrame, budget: float, k_c: float, direction: str) -> Optimum:
    # As a loss both directions are searched in the same way.
    loss = part["mean"].to_numpy(float) * (1.0 if direction == "min" else -1.0)
    runs, d_m, position = part["n"].to_numpy(float), part["d_m"].to_numpy(float), part.index.to_numpy()
    best = int(np.argmin(loss))
    unknown = part["noise"].isna().any()
    if unknown or len(part) < 2:
        near, tolerance, good = np.arange(len(part)) == best, None, None
        kind = "unknown, for no configuration has two runs" if unknown else "unknown: nothing to compare"
    else:
        sd, freedom, borrowed = (part[name].to_numpy() for name in ("noise", "freedom", "borrowed"))
        limit = difference_limits(RunNoise(sd**2, freedom, borrowed), runs, best, LEVEL)
        # Noisier configurations and those with fewer runs have wider limits; the report names the largest one.
        near, tolerance = _around(d_m, loss - loss[best] <= limit, best), float(limit.max())
        good = {name: reach(part[name].to_numpy(float), near) for name in AXES_OF_BAND if part[name].notna().all()}
        whose = "other budgets, for none has two runs here" if borrowed.any() else "this budget"
        kind = f"not worse in a 95 % t-test with the seed noise of {whose}, half-way to the next ones that were run"
    extend = _side(d_m, float(d_m[best]))
    return Optimum(
        budget=budget,
        k_c=k_c,
        best=int(position[best]),
        band=tuple(int(i) for i in position[near]),
        good=good,
        tolerance=tolerance,
        tolerance_kind=kind,
        extend=extend,
        bracketed=None if np.isnan(d_m[best]) else bool(extend is None and d_m[best] > d_m.min()),
    )


def _around(d_m: FloatArray, near: npt.NDArray[np.bool_], best: int) -> npt.NDArray[np.bool_]:
    """Those of the near configurations that no worse d_m parts from the best one.

    Along a budget the metric turns once. A tiny network with noise so large that it cannot be told from anything is
    therefore not as good where less noisy ones between it and the best are worse.
    """
    if np.isnan(d_m).any():
        return near
    levels, place = np.unique(d_m, return_inverse=True)
    worse = np.flatnonzero(np.bincount(place, weights=near, minlength=levels.size) == 0)
    low = worse[worse < place[best]].max(initial=-1)
    high = worse[worse > place[best]].min(initial=levels.size)
    return np.asarray(near & (place > low) & (place < high))


def reach(sizes: FloatArray, near: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Range of a size that is as good as the best: sampled sizes cannot say more than half-way to the next one.

    Args:
        sizes: sizes that were run, above 0.
        near: which of them are as good.

    >>> [round(end, 2) for end in reach(np.array([1.0, 4.0, 16.0]), np.array([False, True, False]))]
    [2.0, 8.0]
    """
    low, high = float(sizes[near].min()), float(sizes[near].max())
    below, above = sizes[sizes < low], sizes[sizes > high]
    return (
        # Half-way on a logarithmic scale, because grids space their sizes so. Where nothing smaller was run, the range
        # ends at what was run.
        float(np.sqrt(low * below.max())) if len(below) else low,
        float(np.sqrt(high * above.min())) if len(above) else high,
    )


def _side(d_m: FloatArray, best: float) -> str | None:
    if np.isnan(best):
        return None
    # With one value of d_m there are no two sides of it.
    if len(np.unique(d_m)) < 2:
        return "more values of d_m"
    if best == d_m.min():
        return "smaller d_m" if best > 1 else None  # no neuron has less than one memory unit
    return "larger d_m" if best == d_m.max() else None


def main_k_c(data: Dataset) -> float | None:
    """The connectivity that most rows of a group have, which every picture shows first; None where there is one only.

    Networks that are sized by n_rec alone have one per size, which is no choice.
    """
    rows = data.rows
    if not len(rows) or rows["k_c"].nunique() < 2 or rows["d_m"].isna().all():
        return None
    counts = rows["k_c"].value_counts()
    # Among equals the smallest is taken, so that the choice does not depend on the order of the rows.
    return float(counts[counts == counts.max()].index.min())


def frontier(data: Dataset, table: pd.DataFrame, *, seed: int = 0) -> Frontier:
    """Find the best configuration of each budget and its chance to be the best under seed noise.

    Connectivities do not compete with each other: where only one of them was run at some budgets, a frontier through
    all would turn there for no other reason. Configurations of one declared budget compete with each other although
    their realised sizes differ by less than one neuron; rows without a budget compete at their realised size.

    Args:
        data: the rows.
        table: `configurations(data)`.
        seed: seed of the draws.
    """
    first = main_k_c(data)
    if first is None:
        return _frontier(data.rows, table, data.direction, seed)
    k_cs = [first, *sorted(set(table["k_c"].astype(float)) - {first})]
    main, *others = (
        _frontier(data.rows[data.rows["k_c"] == k_c], table, data.direction, seed)._replace(k_c=k_c) for k_c in k_cs
    )
    return main._replace(others=tuple(others))


def _frontier(rows: pd.DataFrame, table: pd.DataFrame, way: str, seed: int) -> Frontier:
    if not len(rows):
        return Frontier(np.empty(0, dtype=np.int64), None)
    # Realised sizes of one budget differ by less than one neuron. Compared by them, the smallest network of each budget
    # could not be beaten by its own rivals.
    level = rows["budget"].astype("float64").fillna(rows["trainable_params"]).to_numpy(float)
    labels = rows["configuration"].to_numpy()
    direction: Direction = "min" if way == "min" else "max"
    front = pareto(
        level, rows["value"].to_numpy(float), configurations=labels, direction=direction, seed=seed, tolerance=0
    )
    place = pd.Series(np.arange(len(table)), index=table["configuration"]).loc[labels[front.row]].to_numpy()
    membership = None
    if front.probability is not None:
        membership = np.zeros(len(table))
        # Configurations of another connectivity did not compete, so they have no chance.
        membership[place] = front.probability
    return Frontier(np.asarray(place[front.member], dtype=np.int64), membership)
