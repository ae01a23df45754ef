"""Rows enter a fit for a stated reason, leave it for a stated reason, and never change groups silently."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.laws.theory_fit import FitSettings, design_of, fit_dataset
from analysis.laws.view import make_view
from analysis.report.collect import views_without_law
from analysis.rows.load import datasets, group_lines, read_sweep
from analysis.rows.summary import summarise
from analysis.rows.sweep import Measure, Selection
from sweeper.errors import StoreError
from sweeper.lane.record import Outcome, trial_record
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.queue.messages import Assignment
from sweeper.store.store import ResultsStore
from sweeper.training.progress import Evaluation, TrialProgress
from tasks.spec import task_spec
from tests.analysis.conftest import NOW


def store_of(path, records):
    store = ResultsStore.create(path)
    store.write("trials", records)
    return read_sweep(path)


def ledger(data):
    return {entry.rule: set(entry.trial_ids) for entry in data.excluded}


def test_every_row_is_either_in_or_in_the_ledger(data, sweep):
    out = set().union(*ledger(data).values())
    assert set(ledger(data)) == {"failed", "diverged"}
    assert out | set(data.rows["trial_id"]) == set(sweep.trials["trial_id"])
    assert not out & set(data.rows["trial_id"])


def test_values_that_are_missing_or_not_finite_are_listed(tmp_path, trial):
    rows = [trial("a"), trial("b", final_test_metric=None), trial("c", final_test_metric=float("nan"))]
    (data,) = datasets(store_of(tmp_path, rows), Selection())
    assert ledger(data) == {"no value": {"b", "c"}}
    assert data.rows["trial_id"].tolist() == ["a"]


def test_a_network_without_neurons_and_a_metric_beyond_float32_are_left_out_with_the_reason(tmp_path, trial):
    rows = [trial(str(d_m), d_m=d_m, n_rec=300 // d_m, final_test_metric=2 + d_m / 10) for d_m in range(2, 10)]
    rows += [trial("none", n_rec=0, trainable_params=6210), trial("huge", d_m=11, final_test_metric=1e300)]
    sweep = store_of(tmp_path, rows)
    (data,) = datasets(sweep, Selection())
    assert ledger(data) == {"no size": {"none"}, "no value": {"huge"}}
    assert "n_rec is not above 0" in next(entry.why for entry in data.excluded if entry.rule == "no size")
    make_view(sweep, fit_dataset(data, FitSettings(starts=2)))


def test_a_condition_that_leaves_nothing_is_one_sentence(sweep):
    with pytest.raises(AnalysisError, match=r"^--where 'd_m > 1000': none of the 48 trials fulfils it$"):
        datasets(sweep, Selection(where="d_m > 1000"))


def test_a_group_in_which_everything_failed_says_so(tmp_path, trial):
    sweep = store_of(tmp_path, [trial("a", status="failed", final_test_metric=None)])
    (group,) = summarise(sweep, views_without_law(sweep, datasets(sweep, Selection()))).groups
    assert group.warnings == ("no row enters: 1 failed; `sweeper status` gives the reasons",)


def test_a_condition_is_part_of_the_ledger(sweep):
    (data,) = datasets(sweep, Selection(where="d_m >= 5"))
    assert set(data.rows["d_m"]) == {5, 8, 12, 18, 27, 40}
    assert ledger(data)["where"] == set(sweep.trials.loc[sweep.trials["d_m"] < 5, "trial_id"])


def test_another_split_reads_another_column(sweep, data):
    (valid,) = datasets(sweep, Selection(measure=Measure(split="valid")))
    assert valid.measure.column == "final_valid_metric"
    assert not np.array_equal(valid.rows["value"], data.rows["value"])
    assert valid.rows_sha256 != data.rows_sha256


def test_a_column_without_values_is_an_error_that_names_those_with(tmp_path, trial):
    sweep = store_of(tmp_path, [trial("a")])
    with pytest.raises(
        AnalysisError, match=r"column final_test_loss is empty.*Recorded: final_valid_metric, final_test"
    ):
        datasets(sweep, Selection(measure=Measure(kind="final_loss")))


@pytest.mark.parametrize(("argument", "value"), [("kind", "auc"), ("split", "dev")])
def test_unknown_measures_name_the_choices(argument, value):
    with pytest.raises(
        AnalysisError, match=f"'{value}' is not known Valid|'{value}' is not known;|'{value}' is not known"
    ):
        Measure(**{argument: value})


@pytest.mark.parametrize(
    "change", [{"task": "adding"}, {"metric": "accuracy"}, {"architecture": "lstm"}, {"data_name": "other"}]
)
def test_tasks_metrics_architectures_and_data_are_never_mixed(tmp_path, trial, change):
    groups = datasets(store_of(tmp_path, [trial("a"), trial("b", **change)]), Selection())
    assert [len(group.rows) for group in groups] == [1, 1]


def planned(path, text, keep=lambda row: True, **changes):
    """A store that holds a grid and finished rows of its trials, each with the metric 2 + ln(d_m) / 10."""
    plan, store = expand(parse_grid(text)), ResultsStore.create(path)
    records = []
    for row in filter(keep, plan.trials.values()):
        at = {"started_at": NOW, "ended_at": NOW}
        told = Assignment(
            trial_id=row.trial_id, spec=row.spec, sweep=plan.name, budget=row.budget, attempt=1,
            configuration=row.spec.configuration, work=1.0, task=task_spec(row.spec.task, row.spec.task_options),
        )  # fmt: skip
        progress = TrialProgress(steps_done=1, train_s=1.0, data_name="enwiki-mini/letters")
        value = changes.get("value", 2 + math.log(row.spec.model.d_m) / 10)
        progress.final = {
            split: Evaluation(step=1, split=split, loss=value, metric=value, learning_rate=None, wall_s=1.0)
            for split in ("train", "valid", "test")
        }
        progress.best = progress.final
        outcome = Outcome(status="finished", lane="l", code_version="v", **at)
        records.append(trial_record(told, outcome, progress))
    store.write("trials", records)
    store.save_grid(plan.name, text)


GRID = """
name: first
task: {name: text, data: embedded, alphabet: letters}
budgets: [10_000, 30_000]
model: {d_m: [2, 4, 8], d_tree: 4, d_branch: 4}
training: {steps: 1000, learning_rate: 0.01}
"""


def labels(path, where=None):
    return [
        (data.label.partition(", elm")[2], len(data.rows))
        for data in datasets(read_sweep(path), Selection(where=where))
    ]


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("steps: 1000", "steps: 200", "steps"),
        ("learning_rate: 0.01", "learning_rate: 0.003", "learning_rate"),
        ("d_branch: 4}", "d_branch: 4, rho_rec: 0.3}", "rho_rec"),
        ("steps: 1000", "steps: 1000, warmup_steps: 7", "training.warmup_steps"),
        ("steps: 1000", "steps: 1000, batch_size: 3", "batch_size"),
        ("d_branch: 4}", "d_branch: 4, d_mlp: 5}", "mlp_ratio"),
    ],
)
def test_rows_of_other_settings_at_other_sizes_never_enter(tmp_path, old, new, name):
    """A grid is edited after two of its trials ran, the budgets as well: no design point is shared."""
    before = GRID.replace(old, new).replace("[10_000, 30_000]", "[100_000]").replace("[2, 4, 8]", "[3]")
    planned(tmp_path, before)
    planned(tmp_path, GRID)
    groups = datasets(read_sweep(tmp_path), Selection())
    assert [len(data.rows) for data in groups] == [6, 1]
    assert all(name in data.keys for data in groups)
    (line,) = [line for line in group_lines(groups) if "never fitted together" in line]
    assert line.endswith(f"; 1 row with {name} {groups[1].keys[name]}.")
    assert f"6 rows with {name}" in line


def test_rows_that_the_grid_asks_for_no_more_enter_by_name_only(tmp_path):
    planned(tmp_path, GRID.replace("[2, 4, 8]", "[2, 3, 4, 8]"))
    planned(tmp_path, GRID)
    (data,) = datasets(read_sweep(tmp_path), Selection())
    assert len(data.rows) == 8
    (line,) = group_lines([data])
    assert "2 of 8 rows are not in the stored grid any more (first)" in line
    (data,) = datasets(read_sweep(tmp_path), Selection(where="planned == 1"))
    assert (len(data.rows), group_lines([data])) == (6, [])


def test_training_that_follows_the_budget_by_design_is_one_group(tmp_path):
    blocks = """blocks:
  - {budgets: [10_000], training: {steps: 1000, learning_rate: 0.01}}
  - {budgets: [30_000], training: {steps: 3000, learning_rate: 0.01}}
"""
    text = GRID.replace("budgets: [10_000, 30_000]\n", "").replace("training: {steps: 1000, learning_rate: 0.01}\n", "")
    planned(tmp_path, text + blocks)
    (data,) = datasets(read_sweep(tmp_path), Selection())
    assert len(data.rows) == 6
    assert "steps follows P in the stored grid (1,000 at P = 10,000, 3,000 at P = 30,000)" in group_lines([data])[0]
    planned(tmp_path, text + blocks.replace("1000", "200"))  # the first half is edited: its old rows go elsewhere
    assert labels(tmp_path) == [(", steps follows P", 6), (", steps 1000", 3)]


def test_training_at_one_place_only_is_another_setting_without_a_grid(tmp_path, trial):
    steps_by_budget = [trial("a", steps=100), trial("b", steps=300, budget=90_000, n_rec=150)]
    assert len(datasets(store_of(tmp_path / "1", steps_by_budget), Selection())) == 2
    ablation = [trial("a", rho_rec=0.8), trial("b", rho_rec=0.3)]
    groups = datasets(store_of(tmp_path / "2", ablation), Selection())
    assert sorted(group.label for group in groups) == ["text, elm, rho_rec 0.3", "text, elm, rho_rec 0.8"]


RULE = "learning_rate: {rule: {scale: 0.05, n_rec: -0.3, d_m: -0.2}}"


@pytest.mark.parametrize("rates", [RULE, "learning_rate: [0.003, 0.01]"])
def test_rates_of_a_list_or_a_rule_are_no_other_settings(tmp_path, rates):
    text = GRID.replace("learning_rate: 0.01", rates)
    planned(tmp_path, text)
    more = text.replace("first", "second").replace("[10_000, 30_000]", "[100_000]")
    planned(tmp_path, more, lambda row: row.spec.training.learning_rate != 0.01)  # a list may be half done
    assert labels(tmp_path) == [("", 9)]


def test_rates_by_a_rule_are_known_by_their_values_where_no_grid_is_stored(tmp_path):
    planned(tmp_path, GRID.replace("learning_rate: 0.01", RULE).replace("[2, 4, 8]", "[2, 3, 4, 6, 8]"))
    (tmp_path / "grids" / "first.yaml").unlink()
    assert labels(tmp_path) == [("", 10)]


def test_settings_that_only_the_spec_holds_split_as_well(tmp_path, trial):
    def spec(warmup, seed):
        return json.dumps({"model": {"d_m": 5}, "seed": seed, "training": {"warmup_steps": warmup}})

    rows = [trial(f"{w}-{s}", spec=spec(w, s), seed=s) for w in (10, 100) for s in (0, 1)]
    groups = datasets(store_of(tmp_path, rows), Selection())
    assert [(group.label, len(group.rows)) for group in groups] == [
        ("text, elm, training.warmup_steps 10", 2),
        ("text, elm, training.warmup_steps 100", 2),
    ]


def test_a_spec_that_leaves_a_later_setting_at_its_default_has_that_default(tmp_path, trial):
    def spec(seed, **more):
        return json.dumps({"architecture": "lstm", "model": {"n_rec": 5, **more}, "seed": seed, "training": {}})

    rows = [
        trial(f"{more}-{s}", architecture="lstm", spec=spec(s, **more), seed=s)
        for more in ({}, {"dropout_rec": 0.3})
        for s in (0, 1)
    ]
    groups = datasets(store_of(tmp_path, rows), Selection())
    assert [group.label for group in groups] == [
        "text, lstm, model.dropout_rec 0.0",
        "text, lstm, model.dropout_rec 0.3",
    ]


def test_the_learning_rate_is_chosen_on_the_validation_split(tmp_path, trial):
    low = trial("low", learning_rate=1e-4, final_valid_metric=1.0, final_test_metric=5.0)
    high = trial("high", learning_rate=1e-3, final_valid_metric=2.0, final_test_metric=1.0)
    (data,) = datasets(store_of(tmp_path / "1", [low, high]), Selection())
    assert data.rows["trial_id"].tolist() == ["low"]
    assert ledger(data) == {"learning rate": {"high"}}
    blind = [replace(row, final_valid_metric=None) for row in (low, high)]
    with pytest.raises(AnalysisError, match=r"several learning rates.*Choose one"):
        datasets(store_of(tmp_path / "2", blind), Selection())


def test_replicates_share_a_configuration(data):
    sizes = data.rows.groupby("configuration")[["n_rec", "d_m", "budget"]].nunique()
    assert (sizes == 1).all(axis=None)
    assert data.rows["configuration"].nunique() == 24


def test_the_hash_of_the_rows_ignores_order_and_files(own_dir, data):
    store = ResultsStore.open(own_dir)
    store.compact()
    (again,) = datasets(read_sweep(own_dir), Selection())
    assert again.rows_sha256 == data.rows_sha256
    shuffled = replace(data, rows=data.rows.sample(frac=1, random_state=1))
    assert shuffled.rows_sha256 == data.rows_sha256


def test_no_directory_and_no_rows(tmp_path):
    with pytest.raises(StoreError, match="not a results directory"):
        read_sweep(tmp_path / "nothing")
    assert datasets(store_of(tmp_path, []), Selection()) == []


def test_unknown_published_tables_name_the_known():
    with pytest.raises(AnalysisError, match="'enwik9' is not known; did you mean 'enwik8'"):
        read_sweep("published:enwik9")


@pytest.mark.parametrize("name", ["enwik8", "shd_adding", "neuronio"])
def test_published_rows_obey_the_counts(name):
    trials = read_sweep(f"published:{name}").trials
    counted = trials["n_rec"] * (trials["k_e"] + trials["k_c"]) + trials["readout_params"]
    assert (counted == trials["trainable_params"]).all()


def test_tokens_are_an_axis_only_where_that_is_asked_for(tmp_path, trial):
    records = [
        trial(f"{d_m}-{steps}-{seed}", d_m=d_m, n_rec=200 // d_m, steps=steps, tokens=800 * steps, seed=seed)
        for d_m in (2, 4, 8)
        for steps in (100, 200, 400)
        for seed in (0, 1)
    ]
    # the best rate may differ between short and long trainings of one network
    records += [
        replace(trial("rate", d_m=2, n_rec=100, steps=400, tokens=320_000), learning_rate=1e-3, final_valid_metric=1.9)
    ]
    sweep = store_of(tmp_path, records)
    apart = datasets(sweep, Selection())
    assert {data.keys["steps"] for data in apart} == {"100", "200", "400"}
    (data,) = datasets(sweep, Selection(tokens=True))
    assert data.rows["configuration"].nunique() == 9
    assert ledger(data) == {"learning rate": {"2-400-0", "2-400-1"}}
    assert "tokens differ from 80,000 to 320,000 and are an axis here" in data.notes[0]
    assert design_of(data.rows).tokens.max() == 320_000
    (same,) = datasets(sweep, Selection(tokens=True, where="steps == 100"))
    assert same.notes == ()


def test_the_length_of_sequences_is_a_setting_also_where_tokens_are_an_axis(tmp_path, trial):
    records = [trial(str(length), length=length, tokens=800 * length) for length in (50, 100)]
    assert len(datasets(store_of(tmp_path, records), Selection(tokens=True))) == 2
