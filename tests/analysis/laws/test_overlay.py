"""The optimum's path is found for all budgets at once, and is the one that budgets one by one would give."""

import numpy as np
import pytest

from analysis.laws.overlay import _one_by_one, path_places


def test_all_budgets_at_once_give_the_same_places(law):
    (cost,) = law.costs.values()
    budgets, span = np.geomspace(1.5e4, 6e5, 24), (2.0, 40.0)
    slowly = _one_by_one(law.fit, np.column_stack([budgets, np.full(24, span[1])]), cost, span)
    found = path_places(law.fit, budgets, cost, span)
    assert found[0].tolist() == slowly[0].tolist()
    assert found[1] == pytest.approx(slowly[1], rel=1e-12)
    assert len(found[0]) > 10
