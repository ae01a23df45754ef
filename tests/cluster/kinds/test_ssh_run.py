"""The rendered script on two machines reached by ssh; ssh, Ray and training are played."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from cluster.errors import SubmitError
from cluster.jobs.submit import status, stop, submit


@pytest.fixture
def start(machines, stand_in, tmp_path, profile_of, job_of):
    def submit_sweep(durations, **settings):
        settings = {
            "python": str(stand_in),
            "work_dir": str(machines),
            "results": str(tmp_path / "results"),
            **settings,
        }
        profile = profile_of("ssh", **settings)
        return submit(profile, job_of(profile, grid_text=json.dumps(durations)))

    return submit_sweep


@pytest.fixture
def events(tmp_path):
    def read():
        return [json.loads(line) for line in (tmp_path / "stand_in.log").read_text().splitlines()]

    return read


def wait_for(condition, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rows(record) -> int:
    return len(list(Path(record.results).glob("*.row")))


def ended(events) -> set:
    return {event["ended"] for event in events() if "ended" in event}


def test_a_job_runs_on_all_machines_and_ends_by_itself(start, events, machines):
    record = start([0.05] * 10)
    wait_for(lambda: rows(record) == 10)
    wait_for(lambda: ended(events) == {"127.0.0.2", "127.0.0.1"})  # the worker has the address on its way to the head
    wait_for(lambda: status(record).state == "ended")
    head, worker = sorted((e["ray"] for e in events() if "ray" in e), key=lambda a: "--head" not in a)
    assert {"--head", "--port=20000", "--node-ip-address=127.0.0.2"} <= set(head)
    assert "--address=127.0.0.2:20000" in worker
    tokens = {event["token"] for event in events() if "token" in event}
    assert len(tokens) == 1
    assert len(tokens.pop()) == 64
    again = start([0.05] * 12)
    wait_for(lambda: rows(again) == 12)


def test_the_token_is_in_no_file(start, events, machines):
    record = start([0.05])
    wait_for(lambda: rows(record) == 1)
    (token,) = {event["token"] for event in events() if "token" in event}
    files = [path for path in machines.parent.rglob("*") if path.is_file() and path.name != "stand_in.log"]
    assert any(path.name.startswith("job-") for path in files)
    assert not any(token in path.read_text(errors="replace") for path in files)


def test_stop_lets_running_trials_end_and_stop_now_does_not(start, events):
    record = start([0.3] * 30)
    wait_for(lambda: rows(record) >= 1)
    assert status(record).state == "running"
    assert "ends after its running trials" in stop(record)
    wait_for(lambda: ended(events) == {"127.0.0.2", "127.0.0.1"})  # the worker has the address on its way to the head
    assert 1 <= rows(record) < 30
    before = rows(record)
    wait_for(lambda: status(record).state == "ended")
    again = start([0.3] * 30)
    wait_for(lambda: rows(again) > before)
    assert "is stopped" in stop(again, now=True)
    assert {"saved on": ["127.0.0.1", "127.0.0.2"]} in events()
    wait_for(lambda: status(again).state == "ended")
    assert "had ended already" in stop(again, now=True)


def test_a_machine_that_is_down_leaves_nothing_running(start, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_SSH_DOWN", "127.0.0.3")
    with pytest.raises(SubmitError, match="ssh failed with exit code 1: .*127.0.0.3 port 22: Connection refused"):
        start([0.05])
    assert not (tmp_path / "stand_in.log").exists()


@pytest.mark.parametrize("home", ["of each machine", "shared"])
def test_the_same_sweep_is_not_started_twice(home, start, monkeypatch, machines):
    if home == "shared":
        monkeypatch.setenv("FAKE_SSH_SHARED", "1")
    record = start([0.2] * 8)
    with pytest.raises(SubmitError, match="the job runs on 127.0.0.2 already, as process"):
        start([0.2] * 8)
    wait_for(lambda: rows(record) == 8)
    wait_for(lambda: status(record).state == "ended")
    kept = [path.name for path in machines.parent.rglob("pid-*")]
    assert sorted(kept) == ["pid-127.0.0.2", "pid-127.0.0.3"]


def test_a_folder_that_a_live_process_has_is_not_taken_from_it(start, machines, events):
    record = start([0.05, *[600] * 8])
    wait_for(lambda: rows(record) == 1)
    head = int(next(machines.parent.rglob("pid-127.0.0.2")).read_text())
    for path in machines.parent.rglob("pid-*"):
        path.unlink()  # as when somebody tidied up
    start([0.05, *[600] * 8])
    log = next(machines.parent.rglob("job-127.0.0.2.log"))
    wait_for(lambda: f"belongs to process {head}, which still runs; end that first" in log.read_text())
    assert not ended(events)
    os.kill(head, signal.SIGTERM)
    wait_for(lambda: ended(events) == {"127.0.0.2", "127.0.0.1"})
