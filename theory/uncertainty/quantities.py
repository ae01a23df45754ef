"""Numbers whose uncertainty is asked for: parameters, optima, exponents; each a function of many parameter draws at
once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from theory.data.cost import Cost
from theory.data.design import Design
from theory.errors import unknown
from theory.fit.result import FitResult, level_label
from theory.laws.base import REFERENCE, Curve
from theory.optimum.allocation import EXPONENT_STEP, THEORY_RANGE
from theory.optimum.locate import budget_line, locate
from theory.types import FloatArray

MARGIN = 4.0
"""How far beyond the data's range of d_m an optimum may lie in a draw, as a factor, before it is cut off."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """R alternative values of a fit's parameters: bootstrap draws, simulated refits, or the fit itself (R = 1)."""

    fit: FitResult
    """The fit that they belong to."""
    x: FloatArray
    """Searched parameters in search coordinates, [R, p]."""
    coefficients: FloatArray
    """[R, groups, q], groups in the order of `fit.coefficients`."""
    failed: int = 0
    """Refits that gave no finite value and are not in the draws."""

    def __len__(self) -> int:
        return len(self.x)

    def parameter(self, label: str) -> FloatArray:
        """Values of one parameter in natural units, [R]; labels as in `fit.values`."""
        if label in self.fit.free:
            j = self.fit.free.index(label)
            described = {parameter.name: parameter for parameter in self.fit.law.parameters}[label.split("[")[0]]
            return described.to_natural(self.x[:, j])
        if label not in self.fit.values:
            raise unknown("parameter", label, self.fit.values)
        return np.full(len(self), self.fit.values[label])

    def curve(
        self, *, group: object = None, levels: Mapping[str, object] | None = None, budget: float | None = None
    ) -> Curve:
        """Return the law with these R sets of numbers; arguments as in `FitResult.curve`."""
        fit, chosen = self.fit, dict(levels or {})
        theta: dict[str, FloatArray] = {}
        for parameter in fit.law.parameters:
            name = parameter.name
            if name not in fit.given.vary:
                theta[name] = self.parameter(name)
                continue
            column, reference = fit.given.vary[name], fit.reference_level(name)
            theta[name + REFERENCE] = self.parameter(level_label(name, column, reference))
            theta[name] = self.parameter(level_label(name, column, chosen.get(column, reference)))
        g = list(fit.coefficients).index(fit.group_key(group, budget))
        values = [self.coefficients[:, g, k] for k in range(self.coefficients.shape[2])]
        return Curve(law=fit.law, theta=theta, coefficients=values, direction=fit.direction)

    def predict(self, design: Design, *, group: object = None) -> FloatArray:
        """Metric of every draw on every row: [R, rows]; levels and groups as in `FitResult.predict`."""
        fit, keys = self.fit, list(self.fit.coefficients)
        theta: dict[str, FloatArray] = {}
        for parameter in fit.law.parameters:
            name = parameter.name
            if name not in fit.given.vary:
                theta[name] = self.parameter(name)[:, None]
                continue
            column, reference = fit.given.vary[name], fit.reference_level(name)
            theta[name + REFERENCE] = self.parameter(level_label(name, column, reference))[:, None]
            levels = design.covariates[column].tolist() if column in design.covariates else [reference] * len(design)
            by_level = {level: self.parameter(level_label(name, column, level)) for level in set(levels)}
            theta[name] = np.stack([by_level[level] for level in levels], axis=1)
        index = [keys.index(key) for key in fit.coefficient_keys(design, group)]
        by_row = self.coefficients[:, index]  # [R, rows, q]
        metric = fit.law.predict(theta, [by_row[:, :, k] for k in range(by_row.shape[2])], design)
        return np.broadcast_to(metric, (len(self), len(design)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """A number that depends on the parameters.

    >>> parameter("alpha").name
    'alpha'
    """

    name: str
    """For tables."""
    evaluate: Callable[[Draws], FloatArray]
    """From R draws to R values."""
    log: bool = True
    """Whether intervals are built in its logarithm (positive quantities)."""


def parameter(label: str, *, log: bool = True) -> Quantity:
    """A searched parameter, label as in `FitResult.values`.

    >>> parameter("alpha[tau_m_max=10]").name
    'alpha[tau_m_max=10]'
    """
    return Quantity(name=label, evaluate=lambda draws: draws.parameter(label), log=log)


def all_parameters(fit: FitResult) -> list[Quantity]:
    """Every searched parameter of a fit.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> [quantity.name for quantity in all_parameters(fit)]
    ['a', 'b']
    """
    logs = {item.name: item.log for item in fit.law.parameters}
    return [parameter(label, log=logs[label.split("[")[0]]) for label in fit.free]


def coefficient(name: str, fit: FitResult, *, group: object = None) -> Quantity:
    """A linear parameter of one group.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> coefficient("E", fit).log
    False
    """
    names = [item.name for item in fit.law.coefficients]
    if name not in names:
        raise unknown("coefficient", name, names)
    g, k = list(fit.coefficients).index(fit.group_key(group)), names.index(name)
    return Quantity(name=name, evaluate=lambda draws: draws.coefficients[:, g, k], log=False)


def best_d_m(
    budget: float,
    cost: Cost,
    *,
    group: object = None,
    levels: Mapping[str, object] | None = None,
    d_m_range: tuple[float, float] | None = None,
) -> Quantity:
    """The continuum optimum's d_m at a budget; draws beyond four times the data's range are cut off there.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> from theory.uncertainty.intervals import delta
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> interval = delta(fit, [best_d_m(3_516_748, table.cost)])[0]
    >>> 15 < interval.low < interval.estimate < interval.high < 20
    True
    """

    def evaluate(draws: Draws) -> FloatArray:
        curve = draws.curve(group=group, levels=levels, budget=budget)
        return locate(curve, budget, cost, d_m_range or wide_range(draws.fit, budget, cost)).d_m

    return Quantity(name=f"d_m at {budget:g}", evaluate=evaluate)


def best_n_rec(
    budget: float, cost: Cost, *, group: object = None, levels: Mapping[str, object] | None = None
) -> Quantity:
    """The continuum optimum's n_rec at a budget; see `best_d_m`.

    >>> from theory.data.cost import elm_cost
    >>> best_n_rec(1e6, elm_cost(d_tree=50, d_branch=15)).name
    'n_rec at 1e+06'
    """
    inner = best_d_m(budget, cost, group=group, levels=levels)
    return Quantity(name=f"n_rec at {budget:g}", evaluate=lambda draws: cost.neurons(budget, inner.evaluate(draws)))


def best_metric(
    budget: float, cost: Cost, *, group: object = None, levels: Mapping[str, object] | None = None
) -> Quantity:
    """The metric at the continuum optimum of a budget: the theory's frontier; see `best_d_m`.

    >>> from theory.data.cost import elm_cost
    >>> best_metric(1e6, elm_cost(d_tree=50, d_branch=15)).log
    False
    """

    def evaluate(draws: Draws) -> FloatArray:
        curve = draws.curve(group=group, levels=levels, budget=budget)
        d_m = locate(curve, budget, cost, wide_range(draws.fit, budget, cost)).d_m
        return curve.row_by_row(budget_line(budget, cost, d_m))

    return Quantity(name=f"metric at {budget:g}", evaluate=evaluate, log=False)


def budget_exponent(axis: str, budget: float, cost: Cost, *, group: object = None) -> Quantity:
    """A local exponent of the optimum, d ln axis / d ln P, for axis "n_rec", "k_e" or "d_m"; see `best_d_m`.

    >>> from theory.data.cost import elm_cost
    >>> budget_exponent("k_e", 1e6, elm_cost(d_tree=50, d_branch=15)).name
    'd ln k_e / d ln P at 1e+06'
    """
    if axis not in ("n_rec", "k_e", "d_m"):
        raise unknown("axis", axis, ("n_rec", "k_e", "d_m"))

    def evaluate(draws: Draws) -> FloatArray:
        ends = []
        for side in (-EXPONENT_STEP, EXPONENT_STEP):
            moved = budget * float(np.exp(side))
            d_m = best_d_m(moved, cost, group=group).evaluate(draws)
            size = {"n_rec": cost.neurons(moved, d_m), "k_e": cost.complexity(d_m), "d_m": d_m}[axis]
            ends.append(np.log(size))
        return (ends[1] - ends[0]) / (2 * EXPONENT_STEP)

    return Quantity(name=f"d ln {axis} / d ln P at {budget:g}", evaluate=evaluate, log=False)


def wide_range(fit: FitResult, budget: float, cost: Cost) -> tuple[float, float]:
    """Range of d_m for draws: four times beyond the data's, never beyond one neuron."""
    k_e = fit.given.design.k_e
    low, high = (float(value) for value in cost.d_m([k_e.min(), k_e.max()]))
    room = float(cost.d_m(max(budget - cost.readout_params - cost.k_c, 1e-300)))
    return max(low / MARGIN, THEORY_RANGE[0] / MARGIN), min(high * MARGIN, room)
