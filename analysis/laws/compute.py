"""The best split of training compute between parameters and tokens: what `theory` computes, asked for some compute."""

from collections.abc import Callable, Sequence

import numpy as np

from analysis.laws.findings import ComputeSplit, ComputeSplits, Refusal
from analysis.laws.theory_fit import LawFit
from theory.errors import TheoryError
from theory.laws.rivals import ParametersAndTokens
from theory.uncertainty.compute_split import FLOP, check_split, split_exponents, split_quantities
from theory.uncertainty.intervals import Interval, delta
from theory.uncertainty.quantities import Quantity

BEYOND = 2
"""Decades of compute beyond the data for which a split is told: where the next run goes is what it is looked at for."""

Intervals = Callable[[Sequence[Quantity]], Sequence[Interval]]
"""Takes intervals of some quantities of the fit."""


def compute_splits(law: LawFit, intervals: Intervals | None = None) -> ComputeSplits | Refusal | None:
    """Split the compute of every decade, from the data's smallest to `BEYOND` their largest.

    Args:
        law: a group's law.
        intervals: how to take intervals; by default the delta method.

    Returns:
        The splits; the reason why there are none; None where the law is not one of parameters and tokens.
    """
    fit = law.fit
    if fit is None or not isinstance(fit.law, ParametersAndTokens):
        return None
    take = intervals or (lambda quantities: delta(fit, quantities))
    design = fit.inputs.design
    spent = FLOP * design.params * design.tokens_seen
    low, high = float(np.log10(spent.min())), float(np.log10(spent.max()))
    amounts = [10.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + BEYOND + 1)]
    asked = [split_quantities(amount) for amount in amounts]
    exponents = split_exponents()
    try:
        check_split(fit)
        # All at once, so that draws are gone through once.
        rows = list(take([*exponents.values(), *(q for quantities in asked for q in quantities.values())]))
    except TheoryError as error:
        return Refusal(reason=str(error))
    by_name = dict(zip(exponents, rows, strict=False))
    splits = []
    for number, (amount, quantities) in enumerate(zip(amounts, asked, strict=True)):
        first = len(exponents) + number * len(quantities)
        values = dict(zip(quantities, rows[first : first + len(quantities)], strict=True))
        splits.append(ComputeSplit(compute=amount, within=bool(np.log10(amount) <= high), **values))
    return ComputeSplits(flop=FLOP, n=by_name["n"], tokens=by_name["tokens"], splits=tuple(splits))
