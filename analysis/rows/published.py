"""The published tables as sweeps, so that they run through the same code as everybody's own results.

The settings are those of the publications (arXiv 2605.12049; NeuronIO: arXiv 2306.16922); every row is a single run.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.errors import AnalysisError
from analysis.rows.sweep import Dataset, Sweep
from cluster.errors import unknown_name
from sweeper.store.schema import FINISHED, SCHEMAS, SPLITS
from theory.data.published import PublishedTable, load_published


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the publication says about a table beyond its columns."""

    metric: str
    """The task's metric, as the columns call it behind the split."""
    direction: str
    """`min` or `max`."""
    chance: float
    """Metric of a model that knows nothing."""
    architecture: str
    """`elm` networks or the single `elm_neuron`."""
    d_tree: int
    """Dendritic branches per neuron."""
    d_branch: int
    """Synapses per branch."""
    n_in: int
    """Input channels."""
    n_out: int
    """Outputs."""
    steps: int
    """Optimiser steps."""
    length: int
    """Time steps per sequence."""
    learning_rate: float
    """Peak learning rate."""
    tau_m_max: float
    """Longest memory timescale, steps."""
    rho_rec: float | None
    """Share of recurrent synapses; None for single neurons."""


RECIPES = {
    "enwik8": Recipe(
        metric="bpc",
        direction="min",
        chance=float(np.log2(204)),
        architecture="elm",
        d_tree=50,
        d_branch=15,
        n_in=204,
        n_out=204,
        steps=300_000,
        length=100,
        learning_rate=5e-4,
        tau_m_max=100.0,
        rho_rec=0.8,
    ),
    "shd_adding": Recipe(
        metric="accuracy",
        direction="max",
        chance=1 / 19,
        architecture="elm",
        d_tree=30,
        d_branch=10,
        n_in=700,
        n_out=19,
        steps=140_000,
        length=1000,
        learning_rate=5e-3,
        tau_m_max=500.0,
        rho_rec=0.25,
    ),
    "neuronio": Recipe(
        metric="auc",
        direction="max",
        chance=0.5,
        architecture="elm_neuron",
        d_tree=45,
        d_branch=100,
        n_in=1278,
        n_out=2,
        steps=350_000,
        length=500,
        learning_rate=5e-4,
        tau_m_max=150.0,
        rho_rec=None,
    ),
}
"""Published tables by the name that follows ``published:``."""

# Published Enwik8 results are on the stream of 204 symbols, without line feeds; the whole file differs from it by one
# symbol. NeuronIO data are embedded (neuronio-mini) or named after a folder, so that nobody can tell whether they are
# the published ones.
SAME_TASK = {
    "text": ("enwik8", "enwik8/no-newlines"),
    "shd_adding": ("shd_adding", "shd"),
    "neuronio": ("neuronio", None),
}
"""Published table of each task, and the data on which a sweep's metric may be compared with it (None: never)."""


class PublishedPoints(NamedTuple):
    """The published runs of a task, to be drawn beside a sweep's own; they enter no mean, fit or frontier."""

    name: str
    """Name of the table."""
    same_data: bool
    """Whether the sweep learnt the published data, so that levels may be compared."""
    sentence: str
    """What they are, and whether their level may be compared."""
    x: npt.NDArray[np.float64]
    """Trainable parameters."""
    y: npt.NDArray[np.float64]
    n_rec: npt.NDArray[np.float64]
    d_m: npt.NDArray[np.float64]


BATCH_SIZE = 8
"""Sequences per step in all three publications."""


def published_sweep(name: str) -> Sweep:
    """Read a published table as a sweep.

    Args:
        name: a key of `RECIPES`.

    Raises:
        AnalysisError: there is no such table.
    """
    if name not in RECIPES:
        raise AnalysisError(unknown_name("published:", name, RECIPES))
    recipe, table = RECIPES[name], load_published(name)
    index = range(len(table.design))
    # Every column of the schema must exist, for the code behind this reads published rows as it reads stored ones.
    trials = pd.DataFrame(dict.fromkeys(SCHEMAS["trials"].names), index=index)
    trials = trials.assign(**_sizes(table), **_metrics(recipe, table), **_constants(name, recipe, table))
    # Published runs have no spec to hash; table and d_m name one.
    trials["trial_id"] = [f"published:{name}/d_m={d_m:.0f}" for d_m in table.columns["d_m"]]
    return Sweep(label=f"published:{name}", uri=f"published:{name}", trials=trials, grids={})


def published_points(data: Dataset) -> PublishedPoints | None:
    """The published runs of a group's task with the same metric; None where there are none.

    Args:
        data: the group; only metrics at the end of training were published.
    """
    name, same = SAME_TASK.get(data.keys["task"], (None, None))
    if name is None or data.keys["architecture"] != RECIPES[name].architecture:
        return None
    table, column = load_published(name), f"{data.measure.split}_{data.metric}"
    # The publications print metrics at the end of training, so nothing else may be compared with them.
    if not data.measure.kind.startswith("final") or column not in table.columns:
        return None
    data_name = data.keys["data_name"]
    verdict = (
        "the same data" if data_name == same else f"other data than {data_name}: shapes may be compared, levels not"
    )
    sentence = f"Published ({name}): {len(table.design)} single runs on {verdict}; they enter no mean and no fit."
    y, params = table.columns[column], table.columns["trainable_params"]
    return PublishedPoints(name, data_name == same, sentence, params, y, table.design.n_rec, table.columns["d_m"])


def _sizes(table: PublishedTable) -> dict[str, Any]:
    readout = int(table.cost.readout_params)
    d_m, params = table.columns["d_m"].astype(int), table.columns["trainable_params"].astype(int)
    # NeuronIO's single neurons were not sized by a budget.
    budget = table.design.budget
    return {
        "d_m": d_m,
        # The publications set the MLP's width to twice the number of memory units.
        "d_mlp": 2 * d_m,
        "n_rec": table.design.n_rec.astype(int),
        "k_e": table.design.k_e,
        "k_c": table.cost.k_c,
        "budget": None if budget is None else budget.astype(int),
        "trainable_params": params,
        "total_params": table.columns["total_params"].astype(int),
        "readout_params": readout,
        "recurrent_params": params - readout,
    }


def _metrics(recipe: Recipe, table: PublishedTable) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for split in SPLITS:
        for column, target in ((recipe.metric, "metric"), ("loss", "loss")):
            if f"{split}_{column}" in table.columns:
                # What was not published stays empty, and the analysis then says which columns there are.
                columns[f"final_{split}_{target}"] = table.columns[f"{split}_{column}"]
    return columns


def _constants(name: str, recipe: Recipe, table: PublishedTable) -> dict[str, Any]:
    same = ("metric", "direction", "chance", "architecture", "d_tree", "d_branch", "n_in", "n_out", "steps", "length")
    return {field: getattr(recipe, field) for field in (*same, "learning_rate", "tau_m_max", "rho_rec")} | {
        "hash_scheme": 0,
        "attempt": 1,
        "sweep": f"published:{name}",
        "status": FINISHED,
        "task": table.name,
        "data_name": table.name,
        "l_mlp": 1,
        "seed": 0,
        "batch_size": BATCH_SIZE,
        "steps_done": recipe.steps,
        "tokens": recipe.steps * BATCH_SIZE * recipe.length,
        # There is no stored spec, and an empty one has no settings that could set rows apart.
        "spec": "{}",
        # The cost was not published; 0 would be shown as a measurement.
        "wall_s": np.nan,
        "host": "published",
        "lane": "published",
        "code_version": "published",
    }
