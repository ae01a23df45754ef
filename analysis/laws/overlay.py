"""What a fitted law draws onto the measurement: plain arrays, whatever the law was."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.laws.theory_fit import LawFit, design_of
from analysis.rows.means import budget_lines
from theory.data.cost import Cost
from theory.data.design import BUDGET_TOLERANCE, Design
from theory.errors import TheoryError
from theory.fit.result import FitResult
from theory.optimum.allocation import Allocation
from theory.optimum.locate import EDGE, GRID, budget_line, locate

FloatArray = npt.NDArray[np.float64]

CURVE_POINTS = 60
"""Points of a drawn theory curve."""

PATH_POINTS = 24
"""Budgets at which the optimum's path is evaluated."""

SURFACE_POINTS = 110
"""Points of the drawn surface along each axis."""

BISECTIONS = 46
"""Halvings of the bracket around an optimum: two neighbours of the scan shrink to the last bit of ln d_m."""

BEYOND = 2.0
"""Factor by which paths and surfaces reach beyond the smallest and largest budget."""


class TheoryLine(NamedTuple):
    """The law along one budget and connectivity, by growing d_m."""

    budget: float
    k_c: float
    d_m: FloatArray
    n_rec: FloatArray
    k_e: FloatArray
    metric: FloatArray


class TheoryOptimum(NamedTuple):
    """The law's best allocation of one budget, where it lies inside the sampled range of d_m."""

    budget: float
    k_c: float
    n_rec: float
    d_m: float
    k_e: float
    metric: float
    band: tuple[float, float]
    """Smallest and largest d_m that the law calls as good within the tolerance."""


class TheoryPath(NamedTuple):
    """The law's best allocation (real numbers) against the budget, as far as it is bracketed."""

    k_c: float
    budget: FloatArray
    n_rec: FloatArray
    d_m: FloatArray
    k_e: FloatArray
    metric: FloatArray


class TheorySurface(NamedTuple):
    """The law over (n_rec, k_e) at one connectivity."""

    k_c: float
    n_rec: FloatArray
    k_e: FloatArray
    metric: FloatArray
    """[k_e, n_rec]; NaN beyond the range of budgets."""
    budgets: tuple[tuple[float, FloatArray, FloatArray], ...]
    """Lines of equal budget: (budget, n_rec, k_e)."""


class Overlay(NamedTuple):
    """One fitted law, ready to be drawn."""

    law: str
    lines: tuple[TheoryLine, ...]
    optima: tuple[TheoryOptimum, ...]
    paths: tuple[TheoryPath, ...]
    surfaces: tuple[TheorySurface, ...]
    predicted: FloatArray
    """Prediction for each row of the configuration table."""
    predict: Callable[[npt.ArrayLike, npt.ArrayLike, float], FloatArray]
    """Mean metric of (n_rec, k_e, k_c), in metric units."""
    per_budget: bool = False
    """Whether each budget has coefficients of its own: such a law says nothing between budgets."""


def overlay(law: LawFit, table: pd.DataFrame) -> Overlay | None:
    """What the fitted law draws onto the configurations of a group; None without a law.

    Args:
        law: the fit.
        table: `analysis.rows.means.configurations` of its rows.
    """
    if law.fit is None:
        return None
    # A quadratic has coefficients for each budget and none between them, so it has no surface.
    per_budget = law.fit.law.coefficients_per == "budget"
    # Where some rows have no budget, budgets are read off the counts, and the law knows others than those asked for.
    known = np.log(law.fit.inputs.design.budgets) if per_budget else None
    lines = [
        _line(law, budget, law.costs[k_c], part["d_m"])
        for k_c, budget, part in budget_lines(table)
        if k_c in law.costs
        and part["d_m"].nunique() > 1
        and (known is None or np.abs(known - np.log(budget)).min() <= BUDGET_TOLERANCE)
    ]

    def predict(n_rec: npt.ArrayLike, k_e: npt.ArrayLike, k_c: float) -> FloatArray:
        n, k = np.broadcast_arrays(np.asarray(n_rec, dtype=float), np.asarray(k_e, dtype=float))
        if per_budget:  # such a law says nothing between budgets
            return np.full(n.shape, np.nan)
        # Parameters of a place on the surface are counted as those of a network there would be, real numbers of neurons
        # included.
        readout = law.costs[k_c].readout_params if k_c in law.costs else 0.0
        flat_n, flat_k = n.ravel(), k.ravel()
        params = flat_n * (flat_k + k_c) + readout
        design = Design(n_rec=flat_n, k_e=flat_k, k_c=np.full(n.size, k_c), trainable_params=params)
        return law.predict(design).reshape(n.shape)

    surfaces = [] if per_budget else [_surface(k_c, part, lines, predict) for k_c, part in _by_k_c(law, table)]
    return Overlay(
        law=law.fit.law.label,
        lines=tuple(lines),
        optima=tuple(place for allocation in law.allocations if (place := _optimum(law, allocation)) is not None),
        paths=tuple(_path(law, k_c, part) for k_c, part in _by_k_c(law, table)),
        surfaces=tuple(surfaces),
        predicted=law.predict(design_of(table)),
        predict=predict,
        per_budget=per_budget,
    )


def _by_k_c(law: LawFit, table: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    with_budget = table[table["budget"].notna()]
    # Without two values of d_m there is no range in which a law could place an optimum.
    parts = [(k_c, with_budget[with_budget["k_c"] == k_c]) for k_c in law.costs]
    return [(k_c, part) for k_c, part in parts if part["d_m"].nunique() > 1]


def _line(law: LawFit, budget: float, cost: Cost, sampled: pd.Series) -> TheoryLine:
    d_m = np.geomspace(sampled.min(), sampled.max(), CURVE_POINTS)
    design = budget_line(budget, cost, d_m)
    return TheoryLine(budget, cost.k_c, d_m, design.n_rec, design.k_e, law.predict(design))


def _optimum(law: LawFit, best: Allocation) -> TheoryOptimum | None:
    """The allocation as drawn; None where it is not bracketed and so has no numbers."""
    if best.d_m is None or best.n_rec is None or best.k_e is None or best.metric is None or best.band is None:
        return None
    metric = float(law.scale.back(np.array([best.metric]))[0])
    band = (float(best.band[0]), float(best.band[1]))
    return TheoryOptimum(best.budget, best.k_c, float(best.n_rec), float(best.d_m), best.k_e, metric, band)


def _path(law: LawFit, k_c: float, table: pd.DataFrame) -> TheoryPath:
    cost, span = law.costs[k_c], (float(table["d_m"].min()), float(table["d_m"].max()))
    low, high = float(table["budget"].min()), float(table["budget"].max())
    # A little beyond the budgets that were run, since where the optimum goes next is what the path is looked at for.
    budgets = np.geomspace(low / BEYOND, high * BEYOND, PATH_POINTS)
    budget_column, d_m = path_places(law.fit, budgets, cost, span) if law.fit else (np.empty(0), np.empty(0))
    n_rec, k_e = cost.neurons(budget_column, d_m), cost.complexity(d_m)
    design = Design(
        n_rec=n_rec,
        k_e=k_e,
        k_c=np.full(len(k_e), k_c),
        trainable_params=n_rec * (k_e + k_c) + cost.readout_params,
        budget=budget_column,
    )
    return TheoryPath(k_c, budget_column, n_rec, d_m, k_e, law.predict(design) if len(k_e) else np.empty(0))


def path_places(
    fit: FitResult, budgets: FloatArray, cost: Cost, span: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """Find the optimum of each budget on the continuum: what `theory.optimum.locate` does for one budget and many
    parameter sets, here for many budgets and one set, which takes a tenth of the time.

    Args:
        fit: the law.
        budgets: trainable parameters.
        cost: parameter counts.
        span: range of d_m.

    Returns:
        Budgets whose optimum is bracketed, and its d_m there.
    """
    ends = [(budget, end) for budget in budgets.tolist() if (end := _end(cost, budget, span)) is not None]
    reachable = np.array(ends, dtype=np.float64).reshape(-1, 2)
    # The scan is in ln d_m: the optimum moves by factors, and the metric is flat in steps of d_m at its large end.
    low, high = np.log(span[0]), np.log(reachable[:, 1:])
    grid = low + (high - low) * np.linspace(0, 1, GRID)
    if (
        fit.law.coefficients_per == "budget"
        or not len(reachable)
        or _slopes(fit, reachable[:, 0], cost, grid[:, 1]) is None
    ):
        return _one_by_one(fit, reachable, cost, span)
    curve = fit.curve()
    # As a loss, so that one argmin serves both directions.
    metric = curve.sign * np.stack(
        [
            curve.on_grid(budget_line(budget, cost, np.exp(row)))[0]
            for budget, row in zip(reachable[:, 0], grid, strict=True)
        ]
    )
    # A place where the law is not finite is none, and must not win.
    best = np.argmin(np.where(np.isfinite(metric), metric, np.inf), axis=1)
    # The minimum of a scan lies between the neighbours of its best point; at an end the bracket is moved inside.
    rows, inner = np.arange(len(reachable)), np.clip(best, 1, GRID - 2)
    left, right = grid[rows, inner - 1], grid[rows, inner + 1]
    first, last = (_slopes(fit, reachable[:, 0], cost, side) for side in (left, right))
    # Halving is slower than Newton's method but cannot leave the bracket, and all budgets go on together.
    for _ in range(BISECTIONS):
        middle = (left + right) / 2
        rising = _slopes(fit, reachable[:, 0], cost, middle) > 0
        left, right = np.where(rising, middle, left), np.where(rising, right, middle)
    ln_d_m = (left + right) / 2
    # At an end of the scan the slope decides: if the law still improves away from it, the optimum lies between the
    # first two points.
    inside = np.where(best == 0, first > 0, np.where(best == GRID - 1, last < 0, True))
    inside &= (ln_d_m >= grid[:, 0] + EDGE) & (ln_d_m <= grid[:, -1] - EDGE)
    return reachable[inside, 0], np.exp(ln_d_m[inside])


def _slopes(fit: FitResult, budgets: FloatArray, cost: Cost, ln_d_m: FloatArray) -> Any:
    """Slope of the information along each budget's own line; None for a law that has no closed form of it."""
    d_m = np.exp(ln_d_m)
    n_rec, k_e = cost.neurons(budgets, d_m), cost.complexity(d_m)
    design = Design(n_rec=n_rec, k_e=k_e, k_c=np.full(len(d_m), cost.k_c), budget=budgets, d_m=d_m)
    # Where the law overflows the slope is NaN, which every comparison takes for not rising.
    with np.errstate(all="ignore"):
        theta = {name: value[None, :] for name, value in fit.curve().theta.items()}
        slope = fit.law.stationarity(theta, design, k_e / (k_e + cost.k_c))
    return None if slope is None else np.broadcast_to(slope.reshape(-1), d_m.shape)


def _end(cost: Cost, budget: float, span: tuple[float, float]) -> float | None:
    """The largest d_m of the range at a budget; None where not even one neuron fits."""
    try:
        # Large neurons do not fit into a small budget, so its range ends where a single one is left.
        end = _largest(cost, budget, span[1])
    except TheoryError:
        return None
    return end if end > span[0] else None


def _one_by_one(
    fit: FitResult, reachable: FloatArray, cost: Cost, span: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    points = []
    for budget, end in reachable.tolist():
        try:
            optimum = locate(fit.curve(budget=budget, k_c=cost.k_c), budget, cost, (span[0], end))
        except TheoryError:  # the law cannot go there
            continue
        if optimum.edge[0] == 0:
            points.append((budget, float(optimum.d_m[0])))
    columns = np.array(points, dtype=np.float64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def _largest(cost: Cost, budget: float, limit: float) -> float:
    """The largest d_m that leaves at least one neuron."""
    room = budget - cost.readout_params - cost.k_c
    if room <= 0:
        raise TheoryError(f"budget: {budget:g} does not cover the read-out and one neuron")
    return min(limit, float(cost.d_m(room)))


def _surface(
    k_c: float,
    table: pd.DataFrame,
    lines: list[TheoryLine],
    predict: Callable[[npt.ArrayLike, npt.ArrayLike, float], FloatArray],
) -> TheorySurface:
    n_rec, k_e = (
        np.geomspace(table[name].min() / 1.3, table[name].max() * 1.3, SURFACE_POINTS) for name in ("n_rec", "k_e")
    )
    n, k = np.meshgrid(n_rec, k_e)
    # Far from all budgets nothing was measured, and a surface there would be taken for a result.
    spent, budgets = n * (k + k_c), table["budget"] - table["readout_params"]
    outside = (spent < budgets.min() / BEYOND) | (spent > budgets.max() * BEYOND)
    metric = np.where(outside, np.nan, predict(n, k, k_c))
    equal_budget = tuple((line.budget, line.n_rec, line.k_e) for line in lines if line.k_c == k_c)
    return TheorySurface(k_c, n_rec, k_e, metric, equal_budget)
