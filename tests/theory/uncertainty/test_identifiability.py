"""What one budget cannot say, and what cures it."""

import numpy as np
import pytest

from tests.theory.truths import SIM_COST, grid_design, log_sizes
from theory.data.design import Design
from theory.data.published import load_published
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.uncertainty.identifiability import identifiability
from theory.uncertainty.intervals import delta
from theory.uncertainty.profile import profile
from theory.uncertainty.quantities import all_parameters, best_d_m


def width(fit, label):
    interval = next(item for item in delta(fit, all_parameters(fit)) if item.quantity == label)
    return np.inf if interval.low is None else np.log(interval.high / interval.low)


def test_published_budget_does_not_identify_the_theory():
    table = load_published("enwik8")
    fit = fit_law(get_law("effective_information", floor="additive"), table.design, table.columns["test_bpc"])
    found = identifiability(fit)
    assert not found.identified["alpha"]
    assert not found.identified["k_floor"]
    assert found.levels["budget"] == 1
    assert any("not identified by one budget" in sentence for sentence in found.sentences)
    assert found.singular_values[0] / found.singular_values[-1] > 1e4
    alpha = profile(fit, "alpha", threshold="chi2")
    assert alpha.low is None
    assert 1.5 < alpha.high < 3.5  # an independent fit gave 0.02 to 2.5
    beta = profile(fit, "beta", threshold="chi2")
    assert beta.low == pytest.approx(1.05, abs=0.05)
    assert beta.high == pytest.approx(3.5, abs=0.3)


def test_published_budget_identifies_the_optimum():
    table = load_published("enwik8")
    law = get_law("effective_information", floor="additive")
    fit = fit_law(law, table.design, table.columns["train_bpc"], fixed={"alpha": 0.95})
    found = profile(fit, best_d_m(3_516_748, table.cost))
    assert found.closed
    assert 15 < found.low < found.high < 20


def test_n_rec_sweep_cures_one_budget(t1):
    one = grid_design([3.5e6], log_sizes(14))
    sweep = np.geomspace(64, 4096, 7).round()
    n_rec, k_e = np.concatenate([one.n_rec, sweep]), np.concatenate([one.k_e, np.full(7, SIM_COST.complexity(15))])
    both = Design(n_rec=n_rec, k_e=k_e, k_c=np.full(n_rec.size, 750.0))
    law = get_law("effective_information")
    alone = fit_law(law, one, t1.simulate(one, 1))
    cured = fit_law(law, both, t1.simulate(both, 1))
    assert width(cured, "beta") < 0.5
    assert width(alone, "beta") > 3 * width(cured, "beta")
    assert profile(cured, "beta").closed


def test_three_budgets_identify_all(t2):
    design = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9), seeds=2)
    found = identifiability(fit_law(get_law("effective_information", floor="additive"), design, t2.simulate(design, 0)))
    assert all(found.identified.values())
    assert found.levels["k_e"] >= 8
    assert sum(share**2 for share in found.weakest.values()) == pytest.approx(1)
