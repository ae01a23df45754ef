"""Does a law miss the means of its configurations by more than the noise between seeds explains?

Two F tests at once. The first asks about all misses together and has little power against a single smooth one; the
second asks about misses that are a quadratic in the logarithms of the sizes, which is what a law of a wrong form leaves
(a score test for omitted terms; Ramsey 1969). The smaller chance counts, doubled for the choice between the two.
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
    """The more telling of the two tests."""

    test: FTest
    smooth: bool
    """Whether it is that of smooth misses."""
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
    directions = _smooth_directions(problem.design, np.sqrt(problem.weights), jacobian)
    # With as many directions as degrees of freedom the second test would be the first one again.
    if 0 < directions.shape[1] < degrees:
        smooth_part = directions.T @ missed
        tests.append((ratio_test(float(smooth_part @ smooth_part), directions.shape[1], noise, spare), True))
    test, smooth = min(tests, key=lambda entry: entry[0].p_value)
    # Bonferroni's factor for having looked twice.
    return Misfit(test, smooth, min(1.0, len(tests) * test.p_value))


def _smooth_directions(design: Design, root: FloatArray, jacobian: FloatArray) -> npt.NDArray[np.float64]:
    """Orthonormal misses that are quadratics in the logarithms of the sizes and that the law cannot follow, [rows, k].

    Args:
        design: Sizes of the configurations.
        root: Roots of their weights, [rows].
        jacobian: What the law can follow, [z, rows].
    """
    # k_c may be 0, where its logarithm does not exist.
    sizes = [np.log(size) for size in (design.n_rec, design.k_e, design.k_c) if size is not None and (size > 0).all()]
    # An axis with a single value would repeat the constant. Standardised logarithms keep the squares from being
    # parallel to the axes.
    axes = [(size - size.mean()) / size.std() for size in sizes if np.ptp(size) > 1e-9]
    terms = [np.ones(len(design)), *axes, *(first * second for k, first in enumerate(axes) for second in axes[k:])]
    quadratics = np.stack([term * root for term in terms], axis=1)
    # Of length one, so that SPANNED is a share of each direction whatever its unit.
    quadratics /= np.linalg.norm(quadratics, axis=0)
    length = np.linalg.norm(jacobian, axis=1)
    tangents = jacobian[length > 0] / length[length > 0, None]
    left, singular, _ = np.linalg.svd(tangents.T, full_matrices=False)
    # Directions that are zero up to rounding belong to parameters that act alike; as basis vectors they would be noise.
    followed = left[:, singular > 1e-9 * singular.max(initial=0.0)]
    rest = quadratics - followed @ (followed.T @ quadratics)
    directions, size, _ = np.linalg.svd(rest, full_matrices=False)
    return np.asarray(directions[:, size > SPANNED])
