"""Optimal allocation of a budget between more neurons and more complex neurons.

Along a budget line n_rec (k_e + k_c) = P - readout_params, d ln n_rec = -kappa d ln k_e with kappa = k_e/(k_e + k_c),
so the optimum solves

    alpha_loc F(u; beta) = kappa ln(1 + u),        alpha_loc = -d ln nu / d ln k_e,

whatever the link and the affine map. Without floor and connectivity u is the same at every budget, hence
 n_rec ~ P^(alpha/(alpha + beta)), k_e ~ P^(beta/(alpha + beta)) and, k_e being quadratic in d_m for large neurons,
d_m ~ n_rec^(beta/(2 alpha)).
"""

from dataclasses import dataclass

import numpy as np

from theory.data.cost import Cost
from theory.errors import TheoryError
from theory.fit.result import FitResult
from theory.fit.run_noise import noise_of_runs
from theory.laws.base import Curve
from theory.optimum.locate import budget_line, locate

THEORY_RANGE = (0.5, 1e5)
"""d_m range of an allocation from a bare theory, which has no data to stay within (assumption)."""

INTEGERS = 20_000
"""Most integer d_m values that are tried one by one."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The best split of one budget. Numbers are None where the optimum is not bracketed by the data."""

    budget: float
    """Trainable parameters asked for."""
    bracketed: bool
    """Whether the data lie on both sides of the optimum: the sampled k_e nearest to it is not the smallest or the
    largest."""
    extend: str | None
    """Where to add runs if it does not: "larger d_m" or "smaller d_m"."""
    d_m: int | None
    """The best whole d_m."""
    n_rec: int | None
    """Neurons that fit the budget with it."""
    k_e: float | None
    """Effective complexity at this d_m."""
    k_c: float
    """Connectivity of the networks."""
    trainable_params: float | None
    """Trainable parameters that this allocation has."""
    metric: float | None
    """Predicted metric at the whole-number optimum."""
    continuum_d_m: float | None
    """Optimum for real d_m and n_rec."""
    band: tuple[int, int] | None
    """Smallest and largest whole d_m of the near-optimal band around the best."""
    delta: float
    """Width of the band in metric units."""
    sentence: str
    """The finding in words."""


def optimum(
    fit: FitResult | Curve,
    budget: float,
    cost: Cost,
    *,
    group: object = None,
    levels: dict[str, object] | None = None,
    delta: float | None = None,
    d_m_range: tuple[float, float] | None = None,
) -> Allocation:
    """Find the best allocation of a budget, on whole numbers and on the continuum, with its near-optimal band.

    Args:
        fit: A fit, or a bare theory as a `Curve`.
        budget: Trainable parameters of the whole network.
        cost: Counts of the family of networks.
        group: Metric group, if the fit has several.
        levels: Levels of varying parameters, see `FitResult.curve`.
        delta: Allocations within this much of the best metric are near-optimal; default: the seed sd (of the residuals
            without replicates).
        d_m_range: Where the optimum may lie; default: the range of k_e in the data.

    Raises:
        TheoryError: the budget does not cover the readout and one neuron.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fit = fit_law("quadratic", table.design, table.columns["test_bpc"])
    >>> best = optimum(fit, 3_516_748, table.cost)
    >>> best.d_m, best.n_rec, round(best.continuum_d_m, 1)
    (22, 660, 22.5)
    """
    curve = fit.curve(group=group, levels=levels, budget=budget, k_c=cost.k_c) if isinstance(fit, FitResult) else fit
    # An optimum beyond the data is extrapolation, so the range of k_e that was run limits it unless the caller says
    # otherwise.
    low, high = _range(fit, budget, cost, d_m_range)
    if delta is None:
        # Differences below the noise of a seed are not seen in practice, so they do not count against an allocation.
        delta = _noise_at(fit, budget) if isinstance(fit, FitResult) else 0.0
    located = locate(curve, budget, cost, (low, high))
    edge = int(located.edge[0])
    # An optimum inside the range may still be nearest to the smallest or largest sampled k_e, beyond which no run shows
    # that the metric turns.
    if not edge and d_m_range is None and isinstance(fit, FitResult):
        edge = _nearest_end(fit, float(cost.complexity(located.d_m[0])))
    if edge:
        return _not_bracketed(budget, cost, delta, low if edge < 0 else high, edge)
    return _bracketed(curve, budget, cost, delta, (low, high), float(located.d_m[0]))


def _noise_at(fit: FitResult, budget: float) -> float:
    """Noise of a run at a budget; of all runs where none had it."""
    at = fit.inputs.design.budgets == budget
    return noise_of_runs(fit, at if at.any() else None)


def _range(
    fit: FitResult | Curve, budget: float, cost: Cost, d_m_range: tuple[float, float] | None
) -> tuple[float, float]:
    """Range of d_m: as given, or as in the data; never beyond one neuron."""
    # What is left for k_e when the whole budget goes into a single neuron.
    room = budget - cost.readout_params - cost.k_c
    if room <= 0:
        raise TheoryError(f"budget: {budget:g} does not cover the readout ({cost.readout_params:g}) and one neuron")
    if d_m_range is None and isinstance(fit, FitResult):
        k_e = fit.inputs.design.k_e
        low, high = (float(value) for value in cost.d_m([k_e.min(), k_e.max()]))
    else:
        low, high = d_m_range or THEORY_RANGE
    # Beyond this d_m not even one neuron fits into the budget.
    return low, min(high, float(cost.d_m(room)))


def _nearest_end(fit: FitResult, k_e: float) -> int:
    """-1 or 1 if the sampled k_e nearest to the optimum is the smallest or the largest one: nothing was seen beyond
    it."""
    levels = np.unique(fit.inputs.design.k_e)
    # Levels of k_e are spaced by factors, so nearness is measured in the logarithm.
    nearest = int(np.argmin(np.abs(np.log(levels / k_e))))
    return -1 if nearest == 0 else 1 if nearest == levels.size - 1 else 0


def _not_bracketed(budget: float, cost: Cost, delta: float, end: float, edge: int) -> Allocation:
    side = "smaller d_m" if edge < 0 else "larger d_m"
    return Allocation(
        budget=float(budget),
        bracketed=False,
        extend=side,
        d_m=None,
        n_rec=None,
        k_e=None,
        k_c=cost.k_c,
        trainable_params=None,
        metric=None,
        continuum_d_m=None,
        band=None,
        delta=delta,
        sentence=f"Budget {budget:g}: not bracketed, the prediction is best at the end of the range, d_m = {end:.3g}; "
        f"add runs at {side}.",
    )


def _bracketed(
    curve: Curve, budget: float, cost: Cost, delta: float, d_m_range: tuple[float, float], continuum: float
) -> Allocation:
    # The ends come from an inversion by bisection, so a whole d_m at an end may be off by rounding.
    first, last = int(np.ceil(d_m_range[0] - 1e-9)), int(np.floor(d_m_range[1] + 1e-9))
    # A bare theory may allow 1e5 values of d_m; those far from the continuum optimum are not worth an evaluation.
    first, last = max(1, first, int(continuum) - INTEGERS), min(last, int(continuum) + INTEGERS)
    d_m = np.arange(first, last + 1, dtype=np.float64)
    # This drops values at the upper end only, since n_rec falls with d_m: the places in `sizes` below stay the same.
    line = budget_line(budget, cost, d_m[cost.n_rec(budget, d_m) >= 1], whole=True)
    # With the sign, smaller is better for every metric.
    metric = curve.sign * curve.on_grid(line)[0]
    best = int(np.argmin(metric))
    inside = metric <= metric[best] + delta
    # The band is the run of near-optimal values around the best: argmin finds the first False on each side, and the
    # False that is appended ends a band that reaches the end of the line. An equally good value beyond a gap stays out.
    start = best - int(np.argmin(np.append(inside[best::-1], False))) + 1
    stop = best + int(np.argmin(np.append(inside[best:], False))) - 1
    sizes = np.arange(first, last + 1)
    k_e, n_rec = float(line.k_e[best]), int(line.n_rec[best])
    band = (int(sizes[start]), int(sizes[stop]))
    return Allocation(
        budget=float(budget),
        bracketed=True,
        extend=None,
        d_m=int(sizes[best]),
        n_rec=n_rec,
        k_e=k_e,
        k_c=cost.k_c,
        trainable_params=float(cost.trainable_params(n_rec, sizes[best])),
        metric=curve.sign * float(metric[best]),
        continuum_d_m=continuum,
        band=band,
        delta=delta,
        sentence=f"Budget {budget:g}: best d_m = {sizes[best]} with n_rec = {n_rec}; "
        f"d_m from {band[0]} to {band[1]} is within {delta:.3g} of it.",
    )
