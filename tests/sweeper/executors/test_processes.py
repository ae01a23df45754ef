"""What a launch with process lanes leaves as it was in the process that launches."""

import io
import sys
import time

from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from sweeper.executors.processes import ProcessExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid

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
