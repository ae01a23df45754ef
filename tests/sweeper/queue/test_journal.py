"""Whether a launch lives is told without wall clocks and bare process numbers."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.errors import StorageError
from sweeper.queue import journal as journal_module
from sweeper.queue.broker import Broker
from sweeper.queue.identity import own_identity
from sweeper.queue.journal import Journal, clear_dead_launches, live_launches
from sweeper.store.store import ResultsStore

HERE = own_identity()
HIDDEN = {
    "another machine": replace(HERE, boot="0"),
    "another container": replace(HERE, namespace="pid:[1]"),
    "no proc file system": None,
}


@pytest.fixture
def store(tmp_path):
    return ResultsStore.create(tmp_path / "r")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(journal_module, "_POLL_S", 0.01)
    monkeypatch.setattr(journal_module, "LOOK_S", 0.1)


def state_of(store, process=HERE) -> Path:
    """A state as a launch writes it whose process is this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "own_identity", lambda: process)
        Journal(store, "s", total=1).update(Broker([]).snapshot())
    (path,) = Path(store.local_path(), "launches").glob("*.json")
    return path


def long_silent(path: Path, hours: float = 1.0) -> None:
    os.utime(path, (time.time() - 3600 * hours,) * 2)


def test_a_process_seen_from_here_lives_however_long_it_is_silent(store):
    long_silent(state_of(store), hours=1000)
    assert len(live_launches(store)) == 1


@pytest.mark.parametrize("gone", [replace(HERE, start=HERE.start + 1), replace(HERE, pid=2**22 + 1)])
def test_a_process_that_is_gone_is_dead_however_fresh_its_state(store, gone):
    path = state_of(store, gone)
    assert live_launches(store) == []
    assert clear_dead_launches(store) == 1
    assert not path.exists()


@pytest.mark.parametrize("process", HIDDEN.values(), ids=HIDDEN.keys())
def test_what_cannot_be_seen_lives_while_the_storage_heard_of_it(store, process):
    state_of(store, process)
    assert len(live_launches(store)) == 1


@pytest.mark.parametrize("hours", [1, -1], ids=["long silent", "by a clock that is ahead"])
def test_what_does_not_change_between_two_looks_is_dead(store, quick, hours):
    long_silent(state_of(store, None), hours)
    assert len(live_launches(store, wait=False)) == 1, "until it has been looked at for a while it may live"
    assert live_launches(store) == []
    assert clear_dead_launches(store) == 1


def test_what_changes_between_two_looks_lives_whatever_the_clocks_say(store):
    path = state_of(store, None)
    long_silent(path)
    assert len(live_launches(store, wait=False)) == 1
    path.write_text(json.dumps(json.loads(path.read_text()) | {"updates": 2}))
    long_silent(path)
    assert len(live_launches(store)) == 1


def test_a_copy_of_a_results_directory_has_no_launch(tmp_path, store):
    long_silent(state_of(store), hours=100)
    subprocess.run(["cp", "-a", tmp_path / "r", tmp_path / "copy"], check=True)
    assert live_launches(ResultsStore.open(tmp_path / "copy")) == []
    assert len(live_launches(store)) == 1


BAD = [{"running": [7]}, {"process": {"pid": "x"}}, {"total": "many"}, {"process": {**vars(HERE), "start": None}}]


@pytest.mark.parametrize("bad", ["{", "[]", "null", "[" * 100_000, '{"sweep": "s"}', *BAD], ids=range(5 + len(BAD)))
def test_what_is_no_state_is_passed_over_and_cleared_away(store, bad):
    path = state_of(store, None)
    path.write_text(bad if isinstance(bad, str) else json.dumps(json.loads(path.read_text()) | bad))
    assert live_launches(store) == []
    assert clear_dead_launches(store) == 1


def test_the_state_goes_with_the_launch_however_that_ends(store):
    def fault() -> None:
        with Journal(store, "s", total=1) as journal:
            journal.update(Broker([]).snapshot())
            assert len(live_launches(store)) == 1
            raise ZeroDivisionError("a fault")

    with pytest.raises(ZeroDivisionError):
        fault()
    assert store.texts("launches", ".json") == {}
    assert "ZeroDivisionError: a fault" in "".join(store.texts("launches", ".log").values())


ASK = "import sys; from sweeper.queue.journal import *; print(len(live_launches(ResultsStore.open(sys.argv[1]))))"


@pytest.mark.parametrize(
    "prefix", [["faketime", "-f", "+5m"], ["faketime", "-f", "-5m"], ["unshare", "-p", "-f", "--mount-proc"]]
)
def test_a_shifted_clock_and_a_namespace_of_its_own_hide_no_launch(store, prefix):
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"{prefix[0]} is not allowed here")
    state_of(store)
    asked = subprocess.run(
        [*prefix, sys.executable, "-c", ASK, store.uri], capture_output=True, text=True, check=True, cwd=os.getcwd()
    )
    assert asked.stdout == "1\n"


def test_a_launch_that_has_ended_runs_no_more_though_its_state_cannot_be_removed(store, monkeypatch):
    """As on storage that has become read-only: the process that looks is the one that the state names."""

    def refuse(store, name):
        raise StorageError("cannot remove it: Read-only file system.")

    monkeypatch.setattr(ResultsStore, "delete_text", refuse)
    journal = Journal(store, "s", total=1)
    with pytest.raises(StorageError), journal:
        assert len(live_launches(store)) == 1
    assert live_launches(store) == []
