"""Regression on the paper's published tables; the numbers come from an independent prototype (40-digit checks, other
solver)."""

import numpy as np
import pytest

from theory.allocation import optimum
from theory.fit import fit_law
from theory.laws import get_law
from theory.published import load_published

ENWIK8_BUDGET = 3_516_748


def fit_enwik8(column, law="effective_information", fixed=None, **options):
    table = load_published("enwik8")
    fit = fit_law(get_law(law, **options), table.design, table.columns[column], fixed=fixed)
    return fit, optimum(fit, ENWIK8_BUDGET, table.cost)


@pytest.mark.parametrize("name", ["enwik8", "shd_adding", "neuronio"])
def test_costs_reproduce_every_published_count(name):
    table = load_published(name)
    counted = table.cost.trainable_params(table.design.n_rec, table.columns["d_m"])
    np.testing.assert_array_equal(counted, table.columns["trainable_params"])


@pytest.mark.parametrize("name", ["enwik8", "shd_adding"])
def test_budgets_give_the_published_sizes(name):
    table = load_published(name)
    np.testing.assert_array_equal(table.cost.n_rec(table.design.budget, table.columns["d_m"]), table.columns["n_rec"])


@pytest.mark.parametrize(
    ("column", "least_r", "low", "high"),
    [("test_bpc", 0.985, 18, 25), ("valid_bpc", 0.995, 17, 23), ("train_bpc", 0.998, 16, 21)],
)
@pytest.mark.parametrize("floor", ["none", "max", "additive"])
def test_free_fits_reach_the_published_correlation(column, least_r, low, high, floor):
    fit, best = fit_enwik8(column, floor=floor)
    assert fit.pearson_r >= least_r
    assert low <= best.continuum_d_m <= high
    assert fit.has("one_budget")


@pytest.mark.parametrize(("floor", "rmse"), [("none", 0.004705), ("max", 0.00406), ("additive", 0.00467)])
def test_free_fits_are_no_worse_than_the_prototype(floor, rmse):
    fit, _ = fit_enwik8("test_bpc", floor=floor)
    assert fit.rmse <= rmse


@pytest.mark.parametrize(
    ("column", "rmse", "beta", "d_m", "aicc"),
    [
        ("test_bpc", 0.00475, 1.97, 19.7, -125.8),
        ("valid_bpc", 0.00195, 1.745, 19.4, -150.7),
        ("train_bpc", 0.00106, 1.778, 17.3, -167.8),
    ],
)
def test_single_neuron_alpha_with_additive_floor_fits_enwik8(column, rmse, beta, d_m, aicc):
    fit, best = fit_enwik8(column, fixed={"alpha": 0.95}, floor="additive")
    assert fit.rmse == pytest.approx(rmse, rel=0.02)
    assert fit.values["beta"] == pytest.approx(beta, rel=0.02)
    assert best.continuum_d_m == pytest.approx(d_m, rel=0.03)
    assert fit.aicc == pytest.approx(aicc, abs=0.1)


@pytest.mark.parametrize(
    ("column", "rmse", "aicc", "d_m"),
    [("test_bpc", 0.004845, -136.8, 22.5), ("valid_bpc", 0.00278, -152.3, 22.8), ("train_bpc", 0.00178, -164.8, 20.0)],
)
def test_quadratic_stands_beside_the_law(column, rmse, aicc, d_m):
    fit, best = fit_enwik8(column, law="quadratic")
    assert fit.rmse == pytest.approx(rmse, rel=0.002)
    assert fit.aicc == pytest.approx(aicc, abs=0.05)
    assert best.continuum_d_m == pytest.approx(d_m, abs=0.1)


def test_near_optimal_band_covers_the_observed_flat_range():
    _, best = fit_enwik8("test_bpc", floor="additive")
    assert best.bracketed
    assert best.band[0] <= 20
    assert best.band[1] >= 35
