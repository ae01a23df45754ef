"""Variable projection: the linear coefficients solved exactly, and the exact Jacobian of what remains (Golub and
Pereyra 1973).

Shapes: A problems at once, q columns, m rows, p searched parameters. Everything is already multiplied by the square
root of the weights.
"""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np

from theory.types import FloatArray

DEPENDENT = 1e-12
"""A column that keeps less than this share of its length beside the others counts as dependent; its coefficient is
0."""


class Linear(NamedTuple):
    """The solution of A small linear least-squares problems."""

    coefficients: FloatArray
    """[A, q]"""
    residual: FloatArray
    """Prediction minus data, [A, m]."""
    basis: FloatArray
    """Orthonormal columns, [A, q, m]; rows of zeros for unused columns."""
    triangle: FloatArray
    """R of columns = R^T basis, [A, q, q], upper triangular; 1 on the diagonal of unused columns."""


def solve_linear(columns: FloatArray, target: FloatArray, signs: FloatArray) -> Linear:
    """Minimise |sum_j c_j column_j - target| with c_j signs_j >= 0 wherever signs_j is not 0.

    Args:
        columns: [A, q, m].
        target: [A, m].
        signs: [q], -1, 0 or 1.
    """
    # Nearly every problem has the right signs at once, so the dear search over subsets runs on the rest alone.
    best = _orthogonal(columns, target, np.ones(columns.shape[:2]))
    wrong = np.flatnonzero((best.coefficients * signs < 0).any(axis=1))
    if wrong.size:
        constrained = _subsets(columns[wrong], target[wrong], signs)
        for whole, part in zip(best, constrained, strict=True):
            whole[wrong] = part
    return best


def _subsets(columns: FloatArray, target: FloatArray, signs: FloatArray) -> Linear:
    """The best feasible subset of columns: the exact constrained solution, by trying all (at most 8)."""
    best: Linear | None = None
    # Dropping every constrained column always satisfies the signs, so each problem ends with a feasible subset.
    cost = np.full(len(columns), np.inf)
    # A problem with signs has its optimum on a face of the cone where some coefficients are 0 and the others solve
    # their own unconstrained problem. At most three coefficients of a law here have a sign, so that all faces can be
    # tried.
    for used in product(*[(1.0,) if sign == 0 else (1.0, 0.0) for sign in signs]):
        # The full set is what had the wrong sign.
        if all(used):
            continue
        solution = _orthogonal(columns, target, np.broadcast_to(np.array(used), columns.shape[:2]))
        feasible = ~(solution.coefficients * signs < 0).any(axis=1)
        rss = np.where(feasible, np.vecdot(solution.residual, solution.residual), np.inf)
        if best is None:
            best, cost = solution, rss
            continue
        better = rss < cost
        cost = np.where(better, rss, cost)
        for whole, part in zip(best, solution, strict=True):
            whole[better] = part[better]
    assert best is not None, "a wrong sign needs a constrained column"
    return best


def _orthogonal(columns: FloatArray, target: FloatArray, used: FloatArray) -> Linear:
    """Gram-Schmidt with one repetition, over A problems at once."""
    count, q, _ = columns.shape
    # Unused columns become zeros instead of being removed, so that all problems keep one shape.
    basis = columns * used[:, :, None]
    triangle = np.zeros((count, q, q))
    for j in range(q):
        # A view: what is taken off below changes the basis in place.
        vector = basis[:, j]
        # Of the column before anything is taken off, to which what is left is compared.
        length = np.sqrt(np.vecdot(vector, vector))
        # One pass leaves an error that grows with the condition of the columns; the second brings it down to rounding.
        # Each step runs over all problems at once, which pays because the columns are few and the problems many.
        for _ in range(2):
            for i in range(j):
                overlap = np.vecdot(basis[:, i], vector)
                triangle[:, i, j] += overlap
                vector -= overlap[:, None] * basis[:, i]
        rest = np.sqrt(np.vecdot(vector, vector))
        keep = rest > DEPENDENT * length
        # A dropped column has a basis of zeros, so with 1 on the diagonal its coefficient comes out as 0 without a case
        # of its own.
        triangle[:, j, j] = np.where(keep, rest, 1.0)
        vector *= np.where(keep, 1 / triangle[:, j, j], 0.0)[:, None]
    projected = np.vecdot(basis, target[:, None])
    residual = (projected[:, None] @ basis)[:, 0] - target
    return Linear(_back(triangle, projected), residual, basis, triangle)


def _back(triangle: FloatArray, right: FloatArray) -> FloatArray:
    """Solve R c = right, [A, q]."""
    solution = np.zeros_like(right)
    for j in reversed(range(right.shape[1])):
        solved = np.vecdot(triangle[:, j, j + 1 :], solution[:, j + 1 :])
        solution[:, j] = (right[:, j] - solved) / triangle[:, j, j]
    return solution


def _forward(triangle: FloatArray, right: FloatArray) -> FloatArray:
    """Solve R^T c = right, [A, p, q]."""
    solution = np.zeros_like(right)
    for j in range(right.shape[2]):
        solved = np.vecdot(triangle[:, None, :j, j], solution[:, :, :j])
        solution[:, :, j] = (right[:, :, j] - solved) / triangle[:, None, j, j]
    return solution


def projected_slopes(linear: Linear, slopes: Mapping[int, FloatArray]) -> FloatArray:
    """Derivative of the residual with respect to p parameters, the coefficients following along: [A, p, m].

    With P the projector off the columns: P dC c - (C^+)^T dC^T r, both terms of Golub and Pereyra.

    Args:
        linear: The solved problem.
        slopes: Derivatives of each column (weighted, [A, p, m]) by index; -1 is the part without a coefficient. At
            least one.
    """
    coefficients, residual = linear.coefficients, linear.residual[:, None]
    direct: FloatArray | None = None
    # Never more than one array per column, whatever the number of parameters: on a few dozen rows it is the number of
    # calls that costs.
    turned = np.zeros((len(coefficients), next(iter(slopes.values())).shape[1], coefficients.shape[1]))
    for j, slope in slopes.items():
        part = slope if j < 0 else coefficients[:, j, None, None] * slope
        direct = part if direct is None else direct + part
        if j >= 0:
            # A column with coefficient 0 was dropped, for its sign or as dependent: it is not among those projected on.
            turned[:, :, j] = np.where(coefficients[:, j, None] != 0, np.vecdot(slope, residual), 0.0)
    assert direct is not None, "a law with searched parameters depends on them"
    # The two terms of the derivative lie in the same space of columns, so both are taken off in one product.
    lean = direct @ linear.basis.transpose(0, 2, 1) + _forward(linear.triangle, turned)
    return np.asarray(direct - lean @ linear.basis)
