"""What lanes warn of reaches the launcher, once, under every executor; the summary names the back end."""

import io
import logging
from dataclasses import dataclass

import numpy as np
import pytest
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from sweeper.errors import SweeperError
from sweeper.executors.processes import ProcessExecutor
from sweeper.executors.ray_executor import RayExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid
from sweeper.store.store import ResultsStore
from sweeper.tables import print_launch
from tasks.errors import DataError
from tests.sweeper.inline import Inline

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


OWN = """
name: own
task: TASK
budgets: [1500]
model: {d_m: [1, 2], d_tree: 2, d_branch: 4}
"""


@dataclass(frozen=True, kw_only=True)
class Looking(Inline):
    """Looks at what was printed before the first trial."""

    shown: io.StringIO
    looks: list[str]

    def run(self, assignments, **options) -> None:
        self.looks.append(self.shown.getvalue())
        ResultsStore.open(options["store_uri"])


def test_sequences_of_test_that_stand_in_train_are_named_before_the_first_trial(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(30, 6, 2)), np.arange(30) % 3
    parts = {"train": slice(0, 20), "valid": slice(20, 25), "test": slice(16, 24)}
    arrays = {f"{name}_{split}": data[rows] for split, rows in parts.items() for name, data in (("x", x), ("y", y))}
    np.savez(tmp_path / "mine.npz", **arrays)
    shown = io.StringIO()
    executor = Looking(shown=shown, looks=[], lanes_here=1)
    grid = OWN.replace("TASK", f"{{name: arrays, data: {tmp_path}/mine.npz}}")
    with pytest.raises(SweeperError, match="ended without running any of 2 trials"):
        launch(parse_grid(grid), str(tmp_path / "r"), executor, Console(file=shown, width=200))
    warning = "Warning: mine.npz: 4 of 8 sequences of test (50.0%) also stand in train"
    assert [look.count(warning) for look in executor.looks] == [1]


def test_data_that_cannot_be_loaded_are_refused_and_leave_nothing_behind(tmp_path):
    (tmp_path / "late.txt").write_text("only these letters " * 200 + "0123456789" * 40)
    grid = OWN.replace("TASK", f"{{name: text, data: {tmp_path}/late.txt}}")
    executor = Looking(shown=io.StringIO(), looks=[], lanes_here=1)
    with pytest.raises(DataError, match="never occur in train"):
        launch(parse_grid(grid), str(tmp_path / "r"), executor, Console(quiet=True))
    assert not (tmp_path / "r").exists()
