"""`sweeper jobs` and `sweeper stop` on a job of the fake Slurm."""

import json

from click.testing import CliRunner

from cluster.jobs.jobs import jobs, stop
from cluster.jobs.submit import submit
from cluster.kinds.record import records


def test_a_job_is_listed_and_stopped(slurm, stand_in, tmp_path, profile_of, job_of):
    profile = profile_of("slurm", python=str(stand_in), results=str(tmp_path / "results"))
    record = submit(profile, job_of(profile, grid_text=json.dumps([0.3] * 20)))
    number = record.handle["id"]
    slurm.wait(number, lambda job: job["state"] == "RUNNING")
    listed = CliRunner().invoke(jobs).output
    assert record.name in listed
    assert f"running  Slurm job {number} running, 0:10 of 00:20:00, 2 nodes, 127.0.0.2,127.0.0.3" in listed
    assert f"results {tmp_path / 'results' / 'demo'}" in listed
    assert CliRunner().invoke(stop, ["demo", "--now"]).output == f"{record.name} is stopped\n"
    assert slurm.wait_ended(number)["state"] == "COMPLETED"
    assert records() == []
    assert CliRunner().invoke(jobs).output.startswith("No job was submitted from this machine; ")
    assert "no job was submitted" in str(CliRunner().invoke(stop).exception)


def test_a_cluster_that_cannot_be_asked_is_said(slurm, stand_in, tmp_path, profile_of, job_of, monkeypatch):
    profile = profile_of("slurm", python=str(stand_in), results=str(tmp_path / "results"))
    number = submit(profile, job_of(profile, grid_text="[]")).handle["id"]
    slurm.wait_ended(number)
    assert f"ended    Slurm job {number}: all trials have ended; see " in CliRunner().invoke(jobs).output
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "unknown  squeue: not found" in CliRunner().invoke(jobs).output
