"""A cluster that goes for good while a sweep runs: what is done stays, the launch is no longer shown as running."""

from dataclasses import dataclass, field

import pytest
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from cluster.errors import ConnectError
from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid
from sweeper.queue.journal import live_launches
from sweeper.store.store import ResultsStore
from tests.sweeper.inline import LanesHere

GRID = "task: {name: text, alphabet: letters}\nbudgets: [4000]\nmodel: {d_m: [1, 2, 4, 8], d_tree: 4, d_branch: 4}\n"


@dataclass(frozen=True, kw_only=True)
class GoesAfterOneTrial(LanesHere):
    """A cluster that can run one trial and then nothing, until somebody puts it up again."""

    rounds: list[int] = field(default_factory=list)

    def run(self, assignments, **others) -> None:
        self.rounds.append(len(assignments))
        if len(self.rounds) == 2:
            raise ConnectError("--cluster 10.0.0.1:6379: nothing answers there (No route to host); is the cluster up?")
        super().run(assignments[:1] if len(self.rounds) == 1 else assignments, **others)


def test_what_is_done_stays_and_the_next_launch_goes_on(tmp_path):
    results, executor = str(tmp_path / "r"), GoesAfterOneTrial(trainer=GroundTruth())
    with pytest.raises(ConnectError, match="nothing answers there"):
        launch(parse_grid(GRID), results, executor, Console(quiet=True))
    store = ResultsStore.open(tmp_path / "r")
    assert list(store.statuses().values()) == ["finished"]
    assert live_launches(store) == []
    assert "is the cluster up?" in "".join(store.texts("launches", ".log").values())
    assert launch(parse_grid(GRID), results, executor, Console(quiet=True)).ran == 3
