"""Launching from Python with what it takes by default: child processes, as many as were asked for."""

import pandas as pd
import pytest

import sweeper
from sweeper.executors.processes import ProcessExecutor
from sweeper.launch import launch as launching

GRID = {
    "name": "mine",
    "task": {"name": "text", "alphabet": "letters"},
    "budgets": [5000],
    "model": {"d_m": 1, "d_tree": 4, "d_branch": 4},
    "training": {"steps": 2, "batch_size": 4, "length": 16, "learning_rate": 0.01, "warmup_steps": 1, "eval_every": 2}
    | {"eval_batches": 1, "final_eval_batches": 1},
}


def test_a_grid_is_trained_by_a_child_process(tmp_path):
    done = sweeper.launch_grid(GRID, tmp_path / "results", lanes=1)
    assert (done.counts, done.result.ran) == ({"finished": 1}, 1)
    rows = pd.read_parquet(tmp_path / "results" / "trials")
    assert rows["tokens"].tolist() == [2 * 4 * 16]
    assert rows["final_test_metric"].notna().all()
    # launching again finds nothing to do, and so starts no process
    again = sweeper.launch_grid(GRID, tmp_path / "results", lanes=1)
    assert (again.counts, again.result.ran) == ({"finished": 1}, 0)


@pytest.mark.parametrize("lanes", [None, 3])
def test_the_lanes_that_were_asked_for_are_those_of_the_executor(lanes, tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(launching, "launch", lambda grid, target, executor, console, **rest: taken.append(executor))
    sweeper.launch_grid(GRID, tmp_path, lanes=lanes)
    (executor,) = taken
    assert isinstance(executor, ProcessExecutor)
    assert executor.options.lanes == lanes
