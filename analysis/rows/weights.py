"""Weights of the rows in a fit: equal, or one over the seed noise of their budget where budgets differ in it.

A run counts once, so a configuration of three seeds counts three times; the weights say how far a run can be trusted.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from theory.data.moderated import RunNoise, run_noise
from theory.data.replicates import bartlett, pure_error, replicate_weights

FloatArray = npt.NDArray[np.float64]

CHOICES = ("auto", "equal", "replicates")
"""`auto` takes replicates where Bartlett's test says that budgets differ in noise."""

SURE = 0.01
"""Chance below which `auto` believes that budgets differ in noise. Assumption."""


class Level(NamedTuple):
    """Seed noise of one budget, on the fitted scale."""

    budget: float
    sd: float | None
    """Root mean square over its runs (`theory.data.moderated`); None where no configuration has two."""
    freedom: int


class Weighting(NamedTuple):
    """How the rows of a fit are weighted, and why."""

    kind: str
    """`equal` or `replicates`."""
    values: FloatArray | None
    """1 / variance of each row, mean 1; None: equal."""
    p_value: float | None
    """Chance of noise this different between budgets if it were the same (Bartlett); None where it cannot be tested."""
    levels: tuple[Level, ...]
    sentence: str


def weigh(rows: pd.DataFrame, values: FloatArray, choice: str) -> Weighting:
    """Weigh the rows of a fit.

    Args:
        rows: rows that enter, with `size` (the budget) and `configuration`.
        values: metric on the fitted scale, [rows].
        choice: one of `CHOICES`.
    """
    # The size is the budget, or n_rec where no budget was asked for: runs without a budget are weighed as well.
    size, codes = rows["size"].to_numpy(float), pd.factorize(rows["configuration"])[0].astype(np.int64)
    noise = run_noise(values, codes, size)
    levels = tuple(_level(budget, noise, codes[size == budget]) for budget in np.unique(size))
    # Bartlett's test is of variances that are pooled and not moderated.
    parts = [np.unique(codes[size == budget], return_inverse=True)[1].ravel() for budget in np.unique(size)]
    chance = bartlett([pure_error(values[size == b], part) for b, part in zip(np.unique(size), parts, strict=True)])
    # Without replicates there is no noise to weigh by; equal weights then need a sentence that says so.
    if not any(level.freedom for level in levels):
        although = " although --weights replicates was asked for" if choice == "replicates" else ""
        return Weighting("equal", None, None, levels, f"Equal weights{although}: no configuration has two runs.")
    known = [level for level in levels if level.sd is not None]
    # The ends are enough for a reader to see whether it matters.
    low, high = min(known, key=_sd), max(known, key=_sd)
    of_budgets = set(rows.loc[rows["budget"].notna(), "size"])
    places = [f"{'P' if end.budget in of_budgets else 'N'} = {end.budget:,.0f}" for end in (low, high)]
    spread = f"seed noise {low.sd:.2g} at {places[0]} to {high.sd:.2g} at {places[1]}"
    spread = spread if len(known) > 1 else f"seed noise {low.sd:.2g}, known at one budget only"
    test = "no test of a difference" if chance is None else f"Bartlett p = {chance:.2g}"
    # By default noise has to prove that it differs, because variances that are estimated from a few seeds are noisy
    # weights.
    if choice == "replicates" or (choice == "auto" and chance is not None and chance < SURE):
        weights = replicate_weights(values, codes, size)
        return Weighting(
            "replicates", weights, chance, levels, f"Weights 1 / variance of each budget: {spread} ({test})."
        )
    return Weighting("equal", None, chance, levels, f"Equal weights: {spread} ({test}).")


def _level(budget: float, noise: RunNoise | None, codes: npt.NDArray[np.int64]) -> Level:
    """Noise of one budget, whose rows have these numbers of configurations."""
    freedom = codes.size - np.unique(codes).size
    sd = None if noise is None or not freedom else float(np.sqrt(noise.variance[codes].mean()))
    return Level(float(budget), sd, freedom)


def _sd(level: Level) -> float:
    return level.sd or 0.0
