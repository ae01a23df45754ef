"""The benchmark in its smallest form: what counts as arrived, and that the theory does."""

import math

import pytest
from click.testing import CliRunner

from benchmarks import search as search_bench
from benchmarks.search import BATCH, SEARCHES, Arrival, Task, _Run, main, make, measure, quartiles, rows
from benchmarks.search_worlds import worlds
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
    theory, grid = (measure(name, "additive floor", 3) for name in ("theory", "grid"))
    for name in ("frontier", "frontier_cost"):
        one, other = (quartiles([getattr(arrival, name) for arrival in found])[1] for found in (theory, grid))
        assert one < other
    assert max(arrival.bracket for arrival in theory) < 40


def test_quartiles_keep_what_never_arrived():
    assert quartiles([4, 8, math.inf]) == (4, 8, math.inf)


@pytest.mark.parametrize("search", [name for name in SEARCHES if name != "gp"])
def test_every_search_is_looked_at_after_the_same_trials(world, monkeypatch, search):
    looks = []
    monkeypatch.setattr(search_bench, "MOST", 5 * BATCH)
    monkeypatch.setattr(_Run, "_named", lambda run, judge: looks.append(len(run.history)) or {})
    _Run(world=world, search=search, seed=0).arrive()
    assert looks == [BATCH, 2 * BATCH, 3 * BATCH, 4 * BATCH, 5 * BATCH]


ARGUMENTS = ["--seeds", "2", "--searches", "grid,random", "--worlds", "published enwik8"]


def test_the_table_is_printed_and_kept_arrivals_are_not_measured_again(tmp_path, monkeypatch):
    kept = ["--keep", str(tmp_path / "kept.jsonl")]
    found = CliRunner().invoke(main, [*ARGUMENTS, *kept])
    assert found.exit_code == 0, found.output
    assert found.output.count("| published enwik8 | ") == 2
    assert "| published enwik8 | random | 2 |" in found.output
    lines = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert len(lines) == 4
    monkeypatch.setattr(Task, "arrive", None)
    assert CliRunner().invoke(main, [*ARGUMENTS, *kept]).output == found.output
    (tmp_path / "kept.jsonl").write_text("\n".join(lines).replace('"seed": 1', '"sed": 1'))
    assert "line 2 is no arrival (KeyError('seed'))" in str(CliRunner().invoke(main, [*ARGUMENTS, *kept]).exception)


def test_never_and_what_it_is_compared_with():
    never, soon = Arrival(math.inf, math.inf, math.inf, 0.0), Arrival(27, 10.0, 27, 0.0)
    grid, random, theory = rows("w", {"grid": [never], "random": [Arrival(54, 20.0, 54, 0.0)], "theory": [soon]})
    assert grid == "| w | grid | 1 | never (never–never) | – | – | never | never (never–never) | 0 |"
    assert "| 54 (54–54) | < 0.50 | 1.00 | 20 |" in random
    assert "| 27 (27–27) | < 0.25 | 0.50 | 10 |" in theory


def test_unknown_names_are_refused():
    unknown = CliRunner().invoke(main, ["--searches", "grid,anneal", "--worlds", "dent"])
    assert "'anneal' is not known" in str(unknown.exception)
    assert "'dend' is not known" in str(CliRunner().invoke(main, ["--worlds", "dend"]).exception)
    with pytest.raises((SweeperError, ValueError), match="'anneal' is not known"):
        make("anneal", worlds()["dent"], 0)
