"""The axes check sees what a design can and cannot tell apart."""

import numpy as np
import pandas as pd
import pytest

from analysis.rows.axes import check_axes


def table(n_rec, k_e, k_c=100.0, metric=None):
    n_rec, k_e = np.asarray(n_rec, dtype=float), np.asarray(k_e, dtype=float)
    mean = np.zeros(len(n_rec)) if metric is None else metric
    return pd.DataFrame({"n_rec": n_rec, "k_e": k_e, "k_c": np.broadcast_to(k_c, n_rec.shape), "mean": mean, "n": 2})


def grid():
    n_rec, k_e = np.meshgrid([10, 30, 100, 300], [100, 300, 1000, 3000])
    return n_rec.ravel().astype(float), k_e.ravel().astype(float)


def test_a_full_grid_is_orthogonal():
    found = check_axes(table(*grid()))
    assert abs(found.pairs[0].correlation) < 1e-12
    assert [row.vif for row in found.inflation] == [pytest.approx(1), pytest.approx(1), None]
    assert "independently enough" in found.sentences[0]
    assert "k_c did not vary" in found.sentences[1]


def test_one_budget_cannot_tell_its_axes_apart():
    k_e = np.geomspace(100, 10_000, 12)
    found = check_axes(table(np.floor(1e6 / (k_e + 100)), k_e))
    assert found.pairs[0].correlation < -0.95
    assert found.inflation[0].vif > 10
    assert "cannot be told apart" in found.sentences[0]
    assert "7 values of n_rec at one d_m" in found.sentences[0]


@pytest.mark.parametrize(("strength", "verdict"), [(0.5, "supported"), (0.0, None)])
def test_an_interaction_is_found_where_there_is_one(strength, verdict):
    n_rec, k_e = grid()
    x, y = np.log(n_rec), np.log(k_e)
    noise = np.random.default_rng(3).normal(0, 0.05, len(x))
    found = check_axes(table(n_rec, k_e, metric=x + y + strength * (x - x.mean()) * (y - y.mean()) + noise))
    (row,) = found.interactions
    assert any(": supported (" in sentence for sentence in found.sentences) == (verdict == "supported")
    scale = x.std() * y.std()
    assert row.coefficient == pytest.approx(strength * scale, abs=3 * row.half_width)
    assert (row.delta_aicc > 2) == (strength > 0)


def test_three_axes_give_three_pairs():
    n_rec, k_e = (np.tile(values, 3) for values in grid())
    k_c = np.repeat([50.0, 100.0, 200.0], 16)
    found = check_axes(table(n_rec, k_e, k_c, metric=np.random.default_rng(0).normal(size=48)))
    assert len(found.pairs) == 3
    assert len(found.interactions) == 3


def test_too_few_points_say_so():
    found = check_axes(table([10, 20, 30], [100, 300, 200]))
    assert found.interactions == ()
    assert "Interactions cannot be estimated" in found.sentences[-1]
    alone = check_axes(table([10], [100]))
    assert alone.pairs == ()
    assert "did not vary" in alone.sentences[-1]
