"""Rows enter a fit for a stated reason, leave it for a stated reason, and never change groups silently."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Measure
from sweeper.errors import StoreError
from sweeper.store.store import ResultsStore


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
    (data,) = datasets(store_of(tmp_path, rows), Measure())
    assert ledger(data) == {"no value": {"b", "c"}}
    assert data.rows["trial_id"].tolist() == ["a"]


def test_a_condition_is_part_of_the_ledger(sweep):
    (data,) = datasets(sweep, Measure(), "d_m >= 5")
    assert set(data.rows["d_m"]) == {5, 8, 12, 18, 27, 40}
    assert ledger(data)["where"] == set(sweep.trials.loc[sweep.trials["d_m"] < 5, "trial_id"])


def test_another_split_reads_another_column(sweep, data):
    (valid,) = datasets(sweep, Measure(split="valid"))
    assert valid.measure.column == "final_valid_metric"
    assert not np.array_equal(valid.rows["value"], data.rows["value"])
    assert valid.rows_sha256 != data.rows_sha256


def test_a_column_without_values_is_an_error_that_names_those_with(tmp_path, trial):
    sweep = store_of(tmp_path, [trial("a")])
    with pytest.raises(
        AnalysisError, match=r"column final_test_loss is empty.*Recorded: final_valid_metric, final_test"
    ):
        datasets(sweep, Measure(kind="final_loss"))


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
    groups = datasets(store_of(tmp_path, [trial("a"), trial("b", **change)]), Measure())
    assert [len(group.rows) for group in groups] == [1, 1]


def test_settings_split_only_where_they_vary_at_one_design_point(tmp_path, trial):
    steps_by_budget = [trial("a", steps=100), trial("b", steps=300, budget=90_000, n_rec=150)]
    assert len(datasets(store_of(tmp_path / "1", steps_by_budget), Measure())) == 1
    ablation = [trial("a", rho_rec=0.8), trial("b", rho_rec=0.3)]
    groups = datasets(store_of(tmp_path / "2", ablation), Measure())
    assert sorted(group.label for group in groups) == ["text, elm, rho_rec 0.3", "text, elm, rho_rec 0.8"]


def test_settings_that_only_the_spec_holds_split_as_well(tmp_path, trial):
    def spec(warmup, seed):
        return json.dumps({"model": {"d_m": 5}, "seed": seed, "training": {"warmup_steps": warmup}})

    rows = [trial(f"{w}-{s}", spec=spec(w, s), seed=s) for w in (10, 100) for s in (0, 1)]
    groups = datasets(store_of(tmp_path, rows), Measure())
    assert [(group.label, len(group.rows)) for group in groups] == [
        ("text, elm, training.warmup_steps 10", 2),
        ("text, elm, training.warmup_steps 100", 2),
    ]


def test_the_learning_rate_is_chosen_on_the_validation_split(tmp_path, trial):
    low = trial("low", learning_rate=1e-4, final_valid_metric=1.0, final_test_metric=5.0)
    high = trial("high", learning_rate=1e-3, final_valid_metric=2.0, final_test_metric=1.0)
    (data,) = datasets(store_of(tmp_path / "1", [low, high]), Measure())
    assert data.rows["trial_id"].tolist() == ["low"]
    assert ledger(data) == {"learning rate": {"high"}}
    blind = [replace(row, final_valid_metric=None) for row in (low, high)]
    with pytest.raises(AnalysisError, match=r"several learning rates.*Choose one"):
        datasets(store_of(tmp_path / "2", blind), Measure())


def test_replicates_share_a_configuration(data):
    sizes = data.rows.groupby("configuration")[["n_rec", "d_m", "budget"]].nunique()
    assert (sizes == 1).all(axis=None)
    assert data.rows["configuration"].nunique() == 24


def test_the_hash_of_the_rows_ignores_order_and_files(own_dir, data):
    store = ResultsStore.open(own_dir)
    store.compact()
    (again,) = datasets(read_sweep(own_dir), Measure())
    assert again.rows_sha256 == data.rows_sha256
    shuffled = replace(data, rows=data.rows.sample(frac=1, random_state=1))
    assert shuffled.rows_sha256 == data.rows_sha256


def test_no_directory_and_no_rows(tmp_path):
    with pytest.raises(StoreError, match="not a results directory"):
        read_sweep(tmp_path / "nothing")
    assert datasets(store_of(tmp_path, []), Measure()) == []


def test_unknown_published_tables_name_the_known():
    with pytest.raises(AnalysisError, match="'enwik9' is not known; did you mean 'enwik8'"):
        read_sweep("published:enwik9")


@pytest.mark.parametrize("name", ["enwik8", "shd_adding", "neuronio"])
def test_published_rows_obey_the_counts(name):
    trials = read_sweep(f"published:{name}").trials
    counted = trials["n_rec"] * (trials["k_e"] + trials["k_c"]) + trials["readout_params"]
    assert (counted == trials["trainable_params"]).all()
