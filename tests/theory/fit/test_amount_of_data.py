"""How many runs identify what: an independent Monte Carlo table as recovery tests (noise 0.003, 200 simulations
each)."""

import numpy as np
import pytest

from tests.theory.truths import SIGMA, SIM_COST, grid_design, log_sizes
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.optimum.locate import locate
from theory.uncertainty.resample import refit_many

BUDGETS = np.geomspace(1e6, 1e7, 3)


def errors_of(truth, design, simulations=200):
    """ln errors of the parameters and of the optimum at 3.5e6 and 1e7, [simulations] each."""
    fit = fit_law(get_law("effective_information", floor=truth.floor), design, truth.simulate(design, 0))
    noise = SIGMA * np.random.default_rng(1).standard_normal((simulations, len(design)))
    draws = refit_many(fit, metric=truth.metric(design) + noise, starts=3).draws
    found = {
        name: np.log(draws.parameter(name) / float(truth.curve.theta[name][0])) for name in ("alpha", "beta", "k_floor")
    }
    for budget in (3.5e6, 1e7):
        exact = locate(truth.curve, budget, SIM_COST, (0.5, 1000)).d_m[0]
        found[f"d_m at {budget:g}"] = np.log(locate(draws.curve(), budget, SIM_COST, (0.5, 1000)).d_m / exact)
    return found


def share(errors, within=0.10):
    return float(np.mean(np.abs(errors) < np.log1p(within)))


def test_one_budget_gives_its_optimum_and_not_beta(t1):
    found = errors_of(t1, grid_design([3.5e6], log_sizes(14)))
    assert share(found["d_m at 3.5e+06"]) > 0.9
    assert share(found["beta"]) < 0.45


def test_27_runs_give_exponents_and_optimum(t1):
    found = errors_of(t1, grid_design(BUDGETS, log_sizes(9)))
    for name in ("alpha", "beta", "d_m at 3.5e+06", "d_m at 1e+07"):
        assert share(found[name]) > 0.9, name
    assert share(found["k_floor"]) < 0.8


def test_81_runs_give_exponents_within_a_few_percent(t1):
    found = errors_of(t1, grid_design(BUDGETS, log_sizes(9), seeds=3))
    for name in ("alpha", "beta"):
        assert np.median(np.abs(found[name])) < 0.02, name
    assert share(found["d_m at 1e+07"]) == 1
    assert share(found["k_floor"]) > 0.65


def test_135_runs_give_the_floor(t1):
    found = errors_of(t1, grid_design(np.geomspace(3e5, 1e7, 5), log_sizes(9), seeds=3))
    assert share(found["k_floor"]) > 0.65
    assert np.median(np.abs(found["k_floor"])) < 0.07


def test_small_budgets_do_not_identify_the_floor(t1):
    found = errors_of(t1, grid_design(np.geomspace(1e5, 1e6, 3), log_sizes(9), seeds=3))
    assert share(found["k_floor"]) < 0.5


@pytest.mark.parametrize("decades", [(1e6, 1e7)])
def test_additive_floor_from_27_runs(t2, decades):
    found = errors_of(t2, grid_design(np.geomspace(*decades, 3), log_sizes(9)))
    assert share(found["d_m at 1e+07"]) > 0.93
    assert share(found["beta"]) > 0.95


@pytest.mark.slow
def test_three_decades_recover_within_ten_percent(t1, t2):
    design = grid_design(np.geomspace(1e5, 1e8, 7), log_sizes(7), seeds=3)
    for truth in (t1, t2):
        found = errors_of(truth, design)
        for name in ("alpha", "beta", "d_m at 3.5e+06", "d_m at 1e+07"):
            assert share(found[name]) > 0.98, (truth.floor, name)
