"""Numbers whose uncertainty is asked for: parameters, optima, exponents; each a function of many parameter draws at
once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from theory.data.cost import Cost
from theory.data.design import Design
from theory.errors import unknown
from theory.fit.levels import levels_of, one_row
from theory.fit.result import FitResult
from theory.laws.base import Curve
from theory.optimum.allocation import THEORY_RANGE
from theory.optimum.locate import budget_line, locate
from theory.types import FloatArray

MARGIN = 4.0
"""How far beyond the data's range of d_m an optimum may lie in a draw, as a factor, before it is cut off."""

EXPONENT_STEP = 0.02
"""Step in ln budget on each side for local exponents: the optimum is located to 1e-9, so the difference is exact to
1e-7, and curvature over 4 % of the budget does not show."""


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
        if label in self.fit.searched:
            column = list(self.fit.searched).index(label)
            return self.fit.searched[label].parameter.to_natural(self.x[:, column])
        # Fixed parameters have a value as well, the same in every draw.
        if label not in self.fit.values:
            raise unknown("parameter", label, self.fit.values)
        return np.full(len(self), self.fit.values[label])

    def curve(
        self,
        *,
        group: object = None,
        levels: Mapping[str, object] | None = None,
        budget: float | None = None,
        k_c: float | None = None,
    ) -> Curve:
        """Return the law with these R sets of numbers; arguments as in `FitResult.curve`."""
        fit = self.fit
        # The level map works on rows; a curve is one place, so its single row is dropped again.
        theta = {name: value[:, 0] for name, value in fit.level_map(one_row(levels)).theta(self._column).items()}
        g = list(fit.coefficients).index(fit.group_key(group, budget, k_c))
        values = [self.coefficients[:, g, k] for k in range(self.coefficients.shape[2])]
        return Curve(law=fit.law, theta=theta, coefficients=values, direction=fit.direction)

    def predict(self, design: Design, *, group: object = None) -> FloatArray:
        """Metric of every draw on every row: [R, rows]; levels and groups as in `FitResult.predict`."""
        fit, keys = self.fit, list(self.fit.coefficients)
        theta = fit.level_map(levels_of(design)).theta(self._column)
        index = [keys.index(key) for key in fit.coefficient_keys(design, group)]
        # Each row takes the coefficients of its own group, so that one call predicts a design of several groups.
        by_row = self.coefficients[:, index]  # [R, rows, q]
        metric = fit.law.predict(theta, [by_row[:, :, k] for k in range(by_row.shape[2])], design)
        # A law without searched parameters gives one prediction for all draws.
        return np.broadcast_to(metric, (len(self), len(design)))

    def _column(self, label: str) -> FloatArray:
        return self.parameter(label)[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """A number that depends on the parameters.

    >>> parameter("alpha").name
    'alpha'
    """

    name: str
    """Name in tables."""
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
    return [parameter(label, log=number.parameter.log) for label, number in fit.searched.items()]


def all_constants(fit: FitResult) -> list[Quantity]:
    """Every coefficient as the law's written formula has it, without references; none for laws without such a formula.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> [quantity.name for quantity in all_constants(fit)]
    ['E', 'A', 'B']
    """
    return [
        _constant(name, key, log=name != "E" and value > 0)
        for key, constants in fit.constants.items()
        for name, value in constants.items()
    ]


def _constant(name: str, key: str, *, log: bool) -> Quantity:
    def evaluate(draws: Draws) -> FloatArray:
        fit = draws.fit
        theta = {label: draws.parameter(label) for label in fit.values}
        place = list(fit.coefficients).index(key)
        values = fit.law.constants(theta, list(draws.coefficients[:, place].T))
        return np.broadcast_to(np.asarray(values[name], dtype=np.float64), (len(draws),))

    return Quantity(name=name if key == "all" else f"{name} ({key})", evaluate=evaluate, log=log)


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
        curve = draws.curve(group=group, levels=levels, budget=budget, k_c=cost.k_c)
        # A draw's optimum may lie beyond the data. It is looked for in a wider range than the fit's own, so that the
        # interval is not cut off at the end of the data.
        return locate(curve, budget, cost, d_m_range or wide_range(draws.fit, budget, cost)).d_m

    return Quantity(name=f"d_m at {budget:g}", evaluate=evaluate)


def optimum_quantities(
    budget: float,
    cost: Cost,
    *,
    slopes: bool = False,
    group: object = None,
    levels: Mapping[str, object] | None = None,
) -> dict[str, Quantity]:
    """The continuum optimum's sizes, its metric, and its local exponents in the budget.

    The quantities share their work: the optimum of a set of draws is located once, whichever of them is asked first.

    Args:
        budget: Trainable parameters.
        cost: Counts of the family of networks.
        slopes: Whether to add d ln size / d ln budget as "slope n_rec", "slope k_e" and "slope d_m".
        group: Metric group, if the fit has several.
        levels: Levels of varying parameters, see `FitResult.curve`.

    Returns:
        "d_m", "n_rec" and "metric", and the slopes if they are asked for.

    >>> from theory.data.cost import elm_cost
    >>> found = optimum_quantities(1e6, elm_cost(d_tree=50, d_branch=15), slopes=True)
    >>> list(found), found["slope k_e"].name
    (['d_m', 'n_rec', 'metric', 'slope n_rec', 'slope k_e', 'slope d_m'], 'd ln k_e / d ln P at 1e+06')
    """
    # Metric, sizes and slopes all need the place of the optimum, which is by far the dearest part of them.
    located: dict[tuple[int, float], tuple[Draws, FloatArray]] = {}

    def place(draws: Draws, side: float = 0.0) -> FloatArray:
        key = (id(draws), side)
        if key not in located:  # the draws are kept beside the result: else another set could get their id
            moved = best_d_m(budget * float(np.exp(side)), cost, group=group, levels=levels)
            located[key] = (draws, moved.evaluate(draws))
        return located[key][1]

    def metric(draws: Draws) -> FloatArray:
        curve = draws.curve(group=group, levels=levels, budget=budget, k_c=cost.k_c)
        return curve.row_by_row(budget_line(budget, cost, place(draws)))

    def slope(axis: str) -> Callable[[Draws], FloatArray]:
        def evaluate(draws: Draws) -> FloatArray:
            ends = [
                np.log(_size(axis, budget * float(np.exp(side)), cost, place(draws, side)))
                # The exponent is a difference between the optima of two neighbouring budgets, because the optimum has
                # no derivative in closed form under every law.
                for side in (-EXPONENT_STEP, EXPONENT_STEP)
            ]
            return np.asarray((ends[1] - ends[0]) / (2 * EXPONENT_STEP), dtype=np.float64)

        return evaluate

    quantities = {
        "d_m": Quantity(name=f"d_m at {budget:g}", evaluate=place),
        "n_rec": Quantity(name=f"n_rec at {budget:g}", evaluate=lambda draws: cost.neurons(budget, place(draws))),
        # A metric may be negative, and an exponent too, so neither has an interval in the logarithm.
        "metric": Quantity(name=f"metric at {budget:g}", evaluate=metric, log=False),
    }
    if slopes:
        for axis in ("n_rec", "k_e", "d_m"):
            name = f"d ln {axis} / d ln P at {budget:g}"
            quantities[f"slope {axis}"] = Quantity(name=name, evaluate=slope(axis), log=False)
    return quantities


def _size(axis: str, budget: float, cost: Cost, d_m: FloatArray) -> FloatArray:
    if axis == "d_m":
        return d_m
    return cost.complexity(d_m) if axis == "k_e" else cost.neurons(budget, d_m)


def wide_range(fit: FitResult, budget: float, cost: Cost) -> tuple[float, float]:
    """Range of d_m for draws: four times beyond the data's, never beyond one neuron."""
    k_e = fit.inputs.design.k_e
    low, high = (float(value) for value in cost.d_m([k_e.min(), k_e.max()]))
    # A budget that does not cover the readout has no room at all; the tiny size then leaves an empty range, which
    # `locate` refuses with a sentence.
    room = float(cost.d_m(max(budget - cost.readout_params - cost.k_c, 1e-300)))
    return max(low / MARGIN, THEORY_RANGE[0] / MARGIN), min(high * MARGIN, room)
