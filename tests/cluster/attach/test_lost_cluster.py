"""A cluster that goes for good while a sweep runs: what is done stays, the launch is no longer shown as running."""

import dataclasses

import pytest
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from cluster.errors import ConnectError
from sweeper.lane.lane import run_lane
from sweeper.launch.launch import launch
from sweeper.launch.options import LaunchOptions
from sweeper.plan.grid import parse_grid
from sweeper.queue.broker import Broker
from sweeper.queue.journal import live_launches
from sweeper.store.store import ResultsStore

GRID = "task: {name: text, alphabet: letters}\nbudgets: [4000]\nmodel: {d_m: [1, 2, 4, 8], d_tree: 4, d_branch: 4}\n"


def test_what_is_done_stays_and_the_next_launch_goes_on(tmp_path, monkeypatch):
    rounds = []

    def goes_after_one_trial(assignments, *, lanes, config, monitor, direction, trainer):
        rounds.append(len(assignments))
        if len(rounds) == 2:
            raise ConnectError("--cluster 10.0.0.1:6379: nothing answers there (No route to host); is the cluster up?")
        broker = Broker(assignments[:1] if len(rounds) == 1 else assignments, direction=direction)
        with monitor.watching(broker):
            run_lane(broker, f"{config.lane_prefix}-0", dataclasses.replace(config, memory_bytes=None), trainer)

    monkeypatch.setattr("sweeper.launch.rounds.executor_of", lambda options: (goes_after_one_trial, ()))
    options = LaunchOptions(results=str(tmp_path / "r"), lanes=1)
    with pytest.raises(ConnectError, match="nothing answers there"):
        launch(parse_grid(GRID), options, Console(quiet=True), trainer=GroundTruth())
    store = ResultsStore.open(tmp_path / "r")
    assert list(store.statuses().values()) == ["finished"]
    assert live_launches(store) == []
    assert "is the cluster up?" in "".join(store.texts("launches", ".log").values())
    assert launch(parse_grid(GRID), options, Console(quiet=True), trainer=GroundTruth()).ran == 3
