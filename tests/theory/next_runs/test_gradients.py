"""Chosen runs against grids, and the guards around them."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import t

from tests.theory.truths import SIM_COST, grid_design, log_sizes
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.next_runs.gradients import next_points
from theory.optimum.locate import locate
from theory.uncertainty.intervals import delta
from theory.uncertainty.quantities import best_d_m

CANDIDATES = grid_design(np.geomspace(3e5, 1e7, 7), log_sizes(16))
TARGETS = [best_d_m(3.5e6, SIM_COST), best_d_m(1e7, SIM_COST)]
START = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9))


def join(one, other):
    names = ("n_rec", "k_e", "k_c", "trainable_params", "budget", "d_m")
    return Design(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names})


@pytest.fixture(scope="module")
def first(t2):
    return fit_law(get_law("effective_information", floor="additive"), START, t2.simulate(START, 0))


def test_forecast_of_the_target_is_what_a_refit_finds(t2):
    """Pick 21 runs, do them, refit: the standard error must be the one that was promised."""
    law = get_law("effective_information", floor="additive")
    tiny = 1e-6
    first = fit_law(law, START, t2.simulate(START, 0, sd=tiny))
    found = next_points(first, CANDIDATES, TARGETS, 21, flexible_link=False)
    both = join(START, CANDIDATES.take([pick.row for pick in found.picks]))
    fit = fit_law(law, both, t2.simulate(both, 1, sd=tiny))
    quantile = t.ppf(0.975, fit.n - fit.p)
    reached = [np.log(row.high / row.low) / 2 / quantile * first.noise_sd / fit.noise_sd for row in delta(fit, TARGETS)]
    np.testing.assert_allclose(reached, found.picks[-1].target_sd, rtol=0.02)


def test_chosen_runs_beat_a_grid_of_the_same_size(t1):
    law = get_law("effective_information")
    first = fit_law(law, START, t1.simulate(START, 0))
    found = next_points(first, CANDIDATES, TARGETS, 21, flexible_link=False, cost_power=0.0)
    chosen = join(START, CANDIDATES.take([pick.row for pick in found.picks]))
    grid = grid_design(np.geomspace(3e5, 1e7, 4), log_sizes(12))
    assert abs(len(grid) - len(chosen)) <= 3
    errors = {"chosen": [], "grid": []}
    truth = [np.log(locate(t1.curve, budget, SIM_COST, (0.5, 1000)).d_m[0]) for budget in (3.5e6, 1e7)]
    for seed in range(20):
        for name, design in (("chosen", chosen), ("grid", grid)):
            fit = fit_law(law, design, t1.simulate(design, 100 + seed), starts=8)
            errors[name] += [
                np.log(locate(fit.curve(), budget, SIM_COST, (0.5, 1000)).d_m[0]) - value
                for budget, value in zip((3.5e6, 1e7), truth, strict=True)
            ]
    rmse = {name: np.sqrt(np.mean(np.square(values))) for name, values in errors.items()}
    assert rmse["chosen"] < 0.9 * rmse["grid"]


def test_each_pick_narrows_the_target(first):
    found = next_points(first, CANDIDATES, TARGETS[0], 8)
    sds = [found.target_sd[0], *(pick.target_sd[0] for pick in found.picks)]
    assert all(later < earlier for earlier, later in pairwise(sds))
    assert {pick.reason for pick in found.picks} == {"target", "spread", "band"}


def test_box_cox_link_drives_and_is_announced(first):
    found = next_points(first, CANDIDATES, TARGETS, 2)
    assert "boxcox" in found.law
    assert any("Box-Cox link" in sentence for sentence in found.sentences)
    assert any("loses about 2 if it is wrong" in sentence for sentence in found.sentences)
    assert "boxcox" not in next_points(first, CANDIDATES, TARGETS, 2, flexible_link=False).law


def test_picks_stay_within_the_data(t2):
    narrow = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9, 6, 40))
    fit = fit_law(get_law("effective_information", floor="additive"), narrow, t2.simulate(narrow, 0))
    found = next_points(fit, CANDIDATES, TARGETS, 6)
    low, high = narrow.k_e.min(), narrow.k_e.max()
    assert all(low <= pick.k_e <= high for pick in found.picks)
    with pytest.raises(TheoryError, match="candidates: none lies within the data's k_e"):
        next_points(fit, Design(n_rec=[10.0], k_e=[1e7], k_c=750.0), TARGETS, 1)


def test_cost_weighting_spends_less(first):
    free = next_points(first, CANDIDATES, TARGETS, 12, cost_power=0.0)
    thrifty = next_points(first, CANDIDATES, TARGETS, 12, cost_power=1.0)
    assert sum(p.trainable_params for p in thrifty.picks) < sum(p.trainable_params for p in free.picks)


def test_few_runs_are_a_warning(t2):
    small = START.take(np.arange(0, len(START), 2))
    fit = fit_law("separable_power_law", small, t2.simulate(small, 0))
    found = next_points(fit, CANDIDATES, TARGETS, 1)
    assert any("finish a grid" in sentence for sentence in found.sentences)
    with pytest.raises(TheoryError, match="n: 0"):
        next_points(fit, CANDIDATES, TARGETS, 0)
