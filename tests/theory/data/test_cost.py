"""Inverse and limits of the costs."""

import numpy as np
import pytest

from theory.data.cost import elm_cost, interpolated_cost
from theory.errors import TheoryError


def test_reference_configuration():
    cost = elm_cost(d_tree=50, d_branch=15, n_out=204)
    assert (float(cost.complexity(15)), cost.k_c, cost.readout_params) == (2461.0, 750.0, 228_684.0)


def test_inverse():
    cost, d_m = elm_cost(d_tree=50, d_branch=15), np.array([0.5, 3.0, 26.0, 170.0])
    np.testing.assert_allclose(cost.d_m(cost.complexity(d_m)), d_m, rtol=1e-12)


def test_no_hidden_layer():
    assert float(elm_cost(d_tree=50, d_branch=15, l_mlp=0).complexity(3)) == 3 * 53 + 3 + 3 + 1


def test_deeper_networks_need_their_own_count():
    with pytest.raises(TheoryError, match="l_mlp: 2"):
        elm_cost(d_tree=50, d_branch=15, l_mlp=2)


@pytest.mark.parametrize("sizes", [[2, 4, 8, 16, 32], [1, 2, 3], [1, 2, 4, 5]])
def test_interpolated_cost_rises_far_beyond_its_sizes(sizes):
    """Cubics that go on beyond the sizes that were run turn around, and no k_e then has a d_m."""
    exact = elm_cost(d_tree=4, d_branch=4)
    cost = interpolated_cost(sizes, exact.complexity(sizes), k_c=16.0, readout_params=0.0)
    d_m = np.geomspace(1e-6, 1e9, 2001)
    assert (np.diff(cost.complexity(d_m)) > 0).all()
    np.testing.assert_allclose(cost.complexity(sizes), exact.complexity(sizes), rtol=1e-14)
    inner = np.linspace(sizes[0], 3 * sizes[-1], 9)
    np.testing.assert_allclose(cost.d_m(cost.complexity(inner)), inner, rtol=1e-9)
