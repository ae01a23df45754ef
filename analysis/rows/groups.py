"""Which rows may be fitted together: those of one set of all settings that are no sizes of the design.

A group is the coarsest set of rows that mixes nothing. Three things may differ within one, because the grid that stands
in the results directory today says so: a learning rate (a list, of which each design point's best enters, or a rule of
the sizes), the amount of training where it follows the budget in one grid (blocks with more steps for larger P), and
sizes of the design itself. A value that no stored grid asks for at that place, such as the steps before an edit, is
another setting and makes another group.
"""

from collections.abc import Hashable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from analysis.rows.learning_rates import exact_rule
from analysis.rows.plans import StoredPlans, planned_by
from analysis.rows.sweep import DESIGN_POINT, IDENTITY
from sweeper.plan.rate_rule import RateRule

MODEL_SETTINGS = ("l_mlp", "rho_rec", "tau_m_max")
"""Columns that describe the network and are no sizes of the design."""

TRAINING_SETTINGS = ("batch_size", "length", "steps")
"""Columns that say how long a network was trained; `training.` settings of the specs are treated alike."""

TOKEN_SETTINGS = ("batch_size", "steps")
"""Those of them that become the axis `tokens` where somebody asks for it. The length is not among them: it is how far
a network has to remember."""

FOLLOWS = "follows P"
"""Value of a setting whose grid gives every budget its own."""

Keys = dict[str, str]


def split_rows(
    trials: pd.DataFrame, hidden: list[str], plans: StoredPlans, *, tokens: bool = False
) -> Iterator[tuple[Keys, pd.DataFrame]]:
    """Split rows into groups.

    Args:
        trials: rows with the design columns (`analysis.rows.load.with_design_columns`) and the `hidden` ones.
        hidden: settings that only the stored specs hold.
        plans: what the stored grids ask for.
        tokens: whether `TOKEN_SETTINGS` set no groups apart.

    Yields:
        What the rows have in common (identity, and the settings by which groups of one identity differ), and the rows.
    """
    grids = planned_by(trials, plans)
    for identity, rows in trials.groupby(list(IDENTITY), dropna=False, sort=True):
        common = {name: text(value) for name, value in zip(IDENTITY, identity, strict=True)}
        alike = rows.assign(**dict.fromkeys(TOKEN_SETTINGS, 0)) if tokens else rows
        distinguishing = _distinguishing(alike, hidden, grids.loc[rows.index], plans)
        if not len(distinguishing.columns):
            yield common, rows
            continue
        # the texts are sorted through the values, so that 9 comes before 10
        for values, part in rows.groupby(
            [distinguishing[name] for name in distinguishing.columns], dropna=False, sort=True
        ):
            yield common | {n: text(v) for n, v in zip(distinguishing.columns, values, strict=True)}, part


def _distinguishing(rows: pd.DataFrame, hidden: list[str], grids: pd.Series, plans: StoredPlans) -> pd.DataFrame:
    """The settings that set the groups of one identity apart, as columns."""
    of_training = [*TRAINING_SETTINGS, *(name for name in hidden if name.startswith("training."))]
    of_model = [*MODEL_SETTINGS, *(name for name in hidden if name not in of_training)]
    columns = {name: rows[name] for name in of_model if rows[name].nunique(dropna=False) > 1}
    # d_tree alone is no setting: where it moves together with k_c it is the way in which connectivity was varied.
    if (rows.groupby("k_c")["d_tree"].nunique() > 1).any():  # the same k_c, split into branches in another way
        columns["d_tree"] = rows["d_tree"]
    # What counts as tied to the budget can only be seen among rows that share all settings of the model, so those come
    # first, then training, and learning rates last, within what is left.
    part = _numbered(columns, rows.index)
    ratio = _ratio(rows, part, grids)
    # A setting that is the same in all rows tells no two groups apart and would only lengthen their names.
    if ratio.nunique(dropna=False) > 1:
        columns["mlp_ratio"] = ratio
    for name in of_training:
        if rows[name].nunique(dropna=False) > 1:
            column = _followed(rows[name], rows["budget"], part, grids)
            if column.nunique(dropna=False) > 1:
                columns[name] = column
    rates = _rate_families(rows, _numbered(columns, rows.index), grids, plans)
    if rates.nunique() > 1:
        columns["learning_rate"] = rates
    return pd.DataFrame(columns, index=rows.index)


def _numbered(columns: dict[str, pd.Series], index: pd.Index) -> pd.Series:
    """One number per combination of values."""
    if not columns:
        return pd.Series(0, index=index)
    return pd.DataFrame(columns).groupby(list(columns), dropna=False).ngroup()


def _followed(values: pd.Series, budget: pd.Series, part: pd.Series, grids: pd.Series) -> pd.Series:
    """Replace the values that a grid ties to the budget by `FOLLOWS`, among rows that share all other settings."""
    settings = values.astype(object)
    frame = pd.DataFrame({"value": values, "budget": budget.astype("float64"), "part": part, "grid": grids})
    planned = frame[frame["grid"].notna() & frame["budget"].notna()]
    for number, planned_part in planned.groupby("part"):
        tied: dict[float, Any] = {}
        for _, of_grid in planned_part.groupby("grid"):
            levels = of_grid.groupby("budget")["value"].agg(["nunique", "first"])
            # a grid that gives one budget several values compares them; one that gives all the same ties nothing
            if (levels["nunique"] == 1).all() and levels["first"].nunique() > 1:
                tied.update(zip(levels.index.astype(float), levels["first"], strict=True))
        # Rows that no grid asks for any more follow it as well if they have the value that it would give them.
        mine = frame["part"] == number
        # The value is compared at its own budget: 2,000 steps that the grid asks for at P = 100 k are another setting
        # at 10 k.
        follows = mine & (frame["value"] == frame["budget"].map(tied))
        settings[follows] = FOLLOWS
    return settings


def _ratio(rows: pd.DataFrame, part: pd.Series, grids: pd.Series) -> pd.Series:
    """`mlp_ratio`, or one value where d_mlp stands still, or where one grid gives every size its own."""
    ratio, still = rows["mlp_ratio"], pd.Series(0.0, index=rows.index)
    if rows["d_mlp"].nunique(dropna=False) <= 1 or ratio.nunique(dropna=False) <= 1:
        return still
    # Two ratios at one and the same design point are a comparison that somebody made on purpose, not a size that
    # follows.
    points = [part, *(rows[name] for name in DESIGN_POINT)]
    if (ratio.groupby(points, dropna=False).nunique(dropna=False) > 1).any():
        return ratio
    families = _families(ratio, [(part, grids)])
    return ratio if families.nunique() > 1 else still


def _rate_families(rows: pd.DataFrame, part: pd.Series, grids: pd.Series, plans: StoredPlans) -> pd.Series:
    """Name the learning rates that belong together: a list, a rule, or a single one."""
    rate = rows["learning_rate"].astype("float64")
    nodes = rate.astype(object)
    for rule in plans.rules:
        # Rates by one rule differ from row to row; as one node they are one choice, like a rate that stands in the
        # grid.
        nodes[_obeys(rule, rows)] = rule
    points = pd.Series(rows.groupby(list(DESIGN_POINT), dropna=False).ngroup(), index=rows.index)
    part_nodes = pd.Series(
        list(zip(part, nodes, strict=True)), index=rows.index
    )  # one part's list links nothing elsewhere
    # design points that were tuned each stand for their own best rate, whichever rates were tried there
    several = rate.groupby([part, points]).transform("nunique") > 1
    tuned = several.map({True: "tuned", False: None})
    # Rates belong together if one grid asks for them, if they were tried at the same design point, or if their points
    # were tuned.
    links = [(part, grids), (part, points), (part, tuned)]
    linked = _families(part_nodes, links)
    names = pd.Series("", index=rows.index)
    for _, rates in rate.groupby([part, linked], dropna=False):
        names[rates.index] = _rate_name(nodes[rates.index], rates)
    within = pd.Series(linked).groupby(part).nunique()
    if (within > 1).any() and grids.isna().any():
        # without a stored grid a rule can only be told by its values: a power of the sizes to the last digit
        for _, loose in rows[grids.isna()].groupby(part):
            if names[loose.index].nunique() > 1 and exact_rule(loose):
                low, high = loose["learning_rate"].min(), loose["learning_rate"].max()
                names[loose.index] = f"by a rule, {low:g} to {high:g}"
        within = names.groupby(part).nunique()
    # parts whose rates differ although each has one family are told apart by the name as well, if nothing links them
    across = _families(nodes, [(pd.Series(0, index=rows.index), grids), *links[1:]])
    return names if (within > 1).any() or (across.nunique() > 1 and names.nunique() > 1) else pd.Series("", rows.index)


def _rate_name(nodes: pd.Series, rate: pd.Series) -> str:
    rules = sorted({f"{node.scale:g}" for node in nodes if isinstance(node, RateRule)})
    low, high = float(rate.min()), float(rate.max())
    if rules:
        return f"by rule with scale {' and '.join(rules)}"
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _obeys(rule: RateRule, rows: pd.DataFrame) -> Any:
    """Which rows have the rate that a rule gives to their sizes."""
    # Compared exactly and not within a tolerance: the planner computed the stored rate by this very function, so only
    # rows of that rule agree to the last digit.
    sizes = rows[["n_rec", "d_m"]].astype("float64").fillna(1.0)  # an architecture without d_m counts as d_m = 1
    places = list(sizes.itertuples(index=False, name=None))
    rate_of = {(n, d): rule.rate(SimpleNamespace(n_rec=n, d_m=d)) for n, d in set(places) if n > 0}
    by_rule = np.array([rate_of.get(place, np.nan) for place in places])
    return rows["learning_rate"].to_numpy(dtype=float) == by_rule


def _families(nodes: pd.Series, links: Iterable[tuple[pd.Series, pd.Series]]) -> pd.Series:
    """Number the connected sets of nodes: those that share a link within one part belong together.

    Args:
        nodes: what is linked, one per row; a node counts once per value.
        links: (part, label) columns; rows of one part with one label (not None) link their nodes.
    """
    parent: dict[Hashable, Hashable] = {}

    def root(node: Hashable) -> Hashable:
        # This is union-find without ranks: there are as many nodes as different rates, far too few for its depth to
        # matter.
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    keys = [_key(node) for node in nodes]
    for part, label in links:
        first: dict[Hashable, Hashable] = {}
        for key, in_part, name in zip(keys, part, label, strict=True):
            # NaN differs from itself, and a missing label links nothing.
            if name is not None and name == name:
                parent[root(key)] = root(first.setdefault((in_part, name), key))
    number: dict[Hashable, int] = {}
    return pd.Series([number.setdefault(root(key), len(number)) for key in keys], index=nodes.index)


def _key(node: Any) -> Hashable:
    # Every NaN is another object that equals nothing, so as a key each would be a family of its own.
    return "none" if node is None or node != node else node


def text(value: object) -> str:
    """A setting's value as a label shows it.

    >>> text(None), text(0.25), text(1000)
    ('none', '0.25', '1000')
    """
    if value is None or value != value:  # NaN differs from itself
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
