"""What lanes warn of reaches the launcher, once, under every executor; the summary names the back end."""

import io
import logging

import pytest
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from sweeper.executors.processes import ProcessExecutor
from sweeper.executors.ray_executor import RayExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid
from sweeper.tables import print_launch

GRID = """
name: warned
task: {name: text, alphabet: letters}
budgets: [4000]
model: {d_m: [1, 2, 4], d_tree: 4, d_branch: 4}
"""


def warns(assignment, progress, context) -> None:
    logging.getLogger("model.backends.native.build").warning("no C++ compiler found [looked for %s]", "c++")
    GroundTruth(seconds=0.1)(assignment, progress, context)
    progress.backend = "torch"


@pytest.mark.parametrize("kind", [ProcessExecutor, RayExecutor])
def test_a_warning_of_every_trial_is_printed_once_and_the_back_end_is_named(kind, tmp_path, capsys):
    shown = io.StringIO()
    executor = kind(options=LaneOptions(lanes=2), trainer=warns)
    result = launch(parse_grid(GRID), str(tmp_path / "r"), executor, Console(file=shown, width=200))
    assert shown.getvalue().count("Warning: no C++ compiler found [looked for c++]") == 1
    capsys.readouterr()
    print_launch(result, str(tmp_path / "r"))
    assert "Trained by the back end torch (3 trials)." in capsys.readouterr().out
