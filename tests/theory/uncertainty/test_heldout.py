"""Held-out budgets and sizes, exclusions, regimes."""

import numpy as np
import pytest

from tests.theory.truths import SIGMA, grid_design, log_sizes
from theory.errors import TheoryError
from theory.fit.fit import fit_law, refit_part
from theory.laws.registry import get_law
from theory.uncertainty.heldout import exclusion_effects, leave_budget_out, leave_one_k_e_out, regime_check

DESIGN = grid_design(np.geomspace(3e5, 1e7, 4), log_sizes(9), seeds=2)


@pytest.fixture(scope="module")
def fits(t2):
    metric = t2.simulate(DESIGN, 0)
    laws = {
        "truth": get_law("effective_information", floor="additive"),
        "wrong": "power_law",
        "quadratic": "quadratic",
    }
    return {name: fit_law(law, DESIGN, metric) for name, law in laws.items()}


def test_without_replicates_no_error_is_told_in_seed_noises(fits):
    """The residuals once stood in, beside a report that called the seed noise unknown."""
    (name, fit), *_ = fits.items()
    first = np.unique(fit.inputs.design.configurations(), return_index=True)[1]
    alone = refit_part(fit, np.isin(np.arange(fit.n), first))
    assert leave_budget_out({name: alone})[0].seed_sds is None


def test_largest_budget_is_predicted_within_seed_noise(fits):
    found = leave_budget_out(fits)
    assert found[0].name == "truth"
    assert found[0].rows == int((DESIGN.budgets == DESIGN.budgets.max()).sum())
    assert found[0].seed_sds < 1.6
    assert found[0].rmse == pytest.approx(SIGMA, rel=0.6)
    wrong = next(row for row in found if row.name == "wrong")
    assert wrong.seed_sds > 3
    quadratic = next(row for row in found if row.name == "quadratic")
    assert quadratic.rmse is None
    assert "cannot extrapolate" in quadratic.reason


def test_another_budget_can_be_held_out(fits):
    smallest = float(DESIGN.budgets.min())
    assert leave_budget_out(fits, budget=smallest)[0].held == "budget 300000"
    with pytest.raises(TheoryError, match="budget: 5 is not in the data"):
        leave_budget_out(fits, budget=5)


def test_each_k_e_is_predicted(fits):
    found = leave_one_k_e_out({name: fits[name] for name in ("truth", "wrong")})
    assert found[0].name == "truth"
    assert found[0].rows == len(DESIGN)
    assert found[0].seed_sds < 1.4


def test_levels_left_out_together_are_predicted_as_if_each_were_left_out_alone(fits):
    for name in ("truth", "wrong"):
        missed = []
        for level in np.unique(DESIGN.k_e):
            held = DESIGN.k_e == level
            part = refit_part(fits[name], ~held)
            missed.append(fits[name].inputs.metric[held] - part.predict(DESIGN.take(held)))
        rmse = float(np.sqrt(np.mean(np.concatenate(missed) ** 2)))
        assert leave_one_k_e_out({name: fits[name]})[0].rmse == pytest.approx(rmse, rel=1e-5)


def test_exclusions_show_their_effect(fits):
    fit = fits["truth"]
    found = exclusion_effects(fit, {"large": DESIGN.d_m > 100, "nearly all": np.arange(len(DESIGN)) > 7})
    assert found[0].rows == int((DESIGN.d_m > 100).sum())
    assert 0 < abs(found[0].change["beta"]) < 0.2
    assert found[1].values is None
    assert "cannot support" in found[1].note


def test_regime_break_is_found_and_not_invented():
    params = np.geomspace(1e4, 1e7, 20)
    noise = 0.002 * np.random.default_rng(1).standard_normal(20)
    smooth = regime_check(params, 1 + (params / 1e5) ** -0.4 + noise)
    assert smooth.broken is False
    kinked = 1 + np.where(params < 3e5, (params / 3e5) ** -0.1, (params / 3e5) ** -0.9)
    broken = regime_check(params, kinked + noise)
    assert broken.broken
    assert broken.p_break == pytest.approx(3e5, rel=0.2)
    few = regime_check(params[:5], smooth.delta_aicc + params[:5])
    assert few.broken is None
    assert "cannot support" in few.sentence
