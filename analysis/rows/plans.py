"""What the grids stored in a results directory ask for today: a grid may be edited, and its old rows stay."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from sweeper.errors import FOR_PEOPLE
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.rate_rule import RateRule


@dataclass(frozen=True, kw_only=True)
class StoredPlans:
    """The trials of all stored grids, and the learning-rate rules that stand in them."""

    grid_of: Mapping[str, str] = field(default_factory=dict)
    """Name of the grid that asks for a trial, by trial_id; the first of several."""
    names: frozenset[str] = frozenset()
    """Grids whose trials are known. One that a search chooses from is not among them: it asks for no fixed trials."""
    rules: tuple[RateRule, ...] = ()
    """Learning-rate rules of these grids."""


def read_plans(grids: Mapping[str, str]) -> StoredPlans:
    """Expand stored grids; one that this version cannot read says nothing about its rows.

    Args:
        grids: texts by name (`ResultsStore.grids`).
    """
    grid_of: dict[str, str] = {}
    names: set[str] = set()
    rules: dict[RateRule, None] = {}
    for name, text in grids.items():
        try:
            grid = parse_grid(text, default_name=name)
            plan = expand(grid)
        except (
            FOR_PEOPLE
        ):  # written by a version that knew other keys, naming data that are not here, or no grid at all
            continue
        rates = [rate for block in grid.blocks for rate in block.training.get("learning_rate", ())]
        # A dict keeps the order of the grids, so that the same directory names its groups in the same way each time.
        rules |= dict.fromkeys(rate for rate in rates if isinstance(rate, RateRule))
        # The choices of a search depend on results, so what it would ask for today cannot be listed.
        if grid.search is None or not grid.search.adaptive:
            names.add(plan.name)
            for trial_id in plan.trials:
                grid_of.setdefault(trial_id, plan.name)
    return StoredPlans(grid_of=grid_of, names=frozenset(names), rules=tuple(rules))


def planned_by(trials: pd.DataFrame, plans: StoredPlans) -> pd.Series:
    """Name of the grid that asks for each trial today; None where none does.

    Args:
        trials: rows with `trial_id`.
        plans: the stored grids.
    """
    return pd.Series([plans.grid_of.get(trial_id) for trial_id in trials["trial_id"]], trials.index, dtype=object)


def strays(trials: pd.DataFrame, plans: StoredPlans) -> pd.Series:
    """Whether each row belongs to a stored grid that does not ask for it any more.

    Rows of a sweep whose grid is not stored, or cannot be read, are none: nothing is known against them.

    Args:
        trials: rows with `trial_id` and `sweep`.
        plans: the stored grids.
    """
    return planned_by(trials, plans).isna() & trials["sweep"].isin(plans.names)
