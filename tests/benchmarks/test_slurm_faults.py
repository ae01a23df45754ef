"""What the faults of a real Slurm would complain of, seen on this machine."""

import random

import pytest

from benchmarks import slurm_faults
from benchmarks.slurm_faults import Lab


@pytest.fixture
def lab(tmp_path, executable):
    """A lab of one node, which is this machine, with a queue that a file tells of."""
    queue = tmp_path / "queue"
    executable(tmp_path / "bin" / "squeue", f'#!/bin/sh\ncat "{queue}"\n')
    executable(tmp_path / "bin" / "sinfo", "#!/bin/sh\necho here\n")
    prepare = f"export PATH={tmp_path / 'bin'}:$PATH"
    options = {"login": "", "node": "sh -c", "kill": "", "revive": "", "prepare": prepare}
    return Lab(folder=str(tmp_path), draw=random.Random(0), **options)


@pytest.fixture
def executable():
    def write(path, text) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    return write


def test_what_is_left_on_a_node_is_complained_of(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_faults, "_FOLDERS", f"{tmp_path}/elm-*")
    monkeypatch.setattr(slurm_faults, "_OURS", "nothing-that-runs-anywhere")
    lab.look_for_remains("scancel")
    assert lab.complaints == []
    (tmp_path / "elm-7-0-0").mkdir()
    lab.look_for_remains("scancel")
    assert lab.complaints == [f"after scancel, here has 1 things of ours: ['{tmp_path}/elm-7-0-0']"]


def test_a_fault_meets_a_job_that_runs_and_no_other(lab, tmp_path):
    for queued in ("", "7 PENDING n/a"):
        (tmp_path / "queue").write_text(queued)
        assert not lab.strike("scancel")
    assert lab.job() == ("7", "PENDING", "n/a")


def test_an_end_that_does_not_come_is_complained_of(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_faults, "_PATIENCE_S", 0.0)
    (tmp_path / "queue").write_text("7 RUNNING n1")
    lab.wait("ended by scancel 7", lambda: lab.job() is None)
    assert lab.complaints[0].startswith("within 0 s not ended by scancel 7: ('7', 'RUNNING', 'n1')")
