"""A suggestion is a grid that launches, keeps within its hours, narrows its target, and says what it rests on."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from analysis.cli import cli
from analysis.errors import AnalysisError
from analysis.laws.suggest import SuggestSettings, _limits, suggest
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection
from sweeper.lane.record import Outcome, trial_record
from sweeper.plan.expand import described, expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.targets import TargetError
from sweeper.queue.messages import Assignment
from sweeper.store.store import ResultsStore
from sweeper.training.progress import Evaluation, TrialProgress
from tasks.spec import task_spec
from tests.analysis.conftest import NOW
from tests.model.cells.test_interface import MINE

GRID = """
name: first
task: {name: text, alphabet: letters}
budgets: [20_000, 60_000, 200_000]
model: {d_m: [1, 2, 4, 8, 16, 32], d_tree: 4, d_branch: 4}
seeds: 2
training: {steps: 40}
limits: {n_rec: [4, null]}
"""


def write(path, text=GRID, noise=0.01, exponent=0.6):
    """A launched sweep whose metric is a power law of n_rec and k_e."""
    store, rng = ResultsStore.create(path), np.random.default_rng(0)
    records = []
    for row in expand(parse_grid(text)).trials.values():
        loss = 1.2 + 6 * row.spec.model.n_rec**-0.5 + 8 * row.counts.k_e**-exponent + noise * rng.standard_normal()
        progress = TrialProgress(steps_done=40, train_s=30.0)
        progress.final = {
            split: Evaluation(step=40, split=split, loss=loss, metric=loss, learning_rate=None, wall_s=1.0)
            for split in ("train", "valid", "test")
        }
        progress.best = progress.final
        assignment = Assignment(
            trial_id=row.trial_id, spec=row.spec, sweep="first", budget=row.budget, attempt=1,
            configuration=row.spec.configuration, work=1.0, task=task_spec(row.spec.task, row.spec.task_options),
        )  # fmt: skip
        times = {"started_at": NOW, "ended_at": NOW.replace(minute=14)}
        outcome = Outcome(status="finished", lane="l", code_version="v", **times)
        records.append(trial_record(assignment, outcome, progress))
    store.write("trials", records)
    store.save_grid("first", text)
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return write(tmp_path_factory.mktemp("suggest") / "swept")


def suggestion(path, **changes):
    sweep = read_sweep(path)
    (data,) = datasets(sweep, Selection())
    return suggest(sweep, data, SuggestSettings(**({"target": "optimum at P=6e4", "hours": 2.0} | changes)))


def test_the_grid_launches_these_very_runs_and_no_old_one(swept):
    found = suggestion(swept)
    plan = expand(parse_grid(found.grid))
    asked = {(run.budget, run.d_m, run.seed) for run in found.runs}
    assert {(row.budget, row.spec.model.d_m, row.spec.seed) for row in plan.rows} == asked
    assert len(plan.trials) == len(found.runs) > 0
    assert not set(plan.trials) & set(ResultsStore.open(swept).statuses())
    spec = next(iter(plan.trials.values())).spec
    old = json.loads(ResultsStore.open(swept).read("trials", ["spec"]).to_pylist()[0]["spec"])
    assert json.loads(spec.canonical)["training"] == old["training"]
    assert found.hours <= 2.0
    assert plan.name == "swept-next"


def test_it_narrows_its_target_and_more_hours_narrow_it_more(swept):
    little, much = suggestion(swept, hours=1.0), suggestion(swept, hours=5.0)
    assert little.before == much.before
    assert little.before.half_width > little.after.half_width > much.after.half_width > 0
    assert re.search(r"# Interval by the best law now: [\d.]+, 95 % from .* expected afterwards: ", much.grid)


@pytest.mark.parametrize("target", ["optimum", "metric at P=200000", "exponent", "optimum at P=1e6"])
def test_every_kind_of_target(swept, target):
    found = suggestion(swept, target=target)
    assert found.before.reason is None
    assert found.after.half_width <= found.before.half_width


def test_a_parameter_of_the_law(tmp_path):
    found = suggestion(swept_law(tmp_path), target="alpha", hours=20.0)
    assert found.after.half_width < found.before.half_width


def swept_law(tmp_path):
    from benchmarks.synthetic import Truth

    truth, text = Truth(), GRID.replace("[1, 2, 4, 8, 16, 32]", "[1, 2, 3, 4, 6, 8, 12, 16, 24, 32]")
    path = write(tmp_path / "law", text)
    store = ResultsStore.create(tmp_path / "again")
    from dataclasses import replace

    from sweeper.store.schema import TrialRecord

    rng = np.random.default_rng(1)
    rows = []
    for row in ResultsStore.open(path).read("trials").to_pylist():
        value = truth.metric(row["n_rec"], row["k_e"]) + 1e-4 * rng.standard_normal()
        metrics = {name: value for name in row if name.endswith("_metric")}
        rows.append(replace(TrialRecord(**row), **metrics))
    store.write("trials", rows)
    return tmp_path / "again"


def test_too_few_trials_fill_the_space_and_say_so(tmp_path):
    path = write(tmp_path / "few", GRID.replace("[1, 2, 4, 8, 16, 32]", "[1, 8]").replace("seeds: 2", "seeds: 1"))
    found = suggestion(path)
    assert "no law guides the choice (6 finished trials, a law needs 9)" in found.sentences[-1]
    assert found.before.reason == "no law can be fitted yet"
    assert len(found.runs) > 3
    assert {run.why for run in found.runs} == {"spread"}


def test_an_optimum_at_the_end_extends_the_range(tmp_path):
    path = write(tmp_path / "edge", GRID.replace("[1, 2, 4, 8, 16, 32]", "[1, 2, 3, 4]"), exponent=0.2)
    found = suggestion(path, hours=4.0)
    assert "a budget's best d_m is the largest: the range is extended up to 8" in found.sentences
    assert max(run.d_m for run in found.runs) > 4


def test_one_value_of_d_m_is_opened_to_both_sides_in_one_sentence(tmp_path):
    one = GRID.replace("[1, 2, 4, 8, 16, 32]", "[4]").replace("[20_000, 60_000, 200_000]", "[20_000]")
    found = suggestion(write(tmp_path / "one", one.replace("seeds: 2", "seeds: 1")), target="optimum")
    assert found.sentences[0] == "only d_m = 4 was run: the range is opened to 2 to 8"
    assert "(1 finished trial, a law needs" in found.sentences[1]
    assert {run.d_m for run in found.runs} == {2, 3, 4, 5, 6, 7, 8}
    assert "# Interval by the best law, now and afterwards: none (no law can be fitted yet)." in found.grid


def test_limits_of_the_grid_hold_for_what_it_suggests(tmp_path):
    limited = GRID.replace("[4, null]", "[40, null]").replace("[20_000, 60_000, 200_000]", "[20_000]")
    path = write(tmp_path / "limited", limited.replace("seeds: 2", "seeds: 1"))
    found = suggestion(path, target="optimum", hours=9.0)
    assert parse_grid(found.grid).blocks[0].limits == {"n_rec": (40.0, None)}
    assert len(found.runs) > 3
    assert all(run.n_rec >= 40 for run in found.runs)


def test_of_several_grids_the_widest_limits_hold(tmp_path):
    path = write(tmp_path / "widest")
    ResultsStore.open(path).save_grid("second", GRID.replace("[4, null]", "[2, 900]"))
    sweep = read_sweep(path)
    rows = sweep.trials
    assert _limits(sweep, rows) == {"n_rec": [4.0, None]}
    assert _limits(sweep, rows.assign(sweep=["first", "second"] * (len(rows) // 2))) == {"n_rec": [2.0, None]}


def test_of_several_connectivities_the_one_that_most_rows_have_is_gone_on_from(tmp_path):
    path = write(tmp_path / "several", GRID.replace("d_branch: 4", "d_branch: [4, 8]"))
    sweep = read_sweep(path)
    (data,) = datasets(sweep, Selection(where="k_c == 16 or d_m < 10"))
    found = suggest(sweep, data, SuggestSettings(target="optimum at P=6e4", hours=0.5))
    assert "these runs vary d_m at k_c = 16, which most rows have; --where 'k_c == ...' chooses" in found.sentences[0]
    assert "(32)" in found.sentences[0]
    assert {row.spec.model.d_branch for row in expand(parse_grid(found.grid)).rows} == {4}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"target": "optimum at P=1e8"}, TargetError, "P = 1e+08 is more than a factor of 10 from the nearest budget"),
        ({"target": "the best"}, TargetError, "target: 'the best' is not understood; write for example"),
        ({"target": "alpha at P=1e5"}, TargetError, "alpha belongs to the law, not to one budget"),
        ({"hours": 0}, AnalysisError, "--hours: 0 leaves no time for a run"),
        ({"hours": 1e-6}, AnalysisError, "does not pay for a single run; the cheapest takes"),
    ],
)
def test_what_cannot_be_met_is_said_in_a_sentence(swept, changes, error, message):
    with pytest.raises(error, match=re.escape(message)):
        suggestion(swept, **changes)


def test_training_that_follows_the_budget_is_not_launched_with_one_value_for_all(tmp_path):
    shared = GRID.replace("budgets: [20_000, 60_000, 200_000]\n", "").replace("training: {steps: 40}\n", "")
    small = "- {budgets: [20_000, 60_000], training: {steps: 40}}"
    path = write(
        tmp_path / "follows", f"{shared}blocks:\n  {small}\n  - {{budgets: [200_000], training: {{steps: 80}}}}\n"
    )
    with pytest.raises(AnalysisError, match=r"differ in training\.steps.*--where 'budget == 200000'"):
        suggestion(path)


def test_the_command_writes_the_grid(swept, tmp_path):
    output = tmp_path / "next.yaml"
    command = ["suggest", str(swept), "--target", "optimum at P=6e4", "--hours", "1", "-o", str(output)]
    found = CliRunner().invoke(cli, command)
    assert found.exit_code == 0, found.output
    assert "expected afterwards: " in found.output
    assert expand(parse_grid(output.read_text())).trials
    published = CliRunner().invoke(cli, ["suggest", "published:enwik8", "--hours", "1"])
    assert "suggestions need a results directory" in str(published.exception)


def test_cells_are_not_suggested_since_their_sizes_are_no_formulas(tmp_path):
    (tmp_path / "cell.py").write_text(MINE.replace("width: int = 3", "d_m: int").replace("width", "d_m"))
    text = GRID.replace("d_tree: 4, d_branch: 4", "decay: 0.5") + f'architecture: "{tmp_path / "cell.py"}:Mine"\n'
    write(tmp_path / "r", described(parse_grid(text)).text)
    sweep = read_sweep(tmp_path / "r")
    (data,) = datasets(sweep, Selection())
    assert set(data.rows["d_m"]) == {1, 2, 4, 8, 16, 32}  # a size of that name stands where the law looks for it
    with pytest.raises(AnalysisError, match=r"cell\.py:Mine@\w+ is counted from its torch module; give its grid a"):
        suggest(sweep, data, SuggestSettings(target="optimum", hours=1.0))
