"""Kills at random moments, and disks that fill, over 200 trials: each ends with one whole row, as if undisturbed."""

import errno
import functools
import multiprocessing
import os
import random
import re
import signal
import threading
import time

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.fault_site import lanes_below
from benchmarks.faults import main as disturbed_sweep
from benchmarks.ground_truth import GroundTruth
from sweeper.errors import STOPPED
from sweeper.executors.processes import ProcessExecutor
from sweeper.executors.ray_executor import RayExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid
from sweeper.store.store import ResultsStore

GRID = """
name: faults
task: {name: text, alphabet: letters}
budgets: [4000, 8000, 16000, 32000, 64000]
model: {d_m: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], d_tree: 4, d_branch: 4}
seeds: %d
"""
TRIALS = 200
SWEEP = GRID % (TRIALS // 50)
COLUMNS = ["trial_id", "status", "budget", "n_rec", "k_e", "final_valid_metric"]


def run(text: str, results, trainer, *, executor: str, lanes: int, **place):
    kind = {"ray": RayExecutor, "processes": ProcessExecutor}[executor]
    runs_on = kind(options=LaneOptions(lanes=lanes), trainer=trainer, **place)
    return launch(parse_grid(text), str(results), runs_on, Console(quiet=True))


def rows(results) -> list[dict]:
    found = ResultsStore.open(results).read("trials", COLUMNS).to_pylist()
    return sorted(found, key=lambda row: row["trial_id"])


class Killer(threading.Thread):
    """Kills a random lane every now and then, a set number of times."""

    def __init__(self, executor: str, kills: int, pause_s: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.executor, self.kills, self.pause_s, self.draw = executor, kills, pause_s, random.Random(seed)
        self.killed = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while self.killed < self.kills and not self.ended.wait(self.pause_s * self.draw.uniform(0.5, 1.5)):
            lanes = lanes_below(os.getpid(), self.executor)
            if lanes:
                self.draw.choice(lanes).send_signal(signal.SIGKILL)
                self.killed += 1


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    results = tmp_path_factory.mktemp("faults") / "r"
    run(SWEEP, results, GroundTruth(), executor="processes", lanes=2)
    return rows(results)


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "kills", "pause_s"), [("processes", 8, 1.5), ("ray", 3, 4.0)])
def test_killed_lanes(executor, kills, pause_s, tmp_path, undisturbed):
    killer = Killer(executor, kills, pause_s, seed=kills)
    killer.start()
    run(SWEEP, tmp_path / "r", GroundTruth(seconds=0.2), executor=executor, lanes=2)
    killer.ended.set()
    assert killer.killed >= kills - 1
    assert rows(tmp_path / "r") == undisturbed
    lost = [a for a in ResultsStore.open(tmp_path / "r").read("attempts").to_pylist() if a["status"] == "lost"]
    assert len(lost) <= killer.killed  # a lane that held several trials blames none


def launch_in_child(results, trainer, **options) -> multiprocessing.process.BaseProcess:
    child = multiprocessing.get_context("spawn").Process(target=run, args=(SWEEP, results, trainer), kwargs=options)
    child.start()
    return child


def wait_for_rows(results, count: int, child) -> None:
    """Return when at least `count` trials have a row."""
    deadline = time.monotonic() + 120
    while not (results / "store.json").exists() or len(rows(results)) < count:
        assert child.is_alive(), "the launcher ended before it was to be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_killed_launchers(tmp_path, undisturbed):
    draw, results = random.Random(3), tmp_path / "r"
    for kill in range(4):
        child = launch_in_child(results, GroundTruth(seconds=0.05), executor="processes", lanes=2)
        wait_for_rows(results, 40 * kill + 1, child)
        time.sleep(draw.uniform(0.0, 0.7))
        child.kill()
        child.join()
    assert len(rows(results)) < TRIALS
    run(SWEEP, results, GroundTruth(), executor="processes", lanes=2)
    assert rows(results) == undisturbed


def storage_fails(number: int, assignment, progress, context) -> None:
    """A trainer in whose lanes nothing can be written any more from the third replicate on."""
    if assignment.spec.seed > 1:

        def refuse(descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

        os.fsync = refuse
    GroundTruth(seconds=0.01)(assignment, progress, context)


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_storage_that_fails_stops_the_sweep_with_its_reason_and_loses_nothing(number, tmp_path, undisturbed):
    results = tmp_path / "r"
    stopped = run(SWEEP, results, functools.partial(storage_fails, number), executor="processes", lanes=2)
    why = rf"cannot write (curves|attempts|trials): {os.strerror(number)}"  # whichever table's turn it is
    assert re.search(why, stopped.stopped_because)
    assert "The same command goes on" in stopped.stopped_because
    assert 1 <= len(rows(results)) < TRIALS
    run(SWEEP, results, GroundTruth(), executor="processes", lanes=2)
    assert rows(results) == undisturbed


def test_a_launcher_that_cannot_write_stops_with_the_reason(tmp_path, monkeypatch):
    """In the launcher's process alone; its lanes go on and find it draining."""
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if any((tmp_path / "r" / "trials").glob("*.parquet")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr("sweeper.queue.journal.UPDATE_S", 0.0)
    stopped = run(GRID % 1, tmp_path / "r", GroundTruth(seconds=0.2), executor="processes", lanes=1)
    assert stopped.exit_code == STOPPED
    assert "cannot write launches/" in stopped.stopped_because
    assert "No space left on device. Nothing already stored was touched. The same command" in stopped.stopped_because
    assert stopped.ran == len(rows(tmp_path / "r"))
    monkeypatch.undo()
    assert 1 <= len(rows(tmp_path / "r")) < 50
    run(GRID % 1, tmp_path / "r", GroundTruth(), executor="processes", lanes=1)
    assert len(rows(tmp_path / "r")) == 50


@pytest.mark.slow
def test_lost_nodes(tmp_path, undisturbed):
    import ray
    from ray.cluster_utils import Cluster

    from cluster.attach.connect import use_token
    from sweeper.executors.ray_nodes import is_lost

    results = tmp_path / "r"
    use_token()  # as the launcher does: a driver with a token loses its actors on a cluster without one
    # Lost nodes are noticed in two seconds instead of half a minute.
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        options = {"executor": "ray", "address": cluster.address, "lanes": 2}
        child = launch_in_child(results, GroundTruth(seconds=0.1), **options)
        for loss in range(2):
            wait_for_rows(results, 60 * loss + 20, child)
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))
        child.join(200)
        assert child.exitcode == 0
        assert rows(results) == undisturbed
        ray.init(address=cluster.address, include_dashboard=False, log_to_driver=False)
        node = nodes[0]
        assert not is_lost(node.node_id)
        cluster.remove_node(node, allow_graceful=False)
        deadline = time.monotonic() + 60
        while not is_lost(node.node_id):  # what keeps the broker from blaming the trials of a lane there
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.skipif(
    os.environ.get("FAULT_TESTS") != "1",
    reason="takes minutes, and the pace decides whether all faults strike in time; FAULT_TESTS=1 runs it",
)
def test_a_random_mix_of_faults_leaves_every_trial_exactly_one_row():
    names = ["lane killed", "whole group killed", "TERM to the group", "log on a full disk", "bit flipped in trials",
             "pipe as trials/x.parquet", "grid is a bomb of aliases", "kernel cut to half"]  # fmt: skip
    few = ["--trials", "40", "--faults", "8", "--seed", "4", "--seconds", "0.2", "--no-disk"]
    done = CliRunner().invoke(disturbed_sweep, few + [word for name in names for word in ("--only", name)])
    assert done.exit_code == 0, done.output
    assert "8 faults of 8 kinds" in done.output
    assert "every one of 40 trials is exactly one row" in done.output
