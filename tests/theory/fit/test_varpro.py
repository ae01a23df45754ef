"""The eliminated coefficients and their exact Jacobian."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from theory.fit.varpro import projected_slopes, solve_linear


def problem(seed, count=6, q=3, m=20):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, q, m)), rng.standard_normal((count, m))


def test_free_coefficients_are_least_squares():
    columns, target = problem(0)
    found = solve_linear(columns, target, np.zeros(3))
    for a in range(len(columns)):
        expected = np.linalg.lstsq(columns[a].T, target[a], rcond=None)[0]
        np.testing.assert_allclose(found.coefficients[a], expected, atol=1e-12)


@pytest.mark.parametrize("signs", [[0, 1, 1], [0, -1, -1], [1, 1, 1], [0, 1, -1]])
def test_signs_give_the_constrained_optimum(signs):
    columns, target = problem(1, count=40)
    found = solve_linear(columns, target, np.array(signs, dtype=float))
    low = np.where(np.array(signs) == 1, 0.0, -np.inf)
    high = np.where(np.array(signs) == -1, 0.0, np.inf)
    for a in range(len(columns)):
        expected = lsq_linear(columns[a].T, target[a], (low, high), tol=1e-14)
        np.testing.assert_allclose((found.residual[a] ** 2).sum() / 2, expected.cost, rtol=1e-8)


def test_dependent_columns_do_no_harm():
    columns, target = problem(2)
    columns[:, 2] = 2 * columns[:, 1]
    found = solve_linear(columns, target, np.zeros(3))
    assert np.isfinite(found.coefficients).all()
    pair = solve_linear(columns[:, :2], target, np.zeros(2))
    np.testing.assert_allclose(found.residual, pair.residual, atol=1e-12)


def test_projected_slope_is_the_derivative_of_the_residual():
    rng = np.random.default_rng(3)
    base, direction = rng.standard_normal((1, 3, 20)), rng.standard_normal((1, 3, 20))
    target, step = rng.standard_normal((1, 20)), 1e-6
    at = solve_linear(base, target, np.zeros(3))
    up, down = (solve_linear(base + s * direction, target, np.zeros(3)).residual for s in (step, -step))
    slope = projected_slopes(at, {j: direction[:, None, j] for j in range(3)})[:, 0]
    np.testing.assert_allclose(slope, (up - down) / (2 * step), atol=1e-8)
