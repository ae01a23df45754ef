"""Does a law miss the means of its configurations by more than the noise between seeds explains?

Up to three F tests at once. The first asks about all misses together and has little power against a single smooth one;
the second asks about misses that are a quadratic in the logarithms of the sizes, which is what a law of a wrong form
leaves (a score test for omitted terms; Ramsey 1969); the third about the one departure that a law names itself
(`Law.wider`: a score test for its further parameter; Rao 1948). The smallest chance counts, times the number of tests.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.data.design import Design
from theory.fit.f_tests import FTest, ratio_test
from theory.fit.problem import Problem
from theory.types import FloatArray

SPANNED = 1e-3
"""Share of its length that a direction keeps beside the law's own, below which it is the law's (assumption)."""


class Misfit(NamedTuple):
    """The most telling of the tests."""

    test: FTest
    smooth: bool
    """Whether it is that of smooth misses, or of the departure that the law names."""
    p_value: float
    """Chance of either ratio if the law is right."""


def misfit(problem: Problem, x: FloatArray, coefficients: FloatArray, within: float, spare: int) -> Misfit | None:
    """Test a least-squares fit.

    Args:
        problem: The fit, its rows the means of the configurations, on one data set.
        x: Optimum in search coordinates, [p].
        coefficients: [groups, q].
        within: Sum of squares between the seeds of configurations, in the problem's units.
        spare: Its degrees of freedom.

    Returns:
        The test; None without seed noise or with no more configurations than parameters.
    """
    rows = len(problem.design)
    degrees = rows - x.size - coefficients.size
    if spare <= 0 or within <= 0 or degrees <= 0:
        return None
    # The noise is that between seeds alone, which no law can change, so that it is independent of what the law misses.
    noise = within / spare
    # Weighted, so that every miss of a mean has the variance of a single run whatever the number of its seeds.
    missed = np.sqrt(problem.weights) * (problem.predict(x[None], coefficients[None])[0] - problem.metric)
    jacobian = problem.full_jacobian(x[None], coefficients[None])[0]
    tests = [(ratio_test(float(missed @ missed), degrees, noise, spare), False)]
    root = np.sqrt(problem.weights)
    # With as many directions as degrees of freedom another test would be the first one again.
    for wrong in (_quadratics(problem.design, root), _departures(problem, x, coefficients)):
        directions = _beyond(wrong, jacobian)
        if 0 < directions.shape[1] < degrees:
            part = directions.T @ missed
            tests.append((ratio_test(float(part @ part), directions.shape[1], noise, spare), True))
    test, smooth = min(tests, key=lambda entry: entry[0].p_value)
    # Bonferroni's factor for having looked more than once.
    return Misfit(test, smooth, min(1.0, len(tests) * test.p_value))


def _quadratics(design: Design, root: FloatArray) -> FloatArray:
    """Misses that are quadratics in the logarithms of the sizes, [rows, k].

    Args:
        design: Sizes of the configurations.
        root: Roots of their weights, [rows].
    """
    # k_c may be 0, where its logarithm does not exist.
    sizes = [
        np.log(size)
        for size in (design.n_rec, design.k_e, design.k_c, design.tokens)
        if size is not None and (size > 0).all()
    ]
    # An axis with a single value would repeat the constant. Standardised logarithms keep the squares from being
    # parallel to the axes.
    axes = [(size - size.mean()) / size.std() for size in sizes if np.ptp(size) > 1e-9]
    terms = [np.ones(len(design)), *axes, *(first * second for k, first in enumerate(axes) for second in axes[k:])]
    return np.stack([term * root for term in terms], axis=1)


def _departures(problem: Problem, x: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Misses that a wider law would follow by its further parameters, to first order, [rows, k]."""
    named, rows = problem.law.wider(), len(problem.design)
    if named is None:
        return np.empty((rows, 0))
    law, values = named
    theta = problem.theta(x[None]) | {name: np.array([[value]]) for name, value in values.items()}
    gradient = law.terms(theta, problem.design).gradient
    by_row = coefficients[problem.groups]  # [rows, q]
    slopes = [
        sum(
            by_row[:, column] * np.broadcast_to(slope, (1, rows))[0]
            for (of, column), slope in gradient.items()
            if of == name
        )
        for name in values
    ]
    return np.asarray(np.stack(slopes, axis=1) * np.sqrt(problem.weights)[:, None])


def _beyond(wrong: FloatArray, jacobian: FloatArray) -> npt.NDArray[np.float64]:
    """Orthonormal directions of what the law cannot follow of some misses, [rows, k].

    Args:
        wrong: Misses, [rows, any number].
        jacobian: What the law can follow, [z, rows].
    """
    # Of length one, so that SPANNED is a share of each direction whatever its unit.
    size = np.linalg.norm(wrong, axis=0)
    wrong = wrong[:, size > 0] / size[size > 0]
    length = np.linalg.norm(jacobian, axis=1)
    tangents = jacobian[length > 0] / length[length > 0, None]
    left, singular, _ = np.linalg.svd(tangents.T, full_matrices=False)
    # Directions that are zero up to rounding belong to parameters that act alike; as basis vectors they would be noise.
    followed = left[:, singular > 1e-9 * singular.max(initial=0.0)]
    rest = wrong - followed @ (followed.T @ wrong)
    directions, size, _ = np.linalg.svd(rest, full_matrices=False)
    return np.asarray(directions[:, size > SPANNED])
