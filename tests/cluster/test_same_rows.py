"""One grid gives the same rows here, on a cluster that loses and gains nodes, under Slurm and as a Ray job."""

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sweeper.store.store import ResultsStore

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SWEEPER = [sys.executable, "-m", "sweeper.cli"]
GRID = """
name: same
task: {name: text, alphabet: letters}
budgets: [3000, 4000]
model: {d_m: [1, 2, 4], d_tree: 4, d_branch: 4, rho_rec: 0.5}
training: {steps: 200, batch_size: 8, length: 16, warmup_steps: 5, learning_rate: 3e-3, eval_every: 100,
           eval_batches: 1, final_eval_batches: 2, eval_batch_size: 8}
"""
TRIALS = 6
PLACE_AND_TIME = {"host", "lane", "started_at", "ended_at", "wall_s", "cpu_s", "tokens_per_s", "peak_memory_bytes"}


def rows(results, *, apart_from=frozenset()) -> list[dict]:
    """All trials of a results directory without what says where and when they ran."""
    table = ResultsStore.open(results).read("trials").to_pylist()
    kept = [{key: row[key] for key in row.keys() - PLACE_AND_TIME - apart_from} for row in table]
    return sorted(kept, key=lambda row: row["trial_id"])


def run(*arguments, **options) -> subprocess.CompletedProcess:
    command = [*SWEEPER, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **options)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The rows that this machine makes without any cluster."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "grid.yaml").write_text(GRID)
    done = run("launch", folder / "grid.yaml", "-r", folder / "r", "--executor", "processes", "--lanes", 2, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    made = rows(folder / "r")
    assert [row["status"] for row in made] == ["finished"] * TRIALS
    return made


@pytest.fixture
def grid(tmp_path):
    """The grid file, in a folder that is not the repository."""
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


def wait_for_rows(results: Path, count: int, launcher: subprocess.Popen, timeout_s: float = 400) -> None:
    deadline = time.monotonic() + timeout_s
    while not (results / "store.json").exists() or len(ResultsStore.open(results).statuses()) < count:
        assert launcher.poll() is None, launcher.communicate()
        assert time.monotonic() < deadline, f"fewer than {count} rows after {timeout_s} s"
        time.sleep(0.1)


@pytest.mark.timeout(900)
def test_an_attached_cluster_that_loses_its_only_worker_and_gets_another(ray_nodes, grid, tmp_path, here):
    cluster = ray_nodes(head_cpus=0)
    worker, results = cluster.add(cpus=1), tmp_path / "r"
    command = [*SWEEPER, "launch", grid, "-r", results, "--cluster", cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as launcher:
        try:
            wait_for_rows(results, 1, launcher)
            cluster.kill(worker)
            cluster.add(cpus=2)
            said = launcher.communicate(timeout=400)
        finally:
            launcher.kill()
    assert launcher.returncode == 0, said
    assert rows(results, apart_from={"attempt"}) == [{k: v for k, v in row.items() if k != "attempt"} for row in here]
    lanes = {row["lane"].rpartition("-")[2] for row in ResultsStore.open(results).read("trials").to_pylist()}
    assert lanes == {"0", "1"}, "the new node's second CPU got no lane"


ON_ONE_MACHINE = r"""#!/bin/sh
# Nodes of a real Slurm have ports of their own; here both are one machine, so the second takes whatever is free.
case "$*" in *" --address="*--node-manager-port=*)
  for argument do
    shift
    case "$argument" in --*-port=*) ;; *) set -- "$@" "$argument" ;; esac
  done
esac
exec {python} "$@"
"""


@pytest.mark.timeout(900)
def test_slurm_runs_the_rendered_script(slurm, grid, tmp_path, here, monkeypatch, executable):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("FAKE_SLURM_SPEED", "1")
    python = executable(tmp_path / "bin" / "python", ON_ONE_MACHINE.format(python=sys.executable))
    profile = tmp_path / "slurm.yaml"
    profile.write_text(
        "kind: slurm\nnodes: 2\ncpus_per_node: 1\nmemory_per_node: 4G\ntime_limit: 00:20:00\n"
        f"python: {python}\nresults: {tmp_path / 'shared'}\n"
    )
    done = run("launch", grid, "-r", "first", "--cluster", profile)
    assert done.returncode == 0, done.stderr
    (number,) = [path.stem[4:] for path in slurm.state.glob("job-*.json")]
    job = slurm.wait_ended(number, timeout_s=600)
    (log,) = (tmp_path / "shared" / ".jobs").glob("*/slurm-*.out")
    assert job["state"] == "COMPLETED", (log.read_text(), slurm.logs())
    assert "2 of 2 nodes are up" in log.read_text()
    assert rows(tmp_path / "shared" / "first") == here
    assert f"{TRIALS} finished" in run("status", tmp_path / "shared" / "first").stdout
    assert not [p for p in psutil.process_iter(["cmdline"]) if f"elm-{number}-" in " ".join(p.info["cmdline"] or [])]


@pytest.mark.skipif(importlib.util.find_spec("aiohttp_cors") is None, reason="Ray jobs need pip install 'ray[default]'")
@pytest.mark.timeout(900)
def test_a_submitted_ray_job(ray_nodes, grid, tmp_path, here):
    cluster = ray_nodes(head_cpus=2, dashboard=True)
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for package in ("sweeper", "model", "tasks", "theory", "analysis", "cluster"):
        shutil.copytree(ROOT / package, shipped / package, ignore=shutil.ignore_patterns("__pycache__"))
    (shipped / "grid.yaml").write_text(GRID)
    sweep = [*SWEEPER, "launch", "grid.yaml", "-r", str(tmp_path / "r"), "--cluster"]
    submit = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", cluster.jobs]
    done = subprocess.run(
        [*submit, "--working-dir", shipped, "--", *sweep], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert f"{TRIALS} finished" in done.stdout
    drop = {"code_version"}  # what was shipped is no checkout
    assert rows(tmp_path / "r", apart_from=drop) == [{k: row[k] for k in row.keys() - drop} for row in here]
