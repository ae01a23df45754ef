"""Linear error propagation for many refits at once: the delta method."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from theory.fit.information import information_matrix
from theory.fit.problem import Problem
from theory.types import FloatArray
from theory.uncertainty.quantities import Draws, Quantity


class Linearised(NamedTuple):
    """Estimates and standard errors of quantities, [refits, quantities]; in logarithms where the quantity asks for
    it."""

    estimate: FloatArray
    standard_error: FloatArray
    """inf where an undetermined direction enters."""
    gradient: FloatArray
    """Derivative in searched parameters and coefficients, [refits, quantities, p + groups q]."""


def linearise(problem: Problem, draws: Draws, variance: FloatArray, quantities: Sequence[Quantity]) -> Linearised:
    """Estimate quantities and their standard errors at every draw.

    Args:
        problem: The fit (one data set; only design and weights matter).
        draws: Where, R refits.
        variance: Residual variance of each, [R].
        quantities: What.
    """
    # One decomposition serves all quantities: the information belongs to the fit, only the gradients differ.
    information = information_matrix(problem, draws.x, draws.coefficients)
    estimate = np.stack([_value(quantity, draws) for quantity in quantities], axis=1)
    gradient = _gradients(quantities, draws, information.steps)
    return Linearised(estimate, information.standard_error(gradient, variance), gradient)


def _value(quantity: Quantity, draws: Draws) -> FloatArray:
    value = quantity.evaluate(draws)
    # Errors propagate linearly, and positive quantities are more nearly linear in their logarithm, whose interval also
    # cannot reach below 0.
    return np.log(value) if quantity.log else value


def _gradients(quantities: Sequence[Quantity], draws: Draws, steps: FloatArray) -> FloatArray:
    """Central differences in every direction, in one batched evaluation: [R, quantities, z]."""
    count, p = draws.x.shape
    shape = draws.coefficients.shape
    flat = draws.coefficients.reshape(count, -1)
    z = p + flat.shape[1]
    # The steps are those of the information matrix: a change of the same size in any unit, so that neither the unit of
    # the metric nor that of the sizes moves an error.
    moves = np.einsum("rz,zy->rzy", steps, np.eye(z))  # [R, z, z]
    # The lower side comes first, so that `values[:, 1] - values[:, 0]` below is the rise.
    both = np.stack([-moves, moves], axis=1)  # [R, 2, z, z]
    # A quantity such as an optimum is a search of its own, but it takes any number of parameter vectors at once. So
    # every refit, side and direction becomes a row of one long list, the same for all quantities: those of one optimum
    # locate it once.
    x = (draws.x[:, None, None] + both[..., :p]).reshape(count * 2 * z, p)
    coefficients = (flat[:, None, None] + both[..., p:]).reshape(count * 2 * z, *shape[1:])
    moved = Draws(fit=draws.fit, x=x, coefficients=coefficients)
    values = np.stack([_value(quantity, moved).reshape(count, 2, z) for quantity in quantities], axis=1)
    return np.asarray((values[:, :, 1] - values[:, :, 0]) / (2 * steps[:, None]))
