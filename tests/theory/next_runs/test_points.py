"""The next runs narrow what is asked for, keep within what is known, and know which configurations were run."""

import numpy as np
import pytest

from tests.theory.truths import SIM_COST, grid_design, log_sizes
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.next_runs.points import next_points

CANDIDATES = grid_design(np.geomspace(3e5, 1e7, 7), log_sizes(16))
START = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9))
BUDGETS = (3.5e6, 1e7)


@pytest.fixture(scope="module")
def first(t2):
    return fit_law(get_law("effective_information", floor="additive"), START, t2.simulate(START, 0))


def test_the_runs_narrow_every_target(first):
    found = next_points(first, CANDIDATES, BUDGETS, SIM_COST, 8)
    assert found.targets == ("d_m at 3.5e+06", "d_m at 1e+07")
    assert len(found.picks) == 8
    assert {pick.reason for pick in found.picks} <= {"target", "confirm", "spread"}
    sds = np.array([found.target_sd, *(pick.target_sd for pick in found.picks)])
    assert (sds[-1] < sds[0]).all()
    assert (sds[1:] < 1.03 * sds[:-1]).all()  # from draws, so to within a few percent


def test_the_forecast_is_what_another_look_finds(first, t2):
    """Do the runs, ask again: the spread must be about the one that was promised."""
    found = next_points(first, CANDIDATES, BUDGETS, SIM_COST, 21)
    rows = [pick.row for pick in found.picks]
    names = ("n_rec", "k_e", "k_c", "trainable_params", "budget", "d_m")
    both = Design(**{name: np.concatenate([getattr(START, name), getattr(CANDIDATES, name)[rows]]) for name in names})
    again = next_points(fit_law("effective_information", both, t2.simulate(both, 0)), CANDIDATES, BUDGETS, SIM_COST, 1)
    np.testing.assert_allclose(again.target_sd, found.picks[-1].target_sd, rtol=0.4)


def test_dear_runs_are_chosen_less_where_price_counts(first):
    free = next_points(first, CANDIDATES, BUDGETS, SIM_COST, 12, cost_power=0.0)
    thrifty = next_points(first, CANDIDATES, BUDGETS, SIM_COST, 12, cost_power=1.0)
    assert sum(p.trainable_params for p in thrifty.picks) < sum(p.trainable_params for p in free.picks)


def test_a_candidate_that_was_run_has_the_sizes_of_the_run(t2):
    moved = Design(n_rec=START.n_rec + 1, k_e=START.k_e * 1.003, k_c=START.k_c, budget=START.budget, d_m=START.d_m)
    fit = fit_law(get_law("effective_information", floor="additive"), START, t2.simulate(START, 0))
    found = next_points(fit, moved, BUDGETS, SIM_COST, 4)
    assert {pick.n_rec for pick in found.picks} <= set(START.n_rec.tolist())


def test_picks_stay_within_the_data(t2):
    narrow = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9, 6, 40))
    fit = fit_law(get_law("effective_information", floor="additive"), narrow, t2.simulate(narrow, 0))
    found = next_points(fit, CANDIDATES, BUDGETS, SIM_COST, 6)
    chosen = CANDIDATES.k_e[[pick.row for pick in found.picks]]
    assert ((chosen > narrow.k_e.min() * 0.97) & (chosen < narrow.k_e.max() * 1.03)).all()
    with pytest.raises(TheoryError, match="candidates: none lies within the data's k_e"):
        next_points(fit, Design(n_rec=[10.0], k_e=[1e7], k_c=750.0, d_m=[1.0]), BUDGETS, SIM_COST, 1)


@pytest.mark.parametrize("budget", [10.0, 800.0])
def test_a_budget_below_one_neuron_is_refused(first, budget):
    with pytest.raises(TheoryError, match=f"budget: {budget:g} leaves no range of d_m with at least one neuron"):
        next_points(first, CANDIDATES, [budget], SIM_COST, 1)


def test_no_runs_are_refused(first):
    with pytest.raises(TheoryError, match="n: 0"):
        next_points(first, CANDIDATES, BUDGETS, SIM_COST, 0)
