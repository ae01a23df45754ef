"""The writer of a lane: nothing is reported that is not on disk, and what goes wrong in its thread is seen."""

import time
from datetime import UTC, datetime

import pytest

from sweeper.lane.attempt import TrialRows
from sweeper.lane.writer import RowWriter
from sweeper.store.schema import AttemptRecord
from sweeper.store.store import ResultsStore
from tests.sweeper.rows import trial


def rows(trial_id: str) -> TrialRows:
    now = datetime.now(UTC)
    attempt = AttemptRecord(
        trial_id=trial_id, attempt=1, status="finished", reason=None, traceback=None, host="h", lane="l",
        started_at=now, ended_at=now, wall_s=1.0,
    )  # fmt: skip
    return TrialRows(trial(trial_id), [], attempt)


def test_what_is_reported_is_on_disk(tmp_path):
    store = ResultsStore.create(tmp_path / "r")
    with RowWriter(store, "lane") as writer:
        writer.add(rows("a"))
        writer.add(rows("b"))
        reported = []
        deadline = time.monotonic() + 30
        while len(reported) < 2 and time.monotonic() < deadline:
            reported += [report.trial_id for report in writer.take_reports()]
            assert set(reported) <= store.statuses().keys()
            time.sleep(0.02)
    assert reported == ["a", "b"]


def test_any_fault_of_the_thread_is_raised_in_the_lane_and_nothing_is_reported(tmp_path, monkeypatch):
    store = ResultsStore.create(tmp_path / "r")

    def refuse(table, records, *, writer):
        raise TypeError("expected bytes, str found")  # such as a column of another type

    monkeypatch.setattr(store, "write", refuse)
    with RowWriter(store, "lane") as writer:
        writer.add(rows("a"))
        writer._thread.join(30)
        assert not writer._thread.is_alive()
        with pytest.raises(TypeError, match="expected bytes"):
            writer.add(rows("b"))
        assert writer.take_reports() == []


def test_a_checkpoint_that_cannot_be_removed_is_a_storage_error(tmp_path, monkeypatch):
    from sweeper.errors import StoreError

    store = ResultsStore.create(tmp_path / "r")
    store.write_weights("checkpoints", "a", b"saved")

    class ReadOnly:
        def get_file_info(self, path):
            return store_fs.get_file_info(path)

        def delete_file(self, path):
            raise OSError(30, "Read-only file system")

    store_fs = store._fs
    monkeypatch.setattr(store, "_fs", ReadOnly())
    with pytest.raises(StoreError, match=r"cannot remove a\.pt: Read-only file system"):
        store.delete_checkpoint("a")
