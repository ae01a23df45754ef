"""Variance inflation and interactions are those of the regressions they stand for."""

import numpy as np
import pytest

from theory.uncertainty.axes import interactions, variance_inflation


def test_variance_inflation_is_that_of_the_auxiliary_regression():
    rng = np.random.default_rng(0)
    a = rng.normal(size=40)
    b = 0.8 * a + 0.6 * rng.normal(size=40)
    r = np.corrcoef(a, b)[0, 1]
    for axis in ("a", "b"):
        assert variance_inflation(axis, {"a": a, "b": b}) == pytest.approx(1 / (1 - r**2))
    assert variance_inflation("a", {"a": a}) == 1


def test_an_interaction_that_was_built_in_is_found_with_its_size():
    x, y = (values.ravel() for values in np.meshgrid(np.arange(4.0), np.arange(4.0)))
    noise = np.random.default_rng(3).normal(0, 0.05, x.size)
    metric = x + y + 0.5 * (x - x.mean()) * (y - y.mean()) + noise
    (row,) = interactions({"x": x, "y": y}, metric, np.ones(x.size))
    assert row.coefficient == pytest.approx(0.5 * x.std() * y.std(), abs=3 * row.half_width)
    assert row.delta_aicc > 2


def test_axes_that_follow_each_other_have_no_interaction():
    x = np.arange(12.0)
    assert interactions({"x": x, "y": 2 * x + 1}, x**2, np.ones(12)) == []
