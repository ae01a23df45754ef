"""`sweeper verify` finds what is wrong in a results directory, and what it says mends it."""

import re
from contextlib import nullcontext

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from sweeper.cli import cli
from sweeper.errors import DamageError
from sweeper.launch.launch import launch
from sweeper.launch.maintenance import retry
from sweeper.launch.verify import verify
from sweeper.plan.grid import parse_grid
from sweeper.store.schema import SCHEMAS, TrialRecord
from sweeper.store.store import ResultsStore
from tests.sweeper.inline import LanesHere

GRID = """
name: truth
task: {name: text, alphabet: letters}
budgets: [4000, 8000]
model: {d_m: [1, 2], d_tree: 4, d_branch: 4}
"""
COLUMNS = ["trial_id", "status", "n_rec", "final_valid_metric"]


def run(results) -> None:
    launch(parse_grid(GRID), str(results), LanesHere(trainer=GroundTruth()), Console(quiet=True))


def rows(results) -> list[dict]:
    return sorted(ResultsStore.open(results).read("trials", COLUMNS).to_pylist(), key=lambda row: row["trial_id"])


@pytest.fixture
def results(tmp_path):
    run(tmp_path / "r")
    return tmp_path / "r"


def flip(path, place: float = 0.5) -> None:
    whole = bytearray(path.read_bytes())
    whole[int(place * len(whole))] ^= 4
    path.write_bytes(bytes(whole))


def test_an_undisturbed_directory_holds(results):
    found = verify(str(results))
    assert found.holds
    assert (found.rows["trials"], found.unsealed, found.missing) == (4, 0, ())
    shown = CliRunner().invoke(cli, ["verify", str(results)])
    assert (shown.exit_code, shown.output.splitlines()[-1]) == (0, "Nothing is wrong.")


@pytest.mark.parametrize("table", list(SCHEMAS))
def test_a_damaged_part_stops_a_launch_until_it_is_set_aside_and_its_trials_run_again(table, results):
    before = rows(results)
    (path,) = (results / table).iterdir()
    flip(path)
    refused = pytest.raises(DamageError, match=path.name)
    with nullcontext() if table == "curves" else refused:  # of which a launch that has nothing to merge reads none
        run(results)
    found = verify(str(results))
    assert [path.name in sentence for sentence in found.damaged] == [True]
    assert found.missing == (tuple(row["trial_id"] for row in before) if table == "trials" else ())
    assert any("have no curve" in problem for problem in found.problems) == (table == "curves")
    assert path.exists()
    shown = CliRunner().invoke(cli, ["verify", "-r", str(results), "--set-aside"])
    assert shown.exit_code == 1
    assert (results / "damaged" / path.name).exists()
    run(results)
    assert rows(results) == before
    shown = CliRunner().invoke(cli, ["verify", str(results)])
    assert (" --where " in shown.output) == (table != "trials"), "a launch runs again what has no row, and nothing else"
    for condition in re.findall(r'--where "(.*)"', shown.output):
        retry(condition, str(results), LanesHere(trainer=GroundTruth()), Console(quiet=True))
    assert verify(str(results)).holds
    assert rows(results) == before
    (results / "damaged" / path.name).rename(path)  # somebody brings it back, mended
    flip(path)
    run(results)
    assert rows(results) == before, "a trial counts once, whatever comes back"


def test_rows_that_cannot_be_true_are_named_with_the_command_that_replaces_them(results):
    store = ResultsStore.open(results)
    wrong, other, *_ = store.read("trials").to_pylist()
    store.write("trials", [TrialRecord(**{**wrong, "n_rec": 1, "attempt": 2})])
    store.write("trials", [TrialRecord(**{**other, "trial_id": "0" * 16})])
    found = verify(str(results))
    assert found.wrong == (wrong["trial_id"], "0" * 16) or found.wrong == ("0" * 16, wrong["trial_id"])
    shown = CliRunner().invoke(cli, ["verify", str(results)])
    assert f"n_rec is 1, and {wrong['n_rec']} by its spec" in shown.output
    assert re.search(r"--where \"trial_id in \['\w{16}', '\w{16}'\]\"", shown.output)


def test_attempts_that_disagree_side_files_checkpoints_and_grids_are_named(results):
    store = ResultsStore.open(results)
    row = store.read("trials").to_pylist()[0]
    store.write("trials", [TrialRecord(**{**row, "final_valid_metric": 9.0})])
    store.write_text("launches/x.json", "{")
    store.write_weights("checkpoints", "a" * 16, b"state")
    flip(results / "checkpoints" / f"{'a' * 16}.pt")
    store.save_grid("odd", "name: odd")
    found = verify(str(results))
    assert len(found.damaged) == 1
    for words in ("finished 2 times with different metrics", "launches/x.json", "grids/odd.yaml"):
        assert any(words in problem for problem in found.problems)
