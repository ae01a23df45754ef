"""Merging takes along what trials keep beside their rows."""

import pyarrow as pa
import pytest

from sweeper.errors import DamageError
from sweeper.launch.maintenance import Merged, merge
from sweeper.store.schema import PREDICTIONS
from sweeper.store.store import ResultsStore
from tests.sweeper.rows import trial


def store_at(path, **attempts: int) -> ResultsStore:
    """Trials by name, with the attempt that ended; each keeps a network that names its place and attempt."""
    store = ResultsStore.create(str(path))
    store.write("trials", [trial(name, attempt=attempt) for name, attempt in attempts.items()])
    for name, attempt in attempts.items():
        store.write_weights("networks", name, f"{path.name} {attempt}".encode())
        store.write_predictions(name, predictions(attempt))
    return store


def predictions(attempt: int) -> pa.Table:
    none = {field.name: None if field.nullable else pa.scalar(0).cast(field.type).as_py() for field in PREDICTIONS}
    return pa.Table.from_pylist([none] * attempt, schema=PREDICTIONS)


def networks(store: ResultsStore) -> dict[str, str]:
    return {name: store.read_weights("networks", name).decode() for name in store.names("networks", ".pt")}


def test_networks_and_predictions_go_with_the_rows_that_count(tmp_path):
    target = store_at(tmp_path / "a", same=1, older=1, newer=2)
    store_at(tmp_path / "b", same=1, older=2, newer=1, new=1)
    assert merge(str(tmp_path / "a"), str(tmp_path / "b")) == Merged(trials=1, networks=2, predictions=2)
    assert networks(target) == {"same": "a 1", "older": "b 2", "newer": "a 2", "new": "b 1"}
    kept = {name: target.read_predictions(name).num_rows for name in target.names("predictions", ".parquet")}
    assert kept == {"same": 1, "older": 2, "newer": 2, "new": 1}
    assert merge(str(tmp_path / "a"), str(tmp_path / "b")) == Merged(trials=0, networks=0, predictions=0)


def test_grids_of_one_name_are_all_kept(tmp_path):
    for place, text in (("a", "name: g\n"), ("b", "name: g # b\n"), ("c", "name: g # c\n")):
        store_at(tmp_path / place, same=1).save_grid("g", text)
    for place in ("b", "c", "b", "c"):
        merge(str(tmp_path / "a"), str(tmp_path / place))
    kept = ResultsStore.open(str(tmp_path / "a")).grids()
    assert kept == {"g": "name: g\n", "g-merged": "name: g # b\n", "g-merged2": "name: g # c\n"}


def test_a_merge_that_was_killed_is_completed_by_the_next(tmp_path, monkeypatch):
    store_at(tmp_path / "b", first=1, second=1)
    write = ResultsStore.write_weights

    def killed(self, folder, trial_id, payload):
        if trial_id == "second":
            raise KeyboardInterrupt
        write(self, folder, trial_id, payload)

    with monkeypatch.context() as patch:
        patch.setattr(ResultsStore, "write_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            merge(str(tmp_path / "a"), str(tmp_path / "b"))
    target = ResultsStore.open(str(tmp_path / "a"))
    assert target.statuses() == {}, "no row without what it keeps"
    assert merge(str(tmp_path / "a"), str(tmp_path / "b")) == Merged(trials=2, networks=1, predictions=2)
    assert networks(target) == {"first": "b 1", "second": "b 1"}


def test_a_damaged_network_is_told_and_not_copied(tmp_path):
    store_at(tmp_path / "b", only=1)
    file = tmp_path / "b" / "networks" / "only.pt"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(DamageError, match=r"only\.pt"):
        merge(str(tmp_path / "a"), str(tmp_path / "b"))
    assert ResultsStore.open(str(tmp_path / "a")).names("networks", ".pt") == []
