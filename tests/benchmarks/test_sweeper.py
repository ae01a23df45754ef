"""The benchmark of orchestration launches by the library what it launches again by the command line."""

from benchmarks.ground_truth import GroundTruth
from benchmarks.sweeper import _grid, _launch
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid
from sweeper.store.store import ResultsStore
from tests.sweeper.inline import LanesHere


def test_the_second_launch_has_the_trials_of_the_first(tmp_path, monkeypatch):
    """It once had others, and trained all of them."""
    monkeypatch.setattr("sweeper.executors.processes.ProcessExecutor", LanesHere)
    grid = _grid(str(tmp_path), 50)
    _launch(grid, str(tmp_path / "r"), 1, GroundTruth(), executor="processes")
    assert set(ResultsStore.open(tmp_path / "r").statuses()) == set(expand(load_grid(grid)).trials)
