"""A node that is drained is left, its trial goes on elsewhere and nothing is blamed; lanes share GPUs as asked for."""

import functools
import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ray import cloudpickle
from rich.console import Console

from cluster.attach.ray_internals import forget_token
from sweeper.executors.ray_executor import RayExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid
from sweeper.store.store import ResultsStore

GRID = """
name: elastic
task: {name: text, alphabet: letters}
budgets: [3000]
model: {d_m: %s, d_tree: 4, d_branch: 4}
training: {steps: 60}
"""


@pytest.fixture(autouse=True)
def trainers_travel(ray_nodes):
    """Nodes cannot import this file; and this process learns the token of the test's cluster, and forgets it."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    forget_token()
    yield
    cloudpickle.unregister_pickle_by_value(module)


class ByValue:
    """A trainer that becomes its function again where it is unpickled, without this file being imported there."""

    def __init__(self, function) -> None:
        self.pickled = cloudpickle.dumps(function)

    def __reduce__(self):
        return cloudpickle.loads, (self.pickled,)


def finish(progress) -> None:
    from sweeper.training.progress import Evaluation

    for split in ("train", "valid", "test"):
        progress.final[split] = Evaluation(step=60, split=split, loss=1.0, metric=1.0, learning_rate=None, wall_s=0.0)
    progress.best, progress.steps_done = progress.final, 60


def stay_until_told_to_leave(assignment, progress, context, *, marks: str) -> None:
    """Minutes on the first node, unless told to leave; an instant on the next."""
    import ray

    from sweeper.training.outcomes import Stopped

    mark = Path(marks) / assignment.trial_id
    if not mark.exists():
        mark.write_text(ray.get_runtime_context().get_node_id())
        for step in range(60):
            time.sleep(3)
            if not context.on_step(step):
                (Path(marks) / "left").write_text("")
                raise Stopped(f"at step {step}")
    finish(progress)


@pytest.mark.timeout(900)
def test_a_draining_node_is_left(ray_nodes, tmp_path):
    cluster = ray_nodes(head_cpus=0)
    cluster.add(cpus=1)
    marks = tmp_path / "marks"
    marks.mkdir()

    def drain() -> None:
        while not (found := list(marks.iterdir())):
            time.sleep(0.2)
        subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", cluster.address,
             "--node-id", found[0].read_text(), "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
             "--deadline-remaining-seconds", "600"],
            check=True, capture_output=True,
        )  # fmt: skip
        cluster.add(cpus=1)

    drainer = threading.Thread(target=drain)
    drainer.start()
    trainer = ByValue(functools.partial(stay_until_told_to_leave, marks=str(marks)))
    executor = RayExecutor(address=cluster.address, trainer=trainer)
    result = launch(parse_grid(GRID % "[1]"), str(tmp_path / "r"), executor, Console(quiet=True))
    drainer.join()
    assert result.status.counts == {"finished": 1}
    assert (marks / "left").exists()
    (attempt,) = ResultsStore.open(tmp_path / "r").read("attempts").to_pylist()
    assert (attempt["attempt"], attempt["status"]) == (1, "finished"), "leaving a node is no failure"
    assert attempt["lane"].endswith("-1")


def stay_until_the_others_are_done(assignment, progress, context, *, marks: str) -> None:
    """The first trial stays until there is a file `go`; the others note where they ran."""
    import ray

    folder = Path(marks)
    with open(folder / "ran", "a") as ran:
        ran.write(f"{ray.util.get_node_ip_address()}\n")
    while assignment.spec.model.d_m == 1 and not (folder / "go").exists():
        time.sleep(0.1)
    finish(progress)


@pytest.mark.timeout(900)
def test_a_node_of_other_versions_that_joins_gets_no_lanes_and_the_next_one_does(ray_nodes, tmp_path):
    cluster, printed = ray_nodes(head_cpus=0), io.StringIO()
    cluster.add(cpus=1)
    ran = tmp_path / "ran"
    other = tmp_path / "other" / "torch-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")

    def wait_for(condition) -> None:
        deadline = time.monotonic() + 300
        while not condition():
            assert time.monotonic() < deadline, printed.getvalue()
            time.sleep(0.1)

    def join() -> None:
        try:
            wait_for(ran.exists)
            cluster.add(cpus=2, pythonpath=str(other.parent))
            wait_for(lambda: "gets no lanes: it has torch 9.9 instead of" in printed.getvalue())
            cluster.add(cpus=1)
            wait_for(lambda: ran.read_text().count("\n") == 3)
        finally:
            (tmp_path / "go").touch()

    joiner = threading.Thread(target=join)
    joiner.start()
    trainer = ByValue(functools.partial(stay_until_the_others_are_done, marks=str(tmp_path)))
    executor = RayExecutor(address=cluster.address, trainer=trainer)
    grid = parse_grid(GRID % "[1, 2, 4]")
    result = launch(grid, str(tmp_path / "r"), executor, Console(file=printed, width=200))
    joiner.join()
    assert result.status.counts == {"finished": 3}
    assert ran.read_text().splitlines() == ["127.0.0.3", "127.0.0.5", "127.0.0.5"]
    assert printed.getvalue().count("gets no lanes") == 1


def share_a_gpu(assignment, progress, context, *, marks: str) -> None:
    """Say which GPU this lane was given, and stay until a neighbour has been here too."""
    import os

    folder = Path(marks)
    (folder / f"{os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']}").write_text("")
    deadline = time.monotonic() + 240
    while len(list(folder.iterdir())) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    finish(progress)


@pytest.mark.timeout(900)
def test_two_lanes_share_each_gpu(ray_nodes, tmp_path):
    cluster = ray_nodes(head_cpus=0)
    cluster.add(cpus=4, gpus=2)
    marks = tmp_path / "marks"
    marks.mkdir()
    trainer = ByValue(functools.partial(share_a_gpu, marks=str(marks)))
    options = LaneOptions(device="cuda", trials_per_gpu=2, seed_batch="off")
    executor = RayExecutor(address=cluster.address, options=options, trainer=trainer)
    result = launch(parse_grid(GRID % "[1, 2, 3, 4]"), str(tmp_path / "r"), executor, Console(quiet=True))
    assert result.status.counts == {"finished": 4}
    assert sorted(path.name.split()[1] for path in marks.iterdir()) == ["0", "0", "1", "1"]
