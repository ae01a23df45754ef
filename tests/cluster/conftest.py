"""Profiles, programs that stand in for a cluster's, and a real Ray cluster of three nodes."""

import json
import os
import secrets
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.kinds.job import make_job
from cluster.profiles.profile import parse_profile

DAEMONS = (
    "test_connect.py",
    "test_doctor.py",
    "test_elastic.py",
    "test_own_code.py",
    "test_ready.py",
    "test_slurm_ray.py",
    "test_slurm_run.py",
    "test_ssh_run.py",
)
"""Files that start real Ray heads, raylets and stand-ins of sbatch and ssh: run them with CLUSTER_TESTS=1."""


def pytest_collection_modifyitems(items):
    if os.environ.get("CLUSTER_TESTS") == "1":
        return
    skip = pytest.mark.skip(reason="starts real daemons; CLUSTER_TESTS=1 runs it")
    for item in items:
        if HERE in item.path.parents and item.path.name in DAEMONS:
            item.add_marker(skip)


HERE = Path(__file__).parent
ROOT = HERE.parent.parent

PROFILES = {
    "slurm": """
kind: slurm
nodes: 2
cpus_per_node: 2
memory_per_node: 4G
time_limit: 00:20:00
python: /opt/elm/bin/python
results: /shared/results
""",
    "kuberay": """
kind: kuberay
nodes: 4
min_nodes: 1
cpus_per_node: 8
memory_per_node: 32Gi
image: registry.org/elm:1
results: s3://bucket/sweeps
""",
    "ray-up": """
kind: ray-up
provider: aws
region: us-west-2
nodes: 4
cpus_per_node: 4
worker_type: c6i.xlarge
head_type: m5.large
image: rayproject/ray:2.60.0-py311
wheel: elm_sweeper-0.1.0-py3-none-any.whl
results: s3://bucket/sweeps
""",
    "ssh": """
kind: ssh
hosts: [127.0.0.2, 127.0.0.3]
cpus_per_node: 2
python: /opt/elm/bin/python
work_dir: /data/elm
results: /shared/results
""",
}


@pytest.fixture
def smallest():
    """Text of the smallest profile of each kind."""
    return PROFILES


GRID = "name: demo\ntask: text\nbudgets: [10000]\n"


@pytest.fixture
def profile_of():
    """Makes a profile from the smallest of its kind and further settings; None removes one."""

    def make(kind: str, **settings):
        import yaml

        content = {**yaml.safe_load(PROFILES[kind]), **settings}
        text = yaml.safe_dump({key: value for key, value in content.items() if value is not None})
        return parse_profile(text, default_name="toy")

    return make


@pytest.fixture
def job_of():
    """Makes a job for a profile."""

    def make(profile, *, sweep="demo", grid_text=GRID, results="demo", **more):
        return make_job(profile, sweep=sweep, grid_text=grid_text, results=results, ray_version="2.60.0", **more)

    return make


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """No test sees the records of submitted jobs of this user."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def executable():
    """Writes a program."""

    def write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


@pytest.fixture
def stand_in(tmp_path, monkeypatch, executable):
    """Path of an interpreter whose Ray and training are played; see stand_in.py."""
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "stand_in.log"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return executable(tmp_path / "bin" / "python", f'#!/bin/sh\nexec {sys.executable} {HERE / "stand_in.py"} "$@"\n')


@pytest.fixture
def machines(tmp_path, monkeypatch, executable):
    """An ssh that reaches this machine under any name, with a folder of its own per name; see fake_ssh.py."""
    executable(tmp_path / "ssh-bin" / "ssh", f"#!{sys.executable}\n{(HERE / 'fake_ssh.py').read_text()}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'ssh-bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SSH", str(tmp_path / "work"))
    return tmp_path / "work"


@pytest.fixture
def slurm(tmp_path, monkeypatch, executable):
    """A Slurm of three nodes; see fake_slurm.py. Ends what its jobs left running."""
    state = tmp_path / "slurm"
    state.mkdir()
    programs = tmp_path / "slurm-bin"
    programs.mkdir()
    for name in ("sbatch", "squeue", "scancel", "srun", "scontrol", "sinfo", "preempt", "lose"):
        executable(programs / name, f"#!{sys.executable}\n{(HERE / 'fake_slurm.py').read_text()}")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    monkeypatch.setenv("FAKE_SLURM_NODES", "127.0.0.2,127.0.0.3,127.0.0.4")
    monkeypatch.setenv("FAKE_SLURM_FIRST", str(secrets.randbelow(10**6)))  # folders and ports follow from it
    yield Slurm(state)
    for path in state.glob("job-*.json"):
        if json.loads(path.read_text())["state"] in ("PENDING", "RUNNING"):
            subprocess.run(["scancel", path.stem[4:]], check=False)


class Slurm:
    """What tests ask of the fake Slurm."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def job(self, number: str) -> dict:
        return json.loads((self.state / f"job-{number}.json").read_text())

    def wait(self, number: str, condition, timeout_s: float = 240) -> dict:
        """Wait until a job fits a condition and return it."""
        deadline = time.monotonic() + timeout_s
        while not condition(job := self.job(number)):
            assert time.monotonic() < deadline, f"{job}; {self.logs()}"
            time.sleep(0.05)
        return job

    def wait_ended(self, number: str, timeout_s: float = 240) -> dict:
        return self.wait(number, lambda job: job["state"] not in ("PENDING", "RUNNING"), timeout_s)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.state.glob("*.log"))


@pytest.fixture
def ray_nodes():
    """Makes real Ray nodes with a token of the test's own that end with it; see ray_nodes.py."""
    made: list = []
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_worker_niceness", "0")  # beside other work on this machine, lanes would starve
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(str(HERE))
        from ray_nodes import RayNodes

        def make(**settings) -> RayNodes:
            made.append(RayNodes(**settings))
            return made[-1]

        yield make
        for nodes in made:
            nodes.close()
    if "ray" in sys.modules:  # this process may have learnt the token
        from cluster.attach.ray_internals import forget_token

        forget_token()
