"""The store keeps every row whole, once, and refuses what it cannot understand."""

import errno
import json
import os
from dataclasses import asdict, replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeper.errors import StorageError, StoreError
from sweeper.store.schema import SCHEMA_VERSION, SCHEMAS, CurveRecord
from sweeper.store.store import ResultsStore
from tests.sweeper.rows import trial


def curve(trial_id: str, step: int) -> CurveRecord:
    return CurveRecord(
        trial_id=trial_id,
        attempt=1,
        step=step,
        tokens=step,
        split="valid",
        loss=1.0,
        metric=2.0,
        learning_rate=None,
        wall_s=0.1,
    )


@pytest.fixture
def store(tmp_path):
    return ResultsStore.create(tmp_path / "results")


def test_rows_come_back_as_written_and_plain_pandas_reads_them(store, tmp_path):
    record = trial("a", final_test_metric=2.5)
    store.write("trials", [record])
    assert store.read("trials").to_pylist() == [asdict(record)]
    frame = pd.read_parquet(tmp_path / "results" / "trials")
    assert frame.loc[0, "final_test_metric"] == 2.5
    assert pd.isna(frame.loc[0, "final_valid_metric"])  # missing stays missing


def test_the_last_attempt_counts_and_history_survives_compaction(store):
    store.write("trials", [trial("a", status="failed", reason="boom"), trial("b")])
    store.write("trials", [trial("a", attempt=2)])
    assert store.statuses() == {"a": "finished", "b": "finished"}
    store.compact()
    assert store.statuses() == {"a": "finished", "b": "finished"}
    assert store.attempts_made() == {"a": 2, "b": 1}


def test_the_same_attempt_twice_counts_once_whatever_the_other_rows(store):
    store.write("trials", [trial("a", final_test_metric=1.0), trial("b", final_test_metric=2.0)])
    store.write("trials", [trial("a", final_test_metric=1.0), trial("c", final_test_metric=3.0)])
    expected = {"a": 1.0, "b": 2.0, "c": 3.0}
    for more in ([], [trial("b", attempt=2, final_test_metric=2.5)]):  # without and with a second attempt
        store.write("trials", more)
        expected |= {row.trial_id: row.final_test_metric for row in more}
        rows = store.read("trials", ["trial_id", "final_test_metric"]).to_pylist()
        assert len(rows) == 3
        assert {row["trial_id"]: row["final_test_metric"] for row in rows} == expected


def test_compaction_leaves_one_file_and_the_same_rows(store, tmp_path):
    for step in range(20):
        store.write("curves", [curve("a", step)])
    before = sorted(store.read("curves")["step"].to_pylist())
    store.compact()
    assert sorted(store.read("curves")["step"].to_pylist()) == before == list(range(20))
    assert len(list((tmp_path / "results" / "curves").iterdir())) == 1


def test_a_compaction_killed_before_it_deletes_counts_no_row_twice(store, tmp_path, monkeypatch):
    for step in range(5):
        store.write("curves", [curve("a", step)])
    monkeypatch.setattr(store, "_delete", lambda path: None)
    store.compact()
    assert len(list((tmp_path / "results" / "curves").iterdir())) == 6
    assert len(store.read("curves")) == 5


def test_reading_while_another_process_compacts(store, monkeypatch):
    for step in range(4):
        store.write("curves", [curve("a", step)])
    listing = store._list_parts

    def list_then_compact(table):
        parts = listing(table)
        monkeypatch.setattr(store, "_list_parts", listing)
        store.compact()
        return parts

    monkeypatch.setattr(store, "_list_parts", list_then_compact)
    assert len(store.read("curves")) == 4


def test_a_listing_that_shows_neither_old_nor_merged_files_loses_no_row(store, monkeypatch):
    """A directory is not listed at one moment: old files may be gone before shown, the new one not yet there."""
    store.write("trials", [trial("a")])
    store.write("trials", [trial("b")])
    store.compact()
    listing = store._list_parts

    def half_listed(table):
        monkeypatch.setattr(store, "_list_parts", listing)
        return []

    monkeypatch.setattr(store, "_list_parts", half_listed)
    assert store.statuses() == {"a": "finished", "b": "finished"}


def test_two_compactions_at_once_lose_no_row_and_count_none_twice(store, monkeypatch):
    for name in "abc":
        store.write("trials", [trial(name)])
    other, list_parts = ResultsStore.open(store.uri), store._list_parts

    def compacted_meanwhile(table):
        listed = list_parts(table)
        monkeypatch.setattr(store, "_list_parts", list_parts)
        other.compact()
        other.write("trials", [trial("d")])
        return listed

    monkeypatch.setattr(store, "_list_parts", compacted_meanwhile)
    store.compact()
    assert sorted(store.read("trials")["trial_id"].to_pylist()) == ["a", "b", "c", "d"]
    store.compact()
    assert sorted(store.read("trials")["trial_id"].to_pylist()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("order", [("failed", "finished"), ("finished", "failed")])
def test_of_one_attempt_made_twice_the_one_that_finished_counts(store, order):
    """Such as by a lane that was thought dead and came back after its trial had been given up."""
    for status in order:
        store.write("trials", [trial("a", status=status, attempt=3)], writer=f"lane-{order.index(status)}")
    assert store.statuses() == {"a": "finished"}
    store.compact()
    assert store.statuses() == {"a": "finished"}
    store.write("trials", [trial("a", status="failed", attempt=4)])
    assert store.statuses() == {"a": "failed"}


def test_a_finished_row_can_be_made_to_count_over_a_later_attempt(store):
    store.write("curves", [curve("a", step) for step in (5, 10)])
    store.write("trials", [trial("a", final_valid_metric=1.5)])
    store.write("curves", [replace(curve("a", 5), attempt=2, metric=9.0)])
    store.write("trials", [trial("a", status="timed_out", attempt=2), trial("b", status="failed")])
    for trial_id in ("a", "a", "b", "none"):
        store.let_finished_count(trial_id)
    columns = ["trial_id", "attempt", "status", "final_valid_metric"]
    for _ in range(2):
        first, second = store.read("trials", columns).sort_by("trial_id").to_pylist()
        assert tuple(first.values()) == ("a", 2, "finished", 1.5)
        assert tuple(second.values()) == ("b", 1, "failed", None)
        assert sorted(store.read("curves", ["step"])["step"].to_pylist()) == [5, 10]
        store.compact()
    store.write("trials", [trial("a", status="failed", attempt=3)])
    assert store.statuses() == {"a": "failed", "b": "failed"}, "a retry replaces it still"


def test_a_trial_tried_again_has_one_curve_that_of_the_last_attempt(store):
    store.write("curves", [curve("a", step) for step in (5, 10, 15)] + [curve("b", 5)])
    store.write("curves", [replace(curve("a", step), attempt=2, metric=3.0) for step in (5, 10)])
    for _ in range(2):
        rows = store.read("curves", ["trial_id", "attempt", "step"]).to_pylist()
        assert sorted((row["trial_id"], row["attempt"], row["step"]) for row in rows) == [
            ("a", 2, 5), ("a", 2, 10), ("b", 1, 5),
        ]  # fmt: skip
        store.compact()


def test_some_trials_can_be_read_alone(store):
    store.write("trials", [trial("a"), trial("b", status="failed")])
    store.write("trials", [trial("b", attempt=2), trial("c")])
    rows = store.read("trials", ["trial_id", "status"], trial_ids=pa.chunked_array([["b", "none"]])).to_pylist()
    assert rows == [{"trial_id": "b", "status": "finished"}]


def test_large_tables_are_merged_in_pieces(store, tmp_path):
    for part in range(5):
        store.write("curves", [curve(f"t{part}-{i}", i) for i in range(1500)])
    store.compact()
    (merged,) = (tmp_path / "results" / "curves").iterdir()
    groups = pq.ParquetFile(merged).metadata
    assert groups.num_rows == 7500
    assert max(groups.row_group(i).num_rows for i in range(groups.num_row_groups)) <= 2000
    assert store.read("curves", ["step"])["step"].to_pylist() == 5 * list(range(1500))


def test_half_written_files_are_invisible(store, tmp_path):
    store.write("trials", [trial("a")])
    whole = next((tmp_path / "results" / "trials").glob("*.parquet"))
    (whole.parent / ".w-1.parquet.2.tmp").write_bytes(whole.read_bytes()[:100])
    assert store.read("trials").num_rows == 1
    assert len(pd.read_parquet(whole.parent)) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(number, store, tmp_path, monkeypatch):
    store.write("trials", [trial("a")])

    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=f"{os.strerror(number)}.*Nothing already stored was touched"):
        store.write("trials", [trial("b")])
    monkeypatch.undo()
    assert store.statuses() == {"a": "finished"}
    assert [p.name for p in (tmp_path / "results" / "trials").iterdir() if p.name.startswith(".")] == []


def test_no_write_permission_names_the_place(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # the tests may run as root, who is refused nothing
    with pytest.raises(StoreError, match=r"results: cannot create the results directory: Permission denied"):
        ResultsStore.create(tmp_path / "results")


def test_a_file_in_the_way_of_the_directory(tmp_path):
    (tmp_path / "results").write_text("mine")
    with pytest.raises(StoreError, match="cannot create the results directory"):
        ResultsStore.create(tmp_path / "results")


@pytest.mark.parametrize("opener", [ResultsStore.open, ResultsStore.create])
def test_another_schema_version_is_refused(store, tmp_path, opener):
    (tmp_path / "results" / "store.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(StoreError, match=f"schema version 99, this program reads version {SCHEMA_VERSION}"):
        opener(tmp_path / "results")


def test_a_part_of_another_version_is_refused_by_name(store, tmp_path):
    schema = SCHEMAS["trials"]
    rows = pa.Table.from_pylist([asdict(trial("a"))], schema=schema)
    path = tmp_path / "results" / "trials" / "old.parquet"
    pq.write_table(rows.replace_schema_metadata({b"sweeper.schema_version": b"0"}), path)
    with pytest.raises(StoreError, match=r"old\.parquet: written with schema version 0"):
        store.read("trials")


def test_a_corrupt_part_is_named(store, tmp_path):
    (tmp_path / "results" / "trials" / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(StoreError, match=r"bad\.parquet: damaged \(not a readable Parquet file"):
        store.read("trials")


def test_opening_something_else_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="not a results directory"):
        ResultsStore.open(tmp_path)


def test_an_empty_store_reads_as_no_rows(store):
    assert store.read("trials", ["trial_id", "status"]).to_pylist() == []
    assert store.statuses() == {}


def test_records_refuse_wrong_columns():
    with pytest.raises(TypeError, match="unexpected keyword"):
        replace(trial("a"), hidden_size=3)


def test_a_column_added_later_reads_as_null_in_older_files(store, tmp_path):
    schema = SCHEMAS["trials"]
    older = pa.Table.from_pylist([asdict(trial("a"))], schema=schema).drop_columns(["trained_with"])
    path = tmp_path / "results" / "trials" / "older.parquet"
    pq.write_table(older.replace_schema_metadata(schema.metadata), path)
    store.write("trials", [trial("b", trained_with=3)])
    rows = {row["trial_id"]: row["trained_with"] for row in store.read("trials").to_pylist()}
    assert rows == {"a": None, "b": 3}
    assert store.read("trials", ["trained_with"]).num_rows == 2
    store.compact()
    assert len(store.read("trials")) == 2
    lacking = older.drop_columns(["status"])  # not nullable: the file is of something else
    pq.write_table(lacking.replace_schema_metadata(schema.metadata), tmp_path / "results" / "trials" / "bad.parquet")
    with pytest.raises(StoreError, match=r"bad\.parquet: its columns are not those of trials"):
        store.read("trials")
