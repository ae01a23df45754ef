"""One screen for a sweep, one table for several; both say what is missing."""

import json
import sys

import numpy as np
import pytest

from analysis.cli import main
from analysis.commands.groups import make_views
from analysis.errors import AnalysisError
from analysis.laws.theory_fit import FitSettings
from analysis.report.collect import views_without_law
from analysis.report.compare import comparison, comparison_rows, merged, with_distinct_ids
from analysis.rows.load import datasets, read_sweep
from analysis.rows.summary import as_json, summarise
from analysis.rows.sweep import Selection
from sweeper.store.store import ResultsStore

SETTINGS = FitSettings(law="quadratic")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["analysis", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def views_of(uri):
    return make_views(read_sweep(uri), Selection(), SETTINGS)


def test_the_summary_counts_what_is_there(sweep, view):
    found = summarise(sweep, views_without_law(sweep, datasets(sweep, Selection())))
    assert found.by_status == {"finished": 44, "diverged": 2, "failed": 2}
    assert sum(sum(counts.values()) for counts in found.by_budget.values()) == found.trials == 48
    (group,) = found.groups
    for best, optimum in zip(group.best, view.optima, strict=True):
        assert best.metric == view.table["mean"].iloc[optimum.best]
        assert best.good_d_m[0] <= best.d_m <= best.good_d_m[1]
    assert found.hours.trial == pytest.approx(sweep.trials["wall_s"].sum() / 3600)
    assert found.hours.core is None  # these rows did not record it
    assert any("4 trials did not finish" in sentence for sentence in found.warnings)
    assert json.loads(json.dumps(as_json(found)))["groups"][0]["rows"] == 44


def test_hours_by_device_and_mixed_versions_are_told(tmp_path, trial):
    rows = [
        trial("a", device="cuda:0", wall_s=3600.0, cpu_s=7200.0, code_version="1", data_name="d", data_sha256="x"),
        trial("b", seed=1, device="cpu", wall_s=1800.0, code_version="2", data_name="d", data_sha256="y"),
    ]
    ResultsStore.create(tmp_path).write("trials", rows)
    sweep = read_sweep(tmp_path)
    found = summarise(sweep, views_without_law(sweep, datasets(sweep, Selection())))
    assert (found.hours.gpu, found.hours.core, found.hours.trial) == (1.0, 2.0, 1.5)
    assert any("2 code versions: 1, 2" in sentence for sentence in found.warnings)
    assert any("data d was read in 2 versions" in sentence for sentence in found.warnings)


def test_an_empty_sweep_says_what_to_do(monkeypatch, capsys, tmp_path):
    ResultsStore.create(tmp_path / "empty")
    assert run(monkeypatch, "summary", tmp_path / "empty") == 0
    assert "Launch a grid first: `sweeper launch grid.yaml`." in capsys.readouterr().out


def test_the_summary_command_prints_tables_or_json(monkeypatch, capsys, sweep_dir):
    assert run(monkeypatch, "summary", sweep_dir) == 0
    shown = capsys.readouterr().out
    assert "trials by budget" in shown
    assert "best measured split per budget" in shown
    assert run(monkeypatch, "summary", sweep_dir, "--json") == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 48


def test_published_tables_stand_beside_a_sweep(monkeypatch, capsys, sweep_dir, tmp_path):
    target = tmp_path / "compare.html"
    code = run(
        monkeypatch, "compare", sweep_dir, "published:enwik8", "published:neuronio", "--law", "quadratic", "-o", target
    )
    assert code == 0
    shown = capsys.readouterr().out
    assert "published:enwik8" in shown
    assert "1 run, no interval" in shown
    assert '"id":"compare"' in target.read_text()
    assert run(monkeypatch, "compare", "published:enwik8", "--law", "quadratic", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["N*"], row["d_m*"], row["d_m as good"], row["bracketed"]) == (440, 30, None, "yes")
    assert row["d_m*/√N*"] == pytest.approx(30 / np.sqrt(440))


def test_single_neurons_have_a_frontier_but_no_split(view):
    neuron, elm = comparison(views_of("published:neuronio"))[0], comparison([view])[0]
    assert neuron.bracketed == (None,) * 12
    assert set(neuron.n_rec) == {1}
    assert comparison_rows([neuron])[0][-1] is None
    assert elm.bracketed == (True,) * 3


def test_nothing_to_compare_is_an_error(tmp_path, trial):
    ResultsStore.create(tmp_path).write("trials", [trial("a", status="failed", final_test_metric=None)])
    with pytest.raises(AnalysisError, match="nothing to compare"):
        comparison(views_of(tmp_path))


def test_equal_trials_of_two_sweeps_keep_apart(sweep_dir, own_dir):
    first, second = with_distinct_ids([read_sweep(sweep_dir), read_sweep(own_dir)])
    assert not set(first.trials["trial_id"]) & set(second.trials["trial_id"])
    assert second.curves["trial_id"].str.startswith("own/").all()
    whole = merged([first, second])
    assert len(whole.trials) == 96
    assert whole.trials["trial_id"].is_unique
    assert len(whole.curves) == 2 * len(first.curves)
