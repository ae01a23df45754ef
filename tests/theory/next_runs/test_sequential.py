"""The chosen runs are for what was asked, and what is not measured is not found."""

import numpy as np
import pytest

from tests.theory.truths import SIM_COST, grid_design, log_sizes
from theory.data.design import Design
from theory.errors import TheoryError
from theory.next_runs.belief import believe
from theory.next_runs.sequential import Goal, choose, locate_optimum, parameter_interval, space_filling
from theory.optimum.locate import budget_line

BUDGETS = np.geomspace(5e5, 1e7, 3)
RUNS = grid_design(BUDGETS, log_sizes(7))
CANDIDATES = grid_design(BUDGETS, log_sizes(12))
LADDER = np.exp(np.linspace(np.log(3), np.log(120), 40))
LINES = tuple(np.arange(len(CANDIDATES) + 40 * i, len(CANDIDATES) + 40 * (i + 1)) for i in range(3))


def join(*designs):
    names = ("n_rec", "k_e", "k_c", "trainable_params", "budget", "d_m")
    return Design(**{name: np.concatenate([getattr(design, name) for design in designs]) for name in names})


SMOOTH = np.concatenate(LINES)
PLACES = join(CANDIDATES, *(budget_line(budget, SIM_COST, LADDER) for budget in BUDGETS))
OWN = np.arange(len(CANDIDATES))
PRICE = CANDIDATES.params


@pytest.fixture(scope="module")
def belief(t2):
    return believe(RUNS, t2.simulate(RUNS, 0), PLACES, smooth=SMOOTH)


def test_each_run_narrows_the_belief(belief):
    batch = choose(belief, Goal(lines=LINES), OWN, PRICE, 8)
    assert len(batch.picks) == 8
    assert {pick.reason for pick in batch.picks} <= {"target", "confirm", "spread"}
    before, after = (np.diag(b.covariance)[SMOOTH] for b in (belief, batch.after))
    assert (after <= before + 1e-15).all()
    assert after.sum() < 0.7 * before.sum()
    widths = [[locate_optimum(b, line).half_width for line in LINES] for b in (belief, batch.after)]
    assert np.mean(widths[1]) < np.mean(widths[0])


def test_an_optimum_that_was_not_run_is_run(belief):
    far = np.flatnonzero(np.abs(np.log(CANDIDATES.d_m / 15)) > 1.0)
    batch = choose(belief, Goal(lines=LINES), OWN, PRICE, 3, already_run=far)
    assert [pick.reason for pick in batch.picks] == ["confirm"] * 3
    assert {CANDIDATES.budget[pick.place] for pick in batch.picks} == set(BUDGETS)
    for pick in batch.picks:
        own = CANDIDATES.budget == CANDIDATES.budget[pick.place]
        assert belief.mean[pick.place] == belief.mean[: len(CANDIDATES)][own].min()


def test_runs_are_paid_for_and_have_seats(belief):
    goal = Goal(lines=LINES)
    seats = np.zeros(len(OWN), dtype=int)
    seats[:4] = 1
    assert sorted(pick.place for pick in choose(belief, goal, OWN, PRICE, 9, seats=seats).picks) == [0, 1, 2, 3]
    spend = 3.5 * float(PRICE.min())
    picks = choose(belief, goal, OWN, PRICE, 9, spend=spend).picks
    assert 1 <= len(picks) <= 3
    assert sum(PRICE[pick.place] for pick in picks) <= spend
    assert choose(belief, goal, OWN, PRICE, 9, spend=0.0).picks == ()


def test_a_parameter_is_narrowed_by_runs_chosen_for_it(belief):
    if "beta" not in belief.fit.free:
        pytest.fail(f"{belief.fit.law.label} was fitted to a law with beta")
    goal = Goal(parameters=("beta",))
    after = choose(belief, goal, OWN, PRICE, 6).after
    value, low, high = parameter_interval(belief, "beta")
    _, low_after, high_after = parameter_interval(after, "beta")
    assert low < low_after < value < high_after < high
    with pytest.raises(TheoryError, match="has no gamma"):
        parameter_interval(belief, "gamma")


def test_filling_the_space():
    first = space_filling(CANDIDATES, None, 9)
    assert len(set(first.tolist())) == 9
    assert set(CANDIDATES.budget[first]) == set(BUDGETS)
    assert {CANDIDATES.d_m[first].min(), CANDIDATES.d_m[first].max()} == {CANDIDATES.d_m.min(), CANDIDATES.d_m.max()}
    more = space_filling(CANDIDATES, CANDIDATES.take(first), 4)
    assert not set(first.tolist()) & set(more.tolist())
    assert len(space_filling(CANDIDATES, None, 10_000)) == len(CANDIDATES)
