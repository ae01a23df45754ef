"""Simulated plans: sizes from 10^2 to 10^6, the cost model's own error, and the error against a sweep that ran."""

import re
import time
from datetime import timedelta

import pytest
from click.testing import CliRunner
from rich.console import Console

from cluster.errors import ScenarioError
from sweeper.cli import cli
from sweeper.errors import SweeperError
from sweeper.executors.processes import ProcessExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.launch.simulation import replay_store, simulate_plan
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.status import store_cost_model
from sweeper.store.schema import AttemptRecord
from sweeper.store.store import ResultsStore
from sweeper.training.progress import Evaluation
from tests.sweeper.rows import NOW, trial

GRID = """
name: real
task: {name: text, alphabet: letters}
budgets: [5000, 4500, 4000, 3500, 3000, 2500]
model: {d_m: [1, 2], d_tree: 4, d_branch: 4}
training: {steps: 1}
"""


@pytest.fixture
def specs():
    return [row.spec for row in expand(parse_grid(GRID)).trials.values()]


def attempt(trial_id: str, **times) -> AttemptRecord:
    common = {"status": "finished", "reason": None, "traceback": None, "host": "h", "lane": "l-0", "wall_s": None}
    return AttemptRecord(trial_id=trial_id, attempt=1, **common, **times)


def makespan_s(text: str) -> float:
    number, unit = re.search(r"makespan +([\d.,]+) (s|min|h)", text).groups()
    return float(number.replace(",", "")) * {"s": 1, "min": 60, "h": 3600}[unit]


@pytest.mark.parametrize("trials", [100, 10_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_any_number_of_trials(trials, specs):
    text = simulate_plan(specs, CostModel(), f"nodes=64,gpus=8,preempt=0.02/h,price=20,trials={trials},bias=0,error=0")
    assert f"{trials} trials" in text
    work = sum(CostModel().seconds(spec) for spec in specs) / len(specs) * trials
    assert makespan_s(text) >= work / 512
    assert makespan_s(text) < 1.1 * work / 512 + 120
    assert "money" in text


def test_what_the_cost_model_does_not_know_widens_the_forecast(specs):
    sure = simulate_plan(specs, CostModel(log_spread=0.01), "nodes=2,trials=1000")
    unsure = simulate_plan(specs, CostModel(log_spread=0.7), "nodes=2,trials=1000")
    spread = [re.search(r"\((\S+) \S+ to (\S+) ", text).groups() for text in (sure, unsure)]
    low, high = ([float(number.replace(",", "")) for number in pair] for pair in spread)
    assert low[1] / low[0] < 1.1
    assert high[1] / high[0] > 2
    assert "built-in constants of one CPU core" in sure


def test_mistakes_are_named(specs):
    with pytest.raises(ScenarioError, match="'node' is not known; did you mean 'nodes'"):
        simulate_plan(specs, CostModel(), "node=3")
    with pytest.raises(SweeperError, match="trials: expected a whole number up to 2000000, got '1e6'"):
        simulate_plan(specs, CostModel(), "trials=1e6")
    with pytest.raises(SweeperError, match="--simulate: trials is given twice"):
        simulate_plan(specs, CostModel(), "trials=5,nodes=2,trials=6")
    with pytest.raises(SweeperError, match="nothing left to run"):
        simulate_plan([], CostModel(), "nodes=2")


@pytest.mark.parametrize("both", [("--simulate", "nodes=2", "--json"), ("--replay", "--json")])
def test_what_would_print_two_things_is_refused(both):
    asked = CliRunner().invoke(cli, ["plan", "demo", *both])
    assert (asked.exit_code, "give one of them" in asked.output) == (2, True)


def sleep_a_while(assignment, progress, context) -> None:
    """Trials of a quarter to half a second, by their budget."""
    time.sleep(assignment.budget / 10_000)
    for split in ("train", "valid", "test"):
        progress.final[split] = Evaluation(step=1, split=split, loss=1.0, metric=1.0, learning_rate=None, wall_s=0.0)
    progress.best, progress.steps_done = progress.final, 1


def test_the_error_against_a_sweep_that_ran_is_printed(tmp_path):
    executor = ProcessExecutor(options=LaneOptions(lanes=2), trainer=sleep_a_while)
    launch(parse_grid(GRID), str(tmp_path / "r"), executor, Console(quiet=True))
    store = ResultsStore.open(tmp_path / "r")
    said = replay_store(store, store_cost_model(store))
    error = re.search(r"12 trials on 2 lanes took .*; the simulation says .* \(([+-][\d.]+)%\)", said)
    assert error, said
    assert abs(float(error[1])) < 15
    assert "With the durations that the cost model expects (12 finished trials) it says" in said


def test_trials_in_one_go_are_expected_to_take_the_sum_of_their_shares(tmp_path, specs):
    store, costs = ResultsStore.create(tmp_path / "r"), CostModel()
    start, attempts = NOW, []
    for pair in (specs[0:2], specs[2:4], specs[4:6]):
        end = start + timedelta(seconds=sum(map(costs.seconds, pair)))
        attempts += [attempt(spec.trial_id, started_at=start, ended_at=end) for spec in pair]
        start = end
    store.write("attempts", attempts)
    store.write("trials", [trial(spec.trial_id, spec=spec.canonical) for spec in specs])
    of_the_model = replay_store(store, costs).splitlines()[1]
    assert abs(float(re.search(r"\(([+-][\d.]+)%\)", of_the_model)[1])) < 5


def test_a_store_without_a_launch_cannot_be_compared_with(tmp_path):
    store = ResultsStore.create(tmp_path / "r")
    with pytest.raises(SweeperError, match="holds no launch with two or more trials"):
        replay_store(store, CostModel())
