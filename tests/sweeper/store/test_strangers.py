"""A results directory from a stranger: nothing in it hangs a command, hides rows or speaks to the terminal."""

import io
import json
import logging
import os
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeper.console import PlainConsole, PrintableConsole
from sweeper.errors import GridError, StoreError
from sweeper.plan.trial import spec_from_canonical
from sweeper.queue import journal
from sweeper.queue.journal import live_launches
from sweeper.status import stored_plans, sweep_status
from sweeper.store.schema import SCHEMAS
from sweeper.store.store import ResultsStore
from sweeper.tables import print_status
from tests.sweeper.rows import trial

GRID = "task: {name: text, alphabet: letters}\nmodel: {n_rec: 4, d_m: 2, d_tree: 2, d_branch: 2}\n"


@pytest.fixture
def store(tmp_path):
    return ResultsStore.create(tmp_path / "r")


@pytest.mark.parametrize("name", ["trials/x.parquet", "grids/x.yaml", "launches/x.json"])
def test_a_pipe_in_place_of_a_file_is_named_and_not_waited_for(store, tmp_path, name):
    path = tmp_path / "r" / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    folder, ending = name.split("/x")
    read = store.read if folder == "trials" else lambda _: store.texts(folder, ending)
    with pytest.raises(StoreError, match=f"{name}: not a regular file. Move it away"):
        read(folder)


def test_a_pipe_in_place_of_a_checkpoint_counts_as_none(store, tmp_path):
    (tmp_path / "r" / "checkpoints").mkdir()
    os.mkfifo(tmp_path / "r" / "checkpoints" / "abc.pt")
    assert store.read_weights("checkpoints", "abc") is None


def test_a_device_in_place_of_a_text_is_not_read_to_its_end(store, tmp_path):
    (tmp_path / "r" / "grids" / "x.yaml").symlink_to("/dev/zero")
    with pytest.raises(StoreError, match=r"grids/x.yaml: not a regular file"):
        store.grids()
    (tmp_path / "r" / "grids" / "x.yaml").unlink()
    with (tmp_path / "r" / "grids" / "x.yaml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StoreError, match=r"grids/x.yaml: longer than 16,777,216 bytes"):
        store.grids()
    # An even number of bytes, and one more is read: the cut falls into the last letter.
    (tmp_path / "r" / "grids" / "x.yaml").write_text("é" * (1 << 23 | 1), encoding="utf-8")
    with pytest.raises(StoreError, match=r"grids/x.yaml: longer than 16,777,216 bytes"):
        store.grids()


def test_no_file_hides_the_rows_of_another(store, tmp_path):
    """Merged files used to name those they stood for; a list that was wrong, or made up, hid rows without a word."""
    store.write("trials", [trial(name) for name in "abc"])
    (honest,) = (tmp_path / "r" / "trials").iterdir()
    metadata = {**SCHEMAS["trials"].metadata, b"sweeper.replaces": json.dumps([honest.name]).encode()}
    crafted = pa.Table.from_pylist([vars(trial("d"))], schema=SCHEMAS["trials"]).replace_schema_metadata(metadata)
    pq.write_table(crafted, tmp_path / "r" / "trials" / "compact-0000000000000000.parquet")
    assert sorted(store.statuses()) == ["a", "b", "c", "d"]
    store.compact()
    assert sorted(store.statuses()) == ["a", "b", "c", "d"]


STATE = {"sweep": "s", "host": "h", "pid": 7, "began": 1.0, "running": ["0" * 16], "done": 1, "total": 2}
DAMAGED = {
    "half a file": "{",
    "no mapping": "[]",
    "a field is missing": {**STATE, "total": ...},
    "a text for a number": {**STATE, "done": "1"},
    "a truth for a number": {**STATE, "done": True},
    "a number below zero": {**STATE, "done": -1},
    "a process that cannot be": {**STATE, "pid": 10**30},
    "running is no list": {**STATE, "running": "abc"},
    "what runs is no trial": {**STATE, "running": ["\x1b[31m"]},
    "a long name": {**STATE, "host": "h" * 300},
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_state_of_a_launch_is_named_once_and_left_out(store, caplog, monkeypatch, case):
    monkeypatch.setattr(journal, "_warned", set())
    store.write_text("launches/20260101T000000-ok.json", json.dumps({**STATE, "updated": time.time()}))
    state = DAMAGED[case]
    if isinstance(state, dict):
        state = json.dumps({key: value for key, value in {"updated": time.time(), **state}.items() if value is not ...})
    store.write_text("launches/20260101T000000-bad.json", state)
    with caplog.at_level(logging.WARNING):
        assert [live.sweep for live in live_launches(store) + live_launches(store)] == ["s", "s"]
    (record,) = caplog.records
    assert "launches/20260101T000000-bad.json: not the state of a launch" in record.getMessage()


def test_a_state_whose_name_holds_no_time_is_left_out(store, caplog, monkeypatch):
    monkeypatch.setattr(journal, "_warned", set())
    store.write_text("launches/x.json", json.dumps({**STATE, "updated": time.time()}))
    assert live_launches(store) == []
    assert "launches/x.json: not the state of a launch" in caplog.text


def test_a_stored_grid_that_cannot_be_read_is_named(store):
    store.save_grid("odd", "task: nonsense: [")
    with pytest.raises(GridError, match=r"r/grids/odd.yaml: not valid YAML"):
        stored_plans(store)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"scheme": 1, "architecture": "elm", "model": 3, "training": {}}'])
def test_a_stored_spec_that_is_none_is_an_error_for_people(text):
    with pytest.raises(GridError, match="a stored spec is not one that this program writes: "):
        spec_from_canonical(text)


REASONS = ("[/data/x.h5] is missing", "[enforce fail at alloc_cpu.cpp:1] :bug:", "\x1b[31mred\x1b[0m \x07\u202eturned")


def test_reasons_are_printed_as_they_are_and_never_speak_to_the_terminal(store, capsys):
    store.save_grid("s", GRID + f"seeds: {len(REASONS)}\n")
    (plan,) = stored_plans(store)
    rows = [trial(name, status="failed", reason=reason) for name, reason in zip(plan.trials, REASONS, strict=True)]
    store.write("trials", rows)
    print_status([sweep_status(plan, store)], store)
    printed = capsys.readouterr().out
    assert "[/data/x.h5] is missing" in printed
    assert "[enforce fail at alloc_cpu.cpp:1] :bug:" in printed
    assert "\\x1b[31mred\\x1b[0m \\x07\\u202eturned" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("kind", [PlainConsole, PrintableConsole])
def test_a_console_writes_control_characters_out_also_on_a_terminal(kind):
    file = io.StringIO()
    kind(file=file, force_terminal=True, color_system=None).print("a\x1b]0;title\x07b\x9b1m", highlight=False)
    assert file.getvalue() == "a\\x1b]0;title\\x07b\\x9b1m\n"
