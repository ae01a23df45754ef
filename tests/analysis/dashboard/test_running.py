"""What runs now: per launch with its pace, per trial with its sizes, and nothing when nothing runs."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analysis.dashboard.running import NOTHING, Plans, running_now
from model.config import ConfigError
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.store.store import ResultsStore

GRID = """
name: tiny
task: {name: text, alphabet: letters}
budgets: [9944]
model: {d_m: [2, 4], d_tree: 4, d_branch: 4}
seeds: 2
training: {steps: 10}
"""

ID = "0" * 16
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    store = ResultsStore.create(tmp_path / "r")
    store.save_grid("tiny", GRID)
    return store


def launched(store, *, done, running, sweep="tiny", name="20260101T000000-a"):
    state = {"sweep": sweep, "host": "node7", "pid": 42, "running": running, "done": done, "total": 4}
    store.write_text(f"launches/{name}.json", json.dumps(state))
    return Path(store.local_path(), "launches", f"{name}.json")


def test_a_trial_in_work_is_shown_with_its_sizes_and_the_launch_with_its_pace(store):
    trial_id, row = next(iter(expand(parse_grid(GRID)).trials.items()))
    launched(store, done=1, running=[trial_id])
    found = running_now(store, Plans(), now=START + timedelta(minutes=10))
    assert found.summary == (
        "tiny on node7 (pid 42): 1 of 4 done in 10 min, 1 in work; about 30 min left at this pace."
    )
    sizes = (9944, row.spec.model.n_rec, row.spec.model.d_m, row.spec.training.learning_rate, row.spec.seed)
    assert found.rows == (("tiny", trial_id, *sizes),)
    assert found.trials == 1


@pytest.mark.parametrize(("done", "told"), [(0, "no trial has ended yet"), (4, "the last ones are being written")])
def test_no_estimate_is_made_up(store, done, told):
    launched(store, done=done, running=[])
    assert told in running_now(store, Plans(), now=START + timedelta(minutes=1)).summary


def test_a_trial_of_an_unknown_grid_is_shown_by_its_id(store):
    launched(store, done=0, running=[ID], sweep="other")
    assert running_now(store, Plans()).rows == (("other", ID, None, None, None, None, None),)
    store.save_grid("other", "budgets: nonsense")
    assert running_now(store, Plans()).rows == (("other", ID, None, None, None, None, None),)


def test_a_launch_that_was_killed_does_not_run(store):
    assert running_now(store, Plans()) == (0, NOTHING, ())
    path = launched(store, done=1, running=[ID])
    os.utime(path, (0, 0))
    assert running_now(store, Plans()) == (0, NOTHING, ())


def test_a_grid_is_expanded_once(store):
    asked = []

    def expanded(name, text):
        asked.append(name)
        return expand(parse_grid(text))

    plans = Plans(expanded)
    launched(store, done=1, running=[ID, "1" * 16])
    running_now(store, plans)
    running_now(store, plans)
    assert asked == ["tiny"]


def test_only_errors_about_the_grid_pass_for_a_grid_of_another_version():
    def refused(name, text):
        raise ConfigError("d_m: 0 is too few")

    def faulty(name, text):
        raise ValueError("a fault of this program")

    assert Plans(refused).get("tiny", GRID) is None
    with pytest.raises(ValueError, match="a fault of this program"):
        Plans(faulty).get("tiny", GRID)
