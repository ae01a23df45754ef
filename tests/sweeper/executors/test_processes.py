"""Process lanes: what a launch leaves as it was in the process that launches, and the server its lanes come from."""

import io
import os
import sys
import threading
import time

import psutil
from rich.console import Console

from benchmarks.fault_site import LANES_SERVER, lanes_below, processes_below
from benchmarks.ground_truth import GroundTruth
from sweeper.executors.processes import ProcessExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid
from sweeper.store.store import ResultsStore

GRID = """
name: streams
task: {name: text, alphabet: letters}
budgets: [4000]
model: {d_m: [1], d_tree: 4, d_branch: 4}
"""


def test_a_notebook_keeps_its_stdout_after_a_launch(tmp_path, monkeypatch):
    of_a_notebook = io.StringIO()
    monkeypatch.setattr(sys, "stdout", of_a_notebook)
    executor = ProcessExecutor(options=LaneOptions(lanes=1), trainer=GroundTruth(seconds=0.0))
    launch(parse_grid(GRID), str(tmp_path / "r"), executor, Console(file=io.StringIO()))
    time.sleep(0.3)  # the server's thread once put sys.stdout back after the launch had returned
    assert sys.stdout is of_a_notebook


def environment_as_error(assignment, progress, context) -> None:
    """A trainer whose trials fail with what its lane has in its environment."""
    raise ValueError(os.environ.get("OF_THE_NOTEBOOK"))


def test_lanes_of_a_later_launch_have_the_environment_of_that_launch(tmp_path, monkeypatch):
    for text in ("first", "second"):
        monkeypatch.setenv("OF_THE_NOTEBOOK", text)
        executor = ProcessExecutor(options=LaneOptions(lanes=1), trainer=environment_as_error)
        launch(parse_grid(GRID), str(tmp_path / text), executor, Console(file=io.StringIO()))
        (row,) = ResultsStore.open(tmp_path / text).read("trials").to_pylist()
        assert text in row["reason"]


def test_trials_of_lanes_that_outlive_their_server_are_run_once(tmp_path):
    def kill() -> None:
        while not (lanes := lanes_below(os.getpid(), "processes")):
            time.sleep(0.05)
        (server,) = {lane.parent() for lane in lanes}
        while len(ResultsStore.open(tmp_path / "r").statuses()) < 3:  # some trials into the sweep
            time.sleep(0.05)
        server.kill()
        killed.append(server)

    killed: list[psutil.Process] = []
    thread = threading.Thread(target=kill)
    thread.start()
    executor = ProcessExecutor(options=LaneOptions(lanes=2), trainer=GroundTruth(seconds=0.2))
    result = launch(parse_grid(GRID + "seeds: 24"), str(tmp_path / "r"), executor, Console(file=io.StringIO()))
    thread.join()
    assert killed
    trials = ResultsStore.open(tmp_path / "r").read("trials").to_pylist()
    assert result.ran == len({row["trial_id"] for row in trials}) == len(trials) == 24
    assert {row["status"] for row in trials} == {"finished"}
    # What is below this process now comes from a new server.
    assert killed[0].pid not in {process.pid for process in processes_below(os.getpid(), LANES_SERVER)}
