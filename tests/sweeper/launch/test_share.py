"""Several launches that share the trials of one grid: each takes the parts that no other has."""

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from sweeper.cli import cli
from sweeper.errors import SweeperError
from sweeper.executors.processes import ProcessExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch, part_of
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.queue.journal import Journal, live_launches
from sweeper.store.store import ResultsStore

GRID = """
name: shared
task: {name: text, alphabet: letters}
budgets: [4000, 8000]
model: {d_m: [1, 2, 4], d_tree: 4, d_branch: 4}
seeds: 2
"""


def share(results, number: int, count: int):
    executor = ProcessExecutor(options=LaneOptions(lanes=1), trainer=GroundTruth())
    return launch(parse_grid(GRID), str(results), executor, Console(quiet=True), share=(number, count))


def test_a_launch_leaves_alone_what_another_has_taken_and_takes_the_rest(tmp_path):
    trials = expand(parse_grid(GRID)).trials
    others = {trial_id for trial_id in trials if part_of(trial_id, 3) == 1}
    assert 0 < len(others) < len(trials)
    store = ResultsStore.create(tmp_path / "r")
    with Journal(store, "shared", total=len(others), part="1/3"):
        assert {live.part for live in live_launches(store)} == {"1/3"}
        assert share(tmp_path / "r", 0, 3).ran == len(trials) - len(others)
        assert set(store.statuses()) == set(trials) - others
    again = share(tmp_path / "r", 2, 3)  # the other has ended without them
    assert (again.ran, again.status.counts) == (len(others), {"finished": len(trials)})


def test_a_search_is_not_shared(tmp_path):
    grid = parse_grid(f"{GRID}search: {{kind: theory, trials: 8}}\n")
    with pytest.raises(SweeperError, match="shared: a search chooses by all of its results"):
        launch(grid, str(tmp_path / "r"), ProcessExecutor(), Console(quiet=True), share=(0, 2))


@pytest.mark.parametrize("written", ["3/3", "1", "a/b", "-1/2", "1/0"])
def test_a_share_that_is_none_is_refused(written):
    done = CliRunner().invoke(cli, ["launch", "demo", "--share", written])
    assert done.exit_code == 2
    assert "is no share such as 0/8, the first of eight" in done.output
