"""Levenberg-Marquardt within bounds for many searches at once, and scipy's least_squares as the final polish."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.data.design import IntArray
from theory.fit.problem import Evaluation, Problem
from theory.laws.parameters import LEAST_SIZE
from theory.types import FloatArray

POINTS = 120_000
"""Parameter vectors times rows that are evaluated at once, to keep the arrays in memory caches (assumption)."""

DAMPING_LIMIT = 1e14
"""Damping at which a search has stopped moving."""

FLAT_SHARE = 1e-12
"""Share of the largest curvature that a parameter has had below which its present one counts as none."""

LEAST_DAMPING = 1e-13
"""Keeps the damped matrix regular where two parameters act alike to rounding; far below what slows a search."""

TIGHT = 1e-12
"""ftol = xtol = gtol of the polish; looser ones are what went wrong in a well-known published fit (arXiv
2404.10102)."""

EXACT = 1e-24
"""Share of the data's sum of squares below which residuals are rounding errors, and their direction means nothing."""

CONVERGED, OUT_OF_STEPS, NON_FINITE = 0, 1, 2


class Solution(NamedTuple):
    """The end of each search."""

    x: FloatArray
    """[A, p]"""
    cost: FloatArray
    """Sum of squares, [A]; inf where no finite value was seen."""
    coefficients: FloatArray
    """[A, groups, q]"""
    code: IntArray
    """CONVERGED, OUT_OF_STEPS or NON_FINITE, [A]."""


class _Rules(NamedTuple):
    """What all searches share."""

    lower: FloatArray
    upper: FloatArray
    steps: int
    tolerance: float
    frozen: int | None


@dataclass(eq=False)
class _Search:
    """The running state of a block of searches."""

    x: FloatArray
    now: Evaluation
    cost: FloatArray
    damping: FloatArray
    growth: FloatArray
    scale: FloatArray


def solve(
    problem: Problem,
    x: FloatArray,
    *,
    sets: IntArray | None = None,
    steps: int = 200,
    tolerance: float = 1e-10,
    frozen: int | None = None,
) -> Solution:
    """Search from every row of x, each on its own data set where the problem has several.

    Args:
        problem: The fit.
        x: Starting points in search coordinates, [A, p].
        sets: Data set of each start; default 0..A-1.
        steps: Largest number of steps.
        tolerance: Relative change of cost, or of x, or scaled gradient, below which a search has converged.
        frozen: Index of a parameter that keeps its starting value.
    """
    chosen = np.arange(len(x), dtype=np.int64) if sets is None else sets
    lower, upper = problem.lower, problem.upper
    # At least one search runs even where its rows alone exceed the block.
    block = max(1, POINTS // max(1, len(problem.design)))
    with np.errstate(all="ignore"):  # a trial step may overflow; it is then refused
        parts = [
            _solve_block(
                problem, x[i : i + block], chosen[i : i + block], _Rules(lower, upper, steps, tolerance, frozen)
            )
            for i in range(0, len(x), block)
        ]
    return Solution(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _solve_block(problem: Problem, x: FloatArray, sets: IntArray, rules: _Rules) -> Solution:
    x = np.clip(x, rules.lower, rules.upper)
    now = problem.evaluate(x, sets)
    cost = now.cost
    cost = np.where(np.isfinite(cost), cost, np.inf)
    # Filled with the starting points first, so that a search without a single good step still has an end.
    end = Solution(x.copy(), cost.copy(), now.coefficients.copy(), np.full(len(x), OUT_OF_STEPS, dtype=np.int64))
    end.code[~np.isfinite(cost)] = NON_FINITE
    # Nothing to search: the linear solution is the whole answer.
    if x.shape[1] == 0:
        end.code[np.isfinite(cost)] = CONVERGED
        return end
    live = np.flatnonzero(np.isfinite(cost))
    # A cost so far below the metric's own sum of squares is rounding, in which steps would go on until the damping
    # stops them.
    smallest = 1e-30 * float((problem.weights * problem.metric**2).sum(axis=-1).max())
    search = _Search(
        x[live],
        _pick(now, live),
        cost[live],
        # The usual small first damping (a thousandth of the curvature): nearly a Gauss-Newton step, raised at once
        # where that fails.
        np.full(live.size, 1e-3),
        np.full(live.size, 2.0),
        np.zeros((live.size, x.shape[1])),
    )
    for _ in range(rules.steps):
        if not live.size:
            break
        done = _step(problem, search, sets[live], rules) | (search.cost <= smallest)
        if done.any():
            _write(end, search, live, np.flatnonzero(done))
            end.code[live[done]] = CONVERGED
            keep = np.flatnonzero(~done)
            live = live[keep]
            search = _Search(
                search.x[keep],
                _pick(search.now, keep),
                search.cost[keep],
                search.damping[keep],
                search.growth[keep],
                search.scale[keep],
            )
    # Searches that ran out of steps leave where they got to.
    _write(end, search, live, np.arange(live.size))
    return end


def _write(end: Solution, search: _Search, live: IntArray, index: IntArray) -> None:
    end.x[live[index]], end.cost[live[index]] = search.x[index], search.cost[index]
    end.coefficients[live[index]] = search.now.coefficients[index]


def _pick(evaluation: Evaluation, index: IntArray) -> Evaluation:
    return Evaluation(*(part[index] for part in evaluation))


def _step(problem: Problem, search: _Search, sets: IntArray, rules: _Rules) -> npt.NDArray[np.bool_]:
    """Try one damped step everywhere; accept where the cost falls. Returns where the search is over."""
    jac = search.now.jacobian
    gradient = np.vecdot(jac, search.now.residual[:, None])
    # Normal equations square the condition number, but they are p by p whatever the rows and solve for all searches in
    # one call; the digits that they lose come back in the polish, which works on the Jacobian itself.
    normal = jac @ jac.transpose(0, 2, 1)
    diagonal = np.diagonal(normal, axis1=1, axis2=2)
    # At a bound with the descent pointing outwards: the parameter rests until the gradient turns.
    pinned = ((search.x <= rules.lower) & (gradient > 0)) | ((search.x >= rules.upper) & (gradient < 0))
    if rules.frozen is not None:
        pinned[:, rules.frozen] = True
    gradient = np.where(pinned, 0.0, gradient)
    # The largest curvature seen so far scales the damping (Moré 1978), each parameter by its own, so that units of
    # parameters do not matter and a parameter that goes flat does not run away.
    search.scale = np.maximum(search.scale, diagonal)
    unit = np.sqrt(np.where(search.scale > 0, search.scale, 1.0))
    length = np.sqrt(np.maximum(diagonal, FLAT_SHARE * search.scale) * search.cost[:, None]) + 1e-300
    # The gradient over the lengths of Jacobian row and residual is a cosine, which has no units.
    flat = (np.abs(gradient) / length).max(axis=1) <= rules.tolerance
    # In units of the curvature, so that the digits of the solution do not depend on those of the parameters. Pinned
    # parameters keep a row and column of the identity and a gradient of 0, so they do not move and the systems of all
    # searches have one shape.
    damped = np.where(pinned[:, :, None] | pinned[:, None, :], 0.0, normal / (unit[:, :, None] * unit[:, None, :]))
    index = np.arange(search.x.shape[1])
    damped[:, index, index] += np.where(pinned, 1.0, search.damping[:, None])
    move = -np.linalg.solve(damped, (gradient / unit)[:, :, None])[:, :, 0] / unit
    # A projected step: what would leave the box stops at its wall, and the next step finds that parameter pinned.
    trial = np.minimum(np.maximum(search.x + move, rules.lower), rules.upper)
    move = trial - search.x
    # From the move after clipping and without the damping: what the linear model says that this very step gains.
    promised = -2 * np.vecdot(gradient, move) - np.vecdot(move, (normal @ move[:, :, None])[:, :, 0])
    there = problem.evaluate(trial, sets)
    cost = there.cost
    cost = np.where(np.isfinite(cost), cost, np.inf)
    gain = search.cost - cost
    # The next step starts from the Jacobian, so a lower cost without a finite one is no place to go on from.
    better = (gain > 0) & np.isfinite(there.jacobian).all(axis=(1, 2))
    ratio = gain / np.where(promised > 0, promised, np.inf)
    # A parameter near 0 has no size to take a share of, so a part of its range stands in.
    near = np.maximum(np.abs(search.x), LEAST_SIZE * (rules.upper - rules.lower))
    small = (np.abs(move) <= rules.tolerance * near).all(axis=1)
    # A gain that is small while the model promised more is a bad step, not the end; both must be small.
    slow = (np.abs(gain) <= rules.tolerance * search.cost) & (promised <= rules.tolerance * search.cost)
    _accept(search, trial, there, cost, better)
    # Nielsen's rule (1999), with 1/5 for 1/3 as the fastest fall: the better the model predicted the gain, the less
    # damping; each refusal in a row raises it by twice as much as the one before.
    search.damping *= np.where(better, np.maximum(1 / 5, 1 - (2 * np.clip(ratio, 0, 1) - 1) ** 3), search.growth)
    search.damping = np.maximum(search.damping, LEAST_DAMPING)
    search.growth = np.where(better, 2.0, 2 * search.growth)
    over: npt.NDArray[np.bool_] = flat | small | slow | (search.damping > DAMPING_LIMIT)
    return over


def _accept(
    search: _Search, trial: FloatArray, there: Evaluation, cost: FloatArray, better: npt.NDArray[np.bool_]
) -> None:
    if better.all():  # the commonest case, and the cheapest
        search.x, search.cost, search.now = trial, cost, there
        return
    search.x[better] = trial[better]
    search.cost[better] = cost[better]
    for mine, new in zip(search.now, there, strict=True):
        mine[better] = new[better]


class Polished(NamedTuple):
    """The polished optimum of one fit."""

    x: FloatArray
    cost: float
    coefficients: FloatArray
    gradient: float
    """Largest cosine between the residual and a column of the Jacobian among the parameters inside their bounds; 0 at a
    smooth optimum."""
    evaluations: int


def polish(problem: Problem, x: FloatArray) -> Polished:
    """Restart scipy's trust-region solver from the best search, with tight tolerances; parameters at a bound stay
    there.

    Args:
        problem: The fit, on one data set.
        x: The best search's end, [p].
    """
    from scipy.optimize import least_squares  # slow to load, and commands that fit nothing do without

    x = x.copy()
    start = problem.evaluate(x[None])
    inside = (x > problem.lower) & (x < problem.upper)
    evaluations = 1
    if inside.any():
        # scipy's solver keeps strictly inside its bounds and would push a parameter off the one where it rests.
        free = np.flatnonzero(inside)
        # The pinned parameters keep their values here, while scipy moves the others only, each as a share of its
        # largest bound: its tolerance for steps knows one length for all of them.
        whole = x.copy()
        unit = np.maximum(np.abs(problem.lower), np.abs(problem.upper))[free]

        last: list[tuple[bytes, Evaluation]] = []

        def at(part: FloatArray) -> Evaluation:
            key = part.tobytes()  # scipy asks for the residual and then for the Jacobian at the same point
            if not last or last[0][0] != key:
                whole[free] = np.clip(part * unit, problem.lower[free], problem.upper[free])
                last[:] = [(key, problem.evaluate(whole[None]))]
            return last[0][1]

        def residual(part: FloatArray) -> FloatArray:
            return np.asarray(at(part).residual[0])

        def jacobian(part: FloatArray) -> FloatArray:
            return np.asarray(at(part).jacobian[0, free].T * unit)

        with np.errstate(all="ignore"):
            descent = least_squares(
                residual,
                x[free] / unit,
                jac=jacobian,
                bounds=(problem.lower[free] / unit, problem.upper[free] / unit),
                # Parameters and logarithms of very different curvature share one trust region.
                x_scale="jac",
                ftol=TIGHT,
                xtol=TIGHT,
                gtol=TIGHT,
                # The polish starts next to the optimum. One that needs more than this many evaluations sits on a kink
                # or a ridge, which the statuses then say.
                max_nfev=200,
            )
        evaluations += int(descent.nfev)
        # scipy's cost is half the sum of squares. A polish that ends higher is thrown away.
        if 2 * descent.cost <= start.cost[0]:
            x[free] = np.clip(descent.x * unit, problem.lower[free], problem.upper[free])
    end = problem.evaluate(x[None])
    # Without noise the residual is rounding, and its cosine with anything is random.
    exact = end.cost[0] <= EXACT * np.sum(problem.weights * problem.metric**2)
    gradient = 0.0 if exact else _cosine(end, inside)
    return Polished(x, float(end.cost[0]), end.coefficients[0], gradient, evaluations)


def _cosine(end: Evaluation, inside: npt.NDArray[np.bool_]) -> float:
    jac, residual = end.jacobian[0][inside], end.residual[0]
    lengths = np.sqrt(np.vecdot(jac, jac)) * np.sqrt(end.cost[0])
    cosine = np.abs(jac @ residual) / np.where(lengths > 0, lengths, np.inf)
    return float(cosine.max()) if cosine.size else 0.0
