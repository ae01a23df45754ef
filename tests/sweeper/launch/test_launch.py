"""Whole launches, on Ray and on plain processes: each trial once, whatever dies on the way."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from rich.console import Console

from benchmarks.fault_site import lanes_below
from sweeper.executors.processes import ProcessExecutor
from sweeper.executors.ray_executor import RayExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid
from sweeper.queue.messages import Assignment
from sweeper.store.store import ResultsStore
from sweeper.training.outcomes import Diverged
from sweeper.training.progress import Evaluation, TrialProgress
from tests.sweeper.inline import LanesHere

MEASURED = ["trial_id", "status", "budget", "n_rec", "trainable_params", "final_train_metric", "final_valid_metric",
            "final_test_metric", "best_step", "best_valid_metric", "steps_done"]  # fmt: skip


def run_in_process(text: str, results, executor: str, trainer=None, lanes: int = 2):
    kind = {"ray": RayExecutor, "processes": ProcessExecutor, "here": LanesHere}[executor]
    runs_on = kind(options=LaneOptions(lanes=lanes), trainer=trainer)
    return launch(parse_grid(text), str(results), runs_on, Console(quiet=True))


def measured(results) -> list[dict]:
    return sorted(ResultsStore.open(results).read("trials", MEASURED).to_pylist(), key=lambda row: row["trial_id"])


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "sweeper.cli", *map(str, arguments)]


def wait_for_rows(results, count: int, process: subprocess.Popen, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (results / "store.json").exists() and len(ResultsStore.open(results).statuses()) >= count:
            return
        assert process.poll() is None, "the launcher ended before it was to be killed"
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} rows after {timeout_s} s")


def alive(pids: set[int]) -> set[int]:
    """Those that still run; a dead process nobody waited for does not count."""
    running = set()
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                running.add(pid)
    return running


@pytest.mark.parametrize("executor", [pytest.param("ray", marks=pytest.mark.slow), "processes"])
def test_a_launcher_killed_half_way_loses_and_repeats_nothing(executor, slow_grid, tmp_path, undisturbed):
    results = tmp_path / "results"
    arguments = command("launch", slow_grid, "--results", results, "--executor", executor, "--lanes", 2)
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        wait_for_rows(results, 2, launcher)
        # Alone: Ray's own idle agents notice the death of their driver up to a minute later.
        lanes = {lane.pid for lane in lanes_below(launcher.pid, executor)}
        assert lanes
        launcher.send_signal(signal.SIGKILL)
    kept = {row["trial_id"] for row in measured(results)}
    assert len(kept) >= 2
    deadline = time.monotonic() + 30
    while alive(lanes) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(lanes), "lanes outlive their launcher"
    again = subprocess.run(arguments, capture_output=True, text=True, timeout=200, check=False)
    assert again.returncode == 0, again.stderr
    assert measured(results) == undisturbed


def test_a_second_launch_runs_nothing(tmp_path, tiny_text):
    assert run_in_process(tiny_text, tmp_path / "r", "here").ran == 6
    before = measured(tmp_path / "r")
    assert run_in_process(tiny_text, tmp_path / "r", "here").ran == 0
    assert measured(tmp_path / "r") == before


def test_an_extended_grid_runs_only_what_is_new(tmp_path, tiny_text):
    run_in_process(tiny_text, tmp_path / "r", "here", trainer=instant)
    result = run_in_process(tiny_text.replace("[1, 2, 4]", "[1, 2, 3, 4]"), tmp_path / "r", "here", trainer=instant)
    assert result.ran == 2
    assert len(measured(tmp_path / "r")) == 8


def instant(assignment: Assignment, progress: TrialProgress, context) -> None:
    """A trainer of a made-up law: every third trial diverges, runs out of memory or raises."""
    d_m, budget = assignment.spec.model.d_m, assignment.budget
    if (d_m, budget) == (2, 3000):
        raise Diverged("loss nan at step 3 of 30")
    if (d_m, budget) == (4, 3000):
        raise ZeroDivisionError("division by\nzero")
    if (d_m, budget) == (1, 4000):
        raise MemoryError("cannot allocate")
    for split in ("train", "valid", "test"):
        progress.final[split] = Evaluation(step=30, split=split, loss=1.0, metric=d_m, learning_rate=None, wall_s=0.0)
    progress.best, progress.steps_done = progress.final, 30


def kill_own_lane_once(assignment: Assignment, progress: TrialProgress, context) -> None:
    """A trainer whose first attempt at one trial kills its process."""
    if assignment.spec.model.d_m == 2 and assignment.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if assignment.spec.model.d_m == 4 and assignment.budget == 4000:
        os.kill(os.getpid(), signal.SIGKILL)
    instant(assignment, progress, context)


def test_trials_that_fail_are_rows_with_a_reason_and_null_metrics(tmp_path, tiny_text):
    result = run_in_process(tiny_text, tmp_path / "r", "here", trainer=instant)
    rows = {(r["budget"], r["d_m"]): r for r in ResultsStore.open(tmp_path / "r").read("trials").to_pylist()}
    assert {key: row["status"] for key, row in rows.items()} == {
        (3000, 1): "finished", (3000, 2): "diverged", (3000, 4): "failed",
        (4000, 1): "out_of_memory", (4000, 2): "finished", (4000, 4): "finished",
    }  # fmt: skip
    assert rows[3000, 2]["reason"] == "loss nan at step 3 of 30"
    assert rows[3000, 4]["reason"] == "ZeroDivisionError: division by zero"
    assert all(row["final_valid_metric"] is None for row in rows.values() if row["status"] != "finished")
    attempts = ResultsStore.open(tmp_path / "r").read("attempts").to_pylist()
    assert "ZeroDivisionError" in next(a["traceback"] for a in attempts if a["status"] == "failed")
    assert result.status.counts == {"finished": 3, "diverged": 1, "failed": 1, "out_of_memory": 1}


@pytest.mark.parametrize("executor", [pytest.param("ray", marks=pytest.mark.slow), "processes"])
def test_a_lane_that_dies_gives_its_trial_back_but_not_for_ever(executor, tmp_path, tiny_text):
    result = run_in_process(tiny_text, tmp_path / "r", executor, trainer=kill_own_lane_once)
    store = ResultsStore.open(tmp_path / "r")
    rows = {(r["budget"], r["d_m"]): r for r in store.read("trials").to_pylist()}
    assert len(rows) == 6
    assert rows[4000, 2]["status"] == "finished"
    assert rows[4000, 2]["attempt"] == 2
    assert (rows[4000, 4]["status"], rows[4000, 4]["reason"]) == ("failed", "its lane died 3 times")
    lost = [a for a in store.read("attempts").to_pylist() if a["status"] == "lost"]
    assert len(lost) == 2 + 3
    assert result.ran == 6


@pytest.mark.parametrize("executor", [pytest.param("ray", marks=pytest.mark.slow), "processes"])
def test_ctrl_c_drains_and_says_how_to_go_on(executor, slow_grid, tmp_path):
    results = tmp_path / "results"
    arguments = command("launch", slow_grid, "--results", results, "--executor", executor, "--lanes", 1)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as launcher:
        wait_for_rows(results, 1, launcher)
        launcher.send_signal(signal.SIGINT)
        output, _ = launcher.communicate(timeout=100)
    assert launcher.returncode == 130, output
    assert "Ctrl-C again saves and leaves them" in output
    assert "The same command runs what is missing." in output
    assert 1 <= len(ResultsStore.open(results).statuses()) < 6


@pytest.mark.slow
def test_ctrl_c_twice_saves_and_leaves_and_the_next_launch_goes_on(slow_grid, tmp_path, undisturbed):
    results = tmp_path / "results"
    arguments = command("launch", slow_grid, "--results", results, "--executor", "processes", "--lanes", 1)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as launcher:
        wait_for_rows(results, 1, launcher)
        launcher.send_signal(signal.SIGINT)
        time.sleep(0.5)
        launcher.send_signal(signal.SIGINT)
        output, _ = launcher.communicate(timeout=100)
    assert launcher.returncode == 130, output
    assert "Leaving: long trials save a checkpoint first." in output
    done = len(ResultsStore.open(results).statuses())
    assert 1 <= done < 6
    assert len(list((results / "checkpoints").glob("*.pt"))) <= 1  # of the trial it left
    again = subprocess.run(arguments, capture_output=True, text=True, timeout=200, check=False)
    assert again.returncode == 0, again.stderr
    assert measured(results) == undisturbed
    assert list((results / "checkpoints").glob("*.pt")) == []
