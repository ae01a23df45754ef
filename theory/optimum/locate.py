"""The optimum along a budget line for many parameter sets at once, on the continuum."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.data.cost import Cost
from theory.data.design import Design, IntArray
from theory.errors import TheoryError
from theory.laws.base import Curve
from theory.types import FloatArray

GRID = 96
"""Points of the first scan in ln d_m; the optimum is then bracketed by two neighbours."""

TOLERANCE = 2e-15
"""Width in ln d_m at which a bracket is closed: a few roundings of it."""

STEPS = 100
"""Most evaluations of one root; about 8 are needed where the slope is smooth, 46 halvings where it jumps."""

INNER = np.arange(1, 16) / 16
"""Inner points of a bracket, as shares of its width."""

ROUNDS = 9
"""Each keeps an eighth of the bracket: 9 leave 7e-9 of its width, below which the metric is flat to rounding."""

EDGE = 1e-3
"""Distance in ln d_m from an end of the range below which an optimum counts as lying on it."""


class Located(NamedTuple):
    """Continuum optima of R sets of parameters."""

    d_m: FloatArray
    """[R]; the end of the range where the optimum is not inside."""
    edge: IntArray
    """-1: at the small end, 1: at the large end, 0: inside; [R]."""


def locate(curve: Curve, budget: float, cost: Cost, d_m_range: tuple[float, float]) -> Located:
    """Find the continuum optimum of every parameter set of a curve: a scan in ln d_m, then the root of the law's
    stationarity (without one: ever finer scans) between neighbours.

    >>> from theory.laws.registry import get_law
    >>> law = get_law("separable_power_law", n_ref=1.0, k_ref=1.0)
    >>> curve = Curve(law=law, theta={"a": 0.5, "b": 0.5}, coefficients=(1.0, 1.0, 1.0))
    >>> square = Cost(k_e=lambda d_m: d_m**2, k_c=0.0)
    >>> round(float(locate(curve, 1e6, square, (1.0, 1e3)).d_m[0]), 3)  # n_rec = k_e = 1e3
    31.623
    """
    low, high = d_m_range
    if not low < high:
        raise TheoryError(
            f"budget: {budget:g} leaves no range of d_m (from {low:g} to {high:g}) with at least one neuron"
        )
    # The range may span decades, and in ln d_m an optimum is as wide at small sizes as at large ones.
    grid = np.linspace(np.log(low), np.log(high), GRID)
    metric = curve.sign * curve.on_grid(budget_line(budget, cost, np.exp(grid)))
    # A draw may overflow at an extreme size; such a place is no optimum.
    metric = np.where(np.isfinite(metric), metric, np.inf)
    best = np.argmin(metric, axis=1)
    edge = np.where(best == 0, -1, np.where(best == GRID - 1, 1, 0)).astype(np.int64)
    # A best point at an end has no neighbour beyond, so the bracket moves inwards; whether the optimum lies on the end
    # is decided below.
    inner = np.clip(best, 1, GRID - 2)
    left, right = grid[inner - 1], grid[inner + 1]
    # Near a minimum the metric is flat to rounding over a relative width of 1e-8, the root of a slope is sharp. So laws
    # that know their slope are located by it.
    sides = [_slope(curve, budget, cost, side) for side in (left, right)]
    if sides[0] is not None and sides[1] is not None:
        # At the end of the grid the slope may still point inwards: the optimum then lies between the end and its
        # neighbour.
        edge = np.where((edge < 0) & (sides[0] > 0), 0, np.where((edge > 0) & (sides[1] < 0), 0, edge))
        place = _root(curve, budget, cost, (left, right), (sides[0], sides[1]), np.flatnonzero(edge == 0))
    else:
        place = _narrow(curve, budget, cost, left, right)
        # The search ends beside the end of a bracket, never on it, so only an optimum that lies further off than it can
        # resolve is inside.
        step = 1e-6 * (grid[1] - grid[0])
        edge = np.where(
            (edge < 0) & (place > grid[0] + step), 0, np.where((edge > 0) & (place < grid[-1] - step), 0, edge)
        )
    edge = np.where(
        (edge == 0) & (place < grid[0] + EDGE), -1, np.where((edge == 0) & (place > grid[-1] - EDGE), 1, edge)
    )
    return Located(np.exp(np.where(edge < 0, grid[0], np.where(edge > 0, grid[-1], place))), edge)


def budget_line(budget: float, cost: Cost, d_m: npt.ArrayLike, *, whole: bool = False) -> Design:
    """Return the design of spending one budget at each d_m (with real n_rec unless `whole`).

    >>> square = Cost(k_e=lambda d_m: d_m**2, k_c=0.0)
    >>> budget_line(1000, square, [5, 10], whole=True).n_rec.tolist()
    [40.0, 10.0]
    """
    sizes = np.asarray(d_m, dtype=np.float64)
    n_rec = cost.n_rec(budget, sizes) if whole else cost.neurons(budget, sizes)
    return Design(
        n_rec=n_rec,
        k_e=cost.complexity(sizes),
        k_c=np.full(sizes.shape, cost.k_c),
        d_m=sizes,
        trainable_params=cost.trainable_params(n_rec, sizes),
        budget=np.full(sizes.shape, float(budget)),
    )


def _slope(
    curve: Curve, budget: float, cost: Cost, ln_d_m: FloatArray, sets: IntArray | None = None
) -> FloatArray | None:
    """The law's stationarity, set r (of those chosen) at place r: [sets]; None for laws without one."""
    design = budget_line(budget, cost, np.exp(ln_d_m))
    theta = {
        name: (value if sets is None or value.size == 1 else value[sets])[None, :]
        for name, value in curve.theta.items()
    }
    with np.errstate(all="ignore"):
        slope = curve.law.stationarity(theta, design, design.k_e / (design.k_e + cost.k_c))
    return None if slope is None else np.broadcast_to(slope.reshape(-1), ln_d_m.shape)


def _root(
    curve: Curve,
    budget: float,
    cost: Cost,
    ends: tuple[FloatArray, FloatArray],
    slopes: tuple[FloatArray, FloatArray],
    sets: IntArray,
) -> FloatArray:
    """Find where the slope along the budget falls through 0, by Chandrupatla's method (Advances in Engineering Software
    28, 1997): inverse quadratic interpolation where that converges, halving where it does not.

    Args:
        curve: R sets of parameters.
        budget: Trainable parameters.
        cost: Counts.
        ends: Left and right end of each bracket in ln d_m, [R] each.
        slopes: The slope there, [R] each.
        sets: Those that are searched; the others keep their left end.
    """
    place = ends[0].copy()
    near, far = ends[0][sets], ends[1][sets]
    # Without a change of sign the interval is halved to a root by these stand-ins, for values say nothing there.
    halved = ~((slopes[0][sets] > 0) & (slopes[1][sets] < 0))
    f_near, f_far = np.where(halved, 1.0, slopes[0][sets]), np.where(halved, -1.0, slopes[1][sets])
    share = np.where(halved, 0.5, f_near / (f_near - f_far))
    for _ in range(STEPS):
        if not sets.size:
            break
        fresh = near + share * (far - near)
        slope = _slope(curve, budget, cost, fresh, sets)
        assert slope is not None, "laws with a stationarity have it everywhere"
        same = (slope > 0) == (f_near > 0)
        # `near` is the end that was evaluated last, `far` lies beyond the root, `old` is the end that `near` replaced.
        old, f_old = np.where(same, near, far), np.where(same, f_near, f_far)
        far, f_far = np.where(same, far, near), np.where(same, f_far, f_near)
        near, f_near = fresh, slope
        width = np.abs(far - near)
        place[sets] = np.where(np.abs(f_far) < np.abs(f_near), far, near)
        # Sets that are done leave the arrays, so that a few slow ones do not make all the others go on.
        live = np.flatnonzero((width > TOLERANCE) & (slope != 0))
        sets, halved = sets[live], halved[live]
        near, far, old, f_near, f_far, f_old, width = np.stack([near, far, old, f_near, f_far, f_old, width])[:, live]
        share = np.where(halved, 0.5, _share((near, far, old), (f_near, f_far, f_old)))
        # A step is at least half of the tolerance, or else interpolation could creep towards one end and never close
        # the bracket.
        least = np.minimum(0.5 * TOLERANCE / width, 0.5)
        share = np.clip(share, least, 1 - least)
    return place


def _share(x: tuple[FloatArray, FloatArray, FloatArray], f: tuple[FloatArray, FloatArray, FloatArray]) -> FloatArray:
    """Where to look next between the first and the second of three points, as a share of their distance."""
    (a, b, c), (fa, fb, fc) = x, f
    with np.errstate(all="ignore"):  # equal values have no interpolation; the condition is then false
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        share = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        # Chandrupatla's condition: inverse quadratic interpolation is trusted only where the three points make it
        # monotone.
        return np.where((phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi) & np.isfinite(share), share, 0.5)


def _narrow(curve: Curve, budget: float, cost: Cost, left: FloatArray, right: FloatArray) -> FloatArray:
    """Find the smallest value in each bracket by evaluating all of its inner points at once and keeping the neighbours
    of the best: more values than golden section, which asks for them one by one, and a quarter of the calls."""
    sets = left.size
    repeated = Curve(
        law=curve.law,
        theta={name: _repeat(value, sets) for name, value in curve.theta.items()},
        coefficients=[_repeat(value, sets) for value in curve.coefficients],
        direction=curve.direction,
    )
    for _ in range(ROUNDS):
        places = left[:, None] + (right - left)[:, None] * INNER
        metric = curve.sign * repeated.row_by_row(budget_line(budget, cost, np.exp(places.ravel())))
        best = np.argmin(metric.reshape(places.shape), axis=1)
        step = (right - left) / (INNER.size + 1)
        middle = places[np.arange(sets), best]
        left, right = middle - step, middle + step
    return (left + right) / 2


def _repeat(value: FloatArray, sets: int) -> FloatArray:
    return np.repeat(np.broadcast_to(value, (sets,)), INNER.size)
