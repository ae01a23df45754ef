"""The benchmark in its smallest form: what counts as arrived, and that the theory does."""

import math

import pytest
from click.testing import CliRunner

from analysis.search_bench import main, make, measure, quartiles, worlds
from sweeper.errors import SweeperError


@pytest.fixture(scope="module")
def world():
    return worlds()["additive floor"]


def test_regret_is_that_of_the_worst_budget(world):
    best = {budget: min(losses, key=losses.__getitem__) for budget, losses in world.truth.items()}
    worst = {budget: max(losses, key=losses.__getitem__) for budget, losses in world.truth.items()}
    budget = world.budgets[0]
    assert world.regret(best) == 0
    assert world.regret(best | {budget: worst[budget]}) == 1
    assert world.regret(best | {budget: None}) == 1


def test_a_bracket_needs_run_neighbours_on_both_sides_everywhere(world):
    best = {budget: min(losses, key=losses.__getitem__) for budget, losses in world.truth.items()}
    run = {budget: {3, d_m, 60} for budget, d_m in best.items()}
    assert world.bracketed(best, run)
    budget = world.budgets[-1]
    assert not world.bracketed(best, run | {budget: {best[budget], 60}})
    below = best | {budget: 5}
    assert not world.bracketed(below, run | {budget: {3, 5, best[budget], 60}})


def test_worlds_differ_by_seed_but_not_from_run_to_run():
    one, again, other = (worlds(seed)["dent"].truth for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_theory_arrives_before_the_grid():
    (theory,), (grid,) = measure("theory", "additive floor", 1), measure("grid", "additive floor", 1)
    assert theory.frontier < grid.frontier
    assert theory.frontier_cost < grid.frontier_cost
    assert theory.bracket < 30


def test_quartiles_keep_what_never_arrived():
    assert quartiles([4, 8, math.inf]) == (4, 8, math.inf)


def test_the_table_is_printed():
    found = CliRunner().invoke(main, ["--seeds", "2", "--searches", "grid,random", "--worlds", "published enwik8"])
    assert found.exit_code == 0, found.output
    assert "published enwik8 (lookup)" in found.output
    assert "random" in found.output
    unknown = CliRunner().invoke(main, ["--searches", "grid,anneal", "--worlds", "dent"])
    assert isinstance(unknown.exception, SweeperError | ValueError)
    assert "'anneal' is not known" in str(unknown.exception)
    with pytest.raises((SweeperError, ValueError), match="'anneal' is not known"):
        make("anneal", worlds()["dent"], 0)
