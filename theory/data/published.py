"""The paper's published trials (arXiv 2605.12049; NeuronIO: arXiv 2306.16922), with the costs that reproduce their
counts."""

import csv
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from theory.data.cost import Cost, elm_cost
from theory.data.design import Design
from theory.errors import unknown
from theory.types import FloatArray

_FILES = {
    "enwik8": "enwik8_number_vs_complexity.csv",
    "shd_adding": "shd_adding_number_vs_complexity.csv",
    "neuronio": "neuronio_neuron_complexity.csv",
}
PUBLISHED = tuple(_FILES)


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedTable:
    """One published table; every row is a single run."""

    name: str
    """enwik8, shd_adding or neuronio."""
    columns: dict[str, FloatArray]
    """Columns of the file, [rows]."""
    design: Design
    """Sizes of the rows (n_rec = 1 for single neurons)."""
    cost: Cost
    """Counts of this family."""
    metrics: dict[str, str]
    """Metric columns with their direction, "min" or "max"."""


def load_published(name: str) -> PublishedTable:
    """Load a published table.

    Args:
        name: enwik8 (14 rows), shd_adding (10) or neuronio (12).

    Raises:
        TheoryError: the name is unknown.

    >>> table = load_published("enwik8")
    >>> counts = table.cost.trainable_params(table.columns["n_rec"], table.columns["d_m"])
    >>> bool((counts == table.columns["trainable_params"]).all())
    True
    """
    if name not in _FILES:
        raise unknown("published", name, PUBLISHED)
    with files("theory").joinpath("published", _FILES[name]).open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    # All columns of the published files are numbers.
    columns = {column: np.array([float(row[column]) for row in rows]) for column in rows[0]}
    cost = _COSTS[name]
    d_m, n_rec = columns["d_m"], columns.get("n_rec", np.ones(len(rows)))
    # Each sweep has one budget, so it is given rather than inferred from the counts; single neurons have none.
    design = Design(
        n_rec=n_rec,
        k_e=cost.complexity(d_m),
        k_c=np.full(len(rows), cost.k_c),
        trainable_params=columns["trainable_params"],
        d_m=d_m,
        budget=None if name == "neuronio" else np.full(len(rows), _BUDGETS[name]),
    )
    metrics = {
        # Only accuracies and areas under a curve are better when larger; all other columns are errors or losses.
        column: "max" if column.endswith(("accuracy", "auc")) else "min"
        for column in columns
        if column.split("_")[0] in _SPLITS
    }
    return PublishedTable(name=name, columns=columns, design=design, cost=cost, metrics=metrics)


def _single_neuron(d_m: FloatArray) -> FloatArray:
    """k_e of NeuronIO's neuron with two outputs: MLP + 2 d_m + 2."""
    # 45 branches, one hidden layer of 2 d_m: 2 d_m (45 + d_m) + 2 d_m + 2 d_m^2 + d_m for the MLP
    return 4 * d_m**2 + 95 * d_m + 2


_SPLITS = ("test", "valid", "train")
# the budgets asked for, of which each row's whole neurons leave a little unspent
_BUDGETS = {"enwik8": 3_516_748.0, "shd_adding": 77_310.0}
_COSTS = {
    "enwik8": elm_cost(d_tree=50, d_branch=15, n_out=204),
    # The settings of the published networks; with them the formulas give every count of the tables exactly.
    "shd_adding": elm_cost(d_tree=30, d_branch=10, n_out=19),
    "neuronio": Cost(k_e=_single_neuron, k_c=4500.0),
}
