"""A store whose object storage goes away for a while; the storage is a folder behind errors of pyarrow's S3 client."""

import pyarrow.fs as pafs
import pytest

from sweeper.errors import OUTAGE, TRY_AGAIN, OutageError, StorageError
from sweeper.queue.journal import Journal
from sweeper.store import patient
from sweeper.store.patient import PatientFileSystem
from sweeper.store.store import ResultsStore
from tests.sweeper.queue.test_monitor import snapshot
from tests.sweeper.rows import trial

REFUSED = "AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7, Couldn't connect to server"


class Flaky:
    """A folder that refuses the next operations."""

    def __init__(self) -> None:
        self.folder, self.refusals, self.error = pafs.LocalFileSystem(), 0, REFUSED

    def __getattr__(self, name):
        def call(*arguments, **options):
            if self.refusals > 0:
                self.refusals -= 1
                raise OSError(self.error)
            return getattr(self.folder, name)(*arguments, **options)

        return call


@pytest.fixture
def flaky():
    return Flaky()


@pytest.fixture
def store(flaky, tmp_path, monkeypatch):
    """A store behind it, for which a pause takes no time and five of them use up its patience."""
    clock = [0.0]
    monkeypatch.setattr(patient.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(patient.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    ResultsStore.create(tmp_path)
    return ResultsStore(PatientFileSystem(flaky, 20.0), str(tmp_path), "s3://bucket/sweep")


def test_rows_and_checkpoints_outlast_an_outage(store, flaky):
    for attempt in (1, 2):
        flaky.refusals = 4
        store.write("trials", [trial("a", attempt=attempt)])
    flaky.refusals = 4
    store.write_weights("checkpoints", "a", b"state")
    flaky.refusals = 4
    assert store.read_weights("checkpoints", "a") == b"state"
    flaky.refusals = 4
    assert store.statuses() == {"a": "finished"}


def test_an_outage_that_does_not_end_is_told_as_one(store, flaky):
    flaky.refusals = 100
    with pytest.raises(
        OutageError, match=f"s3://bucket/sweep: cannot write trials, {OUTAGE}: AWS Error NETWORK"
    ) as told:
        store.write("trials", [trial("a")])
    assert told.value.exit_code == TRY_AGAIN
    assert 4 < 100 - flaky.refusals < 10


@pytest.mark.parametrize("error", ["AWS Error ACCESS_DENIED during PutObject", "AWS Error NO_SUCH_BUCKET during Put"])
def test_what_a_person_has_to_mend_is_not_waited_for(error, store, flaky):
    flaky.refusals, flaky.error = 1, error
    with pytest.raises(StorageError, match=error) as told:
        store.write("trials", [trial("a")])
    assert not isinstance(told.value, OutageError)
    assert flaky.refusals == 0


def test_a_launch_goes_on_without_the_updates_of_its_state(store, flaky):
    with Journal(store, "demo", total=3) as journal:
        flaky.refusals = 1
        journal.update(snapshot(0))
        assert flaky.refusals == 0, "it was not tried"
    assert "updates are lost" in next(iter(store.texts("launches", ".log").values()))


def test_whoever_is_told_to_leave_waits_for_storage_no_longer_than_seconds(store, flaky):
    flaky.refusals = 1000
    store.be_patient(lambda: flaky.refusals <= 996)  # told during the fourth pause of what would last for minutes
    with pytest.raises(OutageError):
        store.write("trials", [trial("a")])
    assert patient.time.monotonic() <= patient.HURRIED_S
    flaky.refusals = 15
    store.write("trials", [trial("b")])
    assert store.statuses() == {"b": "finished"}, "a short outage is still waited for"


@pytest.mark.parametrize("remove", [lambda s: s.delete_text("launches/a.json"), lambda s: s.delete_checkpoint("a")])
def test_an_outage_that_meets_a_removal_is_told_as_one(remove, store, flaky):
    flaky.refusals = 100
    with pytest.raises(OutageError, match="cannot remove "):
        remove(store)
