"""Are n_rec, k_e and k_c varied independently enough to be told apart, and do they act together?

Everything is computed by `theory.uncertainty.axes` from the means of the configurations (weights: runs); this file
turns the numbers into sentences.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.rows.means import LEVEL
from theory.uncertainty.axes import Interaction, interactions, variance_inflation

AXES = ("n_rec", "k_e", "k_c")

VIF_LIMIT = 10.0
"""Variance inflation above which axes cannot be told apart (rule of thumb: a standard error 3.2 times as large)."""


class Pair(NamedTuple):
    """Correlation of two axes in this design, in logarithms."""

    first: str
    second: str
    correlation: float


class Inflation(NamedTuple):
    """How much the other axes inflate the variance of one axis's effect."""

    axis: str
    levels: int
    vif: float | None
    """None where the axis does not vary; infinite where the others determine it."""


class AxesCheck(NamedTuple):
    """What the design and the surface say about the axes."""

    pairs: tuple[Pair, ...]
    inflation: tuple[Inflation, ...]
    interactions: tuple[Interaction, ...]
    sentences: tuple[str, ...]


def _k_e_follows(table: pd.DataFrame) -> bool:
    """Whether k_e rises with n_rec throughout, as in gated networks, and is no size of its own as in imported rows."""
    return bool(table.sort_values(["n_rec", "k_e"])["k_e"].is_monotonic_increasing)


def check_axes(table: pd.DataFrame) -> AxesCheck:
    """Check the axes of a design.

    Args:
        table: `analysis.rows.means.configurations`.
    """
    if len(table) and table.get("d_m", pd.Series(0.0)).isna().all() and _k_e_follows(table):
        # k_e and k_c of gated networks follow from n_rec, so that no design could tell them apart
        sized = (
            "These networks are sized by n_rec alone: there is no split to choose, and no axis to tell from another."
        )
        return AxesCheck((), (), (), (sized,))
    # An axis that stands still has no logarithm to correlate: its standard deviation is zero.
    varied = [name for name in AXES if table[name].nunique() > 1]
    # Laws are powers of the sizes, so effects of the axes add up in logarithms, and that is where collinearity harms.
    logs = {name: np.log(table[name].to_numpy(float)) for name in varied}
    pairs = tuple(Pair(a, b, float(np.corrcoef(logs[a], logs[b])[0, 1])) for a, b in combinations(varied, 2))
    inflation = tuple(
        Inflation(name, int(table[name].nunique()), variance_inflation(name, logs) if name in logs else None)
        for name in AXES
    )
    together: tuple[Interaction, ...] = ()
    if len(varied) > 1:
        metric, runs = table["mean"].to_numpy(float), table["n"].to_numpy(float)
        together = tuple(interactions(logs, metric, runs, level=LEVEL))
    return AxesCheck(pairs, inflation, together, tuple(_sentences(inflation, together)))


def listed(names: Sequence[str]) -> str:
    """Names as a sentence holds them.

    >>> listed(["n_rec", "k_e", "k_c"]), listed(["k_c"])
    ('n_rec, k_e and k_c', 'k_c')
    """
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _sentences(inflation: tuple[Inflation, ...], together: tuple[Interaction, ...]) -> list[str]:
    sentences = []
    high = [row.axis for row in inflation if row.vif is not None and row.vif > VIF_LIMIT]
    still = [row.axis for row in inflation if row.vif is None]
    if high:
        sentences.append(
            f"{listed(high)} cannot be told apart in this design (variance inflation above {VIF_LIMIT:g}): "
            "add runs that vary one of them with the other fixed, such as 7 values of n_rec at one d_m."
        )
    # With a single axis left there is nothing that it could be confounded with, and praise would be empty.
    elif len(still) < len(AXES) - 1:
        sentences.append("The axes that vary are varied independently enough to be told apart.")
    if still:
        sentences.append(
            f"{listed(still)} did not vary: nothing can be said about {'it' if len(still) == 1 else 'them'}."
        )
    for row in together:
        # Within 2 units AICc calls it a tie, here as everywhere in the reports.
        strength = "supported" if row.delta_aicc > 2 else "not supported" if row.delta_aicc < -2 else "undecided"
        sentences.append(
            f"Interaction of {row.first} and {row.second}: {strength} "
            f"(AICc changes by {row.delta_aicc:+.1f} when it is dropped)."
        )
    if not together and len(still) < len(AXES) - 1:
        sentences.append("Interactions cannot be estimated in this design: too few or dependent configurations.")
    return sentences
