"""A cell in a person's own file trains, resumes and is retried like ours; its rows are read where the file is not."""

import json
import shutil
import subprocess
import sys

import pytest
from rich.console import Console

from cluster import code
from model.architectures.cells import CellArchitecture
from model.registry import _others_architecture
from sweeper.errors import FOR_PEOPLE, GridError
from sweeper.executors.processes import ProcessExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.launch.maintenance import merge, retry
from sweeper.launch.submission import files_of
from sweeper.launch.verify import verify
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import described, expand
from sweeper.plan.grid import load_grid, parse_grid
from sweeper.plan.recorded import RECORDED
from sweeper.status import stored_plans, sweep_status
from sweeper.store.store import ResultsStore
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.outcomes import Stopped
from sweeper.training.training import train_trial
from tasks.spec import _others_definition
from tests.model.cells.test_interface import MINE
from tests.sweeper.inline import LanesHere
from tests.sweeper.launch.test_own_task import TASK

GRID = """
# a cell of one's own beside others, on text, whose state is carried, and on a task of one's own
training: {steps: 6, batch_size: 4, length: 12, warmup_steps: 1, learning_rate: 0.01, eval_every: 3, eval_batch_size: 4,
           eval_batches: 2, final_eval_batches: 2, reg_activity: 0.0}
budgets: [400, 900]
blocks:
  - {task: "mine.py:Recall", architecture: "cell.py:Mine", model: {width: [2, 4]}}
  - {task: {name: text, alphabet: letters}, architecture: "cell.py:Mine", budgets: [900]}
  - {task: {name: text, alphabet: letters}, architecture: lru, budgets: [900, 2000]}
  - {task: "mine.py:Recall", architecture: min_gru, model: {layers: 1}}
"""
SEARCHED = GRID.partition("blocks:")[0].replace("budgets: [400, 900]", "budgets: [900]") + (
    'task: "mine.py:Recall"\narchitecture: "cell.py:Mine"\nmodel: {width: {from: 1, to: 9}}\n'
    "search: {kind: random, trials: 3, batch: 2}\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    (path / "mine.py").write_text(TASK)
    (path / "cell.py").write_text(MINE)
    (path / "cells.yaml").write_text(GRID)
    (path / "searched.yaml").write_text(SEARCHED)
    return path


@pytest.fixture(scope="module")
def launched(folder):
    """The grid run by a process that was given both files by nothing but its lane's configuration."""
    executor = ProcessExecutor(options=LaneOptions(lanes=1))
    result = launch(load_grid(folder / "cells.yaml"), str(folder / "results"), executor, Console(quiet=True))
    assert result.exit_code == 0
    return folder / "results"


def forget(monkeypatch):
    """As in a process that has never seen the files."""
    for known in ("_sources", "_modules"):
        monkeypatch.setattr(code, known, {})
    _others_definition.cache_clear()
    _others_architecture.cache_clear()


def never(*args):
    pytest.fail("reading ran a file that came with the rows")


def test_a_trial_gives_the_same_numbers_in_a_lane_and_here(launched, folder):
    rows = ResultsStore.open(launched).read("trials").to_pylist()
    plan = expand(load_grid(folder / "cells.yaml"))
    assert {row["trial_id"] for row in rows} == set(plan.trials)
    for row in rows:
        spec = plan.trials[row["trial_id"]].spec
        final = train_trial(spec).final
        assert (row["final_test_loss"], row["final_valid_metric"]) == (final["test"].loss, final["valid"].metric)
        sizes = (row["architecture"], row["n_rec"], row["trainable_params"], row["k_e"], row["k_c"])
        counted = spec.model.counted
        assert sizes == (spec.architecture, spec.model.n_rec, counted.trainable_params, counted.k_e, counted.k_c)
        assert 0.8 * row["budget"] < row["trainable_params"] <= row["budget"]


@pytest.mark.parametrize("place", range(5))
def test_a_stopped_trial_resumes_to_the_same_bits(launched, folder, tmp_path, place):
    one = list(expand(load_grid(folder / "cells.yaml")).trials.values())[place].spec
    store = ResultsStore.create(tmp_path / "r")
    with pytest.raises(Stopped):
        train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9), on_step=lambda step: step < 4)
    resumed = train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9))
    whole = train_trial(one)
    assert [(e.step, e.loss) for e in resumed.evaluations] == [(e.step, e.loss) for e in whole.evaluations]
    assert resumed.final["test"].loss == whole.final["test"].loss


def test_the_file_is_in_the_trials_identity(folder, tmp_path):
    for name in ("cells.yaml", "mine.py"):
        shutil.copy(folder / name, tmp_path)
    (tmp_path / "cell.py").write_text(MINE)
    same, again = expand(load_grid(folder / "cells.yaml")), expand(load_grid(tmp_path / "cells.yaml"))
    assert list(same.trials) == list(again.trials)  # wherever it lies
    (tmp_path / "cell.py").write_text(MINE + "# edited\n")
    edited = expand(load_grid(tmp_path / "cells.yaml")).trials
    shared = {trial_id for trial_id in edited if trial_id in same.trials}
    assert {same.trials[trial_id].spec.architecture for trial_id in shared} == {"lru", "min_gru"}


def test_rows_are_read_without_the_files_and_without_torch(launched, monkeypatch):
    forget(monkeypatch)
    monkeypatch.setattr(code, "load_class", never)
    store = ResultsStore.open(launched)
    (plan,) = stored_plans(store)
    assert sweep_status(plan, store).counts == {"finished": 9}
    assert verify(str(launched)).holds
    read = "import sys; sys.modules['torch'] = None; from sweeper.cli import cli; cli(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", read, "status", "-r", str(launched)], capture_output=True, text=True, check=True
    )
    assert "9 finished" in done.stdout


def test_a_point_that_the_launch_did_not_count_is_one_line(launched, monkeypatch):
    forget(monkeypatch)
    (text,) = ResultsStore.open(launched).grids().values()
    with pytest.raises(
        GridError, match=r"blocks\[0\]\.model\.cell\.py:Mine: .*budget 401 was not counted by the launch"
    ):
        expand(parse_grid(text.replace("budgets: [400, 900]", "budgets: [401]")))
    with pytest.raises(GridError, match=rf"{RECORDED}\[0\]: is not what a launch writes"):
        parse_grid(text.replace("'[400,", "'[{400,", 1))


def test_the_sizes_of_many_points_are_kept_within_what_a_grid_may_hold(folder, monkeypatch):
    text = GRID.partition("blocks:")[0].replace("[400, 900]", "{from: 2000, to: 9000, count: 20, spacing: linear}")
    text += 'task: "mine.py:Recall"\narchitecture: "cell.py:Mine"\n'
    text += "model: {width: {from: 1, to: 40, count: 20, spacing: linear}}\n"
    grid = described(parse_grid(text, folder=folder))
    before = list(expand(grid).trials)
    assert len(before) == 400
    monkeypatch.setattr(CellArchitecture, "configure", never)
    assert list(expand(parse_grid(grid.text)).trials) == before


def test_what_a_search_chose_is_read_without_the_file(folder, monkeypatch, tmp_path):
    launch(load_grid(folder / "searched.yaml"), str(tmp_path), LanesHere(), Console(quiet=True))
    forget(monkeypatch)
    monkeypatch.setattr(code, "load_class", never)
    store = ResultsStore.open(tmp_path)
    plans = {plan.name: plan for plan in stored_plans(store)}
    assert sweep_status(plans["searched-chosen"], store).counts == {"finished": 3}


def test_stored_trials_are_retried_by_the_code_that_lies_beside_them(launched, monkeypatch, tmp_path):
    merge(str(tmp_path / "results"), str(launched))
    forget(monkeypatch)
    condition = "architecture != 'lru' and architecture != 'min_gru'"
    assert retry(condition, str(tmp_path / "results"), LanesHere(), Console(quiet=True)).exit_code == 0
    before, after = (ResultsStore.open(path).read("trials") for path in (launched, tmp_path / "results"))
    assert sorted(after["attempt"].to_pylist()) == [1] * 4 + [2] * 5
    assert sorted(before["final_test_loss"].to_pylist()) == sorted(after["final_test_loss"].to_pylist())


def test_a_job_carries_the_files_of_its_tasks_and_cells(folder, tmp_path):
    grid = load_grid(folder / "cells.yaml")
    files = files_of(grid)
    assert files == {"mine.py": TASK, "cell.py": MINE}
    for name, text in {**files, "cells.yaml": grid.text}.items():
        (tmp_path / name).write_text(text)
    assert list(expand(load_grid(tmp_path / "cells.yaml")).trials) == list(expand(grid).trials)


def test_costs_are_estimated_from_the_parameters(folder):
    rows = list(expand(load_grid(folder / "cells.yaml")).trials.values())
    for row in rows:
        assert CostModel().seconds(row.spec) > 0
        assert min(CostModel().memory_bytes(row.spec, device) for device in ("cpu", "cuda")) > 300e6
        assert json.loads(row.spec.canonical)["model"]["trainable_params"] == row.counts.trainable_params


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("def zero_state", "def first_state", "blocks[0].architecture: class Mine lacks zero_state; see"),
        (
            "def forward(self, x, state):",
            "def forward(self, x, state):\n        1 / 0",
            "cell.py, line 20: ZeroDivision",
        ),
        ("torch.stack(steps, 1)", "level", "Mine.forward returned logits (2, 3); for x (2, 3) they must be (2, 3, 3)"),
        ("import torch\n", "import troch\n", "blocks[0].architecture: cell.py, line 2: ModuleNotFoundError"),
    ],
)
def test_a_cell_that_does_not_follow_the_interface_is_one_line_before_the_first_trial(folder, tmp_path, old, new, line):
    for name in ("cells.yaml", "mine.py"):
        shutil.copy(folder / name, tmp_path)
    (tmp_path / "cell.py").write_text(MINE.replace(old, new, 1))
    executor = ProcessExecutor(options=LaneOptions(lanes=1))
    with pytest.raises(FOR_PEOPLE) as error:
        launch(load_grid(tmp_path / "cells.yaml"), str(tmp_path / "r"), executor, Console(quiet=True))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("{widht: 3}", "blocks[0].model.widht: 'widht' is not known; did you mean 'width'?"),
        ("{width: wide}", "blocks[0].model.width: expected int, got 'wide'"),
        ("{n_rec: 3}", "blocks[0].budgets: exactly one size must be left out of `model` to be solved from P"),
        ("{n_in: 3}", "blocks[0].model.n_in: the task decides it"),
        ("{d_m: 3}", "blocks[0].model.d_m: architecture 'cell.py:Mine' has none. Valid: decay, n_rec, width"),
    ],
)
def test_settings_that_the_constructor_does_not_take_are_one_line(folder, model, line):
    text = GRID.replace("model: {width: [2, 4]}", f"model: {model}")
    with pytest.raises(GridError) as error:
        described(parse_grid(text, folder=folder))
    assert line in str(error.value)
