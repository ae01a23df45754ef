"""Profile likelihood of parameters and of derived quantities, and what it says about identifiability."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import chdtri, stdtrit

from theory.data.design import IntArray
from theory.errors import TheoryError, unknown
from theory.fit.problem import Problem
from theory.fit.restore import Restored, restore
from theory.fit.result import FitResult
from theory.fit.search import FIRST_STEPS, FIRST_TOLERANCE, start_points
from theory.fit.solver import solve
from theory.laws.parameters import Parameter
from theory.types import FloatArray
from theory.uncertainty.covariance import linearise
from theory.uncertainty.quantities import Draws, Quantity, all_parameters
from theory.uncertainty.restore import as_draws

POINTS = 41
"""Values at which a profile is refitted."""

STARTS = 8
"""Fresh searches at each value, besides those from the neighbours."""

FRESH_EVERY = 3
"""Values of the grid from one that has fresh searches to the next."""

STEPS, TOLERANCE = 60, 1e-9
"""Of the search that ends at a value's lowest sum of squares."""

GAIN = 1e-6
"""Relative gain from which another optimum takes the place of the one known at a value."""

SWEEPS = 4
"""Rounds in which each value is searched again from its neighbours' optima."""

PULL = 300.0
"""Weight of the penalty that holds a derived quantity at a value, in units of the noise; where it ends exactly does not
matter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """How much worse the fit becomes when one number is held at other values."""

    quantity: str
    """Name of the number that is held."""
    estimate: float
    """Value of the fit."""
    grid: FloatArray
    """Values held, natural units, rising, [points]."""
    increase: FloatArray
    """Squared-t increase of the sum of squares, (rss - best) / variance, or n ln(rss/best) for threshold "chi2";
    [points]."""
    limit: float
    """Increase at the ends of the interval."""
    low: float | None
    """Lower end; None: the profile does not close before the bound."""
    high: float | None
    """Upper end; None likewise."""
    level: float
    """Nominal coverage."""
    sentence: str
    """The finding as a sentence."""

    @property
    def closed(self) -> bool:
        """Whether both ends exist: the data identify the number."""
        return self.low is not None and self.high is not None


class _Costs(NamedTuple):
    """Sum of squares with the quantity held, and where it was."""

    value: FloatArray
    cost: FloatArray


def profile(
    fit: FitResult,
    quantity: str | Quantity,
    *,
    level: float = 0.95,
    threshold: Literal["t", "chi2"] = "t",
    seed: int = 0,
) -> Profile:
    """Profile a searched parameter (by name) or a derived quantity.

    Args:
        fit: A least-squares fit.
        quantity: Label in `fit.free`, or a quantity that does not depend on the coefficients (an optimum, an exponent).
        level: Nominal coverage.
        threshold: "t": (rss - best)/variance against t^2, for small samples; "chi2": n ln(rss/best) against chi^2.
        seed: Of the fresh searches.

    Raises:
        TheoryError: robust losses (no likelihood), or an unknown name.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> found = profile(fit, "a")
    >>> found.closed, found.low < fit.values["a"] < found.high
    (True, True)
    """
    # A profile compares sums of squares, which is a comparison of likelihoods for least squares only.
    if fit.inputs.loss != "least_squares":
        raise TheoryError(
            f"profile: loss {fit.inputs.loss!r} has no likelihood; profile a least-squares fit, or use the bootstrap"
        )
    if threshold not in ("t", "chi2"):
        raise unknown("threshold", threshold, ("t", "chi2"))
    restored = restore(fit)
    if isinstance(quantity, str):
        if quantity not in fit.free:
            raise unknown("parameter", quantity, fit.free)
        described = restored.problem.free[fit.free.index(quantity)].parameter
        costs = _parameter_profile(fit, restored, quantity, seed)
        return _close(fit, restored, quantity, described.log, costs, fit.values[quantity], level, threshold)
    costs = _quantity_profile(fit, restored, quantity)
    estimate = float(quantity.evaluate(as_draws(fit, restored))[0])
    return _close(fit, restored, quantity.name, quantity.log, costs, estimate, level, threshold)


def _parameter_profile(fit: FitResult, restored: Restored, label: str, seed: int) -> _Costs:
    problem, j = restored.problem, fit.free.index(label)
    grid = _grid(fit, restored, label, problem.free[j].parameter)
    fresh = start_points(problem, replace(fit.inputs, starts=STARTS, seed=seed))
    # Laws with a kink draw more starts than asked for; every few of them keeps their scanned values spread out.
    fresh = fresh[:: max(1, len(fresh) // STARTS)][:STARTS]
    # The fit's own optimum is the best start near the estimate. Far from it another valley may be lower, which only
    # fresh starts find; the sweep carries what they find to the values in between.
    every, some = np.arange(grid.size), np.arange(0, grid.size, FRESH_EVERY)
    place = np.concatenate([every, np.repeat(some, len(fresh))])
    begin = np.concatenate([np.repeat(restored.x[None], grid.size, axis=0), np.tile(fresh, (some.size, 1))])
    place, x, _ = _lowest(problem, begin, place, j, grid)
    ends = solve(problem, x, steps=STEPS, tolerance=TOLERANCE, frozen=j)
    return _Costs(grid, _sweep(problem, ends.x, ends.cost, j, grid))


def _grid(fit: FitResult, restored: Restored, label: str, parameter: Parameter) -> FloatArray:
    """Values around the optimum: dense within a few standard errors, and out to the bounds."""
    j = fit.free.index(label)
    low, high, centre = restored.problem.lower[j], restored.problem.upper[j], restored.x[j]
    one = next(item for item in all_parameters(fit) if item.name == label)
    linear = linearise(restored.problem, as_draws(fit, restored), np.array([restored.variance]), [one])
    width = float(linear.standard_error[0, 0])
    # Five standard errors hold any interval that the linear picture expects; the evenly spaced rest is for profiles
    # that stay flat up to a bound.
    near = centre + np.linspace(-5, 5, POINTS - 20) * width if 0 < width < np.inf else np.array([centre])
    # Without a usable standard error nothing says where to look closely, so the even spread is four times as dense.
    far = np.linspace(low, high, 2 * POINTS - near.size if near.size == 1 else 20)
    # The two spreads share values where they overlap or are clipped to a bound, and each value needs one search only.
    return np.unique(np.clip(np.concatenate([near, far]), low, high))


def _lowest(
    problem: Problem, begin: FloatArray, place: IntArray, j: int, grid: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Search with a parameter held at a value of the grid, and keep the lowest end of each value.

    Loosely, since of all starts at a value only the one that ends lowest is of interest.

    Args:
        problem: The fit.
        begin: Starts, [A, p].
        place: Index of the value of each, [A].
        j: Index of the parameter that is held.
        grid: Its values.

    Returns:
        The values that were searched, [B], where their lowest searches ended, [B, p], and the costs, [B].
    """
    begin[:, j] = grid[place]
    ends = solve(problem, begin, steps=FIRST_STEPS, tolerance=FIRST_TOLERANCE, frozen=j)
    order = np.lexsort((ends.cost, place))
    places, first = np.unique(place[order], return_index=True)
    chosen = order[first]
    return places, ends.x[chosen], ends.cost[chosen]


def _sweep(problem: Problem, x: FloatArray, cost: FloatArray, j: int, grid: FloatArray) -> FloatArray:
    """Search again from the neighbours, so that the profile is smooth; returns the costs."""
    index = np.arange(grid.size)
    # The ends wrap around to each other, which is one more start and does no harm.
    source, target = np.concatenate([np.roll(index, 1), np.roll(index, -1)]), np.concatenate([index, index])
    moved = np.ones(grid.size, dtype=bool)
    for _ in range(SWEEPS):
        # A neighbour that has not moved since the last round leads where it led before.
        used = moved[source]
        places, other, reached = _lowest(problem, x[source[used]], target[used], j, grid)
        # A loose search ends a little above its optimum. Smaller gains are of no interest: the interval ends where the
        # cost has risen by several parts in n.
        better = reached < cost[places] * (1 - GAIN)
        moved = np.zeros(grid.size, dtype=bool)
        if not better.any():
            break
        moved[places[better]] = True
        ends = solve(problem, other[better], steps=STEPS, tolerance=TOLERANCE, frozen=j)
        x[moved], cost[moved] = ends.x, ends.cost
    return cost


class _Pull:
    """A penalty that holds a derived quantity at one target per data set, with its derivative by differences."""

    def __init__(self, fit: FitResult, quantity: Quantity, target: FloatArray, weight: float) -> None:
        self.fit, self.quantity, self.target, self.weight = fit, quantity, target, weight

    def value(self, x: FloatArray) -> FloatArray:
        names = list(self.fit.coefficients)
        # The coefficients follow x, but only quantities that do not depend on them get here, so the fit's own do.
        blank = np.ones((len(x), len(names), len(self.fit.law.coefficients)))
        value = self.quantity.evaluate(Draws(fit=self.fit, x=x, coefficients=blank * self._coefficients()))
        return np.log(value) if self.quantity.log else value

    def _coefficients(self) -> FloatArray:
        return np.array(
            [[row[item.name] for item in self.fit.law.coefficients] for row in self.fit.coefficients.values()]
        )

    def __call__(self, x: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        count, p = x.shape
        # Central differences, since an optimum has no derivative in closed form. All moved vectors are evaluated at
        # once: x itself, then p steps up, then p steps down.
        numbers = list(self.fit.searched.values())
        step = np.stack([number.parameter.step(x[:, j], 1e-5) for j, number in enumerate(numbers)], axis=1)
        up = step[:, :, None] * np.eye(p)  # [count, p, p]
        moves = np.concatenate([np.zeros((count, 1, p)), up, -up], axis=1)
        values = self.value((x[:, None] + moves).reshape(-1, p)).reshape(count, 2 * p + 1)
        slopes = (values[:, 1 : p + 1] - values[:, p + 1 :]) / (2 * step)
        return self.weight * (values[:, :1] - self.target[rows, None]), self.weight * slopes[:, :, None]


def _quantity_profile(fit: FitResult, restored: Restored, quantity: Quantity) -> _Costs:
    problem = restored.problem
    here = as_draws(fit, restored)
    linear = linearise(problem, here, np.array([restored.variance]), [quantity])
    # The change from a relative change of a coefficient, so that the metric's unit does not decide.
    lean = np.abs(linear.gradient[0, 0, restored.x.size :] * restored.coefficients.ravel()).max(initial=0.0)
    if lean > 1e-6 * (1.0 if quantity.log else abs(float(linear.estimate[0, 0]))):
        raise TheoryError(
            f"profile: {quantity.name} depends on the coefficients; use delta, bootstrap or envelope for it"
        )
    # In units of the linear error the profile should reach its limit about two steps from the centre, so four on each
    # side hold both ends with room for a skew.
    centre, width = float(linear.estimate[0, 0]), float(linear.standard_error[0, 0])
    # Where the linear error is useless, two units on each side of the estimate are looked at, a factor of 7 in the
    # logarithm.
    width = width if 0 < width < 0.5 else 0.5
    target = centre + np.linspace(-4, 4, 17) * width
    noise = np.sqrt(restored.variance)
    # A derived quantity is no search coordinate, so it cannot be frozen like a parameter. A stiff penalty holds it
    # instead, and the value that is reached is read off afterwards.
    pull = _Pull(fit, quantity, target, PULL * noise / width)
    pulled = replace(problem, penalties=(*problem.penalties, pull))
    # Every target is a data set of its own with the same metric, because penalties learn their target from the number
    # of the data set.
    index = np.arange(target.size, dtype=np.int64)
    metric = np.broadcast_to(problem.metric, (target.size, problem.metric.size))
    ends = solve(
        pulled.with_data(metric), np.repeat(restored.x[None], target.size, axis=0), sets=index, steps=60, tolerance=1e-7
    )
    x = ends.x
    # Each target is searched again from its neighbours' ends, so that one bad search leaves no spike.
    for shift in (1, -1):
        again = solve(pulled.with_data(metric), np.roll(x, shift, axis=0), sets=index, steps=25, tolerance=1e-6)
        x = np.where((again.cost < ends.cost)[:, None], again.x, x)
    # The penalty has done its work: the profile is the data's cost at the values that were really reached.
    plain = problem.evaluate(x, jacobian=False).cost
    return _Costs(pull.value(x), plain)


def _close(
    fit: FitResult,
    restored: Restored,
    name: str,
    log: bool,
    costs: _Costs,
    estimate: float,
    level: float,
    threshold: str,
) -> Profile:
    """Turn costs into an interval by interpolating the signed root of the increase."""
    within, degrees = restored.compiled.within, restored.degrees
    centre = float(np.log(estimate)) if log else estimate
    best = float(restored.problem.evaluate(restored.x[None], jacobian=False).cost[0]) + within
    order = np.argsort(costs.value, kind="stable")
    value, cost = costs.value[order], costs.cost[order] + within
    # A profile's searches may find a better optimum than the fit did; increases are counted from the best known.
    # An increase counted from a worse point than the lowest could be negative.
    lowest = min(best, float(cost.min()))
    # The t threshold uses the variance with its degrees of freedom and so suits few rows; chi-square is its limit for
    # many.
    if threshold == "t":
        limit = float(stdtrit(degrees, 0.5 + level / 2)) ** 2
        increase = (cost - lowest) / (lowest / degrees)
    else:
        limit = float(chdtri(1, 1 - level))
        increase = fit.n * np.log(cost / lowest)
    low, high = _crossing(value, increase, centre, limit, -1), _crossing(value, increase, centre, limit, 1)
    natural = [None if end is None else float(np.exp(end)) if log else end for end in (low, high)]
    return Profile(
        quantity=name,
        estimate=estimate,
        grid=np.exp(value) if log else value,
        increase=increase,
        limit=limit,
        low=natural[0],
        high=natural[1],
        level=level,
        sentence=_sentence(name, natural, level),
    )


def _crossing(value: FloatArray, increase: FloatArray, centre: float, limit: float, side: int) -> float | None:
    """Outermost accepted value on one side, interpolated to the limit; None if the last value is still accepted."""
    outward = np.argsort(side * value)
    x, root = value[outward], np.sqrt(np.maximum(increase[outward], 0.0))
    beyond = side * (x - centre) >= -1e-12 * np.ptp(x)
    # The estimate itself is put first with an increase of 0, so that there is always one accepted value, however coarse
    # the grid.
    x, root = np.concatenate([[centre], x[beyond]]), np.concatenate([[0.0], root[beyond]])
    # The outermost accepted value counts, not the first crossing, so that an interval holds every value that fits, also
    # across a local rise.
    accepted = np.flatnonzero(root**2 <= limit)
    last = int(accepted[-1])
    if last == x.size - 1:
        return None
    # The root of the increase is nearly linear in the value, where the increase itself is a parabola, so a line through
    # two points is accurate.
    share = (np.sqrt(limit) - root[last]) / (root[last + 1] - root[last])
    return float(x[last] + share * (x[last + 1] - x[last]))


def _sentence(name: str, ends: Sequence[float | None], level: float) -> str:
    low, high = ends
    if low is not None and high is not None:
        return f"{name}: {100 * level:g} % profile interval {low:.4g} to {high:.4g}."
    if low is None and high is None:
        return f"{name} is not identified: every value within its bounds fits about as well."
    side = f"above {low:.4g}" if low is not None else f"below {high:.4g}"
    return f"{name} is identified on one side only: {side}."
