"""Bits that rot: a damaged part is named or left out, and no altered value is ever read from one."""

import random

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from analysis.cli import cli as analysis_cli
from sweeper.cli import cli as sweeper_cli
from sweeper.errors import DamageError, StoreError, run_command
from sweeper.store.parts import is_sealed, open_part, packed
from sweeper.store.schema import SCHEMAS
from sweeper.store.store import ResultsStore
from tests.sweeper.rows import trial

TRIES = 400


@pytest.fixture
def results(tmp_path):
    store = ResultsStore.create(tmp_path / "r")
    store.write("trials", [trial(name, final_test_metric=1.5) for name in "abc"])
    store.write("trials", [trial("d", final_test_metric=2.5)])
    return tmp_path / "r"


def part_of(results, trials: int):
    """The part file that holds so many trials."""
    for path in (results / "trials").iterdir():
        if sum(group.num_rows for group in open_part(pafs.LocalFileSystem(), str(path)).groups(None)) == trials:
            return path
    raise AssertionError("no such part")


def damaged_copies(whole: bytes, seed: int):
    """Flipped bits at places drawn over the whole file, the ends among them; cut files; zeroed stretches."""
    draw = random.Random(seed)
    ends = [*range(12), *range(len(whole) - 12, len(whole))]
    for place in ends + [draw.randrange(len(whole)) for _ in range(TRIES)]:
        yield whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :]
    yield from (whole[: draw.randrange(len(whole))] for _ in range(20))
    for _ in range(20):
        start = draw.randrange(len(whole) - 64)
        if any(whole[start : start + 64]):
            yield whole[:start] + bytes(64) + whole[start + 64 :]
    yield b""


def test_whatever_byte_rots_the_part_is_named_and_no_altered_row_is_read(results):
    path = part_of(results, 3)
    store = ResultsStore.open(results)
    for damaged in damaged_copies(path.read_bytes(), seed=1):
        path.write_bytes(damaged)
        with pytest.raises(DamageError, match=path.name):
            store.read("trials")


def test_a_part_without_a_hash_in_its_name_is_never_a_traceback_and_its_values_are_those_written(results):
    """What earlier versions wrote, or a person renamed: page checksums still guard the values."""
    path = part_of(results, 3)
    renamed = path.with_name("renamed.parquet")
    path.rename(renamed)
    whole, store = renamed.read_bytes(), ResultsStore.open(results)
    values = {row["final_test_metric"] for row in store.read("trials").to_pylist()}
    noticed = 0
    for damaged in damaged_copies(whole, seed=2):
        renamed.write_bytes(damaged)
        try:
            rows = store.read("trials").to_pylist()
        except StoreError:
            noticed += 1
        else:  # a bit of a page header or the footer that no value hangs on
            assert {row["final_test_metric"] for row in rows} == values
    assert noticed > TRIES / 2


def test_a_reader_that_may_leaves_a_damaged_part_out_and_names_it_once(results):
    path = part_of(results, 3)
    path.write_bytes(path.read_bytes()[:-1])
    named = []
    store = ResultsStore.open(results, on_damage=named.append)
    assert store.statuses() == {"d": "finished"}
    assert store.statuses() == {"d": "finished"}
    assert [error.path for error in named] == [str(path)]


def test_a_merge_neither_loses_nor_alters_a_damaged_part(results):
    path = part_of(results, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DamageError, match=path.name):
        ResultsStore.open(results).compact()
    path.write_bytes(whole)  # brought back from a copy elsewhere
    ResultsStore.open(results).compact()
    assert sorted(ResultsStore.open(results).statuses()) == list("abcd")


def test_merging_gives_parts_of_earlier_versions_their_hash(tmp_path):
    store = ResultsStore.create(tmp_path / "r")
    rows = pa.Table.from_pylist([vars(trial("a"))], schema=SCHEMAS["trials"])
    (tmp_path / "r" / "trials" / "older.parquet").write_bytes(packed(SCHEMAS["trials"], [rows]))
    store.compact()
    (path,) = (tmp_path / "r" / "trials").iterdir()
    assert is_sealed(str(path))
    assert store.statuses() == {"a": "finished"}


@pytest.mark.parametrize("command", [["sweeper", "status"], ["analysis", "summary"]])
def test_commands_that_only_look_go_on_with_a_warning_and_those_that_conclude_refuse(
    command, results, tiny_grid, capsys
):
    ResultsStore.open(results).save_grid("tiny", tiny_grid.read_text())
    path = part_of(results, 3)
    path.write_bytes(path.read_bytes()[:-1])
    line = f"{path}: damaged (its bytes are not those that were written)"
    assert run(command, results) == 0
    assert capsys.readouterr().err.count(f"Warning: left out: {line}") == 1
    assert run(["analysis", "fit-theory"], results) == 1
    assert f"Error: {line}" in capsys.readouterr().err


def run(command, results) -> int:
    cli = {"sweeper": sweeper_cli, "analysis": analysis_cli}[command[0]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [*command, str(results)])
        with pytest.raises(SystemExit) as stop:
            run_command(cli)
    return stop.value.code
