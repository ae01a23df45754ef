"""The cluster's part of the command line: job files, submission, and mistakes as one line with nothing left behind."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cluster.kinds.record import records

ROOT = Path(__file__).parents[2]

GRID = """
name: demo
task: {name: text, alphabet: letters}
budgets: [3000]
model: {d_m: [1, 2], d_tree: 4, d_branch: 4}
training: {steps: 30, batch_size: 8, length: 16, warmup_steps: 5, learning_rate: 3e-3}
"""


@pytest.fixture
def run(tmp_path):
    """Runs `sweeper` in a folder that holds grid.yaml."""
    (tmp_path / "grid.yaml").write_text(GRID)

    def call(*arguments, **environment) -> subprocess.CompletedProcess:
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return subprocess.run(
            [sys.executable, "-m", "sweeper.cli", *map(str, arguments)],
            env={**own, "PYTHONPATH": str(ROOT), **environment},
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return call


@pytest.fixture
def profile(tmp_path, smallest):
    """Writes a profile file of a kind, further lines added."""

    def write(kind: str, more: str = "") -> Path:
        path = tmp_path / f"{kind}.yaml"
        path.write_text(smallest[kind].replace("/shared/results", str(tmp_path / "shared")) + more)
        return path

    return write


@pytest.mark.parametrize("kind", ["slurm", "kuberay", "ray-up", "ssh"])
def test_a_dry_run_prints_the_job_and_writes_nothing(kind, run, profile, tmp_path):
    path = profile(kind)
    before = sorted(tmp_path.rglob("*"))
    done = run("launch", "grid.yaml", "-r", "first", "--cluster", path, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"slurm": "#SBATCH --nodes=2", "kuberay": "kind: RayJob", "ray-up": "cluster_name: elm-demo-", "ssh": "#!/"}[
        kind
    ] in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_the_launcher_of_a_job_gets_the_options_that_were_typed(run, profile):
    options = ("--lanes", 3, "--trials-per-gpu", "auto", "--max-hours", "2.5")
    done = run("launch", "grid.yaml", "--cluster", profile("slurm", "gpus_per_node: 2\n"), *options, "--dry-run")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("launch=")]
    assert line.endswith("/shared/results --lanes 3 --trials-per-gpu auto --max-hours 2.5 --device cuda)")
    plain = run("launch", "grid.yaml", "-r", "x", "--cluster", profile("slurm"), "--dry-run").stdout
    assert "--results" in plain
    assert "--checkpoint-s" not in plain, "defaults are the job's own affair"


def test_a_submitted_job_is_listed_and_stopped(run, profile, slurm, stand_in, tmp_path):
    path = profile("slurm")
    path.write_text(path.read_text().replace("/opt/elm/bin/python", str(stand_in)))
    (tmp_path / "grid.yaml").write_text(GRID)
    done = run("launch", "grid.yaml", "-r", "first", "--cluster", path, **dict(os.environ))
    assert done.returncode == 0, done.stderr
    (record,) = records()
    assert f"{record.name} is submitted; results go to {tmp_path}/shared/first" in done.stdout
    again = run("launch", "grid.yaml", "-r", "first", "--cluster", path, **dict(os.environ))
    assert again.returncode == 1
    assert "is in the queue already" in again.stderr
    assert f"Slurm job {record.handle['id']}" in run("jobs", **dict(os.environ)).stdout
    stopped = run("stop", "demo", "--now", **dict(os.environ))
    assert (stopped.returncode, stopped.stdout) == (0, f"{record.name} is stopped\n")
    assert slurm.wait_ended(record.handle["id"])["state"] == "COMPLETED"


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--cluster", f"127.0.0.1:{unused_port()}"), 1, "nothing answers there (Connection refused)"),
        (("--cluster", "10.0.0.1"), 1, "'10.0.0.1' is no address; give host:port, ray://host:port, or a profile.yaml"),
        (("--cluster", "nowhere.yaml"), 1, "nowhere.yaml: no such profile"),
        (("--cluster", "typo.yaml"), 1, "partitoin: 'partitoin' is not known; did you mean 'partition'?"),
        (
            ("--cluster", "short.yaml"),
            1,
            "time_limit: 420 s in 1 start(s) of the job leave 30 s for trials, and the longest is expected to take",
        ),
        (("--cluster", "slurm.yaml", "--device", "cuda"), 1, "profile slurm has no GPUs; set gpus_per_node in it"),
        (("--cluster", "slurm.yaml", "-r", "../../x"), 1, "lies outside the profile's results root"),
        (("--cluster", "slurm.yaml", "--executor", "processes"), 2, "--executor processes runs on this machine only"),
        (("--dry-run",), 2, "--dry-run prints a job file: it needs --cluster PROFILE.yaml"),
        (("--trials-per-gpu", "half"), 2, "'half' is neither a whole number above zero nor auto"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, code, message, run, profile, tmp_path):
    text = profile("slurm").read_text()
    (tmp_path / "typo.yaml").write_text(f"{text}partitoin: gpu\n")
    (tmp_path / "short.yaml").write_text(text.replace("00:20:00", "00:07:00") + "start_timeout: 90s\nmax_requeues: 0\n")
    (tmp_path / "grid.yaml").write_text(
        GRID.replace("steps: 30", "steps: 300000") if "short.yaml" in arguments else GRID
    )
    before = sorted(tmp_path.rglob("*"))
    done = run("launch", "grid.yaml", *arguments)
    assert done.returncode == code, done
    assert message in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_gpu_where_one_is_asked_for(run, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = run("launch", "grid.yaml", "--device", "cuda")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--device cuda: torch" in done.stderr
    assert "sees no GPU on this machine" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_cluster_alone_takes_the_address_from_the_environment(run):
    done = run("launch", "grid.yaml", "--cluster", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 1
    assert "--cluster 127.0.0.1:1: nothing answers there" in done.stderr


def test_retry_attaches_but_does_not_submit(run, profile):
    done = run("retry", "results", "--cluster", profile("slurm"))
    assert done.returncode == 2
    assert "retry attaches to a running cluster only" in done.stderr
