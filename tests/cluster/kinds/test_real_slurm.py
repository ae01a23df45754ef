"""A job on the real Slurm of this machine: `REAL_SLURM=1`, on a login node; REAL_SLURM_FOLDER is seen by all nodes.

What the stand-in of Slurm is believed to do is seen here: signals, checkpoints, and that nothing is left.
"""

import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from cluster.doctor.profile import profile_findings
from cluster.jobs.submit import status, stop, submit

pytestmark = pytest.mark.skipif(
    os.environ.get("REAL_SLURM") != "1" or shutil.which("sbatch") is None,
    reason="needs a real Slurm; REAL_SLURM=1 on a login node runs it",
)
GRID = """
name: real
task: {name: text, data: embedded, alphabet: letters}
budgets: [3000]
model: {d_m: [1, 2], d_tree: 2, d_branch: 2}
training: {steps: STEPS, batch_size: 4, length: 16, eval_every: 20000, eval_batches: 1, final_eval_batches: 2}
"""


@pytest.fixture
def start(profile_of, job_of, monkeypatch):
    """Submits a sweep of two trials on two nodes; its record, ended with the test."""
    folder = Path(os.environ.get("REAL_SLURM_FOLDER", Path.cwd())) / f"real-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    profile = profile_of("slurm", python=sys.executable, results=str(folder), cpus_per_node=1, memory_per_node="2G")
    started = []

    def run(steps: int):
        findings = list(profile_findings(profile))
        assert {f.check: f.level for f in findings}["sbatch"] == "ok", findings
        started.append(submit(profile, job_of(profile, grid_text=GRID.replace("STEPS", str(steps)))))
        return started[-1]

    yield run
    for record in started:
        if status(record).state != "ended":
            subprocess.run(["scancel", record.handle["id"]], check=True)
            wait_for(lambda record=record: status(record).state == "ended")
    shutil.rmtree(folder)


def wait_for(condition, timeout_s=240):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)


def log(record) -> str:
    path = Path(record.folder, f"slurm-{record.handle['id']}.out")
    return path.read_text() if path.exists() else ""


def checkpoints(record) -> int:
    return len(list(Path(record.results, "checkpoints").glob("*.pt")))


def test_a_sweep_runs_to_its_end(start):
    record = start(50)
    wait_for(lambda: status(record).state == "ended")
    assert "all trials have ended" in status(record).detail, log(record)


@pytest.mark.parametrize("end", ["scancel", "stop --now"])
def test_running_trials_are_saved_when_the_job_is_ended(end, start):
    record = start(10_000_000)
    wait_for(lambda: "2 running" in log(record))
    time.sleep(5)  # some steps, so that there is something to save
    if end == "scancel":
        subprocess.run(["scancel", record.handle["id"]], check=True)
    else:
        stop(record, now=True)
    wait_for(lambda: status(record).state == "ended")
    assert checkpoints(record) == 2, log(record)
    assert {"scancel": "told by Slurm to end", "stop --now": "stopped by sweeper stop"}[end] in status(record).detail
