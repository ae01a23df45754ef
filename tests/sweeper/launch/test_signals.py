"""Signals that reach every process of a launch, and readers of its output that go away."""

import os
import signal
import subprocess
import time

import pytest
import ray

from cluster.attach import connect
from cluster.errors import ClusterError
from sweeper.store.schema import LOST
from sweeper.store.store import ResultsStore
from tests.sweeper.launch.test_launch import command, measured, wait_for_rows

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("executor", "number"),
    [
        ("processes", signal.SIGTERM),
        pytest.param("processes", signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param("ray", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_whole_group_saves_blames_nobody_and_is_gone_on_from(
    executor, number, slow_grid, tmp_path, request
):
    results = tmp_path / "results"
    arguments = command("launch", slow_grid, "--results", results, "--executor", executor, "--lanes", 1)
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as launcher:
        wait_for_rows(results, 1, launcher)
        os.killpg(launcher.pid, number)
        output, _ = launcher.communicate(timeout=200)
    assert launcher.returncode == 130, output
    assert "Leaving: long trials save a checkpoint first." in output
    assert "The same command runs what is missing." in output
    assert "Traceback" not in output
    assert "SIGTERM received" not in output
    store = ResultsStore.open(results)
    assert LOST not in store.read("attempts", ["status"])["status"].to_pylist()
    assert store.texts("launches", ".json") == {}
    again = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert measured(results) == request.getfixturevalue("undisturbed")


@pytest.mark.parametrize("executor", ["processes", pytest.param("ray", marks=pytest.mark.slow)])
def test_ctrl_c_while_lanes_start_is_no_traceback(executor, slow_grid, tmp_path):
    arguments = command("launch", slow_grid, "--results", tmp_path / "r", "--executor", executor, "--lanes", 1)
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as launcher:
        assert launcher.stdout is not None
        first = launcher.stdout.readline()
        deadline = time.monotonic() + 120
        while not (tmp_path / "r" / "store.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(launcher.pid, signal.SIGINT)
        output, _ = launcher.communicate(timeout=300)
    assert "results go to" in first
    assert launcher.returncode == 130, output
    assert "Traceback" not in output
    assert "without running any" not in output


def test_a_reader_that_goes_away_costs_lines_alone(tiny_grid, tmp_path):
    arguments = command("launch", tiny_grid, "--results", tmp_path / "r", "--executor", "processes")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        launcher.stdout.close()
        assert launcher.wait(timeout=200) == 0
    assert set(ResultsStore.open(tmp_path / "r").statuses().values()) == {"finished"}


@pytest.mark.parametrize("failures", [1, 2])
def test_ray_is_started_once_more_and_then_given_up_in_one_line(failures, monkeypatch):
    calls = []

    def init(**options):
        calls.append(options)
        if len(calls) <= failures:
            raise Exception("The current node timed out during startup.")  # what Ray itself raises

    monkeypatch.setattr(ray, "init", init)
    if failures == 1:
        connect._start_local("n", 1, 0)
    else:
        with pytest.raises(ClusterError, match=r"did not start here, 2 times: .*timed out.*--executor processes"):
            connect._start_local("n", 1, 0)
    assert len(calls) == 2
