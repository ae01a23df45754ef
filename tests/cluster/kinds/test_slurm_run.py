"""The rendered sbatch script, run end to end by a Slurm on this machine; Ray and training are played."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from cluster.errors import SubmitError
from cluster.jobs.submit import status, stop, submit


@pytest.fixture
def start(slurm, stand_in, tmp_path, profile_of, job_of):
    """Submits a sweep of trials with given durations; returns its record."""

    def submit_sweep(durations, **settings):
        profile = profile_of("slurm", python=str(stand_in), results=str(tmp_path / "results"), **settings)
        return submit(profile, job_of(profile, grid_text=json.dumps(durations)))

    return submit_sweep


@pytest.fixture
def events(tmp_path):
    def read():
        log = tmp_path / "stand_in.log"
        return [json.loads(line) for line in (log.read_text() if log.exists() else "").splitlines()]

    return read


def rows(record) -> int:
    return len(list(Path(record.results).glob("*.row")))


COMPLAINTS = "User defined signal|Terminated|Killed|Traceback|exit code|[Ee]rror"


def logs(record) -> str:
    """What the job and its nodes have written."""
    return "".join(path.read_text() for path in Path(record.folder).iterdir() if path.suffix in (".out", ".log"))


def output(record) -> str:
    return Path(record.folder, f"slurm-{record.handle['id']}.out").read_text()


def wait_for(condition, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_runs_its_sweep_on_all_nodes_and_stops_them(start, slurm, events, tmp_path):
    record = start([0.01] * 5)
    job = slurm.wait_ended(record.handle["id"])
    assert (job["state"], rows(record)) == ("COMPLETED", 5), output(record)
    assert not re.search(COMPLAINTS, logs(record)), logs(record)
    begun = [event["ray"] for event in events() if "ray" in event]
    head, worker = begun
    assert "--head" in head
    port = next(a for a in head if a.startswith("--port=")).removeprefix("--port=")
    assert f"--address=127.0.0.2:{port}" in worker
    assert "--node-ip-address=127.0.0.3" in worker
    assert {event["ended"] for event in events() if "ended" in event} == {"127.0.0.2", "127.0.0.3"}
    assert {Path(record.results, f"{i}.row").read_text() for i in range(5)} == {f"127.0.0.2:{port}"}
    assert not list(Path("/tmp").glob(f"elm-{record.handle['id']}-*-*"))


def test_the_token_is_new_for_each_job_and_in_no_file(start, slurm, events, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-the-submitting-shell")
    first = start([0.01])
    slurm.wait_ended(first.handle["id"])
    second = start([0.01, 0.01])
    slurm.wait_ended(second.handle["id"])
    tokens = {event["token"] for event in events() if "token" in event}
    assert len(tokens) == 2
    assert "of-the-submitting-shell" not in tokens
    written = [path.read_text() for path in Path(first.folder).iterdir()]
    assert not any(token in text for token in tokens for text in written)


def test_at_the_time_limit_running_trials_end_and_the_job_goes_on_where_it_was(start, slurm):
    record = start([0.25] * 20, time_limit="8m")  # a minute passes in a second: the notice comes after 3 s
    job = slurm.wait_ended(record.handle["id"])
    assert job["state"] == "COMPLETED", output(record)
    assert job["restarts"] >= 1
    assert rows(record) == 20
    said = output(record)
    assert "the time limit is near: no new trials" in said
    assert "queued again" in said
    assert said.count(" done\n") == 20, "a trial ran twice"
    assert not re.search(COMPLAINTS, logs(record)), logs(record)


def test_a_job_is_not_queued_again_for_ever(start, slurm):
    record = start([0.25] * 200, time_limit="8m", max_requeues=0)
    job = slurm.wait_ended(record.handle["id"])
    assert (job["state"], job["restarts"]) == ("FAILED", 0)
    assert "started 0 times already; submit again to go on" in output(record)


def test_a_preempted_job_resumes(start, slurm):
    record = start([0.2] * 10)
    number = record.handle["id"]
    wait_for(lambda: rows(record) >= 2)
    subprocess.run(["preempt", number], check=True)
    job = slurm.wait_ended(number)
    assert (job["state"], job["restarts"], rows(record)) == ("COMPLETED", 1, 10), output(record)


def test_a_job_that_gets_nothing_done_stops_itself(start, slurm, monkeypatch):
    monkeypatch.setenv("STAND_IN_EXIT", "75")  # what ended the launch may pass
    record = start([])
    job = slurm.wait_ended(record.handle["id"], timeout_s=120)
    assert (job["state"], job["restarts"]) == ("FAILED", 3)
    assert "queued again 3 times without a finished trial or checkpoint, see slurm-" in status(record).detail


def test_the_loss_of_a_worker_node_does_not_end_the_job(start, slurm, events):
    record = start([0.2] * 10)
    number = record.handle["id"]
    wait_for(lambda: rows(record) >= 1)
    subprocess.run(["lose", "127.0.0.3"], check=True)
    job = slurm.wait_ended(number)
    assert (job["state"], job["restarts"], rows(record)) == ("COMPLETED", 0, 10), output(record)


def test_a_job_whose_first_node_is_lost_is_queued_again_by_another(start, slurm):
    record = start([0.2] * 10)
    number = record.handle["id"]
    wait_for(lambda: rows(record) >= 1)
    subprocess.run(["lose", "127.0.0.2"], check=True)
    assert "its first node does not answer" in status(record).detail
    job = slurm.wait_ended(number)
    assert (job["state"], job["restarts"], rows(record)) == ("COMPLETED", 1, 10), output(record)
    assert job["host"] == "127.0.0.3"


def test_a_first_node_that_is_lost_before_its_ray_is_up_is_noticed_too(start, slurm, monkeypatch):
    monkeypatch.setenv("STAND_IN_BROKEN", "127.0.0.2")
    record = start([0.01] * 3)
    number = record.handle["id"]
    slurm.wait(number, lambda job: len(job.get("tasks", [])) == 2)
    subprocess.run(["lose", "127.0.0.2"], check=True)
    job = slurm.wait_ended(number)
    assert (job["state"], job["restarts"], rows(record)) == ("COMPLETED", 1, 3), output(record)


def test_a_job_whose_only_node_is_lost_is_queued_again_by_slurm(start, slurm):
    record = start([0.2] * 10, nodes=1)
    number = record.handle["id"]
    wait_for(lambda: rows(record) >= 1)
    subprocess.run(["lose", "127.0.0.2"], check=True)
    job = slurm.wait_ended(number)
    assert (job["state"], job["restarts"], rows(record)) == ("COMPLETED", 1, 10), output(record)


def test_a_job_without_its_nodes_can_be_stopped(start, slurm):
    record = start([0.2] * 100)
    wait_for(lambda: rows(record) >= 1)
    for node in ("127.0.0.3", "127.0.0.2"):  # nobody is left to queue it again
        subprocess.run(["lose", node], check=True)
    stop(record)
    assert slurm.wait_ended(record.handle["id"])["state"] == "CANCELLED"


@pytest.mark.parametrize("end", ["scancel", "preempt"])
def test_what_ends_a_job_leaves_ray_alone_until_the_trials_are_saved(end, start, slurm, events):
    record = start([0.2] * 10)
    number = record.handle["id"]
    wait_for(lambda: rows(record) >= 1)
    subprocess.run([end, number], check=True)
    job = slurm.wait_ended(number)
    assert {"saved on": ["127.0.0.2", "127.0.0.3"]} in events(), output(record)
    assert job["state"] == {"scancel": "CANCELLED", "preempt": "COMPLETED"}[end]


def test_a_head_that_does_not_come_up_is_an_error_and_leaves_nothing(start, slurm, monkeypatch, events):
    monkeypatch.setenv("STAND_IN_BROKEN", "127.0.0.2")
    record = start([0.01], start_timeout=1, max_requeues=1)
    job = slurm.wait_ended(record.handle["id"])
    assert (job["state"], job["restarts"]) == ("FAILED", 1)
    assert "queued again: the Ray cluster did not come up; see " in output(record)
    assert "started 1 times already" in status(record).detail
    assert rows(record) == 0
    assert "no Ray today" in Path(record.folder, f"ray-{record.handle['id']}-127.0.0.2.log").read_text()


def test_stop_lets_running_trials_end_and_stop_now_does_not(start, slurm, events):
    record = start([0.3] * 300)
    number = record.handle["id"]
    wait_for(lambda: rows(record) >= 1)
    assert status(record).state == "running"
    assert f"Slurm job {number} running" in status(record).detail
    assert "ends after its running trials" in stop(record)
    job = slurm.wait_ended(number)
    assert (job["state"], job["restarts"]) == ("COMPLETED", 0), output(record)
    before = rows(record)
    assert 1 <= before < 300
    again = start([0.3] * 300)
    wait_for(lambda: rows(again) > before)
    assert "is stopped" in stop(again, now=True)
    assert slurm.wait_ended(again.handle["id"])["state"] == "COMPLETED"
    assert {"saved on": ["127.0.0.2", "127.0.0.3"]} in events()
    assert status(again).state == "ended"
    assert "stopped by sweeper stop" in status(again).detail
    assert not re.search(COMPLAINTS, logs(record)), logs(record)
    assert {event["ended"] for event in events() if "ended" in event} == {"127.0.0.2", "127.0.0.3"}


def test_a_job_whose_nodes_have_hardly_begun_is_stopped_without_a_complaint(start, slurm, monkeypatch):
    monkeypatch.setenv("STAND_IN_ADDRESS_S", "15")  # nodes that ask their address have no Ray yet
    record = start([600])
    slurm.wait(record.handle["id"], lambda job: len(job.get("tasks", [])) == 2)
    stop(record, now=True)
    assert slurm.wait_ended(record.handle["id"])["state"] == "COMPLETED", output(record)
    assert not re.search(COMPLAINTS, logs(record)), logs(record)


@pytest.mark.parametrize("now", [True, False])
@pytest.mark.parametrize("late", ["the node is prepared", "the shell has no traps"])
def test_a_job_that_has_hardly_begun_is_stopped_before_it_starts_anything(
    late, now, start, slurm, monkeypatch, tmp_path
):
    go = tmp_path / "go"
    if late == "the node is prepared":
        monkeypatch.setenv("FAKE_SLURM_PROLOG", str(go))
    wait = f"until [[ -e {go} ]]; do sleep 0.1; done"
    record = start([0.1], setup=[wait] if late == "the shell has no traps" else None)
    slurm.wait(record.handle["id"], lambda job: job["state"] == "RUNNING")
    stop(record, now=now)
    go.touch()
    job = slurm.wait_ended(record.handle["id"])
    assert (job["state"], job["steps"], rows(record)) == ("COMPLETED", 0, 0), output(record)
    assert "stopped by sweeper stop" in status(record).detail


def test_a_stopped_job_is_not_gone_on_with_after_its_first_node_was_lost(start, slurm, events):
    record = start([1.0] * 100)
    wait_for(lambda: rows(record) >= 1)
    stop(record)
    subprocess.run(["lose", "127.0.0.2"], check=True)
    job = slurm.wait_ended(record.handle["id"])
    assert (job["state"], job["restarts"]) == ("COMPLETED", 1), output(record)
    assert sum("launch" in event for event in events()) == 1


def test_a_launcher_that_has_hardly_begun_is_told_to_drain(start, slurm, events, monkeypatch, tmp_path):
    told = tmp_path / "told"
    monkeypatch.setenv("STAND_IN_DEAF_UNTIL", str(told))
    record = start([0.1] * 200)
    wait_for(lambda: any("begun" in event for event in events()))
    stop(record)
    wait_for(lambda: "told to stop" in output(record))
    told.touch()
    job = slurm.wait_ended(record.handle["id"])
    assert (job["state"], rows(record)) == ("COMPLETED", 0), output(record)


def test_the_launchers_failure_is_the_jobs(start, slurm, monkeypatch):
    monkeypatch.setenv("STAND_IN_EXIT", "1")
    record = start([0.01])
    job = slurm.wait_ended(record.handle["id"])
    assert (job["state"], job["exit"]) == ("FAILED", 1)


def test_the_same_sweep_is_not_submitted_twice(start, slurm):
    record = start([0.2] * 10)
    with pytest.raises(SubmitError, match=f"job {record.name} is in the queue already, as {record.handle['id']}"):
        start([0.2] * 10)
    assert slurm.wait_ended(record.handle["id"])["state"] == "COMPLETED"
    assert len(list(slurm.state.glob("job-*.json"))) == 1


def test_without_slurm_nothing_is_left_behind(tmp_path, monkeypatch, profile_of, job_of):
    monkeypatch.setenv("PATH", str(tmp_path))
    profile = profile_of("slurm", results=str(tmp_path / "results"))
    with pytest.raises(SubmitError, match="squeue: not found; run this on a login node of the Slurm cluster"):
        submit(profile, job_of(profile))
    assert not (tmp_path / "results").exists()
