"""The best split at equal operations of the forward pass instead of equal P, from the rows alone and without a law.

A budget counts what a network holds; who runs it pays for what it computes. Both are compared as they were measured:
the metric of each d_m and seed is interpolated between budgets, and the best d_m is then found among equally many
operations by the same rule as at a fixed P.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.report.tables import Table
from analysis.rows.means import Optimum, configurations, optima
from analysis.rows.sweep import Dataset

TRAINING_PASSES = 3
"""A training step counts as three forward passes (`model.architecture.Flops.training`), and that is what rows hold."""

INTERPOLATED = ("n_rec", "trainable_params", "value")

EXPLAINED = (
    "Operations: multiplications and additions of weighted sums in one time step of one sequence, dense inputs. "
    "Each seed of each d_m is interpolated between budgets, in ln(operations); where a d_m was not run to both sides "
    "it is left out. The smallest and the largest line are where every d_m of that budget reaches."
)


class Line(NamedTuple):
    """The best d_m of one k_c at one budget, and at equally many operations."""

    k_c: float
    budget: float
    operations: float
    at_budget: float
    """Best d_m at equal P."""
    as_good_at_budget: str
    """Range of d_m that is as good."""
    at_operations: float
    """Best d_m at equal operations."""
    as_good_at_operations: str
    levels: int
    """Values of d_m that are compared at equal operations."""


def equal_work(data: Dataset) -> list[Line]:
    """Compare the best d_m at each budget with that at equally many operations.

    Args:
        data: rows of at least two budgets.

    Raises:
        AnalysisError: no d_m was run at two budgets with operations in its rows.
    """
    moved = at_equal_operations(data)
    at_budget, at_work = _optima(data), _optima(moved)
    lines = []
    for (k_c, budget), (d_m, good) in sorted(at_budget.items()):
        here = moved.rows[(moved.rows["k_c"] == k_c) & (moved.rows["asked"] == budget)]
        if len(here):
            operations = float(here["budget"].iloc[0])
            best, as_good = at_work[k_c, operations]
            lines.append(Line(k_c, budget, operations, d_m, good, best, as_good, here["d_m"].nunique()))
    return lines


def _optima(data: Dataset) -> dict[tuple[float, float], tuple[float, str]]:
    table = configurations(data)

    def told(one: Optimum) -> tuple[float, str]:
        return float(table["d_m"].iloc[one.best]), one.good_text("d_m")

    return {(one.k_c, one.budget): told(one) for one in optima(data, table)}


def at_equal_operations(data: Dataset) -> Dataset:
    """Interpolated rows at equally many operations, one line for each budget and k_c.

    Returns:
        The data set with `budget` as the operations of one time step and `asked` as the budget that they stand for.

    Raises:
        AnalysisError: no d_m was run at two budgets with operations in its rows.
    """
    rows = data.rows.assign(operations=data.rows["flops_per_token"].astype("float64") / TRAINING_PASSES)
    rows = rows[rows["operations"].gt(0) & rows["budget"].notna() & rows["d_m"].notna()]
    found = [row for _, part in rows.groupby("k_c") for row in _moved(part)]
    if not found:
        raise AnalysisError(
            f"{data.label}: no d_m was run at two budgets with its operations recorded, so nothing can be compared at "
            "equally many operations"
        )
    table = pd.DataFrame(found)
    table["configuration"] = table.groupby(["k_c", "d_tree", "budget", "d_m"]).ngroup()
    return replace(data, rows=table)


def _moved(rows: pd.DataFrame) -> Iterator[pd.Series]:
    """The rows of one k_c, interpolated at the operations of each budget."""
    targets = _targets(rows)
    for _, line in rows.groupby(["d_m", "d_tree", "d_branch", "seed"]):
        line = line.sort_values("operations")
        x = np.log(line["operations"].to_numpy(float))
        for budget, target in targets.items():
            if len(line) > 1 and x[0] <= (at := np.log(target)) <= x[-1]:
                values = {name: float(np.interp(at, x, line[name].to_numpy(float))) for name in INTERPOLATED}
                nearest = line.iloc[int(np.argmin(np.abs(x - at)))]
                yield pd.concat(
                    [nearest.drop([*values, "budget"]), pd.Series({**values, "budget": target, "asked": budget})]
                )


def _targets(rows: pd.DataFrame) -> dict[float, float]:
    """Operations that stand for each budget: their median over d_m; at the ends where every d_m of it reaches."""
    grouped = rows.groupby("budget")["operations"]
    targets = {float(str(budget)): float(value) for budget, value in grouped.median().items()}
    if len(targets) > 1:
        targets[min(targets)] = float(grouped.max()[min(targets)])
        targets[max(targets)] = float(grouped.min()[max(targets)])
    return targets


def equal_work_table(lines: Sequence[Line]) -> Table:
    """The comparison as a table."""
    columns = ("k_c", "P", "operations", "d_m at equal P", "as good", "d_m at equal operations", "as good ")
    return Table((*columns, "values of d_m"), [list(line) for line in lines], keys=3)
