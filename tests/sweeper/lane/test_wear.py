"""A worn-out lane leaves with nothing in its hands, and what it left is run by its successor."""

import os

import pytest
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from sweeper.executors.processes import ProcessExecutor
from sweeper.lane.lane import run_lane
from sweeper.lane.options import LaneConfig, LaneOptions
from sweeper.lane.wear import LEAST_TRIALS, Wear
from sweeper.launch.assignments import assignments_of
from sweeper.launch.launch import launch
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.seed_batch import Place
from sweeper.queue.broker import Broker
from sweeper.store.store import ResultsStore

GRID = """
name: wear
task: {name: text, alphabet: letters}
budgets: [4000, 8000]
model: {d_m: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], d_tree: 4, d_branch: 4}
seeds: 2
"""


@pytest.mark.parametrize(
    ("growth", "out_after"),
    [(0, None), (10, 2 * LEAST_TRIALS + 1), (200, 2 * LEAST_TRIALS)],
)
def test_memory_that_grows_and_stays_wears_out(growth, out_after):
    held = 0

    def resident() -> int:
        return held

    wear, first = Wear(resident, most_growth_bytes=10 * LEAST_TRIALS), None
    for trials in range(60):
        held = growth * trials
        if wear.is_out(trials):
            first = trials
            break
    assert first == out_after


def test_caches_that_fill_in_the_first_trials_do_not():
    wear = Wear(lambda: 10**12, most_growth_bytes=1)
    assert not any(wear.is_out(trials) for trials in range(100))
    assert Wear(lambda: 0, most_trials=100).is_out(100)


def test_a_worn_out_lane_leaves_the_rest_to_the_next(tmp_path):
    store = ResultsStore.create(tmp_path / "r")
    places = [Place(row, None, 1) for row in expand(parse_grid(GRID)).trials.values()]
    broker = Broker(assignments_of(places, "s", store, CostModel()))
    config = LaneConfig(store_uri=str(tmp_path / "r"), lane_prefix="x", code_version="v", recycle_trials=12)
    ran = [run_lane(broker, "lane", config, GroundTruth())]
    assert 12 <= ran[0] < 40
    assert broker.snapshot().statuses == {"finished": ran[0]}  # all it ran is stored and told
    while broker.need().lanes:
        ran.append(run_lane(broker, "lane", config, GroundTruth()))
    assert sum(ran) == len(store.statuses()) == 40
    assert broker.take_events() == []


def tells_its_process(assignment, progress, context) -> None:
    """A trainer that says in which process it ran."""
    GroundTruth()(assignment, progress, context)
    progress.data_name = str(os.getpid())


@pytest.mark.parametrize("executor", [ProcessExecutor])
def test_an_executor_replaces_worn_out_lanes(executor, tmp_path, monkeypatch):
    monkeypatch.setattr(LaneConfig, "__init__", _short_lived(LaneConfig.__init__))
    runs_on = executor(options=LaneOptions(lanes=1), trainer=tells_its_process)
    result = launch(parse_grid(GRID.replace("seeds: 2", "seeds: 1")), str(tmp_path / "r"), runs_on, Console(quiet=True))
    rows = ResultsStore.open(tmp_path / "r").read("trials", ["data_name", "attempt"]).to_pylist()
    assert result.status.counts == {"finished": 20}
    assert len({row["data_name"] for row in rows}) >= 2
    assert {row["attempt"] for row in rows} == {1}


def _short_lived(init):
    def short(self, **settings):
        init(self, **{**settings, "recycle_trials": 12})

    return short
