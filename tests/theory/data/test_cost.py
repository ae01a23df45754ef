"""Inverse and limits of the costs."""

import numpy as np
import pytest

from theory.data.cost import elm_cost
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
