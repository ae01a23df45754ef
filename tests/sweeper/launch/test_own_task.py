"""A task in a person's own file trains, resumes and is retried like ours; its rows are read where the file is not."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from analysis.laws.step_grid import description
from analysis.rows.load import read_sweep
from analysis.rows.plans import read_plans
from benchmarks.ground_truth import GroundTruth
from cluster import code
from cluster.kinds.job import Job
from sweeper.errors import GridError, SweeperError
from sweeper.executors.processes import ProcessExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.launch.maintenance import merge, retry
from sweeper.launch.submission import files_of
from sweeper.plan.descriptions import DESCRIBED, written
from sweeper.plan.expand import described, expand
from sweeper.plan.grid import load_grid, parse_grid
from sweeper.plan.trial import spec_from_canonical
from sweeper.status import stored_plans, sweep_status
from sweeper.store.store import ResultsStore
from sweeper.tables import print_tasks
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.outcomes import Stopped
from sweeper.training.training import train_trial
from tasks.errors import TaskError
from tasks.spec import _others_definition
from tests.model.cells.test_interface import MINE
from tests.sweeper.inline import LanesHere

TASK = '''
import hashlib

from tasks.base import TaskDefinition, TaskSpec
from tasks.options import Option


class Recall(TaskDefinition):
    """Say the symbol that came `delay` steps ago."""

    options = (Option(name="delay", default=2, minimum=1, maximum=9, help="steps to look back"),)

    def spec(self, options, place):
        return TaskSpec(
            name="recall", data_name=f"recall/{options['delay']}", n_in=3, n_out=3, length=12, loss="cross_entropy",
            loss_on="every_step", metric="accuracy", direction="max", chance=1 / 3, baseline=1 / 3, input_kind="ids",
            carry_state=False,
        )

    def load(self, spec, options, place):
        return Drawn(spec, options["delay"])


class Drawn:
    def __init__(self, spec, delay):
        self.spec, self.data_name, self.delay = spec, spec.data_name, delay
        self.data_sha256 = hashlib.sha256(spec.data_name.encode()).hexdigest()

    def train_batch(self, step, *, seed, batch_size, length):
        import torch
        from tasks.batch import Batch
        x = torch.randint(3, (batch_size, length), generator=torch.Generator().manual_seed(1000 * seed + step))
        return Batch(x, x.roll(self.delay, 1), None, True)

    def eval_batches(self, split, *, batch_size, length, max_batches):
        yield self.train_batch(500 + len(split), seed=1, batch_size=batch_size, length=length)
'''
GRID = """
# recall, two delays
task: mine.py:Recall
training: {steps: 6, batch_size: 4, warmup_steps: 1, learning_rate: 0.01, eval_every: 3, eval_batch_size: 4}
budgets: [900]
model: {d_m: 2, d_tree: 2, d_branch: 2}
seeds: 1
blocks:
  - {task: {name: "mine.py:Recall", delay: 2}}
  - {task: {name: "mine.py:Recall", delay: 3}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    (path / "mine.py").write_text(TASK)
    (path / "recall.yaml").write_text(GRID)
    return path


@pytest.fixture(scope="module")
def launched(folder):
    """The grid run by a process that was given the file by nothing but its lane's configuration."""
    executor = ProcessExecutor(options=LaneOptions(lanes=1))
    result = launch(load_grid(folder / "recall.yaml"), str(folder / "results"), executor, Console(quiet=True))
    assert result.exit_code == 0
    return folder / "results"


def forget(monkeypatch):
    """As in a process that has never seen the file."""
    for known in (code._sources, code._modules):
        monkeypatch.setattr(code, "_modules" if known is code._modules else "_sources", {})
    _others_definition.cache_clear()


def test_a_trial_gives_the_same_numbers_in_a_lane_and_here(launched, folder):
    rows = ResultsStore.open(launched).read("trials").to_pylist()
    plan = expand(load_grid(folder / "recall.yaml"))
    assert {row["trial_id"] for row in rows} == set(plan.trials)
    assert {row["data_name"] for row in rows} == {"recall/2", "recall/3"}
    for row in rows:
        final = train_trial(plan.trials[row["trial_id"]].spec).final
        assert (row["final_test_loss"], row["final_valid_metric"]) == (final["test"].loss, final["valid"].metric)


def test_a_launch_whose_data_cannot_be_loaded_leaves_nothing_behind(folder, tmp_path):
    shutil.copy(folder / "recall.yaml", tmp_path)
    failing = TASK.replace('return Drawn(spec, options["delay"])', 'raise OSError("no such data")')
    (tmp_path / "mine.py").write_text(failing)
    executor = ProcessExecutor(options=LaneOptions(lanes=1))
    with pytest.raises(TaskError, match="OSError: no such data"):
        launch(load_grid(tmp_path / "recall.yaml"), str(tmp_path / "r"), executor, Console(quiet=True))
    assert not (tmp_path / "r").exists()


def test_a_stopped_trial_resumes_to_the_same_bits(launched, folder, tmp_path):
    one = next(iter(expand(load_grid(folder / "recall.yaml")).trials.values())).spec
    store = ResultsStore.create(tmp_path / "r")
    with pytest.raises(Stopped):
        train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9), on_step=lambda step: step < 4)
    resumed = train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9))
    whole = train_trial(one)
    assert [(e.step, e.loss) for e in resumed.evaluations] == [(e.step, e.loss) for e in whole.evaluations]
    assert resumed.final["test"].loss == whole.final["test"].loss


def test_the_file_is_in_the_trials_identity(launched, folder, tmp_path):
    shutil.copy(folder / "recall.yaml", tmp_path)
    (tmp_path / "mine.py").write_text(TASK)
    same, again = expand(load_grid(folder / "recall.yaml")), expand(load_grid(tmp_path / "recall.yaml"))
    assert list(same.trials) == list(again.trials)  # wherever it lies
    (tmp_path / "mine.py").write_text(TASK + "# edited\n")
    assert not set(expand(load_grid(tmp_path / "recall.yaml")).trials) & set(same.trials)


def test_rows_are_read_without_the_file_and_without_running_its_code(launched, monkeypatch):
    forget(monkeypatch)
    monkeypatch.setattr(code, "load_class", lambda *args: pytest.fail("reading ran a file that came with the rows"))
    store = ResultsStore.open(launched)
    (plan,) = stored_plans(store)
    assert sweep_status(plan, store).counts == {"finished": 2}
    assert set(read_plans(store.grids()).grid_of) == set(plan.trials)


def test_a_suggested_grid_is_planned_without_the_file_too(launched, monkeypatch):
    forget(monkeypatch)
    (one, _) = ResultsStore.open(launched).read("trials")["spec"].to_pylist()
    spec = spec_from_canonical(one)
    task = {"name": spec.task, **spec.task_options}
    found = description(read_sweep(launched), task)
    content = {"task": task, "model": {"n_rec": 3, "d_m": 1, "d_tree": 2, "d_branch": 2}, DESCRIBED: written([found])}
    (row,) = expand(parse_grid(yaml.safe_dump(content))).rows
    assert (row.spec.task, row.spec.task_options, row.spec.training.length) == (spec.task, spec.task_options, 12)


def test_what_a_search_chose_is_read_without_the_file(folder, monkeypatch, tmp_path):
    one_block = GRID.partition("blocks:")[0].replace("d_m: 2", "d_m: {from: 1, to: 4}")
    (folder / "search.yaml").write_text(one_block + "search: {kind: random, trials: 3, batch: 3}\n")
    launch(load_grid(folder / "search.yaml"), str(tmp_path), LanesHere(trainer=GroundTruth()), Console(quiet=True))
    forget(monkeypatch)
    plans = {plan.name: plan for plan in stored_plans(ResultsStore.open(tmp_path))}
    assert len(plans["search-chosen"].trials) == 3


def test_a_plan_tells_what_trivial_answers_reach(folder, capsys):
    print_tasks(described(load_grid(folder / "recall.yaml")))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(", ")[2] for line in lines] == [
        f"recall/{delay}: n_in 3, n_out 3, 12 steps; test accuracy, max is best: "
        "chance 0.3333, trivial baseline 0.3333."
        for delay in (2, 3)
    ]


def test_stored_trials_are_retried_by_the_code_that_lies_beside_them(launched, monkeypatch, tmp_path):
    merge(str(tmp_path / "results"), str(launched))
    forget(monkeypatch)
    condition = "data_name == 'recall/3'"
    assert retry(condition, str(tmp_path / "results"), LanesHere(), Console(quiet=True)).exit_code == 0
    before, after = (ResultsStore.open(path).read("trials") for path in (launched, tmp_path / "results"))
    assert sorted(after["attempt"].to_pylist()) == [1, 2]
    assert sorted(before["final_test_loss"].to_pylist()) == sorted(after["final_test_loss"].to_pylist())


def test_lanes_on_ray_are_given_the_files_and_find_relative_paths(launched, folder, monkeypatch, tmp_path):
    rows = "\n".join(f"{i % 7},{i % 5}" for i in range(300))
    (folder / "series.csv").write_text(f"a,b\n{rows}\n")
    table = "  - {task: {name: table, data: series.csv, target: [a], window: 12}}\n"
    (folder / "cell.py").write_text(MINE)
    cell = '  - {task: "mine.py:Recall", architecture: "cell.py:Mine", model: {width: 2}, budgets: [300]}\n'
    own = GRID.replace("task: mine.py:Recall\n", "").replace("model: {d_m: 2, d_tree: 2, d_branch: 2}\n", "")
    elm = "model: {d_m: 2, d_tree: 2, d_branch: 2}"
    own = own.replace("delay: 2}}", f"delay: 2}}, {elm}}}").replace("delay: 3}}", f"delay: 3}}, {elm}}}")
    table = table.replace("window: 12}}", f"window: 12}}, {elm}}}")
    (folder / "both.yaml").write_text(own + table + cell)
    # As from a shell: a path means to the lanes what it means to the person who launches.
    arguments = ["launch", "both.yaml", "-r", str(tmp_path / "r"), "--lanes", "1", "--executor", "ray"]
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(folder)
    by_data, plan = {}, expand(load_grid("both.yaml"))
    for row in ResultsStore.open(tmp_path / "r").read("trials").to_pylist():
        if row["architecture"] != "elm":
            assert row["final_test_loss"] == train_trial(plan.trials[row["trial_id"]].spec).final["test"].loss
        else:
            by_data[row["data_name"]] = row["final_test_loss"]
    assert len(by_data) == len(plan.trials) - 1
    assert set(by_data) == {"recall/2", "recall/3", "series.csv"}
    for row in ResultsStore.open(launched).read("trials").to_pylist():
        assert by_data[row["data_name"]] == row["final_test_loss"]


def test_a_missing_file_is_one_line_before_anything_is_made(folder, tmp_path):
    shutil.copy(folder / "recall.yaml", tmp_path)
    with pytest.raises(GridError, match=r"recall\.yaml: blocks\[0\]\.task: no such file: mine\.py"):
        load_grid(tmp_path / "recall.yaml")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "self.spec, self.data_name, self.delay = spec",
            "self.about, self.data_name, self.delay = spec",
            "lacks spec;",
        ),
        ("torch.randint(3,", "torch.randint(4,", "x holds 0 to 3; spec.n_in allows 0 to 2"),
        ("Batch(x, x.roll", "Batch(x.int(), x.roll", "x is torch.int32 (2, 12); the spec asks for torch.int64 (2, 12)"),
        ("x.roll(self.delay, 1)", "x[:, 0]", "y is torch.int64 (2,); the spec asks for torch.int64 (2, 12)"),
        ("yield self", "if split == 'test': return\n        yield self", "has nothing in its test split"),
        ("x = torch.randint(", "x = torch.rantint(", "mine.py, line 32: AttributeError"),
    ],
)
def test_data_that_are_not_what_the_spec_says_are_one_line_before_the_first_trial(folder, tmp_path, old, new, line):
    shutil.copy(folder / "recall.yaml", tmp_path)
    assert old in TASK
    (tmp_path / "mine.py").write_text(TASK.replace(old, new))
    executor = ProcessExecutor(options=LaneOptions(lanes=1))
    with pytest.raises(ValueError) as error:  # noqa: PT011  TaskError and DataError are the two kinds of it
        launch(load_grid(tmp_path / "recall.yaml"), str(tmp_path / "r"), executor, Console(quiet=True))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@dataclass(frozen=True, kw_only=True)
class DataGone(LanesHere):
    """Lanes that start after the data were moved away."""

    path: Path

    def run(self, assignments, **kwargs):
        self.path.unlink()
        super().run(assignments, **kwargs)


def test_trials_whose_data_have_gone_fail_by_themselves_and_not_with_their_lane(tmp_path):
    rows = "\n".join(f"{i % 7},{i % 5}" for i in range(300))
    (tmp_path / "series.csv").write_text(f"a,b\n{rows}\n")
    text = f"""
name: gone
task: {{name: table, data: {tmp_path / "series.csv"}, target: [a], window: 4}}
model: {{n_rec: 3, d_m: 1, d_tree: 2, d_branch: 2}}
seeds: 2
training: {{steps: 1, warmup_steps: 1}}
"""
    executor = DataGone(path=tmp_path / "series.csv")
    launch(parse_grid(text), str(tmp_path / "r"), executor, Console(quiet=True))
    found = ResultsStore.open(tmp_path / "r").read("trials").to_pylist()
    assert {(row["status"], row["metric"]) for row in found} == {("failed", "mse")}
    assert all("no such file" in row["reason"] for row in found)


def test_a_job_carries_the_files_of_its_tasks(folder, tmp_path):
    grid = load_grid(folder / "recall.yaml")
    job = Job(name="j", sweep=grid.name, grid_text=grid.text, results="/r", folder="/f", sources=files_of(grid))
    for name, text in job.texts.items():
        (tmp_path / name).write_text(text)
    assert list(expand(load_grid(tmp_path / "recall.yaml")).trials) == list(expand(grid).trials)


def test_two_files_of_one_name_cannot_be_put_beside_a_grid(folder, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "mine.py").write_text(TASK)
    (tmp_path / "deep" / "mine.py").write_text(TASK + "# another\n")
    (tmp_path / "two.yaml").write_text(GRID.replace('- {task: {name: "mine.py', '- {task: {name: "deep/mine.py', 1))
    with pytest.raises(SweeperError, match=r"two files are called mine\.py"):
        files_of(load_grid(tmp_path / "two.yaml"))
