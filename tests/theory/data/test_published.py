"""Regression on the paper's published tables; the numbers come from an independent implementation (40-digit checks,
other
solver)."""

import numpy as np
import pytest

from theory.data.published import load_published
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.optimum.allocation import optimum
from theory.optimum.locate import locate

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
def test_free_fits_are_no_worse_than_an_independent_search(floor, rmse):
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


@pytest.mark.parametrize(
    ("law", "options", "fixed", "r", "rmse", "aicc", "d_m"),
    [
        ("quadratic", {}, {}, 0.795, 0.033, -43.5, 11.0),
        ("cubic", {}, {}, 0.886, None, None, 8.5),
        ("effective_information", {"floor": "none"}, {"alpha": 0.95, "beta": 0.9}, 0.851, 0.028, -46.1, 9.5),
        ("effective_information", {"floor": "max"}, {"alpha": 0.95, "beta": 0.9}, 0.893, None, None, 8.7),
        ("effective_information", {"floor": "additive"}, {"alpha": 0.95, "beta": 0.9}, 0.880, None, None, 8.5),
    ],
)
def test_shd_accuracy_without_the_collapsed_run(law, options, fixed, r, rmse, aicc, d_m):
    table = load_published("shd_adding")
    keep = table.columns["d_m"] > 2
    fit = fit_law(
        get_law(law, **options),
        table.design.take(keep),
        table.columns["test_accuracy"][keep],
        fixed=fixed,
        direction="max",
    )
    best = optimum(fit, 77_310, table.cost)
    assert fit.pearson_r == pytest.approx(r, abs=0.002)
    assert best.continuum_d_m == pytest.approx(d_m, abs=0.2)
    if rmse is not None:
        assert fit.rmse == pytest.approx(rmse, abs=0.001)
        assert fit.aicc == pytest.approx(aicc, abs=0.1)


@pytest.mark.parametrize("column", ["test_loss", "valid_loss"])
@pytest.mark.parametrize("floor", ["none", "max", "additive"])
def test_shd_cross_entropy_with_and_without_the_collapsed_run(column, floor):
    """One run at d_m = 2 decides: both fits are possible, and the optimum without it is within 5..11."""
    table, law = load_published("shd_adding"), get_law("effective_information", floor=floor)
    keep, fixed = table.columns["d_m"] > 2, {"alpha": 0.95, "beta": 0.9}
    without = fit_law(law, table.design.take(keep), table.columns[column][keep], fixed=fixed)
    everything = fit_law(law, table.design, table.columns[column], fixed=fixed)
    assert 5 <= optimum(without, 77_310, table.cost).continuum_d_m <= 11
    assert 3 <= optimum(everything, 77_310, table.cost).continuum_d_m <= 11
    assert everything.rmse > without.rmse
    assert without.pearson_r > 0.7


def test_free_fit_of_shd_is_refused():
    table = load_published("shd_adding")
    with pytest.raises(TheoryError, match="10 rows cannot support 6 parameters"):
        fit_law("effective_information", table.design, table.columns["test_loss"])


def test_one_budget_carries_over_to_another_without_refit():
    """Only SHD's costs with Enwik8's parameters: d_m 5.2 to 6.2 for the additive-floor fits (observed 5 to 9)."""
    shd = load_published("shd_adding")
    for column in ("test_bpc", "valid_bpc", "train_bpc"):
        fit, _ = fit_enwik8(column, fixed={"alpha": 0.95}, floor="additive")
        assert 4.8 < locate(fit.curve(), 77_310, shd.cost, (0.5, 100)).d_m[0] < 6.4


def test_near_optimal_band_covers_the_observed_flat_range():
    _, best = fit_enwik8("test_bpc", floor="additive")
    assert best.bracketed
    assert best.band[0] <= 20
    assert best.band[1] >= 35
