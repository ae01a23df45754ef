"""The rendered sbatch script with a real Ray on two nodes: fake Slurm, real raylets, real token."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.jobs.submit import submit

HERE = Path(__file__).parents[1]

CHECK = """
import sys
from cluster.attach.connect import check_reachable
from cluster.errors import ConnectError
try:
    check_reachable(sys.argv[1])
except ConnectError as error:
    print(error)
"""


@pytest.fixture
def interpreter(tmp_path, monkeypatch, executable):
    monkeypatch.setenv("PYTHONPATH", str(HERE.parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("FAKE_SLURM_SPEED", "1")  # Ray may take its time to start
    monkeypatch.setenv("RAY_worker_niceness", "0")
    driver = f'if [ "${{2:-}}" = sweeper.cli ]; then shift 3; exec {sys.executable} {HERE / "ray_driver.py"} "$@"; fi'
    return executable(tmp_path / "bin" / "python", f'#!/bin/sh\n{driver}\nexec {sys.executable} "$@"\n')


def ask(address: str, **token) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", CHECK, address]
    done = subprocess.run(command, env={**environment, **token}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.timeout(900)
def test_a_job_on_two_real_raylets(slurm, interpreter, tmp_path, profile_of, job_of):
    profile = profile_of("slurm", python=str(interpreter), results=str(tmp_path / "results"))
    record = submit(profile, job_of(profile, grid_text=json.dumps([1.5] * 12)))
    number = record.handle["id"]
    log = Path(record.folder, f"slurm-{number}.out")
    deadline = time.monotonic() + 300
    while not (found := re.search(r"attached to (\d) nodes at (\S+)", log.read_text() if log.exists() else "")):
        assert time.monotonic() < deadline, (log.read_text() if log.exists() else "", slurm.logs())
        assert slurm.job(number)["state"] in ("PENDING", "RUNNING"), log.read_text()
        time.sleep(0.2)
    nodes, address = found[1], found[2]
    assert nodes == "2"
    home = {"HOME": str(tmp_path)}
    assert f"--cluster {address}: the cluster asks for a token; set RAY_AUTH_MODE=token and" in ask(address, **home)
    wrong = ask(address, RAY_AUTH_TOKEN="0" * 64, **home)
    assert f"--cluster {address}: the token given here is not the cluster's" in wrong
    job = slurm.wait_ended(number, timeout_s=300)
    assert job["state"] == "COMPLETED", log.read_text()
    rows = [path.read_text().split() for path in sorted(Path(record.results).glob("*.row"))]
    assert len(rows) == 12
    assert {len(row) for row in rows} == {1}
    assert {row[0] for row in rows} == {"127.0.0.2", "127.0.0.3"}
    assert "2 of 2 nodes are up" in log.read_text()
    assert not list(Path("/tmp").glob(f"elm-{number}-*"))
