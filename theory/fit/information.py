"""The information matrix of a fit in all of its parameters: what its data know of them."""

from typing import NamedTuple

import numpy as np

from theory.fit.problem import Problem
from theory.laws.parameters import LEAST_SIZE
from theory.types import FloatArray

STEP = 1e-4
"""Relative step of central differences; quantities are smooth on this scale."""

SINGULAR = 1e-9
"""Singular values of the scaled Jacobian below this share of the largest count as undetermined directions."""


class Information(NamedTuple):
    """The information matrix of each refit, taken apart: J = U diag(singular) axes diag(scale), directions [refits, z,
    z]."""

    scale: FloatArray
    """Length of each column of J, inf where the parameter is known, [refits, z]."""
    singular: FloatArray
    """[refits, z]"""
    axes: FloatArray
    """Right singular vectors in rows, [refits, z, z]."""
    steps: FloatArray
    """Steps of finite differences, as shares of each parameter's size, [refits, z]."""

    def standard_error(self, gradient: FloatArray, variance: FloatArray) -> FloatArray:
        """Return sqrt(variance g^T (J^T J)^-1 g), inf where g meets an undetermined direction: [refits, quantities].

        Args:
            gradient: [refits, quantities, z].
            variance: [refits].
        """
        # A parameter that is known has scale inf, so its part of the gradient becomes 0 here.
        lean = np.einsum("rkz,raz->rka", gradient / self.scale[:, None], self.axes)
        # Relative to the largest, since singular values of a Jacobian with columns of length one have no unit.
        determined = self.singular > SINGULAR * self.singular[:, :1]
        size = np.abs(lean).max(axis=2, keepdims=True)
        # A gradient never misses an undetermined direction exactly; below 1e-6 of its largest part it is taken to.
        lost = (~determined[:, None] & (np.abs(lean) > 1e-6 * size)).any(axis=2)
        inverse = np.where(determined, 1 / np.where(determined, self.singular, 1.0), 0.0)
        error = np.sqrt(variance[:, None] * ((lean * inverse[:, None]) ** 2).sum(axis=2))
        return np.where(lost, np.inf, error)


def information_matrix(problem: Problem, x: FloatArray, coefficients: FloatArray) -> Information:
    """Decompose the Jacobian in all parameters (penalties included).

    Parameters at a bound and coefficients held at 0 by their sign are known, not estimated: their columns are 0.

    Args:
        problem: The fit.
        x: [refits, p].
        coefficients: [refits, groups, q].
    """
    jacobian = problem.full_jacobian(x, coefficients)  # [refits, z, rows]
    # Taken before penalties and pinned columns change the Jacobian, so that a step is the same with and without a
    # prior.
    steps = _steps(problem, x, coefficients, jacobian)
    # A prior is information like a row of data: its residuals are further columns here, which move no coefficient.
    for penalty in problem.penalties:
        slopes = penalty(x, np.arange(len(x), dtype=np.int64))[1]
        padded = np.zeros((len(x), jacobian.shape[1], slopes.shape[2]))
        padded[:, : x.shape[1]] = slopes
        jacobian = np.concatenate([jacobian, padded], axis=2)
    # The solver clips to bounds exactly, so equality tells which parameters rest there.
    pinned = (x <= problem.lower) | (x >= problem.upper)
    zeroed = (coefficients == 0) & (problem.signs != 0)
    dead = np.concatenate([pinned, zeroed.reshape(len(x), -1)], axis=1)
    jacobian = np.where(dead[:, :, None], 0.0, jacobian)
    length = np.sqrt(np.einsum("rzm,rzm->rz", jacobian, jacobian))
    # With columns of length one the decomposition is not dominated by whichever parameter has the largest unit. A
    # column of zeros keeps its zeros and comes out as undetermined.
    scale = np.where(length > 0, length, 1.0)
    unit = jacobian / scale[:, :, None]
    # a known parameter gets a row of its own: infinite information, no contribution to any error
    anchored = np.concatenate([unit, np.einsum("rz,zy->rzy", np.where(dead, 1.0, 0.0), np.eye(dead.shape[1]))], axis=2)
    # Of the Jacobian itself and not of the information matrix, whose singular values are the squares and would lose
    # half of the digits.
    _, singular, axes = np.linalg.svd(anchored.transpose(0, 2, 1), full_matrices=False)
    return Information(np.where(dead, np.inf, scale), singular, axes, steps)


def _steps(problem: Problem, x: FloatArray, coefficients: FloatArray, jacobian: FloatArray) -> FloatArray:
    """Steps that are the same change in any unit: of the metric, of the sizes, of the parameters, [refits, z]."""
    columns = [number.parameter.step(x[:, j], STEP) for j, number in enumerate(problem.free)]
    searched = np.stack(columns, axis=1) if columns else np.empty((len(x), 0))
    flat = coefficients.reshape(len(x), -1)
    length = np.sqrt(np.einsum("rzm,rzm->rz", jacobian, jacobian))[:, x.shape[1] :]
    # The problem's residuals are in units of the metric's spread: a change of sqrt(rows) / length moves the metric by
    # one spread, which is the size of a coefficient that is near 0 itself. A column of zeros moves nothing.
    size = np.where(length > 0, np.sqrt(jacobian.shape[2]) / np.where(length > 0, length, 1.0), 1.0)
    return np.concatenate([searched, STEP * np.maximum(np.abs(flat), LEAST_SIZE * size)], axis=1)
