"""Every search keeps one contract: points of the space that can be run, none twice, the same for the same history."""

import math
from dataclasses import replace

import pytest

from sweeper.plan.search_section import Range, SearchSettings
from sweeper.plan.targets import Target, TargetError
from sweeper.search import theory as search_theory
from sweeper.search import theory_frame as search_frame
from sweeper.search.choose import make_searcher
from sweeper.search.space import Dimension, Observation, Sizes, Space
from theory.next_runs.sequential import Batch

SETTINGS = {
    "grid": SearchSettings(kind="grid"),
    "random": SearchSettings(kind="random"),
    "tpe": SearchSettings(kind="optuna"),
    "tpe, pareto": SearchSettings(kind="optuna", objective="pareto"),
    "nsga2": SearchSettings(kind="optuna", sampler="nsga2", objective="pareto", batch=4),
    "gp": SearchSettings(kind="optuna", sampler="gp"),
    "theory": SearchSettings(kind="theory"),
}


def measure(point):
    d_m = point.values["d_m"]
    k_e = 4.0 * d_m**2 + 12 * d_m + 1
    n_rec = (point.budget - 2000) // (k_e + 16)
    if n_rec < 4:
        return "fewer than 4 neurons"
    params = n_rec * (k_e + 16) + 2000
    return Sizes(float(n_rec), k_e, 16.0, float(d_m), params, params / 1e4)


def space_of(*more, seeds=(0, 1)):
    d_m = Dimension(name="d_m", range=Range(low=1, high=60, log=True, whole=True))
    return Space(budgets=(10_000, 30_000, 90_000), dimensions=(d_m, *more), seeds=seeds, measure=measure)


RATE = Dimension(name="learning_rate", range=Range(low=1e-4, high=0.1, log=True, whole=False))
KIND = Dimension(name="optimizer", values=("adam", "adamax"))


def loss(point):
    """Best at d_m = 8 and, where it is searched, a rate of 0.01 with adam."""
    found = math.log(point.values["d_m"] / 8) ** 2 - 0.1 * math.log(point.budget)
    found += math.log(point.values.get("learning_rate", 0.01) / 0.01) ** 2 / 10
    return found + 0.5 * (point.values.get("optimizer", "adam") != "adam")


def play(searcher, rounds, batch):
    """Let a search run against the made-up loss; every fifth trial fails."""
    history = []
    for _ in range(rounds):
        points = searcher.propose(history, batch).points
        for point in points:
            failed = len(history) % 5 == 4
            history.append(Observation(point, None if failed else loss(point)))
    return history


@pytest.mark.parametrize("name", SETTINGS)
def test_the_contract_of_every_search(name):
    more = () if name in ("theory", "grid") else (RATE, KIND)
    space = space_of(*more)
    searcher = make_searcher(SETTINGS[name], space)
    history = play(searcher, 4, 5)
    points = [observation.point for observation in history]
    assert len(points) == len(set(points))
    assert len(points) == 20 or name == "theory"  # its start is shorter than two whole batches
    for point in points:
        assert isinstance(measure(point), Sizes)
        assert point.budget in space.budgets
        assert point.seed in space.seeds
        assert all(d.holds(point.values[d.name]) for d in space.dimensions)
    again = make_searcher(SETTINGS[name], space).propose(history, 5)
    assert again.points == searcher.propose(history, 5).points
    assert again.points != make_searcher(SETTINGS[name], space).propose(history[:-5], 5).points


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_samplers_learn_from_the_rebuilt_history(name):
    """With one budget's 30 trials told, suggestions lie nearer to the optimum than random draws do."""
    space = space_of(RATE)
    history = play(make_searcher(SETTINGS["random"], space), 10, 6)
    learnt = make_searcher(SETTINGS[name], space).propose(history, 6).points
    drawn = make_searcher(SETTINGS["random"], space).propose(history, 60).points

    def excess(points):
        return sorted(loss(point) + 0.1 * math.log(point.budget) for point in points)[len(points) // 2]

    assert excess(learnt) < 0.5 * excess(drawn)


def test_optuna_spreads_its_trials_evenly_over_budgets():
    points = make_searcher(SETTINGS["tpe"], space_of(RATE)).propose([], 9).points
    assert sorted(point.budget for point in points) == [10_000] * 3 + [30_000] * 3 + [90_000] * 3


def test_a_small_space_runs_out():
    few = Space(
        budgets=(30_000,), dimensions=(Dimension(name="d_m", values=(2, 4, 100)),), seeds=(0, 1), measure=measure
    )
    for name in ("grid", "random", "tpe", "nsga2"):
        points = make_searcher(SETTINGS[name], few).propose([], 10).points
        assert {(p.values["d_m"], p.seed) for p in points} == {(2, 0), (2, 1), (4, 0), (4, 1)}


def test_theory_replicates_only_while_seeds_are_left():
    searcher = make_searcher(SETTINGS["theory"], space_of(seeds=(3,)))
    points = [observation.point for observation in play(searcher, 6, 5)]
    assert {point.seed for point in points} == {3}
    assert len(points) >= 20
    assert len({(point.budget, point.values["d_m"]) for point in points}) == len(points)


def test_a_grid_goes_through_ends_and_middles_first():
    points = make_searcher(SETTINGS["grid"], space_of()).propose([], 8).points
    first = [point.values["d_m"] for point in points if point.budget == 90_000][:3]
    assert first == [1, 8, 60]


def test_theory_replicates_where_the_configurations_are_few():
    """Four configurations cannot carry a law: each is run once, then again, the rarest first, until no seed is left."""
    few = Space(
        budgets=(30_000,), dimensions=(Dimension(name="d_m", values=(2, 4, 8, 16)),), seeds=(0, 1, 2), measure=measure
    )
    searcher = make_searcher(SETTINGS["theory"], few)
    history = play(searcher, 6, 3)
    points = [observation.point for observation in history]
    assert len(set(points)) == len(points) == 12
    assert {point.values["d_m"] for point in points[:4]} == {2, 4, 8, 16}
    assert {point.values["d_m"] for point in points[4:8]} == {2, 4, 8, 16}
    assert "no law guides the choice" in searcher.propose(history[:7], 3).reasons[0]


def test_an_exponent_needs_two_budgets():
    one = replace(space_of(), budgets=(30_000,))
    with pytest.raises(TargetError, match="exponent: a slope over budgets needs two of them"):
        make_searcher(replace(SETTINGS["theory"], target=("exponent",)), one)
    searcher = make_searcher(SETTINGS["theory"], one)
    interval = searcher.interval(play(searcher, 4, 5), Target(quantity="exponent"))
    assert interval.reason == "an exponent needs two budgets"


def test_the_networks_that_were_run_are_told_apart_beside_the_optimum(monkeypatch):
    """The goal holds each budget's line and the configurations among which the best one will be named."""
    searcher = make_searcher(SETTINGS["theory"], space_of())
    history = [o for o in play(searcher, 4, 5) if o.loss is not None]
    goals = []
    monkeypatch.setattr(
        search_theory, "choose", lambda belief, goal, *more, **rest: goals.append(goal) or Batch(picks=(), after=belief)
    )
    searcher.propose(history, 5)
    lines, rivals = goals[0].lines[:3], goals[0].lines[3:]
    assert all(len(line) == search_frame.LINE for line in lines)
    named = [{searcher._frame.points[place]._replace(seed=0) for place in own} for own in rivals]
    run = [
        {o.point._replace(seed=0) for o in history if o.point.budget == budget} for budget in (10_000, 30_000, 90_000)
    ]
    assert named == [own for own in run if len(own) > 1]
