"""Each design point is represented by its own best learning rate, chosen fairly; the report shows what it matters."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.errors import AnalysisError
from analysis.laws.findings import plain
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import make_view
from analysis.report.collect import describe
from analysis.report.model import ReportSettings
from analysis.report.report import assemble
from analysis.report.sections import group_sections
from analysis.rows.learning_rates import fit_rule, rates_of, vertex
from analysis.rows.load import datasets, rate_trials, read_sweep
from analysis.rows.sweep import DESIGN_POINT, Selection
from benchmarks.synthetic import Design, write_sweep
from sweeper.store.store import ResultsStore

POINT = list(DESIGN_POINT)


def dataset(path, rows):
    store = ResultsStore.create(path)
    store.write("trials", rows)
    sweep = read_sweep(path)
    (data,) = datasets(sweep, Selection())
    return sweep, data


def ledger(data):
    return {entry.rule: set(entry.trial_ids) for entry in data.excluded}


def run(trial, rate, seed, valid, **changes):
    values = {"learning_rate": rate, "seed": seed, "final_valid_metric": valid, "final_test_metric": valid}
    return trial(f"{rate}-{seed}-{changes.get('d_m', 5)}-{changes.get('budget', 0)}", **(values | changes))


def test_rates_are_compared_over_the_seeds_they_share(tmp_path, trial):
    """A pilot of one seed, and two more seeds of its winner, which are worse than the loser's one lucky seed."""
    rows = [run(trial, 0.01, 0, 1.9), run(trial, 0.03, 0, 2.0), run(trial, 0.01, 1, 2.2), run(trial, 0.01, 2, 2.2)]
    _, data = dataset(tmp_path, rows)
    assert set(data.rows["learning_rate"]) == {0.01}
    assert len(data.rows) == 3
    assert ledger(data) == {"learning rate": {"0.03-0-5-0"}}


def test_a_rate_that_diverged_for_a_seed_loses(tmp_path, trial):
    gone = {"status": "diverged", "final_test_metric": None}
    rows = [run(trial, 0.01, s, 2.0) for s in (0, 1)] + [run(trial, 0.1, 0, 1.0), run(trial, 0.1, 1, None, **gone)]
    _, data = dataset(tmp_path / "one", rows)
    assert set(data.rows["learning_rate"]) == {0.01}
    both = [*rows[2:], run(trial, 0.01, 0, 2.0), run(trial, 0.01, 1, None, **gone)]
    _, data = dataset(tmp_path / "two", both)  # every rate diverged for a seed: what finished decides
    assert set(data.rows["learning_rate"]) == {0.1}


def test_equal_rates_leave_one():
    rows = pd.DataFrame({"learning_rate": [0.1, 0.01], "seed": [0, 0], "final_valid_metric": [2.0, 2.0]})
    assert rates_of(rows, rows.iloc[:0], "final_valid_metric", 1.0).best == 0.01


def test_accuracies_prefer_the_larger():
    rows = pd.DataFrame({"learning_rate": [0.1, 0.01], "seed": [0, 0], "final_valid_metric": [0.9, 0.8]})
    assert rates_of(rows, rows.iloc[:0], "final_valid_metric", -1.0).best == 0.1


def test_the_report_shows_that_one_rate_for_all_would_move_the_optimum(tmp_path, trial):
    """At rate 0.01 large d_m is under-served: the fixed rate puts the optimum at 5, the best of each point at 12."""
    metric = {(3, 0.01): 2.3, (5, 0.01): 2.1, (12, 0.01): 2.2, (3, 0.001): 2.5, (5, 0.001): 2.4, (12, 0.001): 2.0}
    rows = [run(trial, rate, 0, v, d_m=d, n_rec=600 // d) for (d, rate), v in metric.items()]
    sweep, data = dataset(tmp_path, rows)
    report = assemble(sweep, [describe(make_view(sweep, fit_dataset(data, FitSettings())), None)], ReportSettings())
    (found,) = report.groups[0].learning_rates.optima
    assert found.best_of == 12
    assert found.single == {"0.01": 5.0, "0.001": 12.0}
    (section,) = [s for s in group_sections(report.groups[0]) if s.id == "learning-rates"]
    assert any("one rate for all would move the optimum" in sentence for sentence in section.sentences)
    assert [row[3] for row in section.tables[0].rows] == [0.01, 0.01, 0.001]


def test_without_a_choice_the_report_has_no_such_section(sweep, view):
    group = assemble(sweep, [describe(view, None)], ReportSettings()).groups[0]
    assert "learning_rates" not in plain(group)
    assert all(section.id != "learning-rates" for section in group_sections(group))


def test_the_rule_recovers_a_power_law_of_the_best_rate(tmp_path, trial):
    rows = []
    for budget in (30_000, 300_000):
        for d_m in (2, 5, 15):
            n_rec = int(budget / (4 * d_m**2 + 44 * d_m + 101))
            best = 0.1 * n_rec**-0.3 * d_m**-0.5
            for k, factor in enumerate((0.3, 0.8, 2.0)):
                rate = round(best * factor, 6)
                valid = 2 + math.log(rate / best) ** 2
                rows.append(run(trial, rate, k, valid, d_m=d_m, n_rec=n_rec, budget=budget))
    sweep, data = dataset(tmp_path, rows)
    rule = fit_rule(rate_trials(sweep, data), "final_valid_metric", "min", POINT)
    assert (rule.points, rule.n_rec, rule.d_m) == (6, pytest.approx(-0.3, abs=0.01), pytest.approx(-0.5, abs=0.01))
    assert rule.scale == pytest.approx(0.1, rel=0.05)
    assert rule.factor < 1.02
    assert rule.yaml().startswith("learning_rate: {rule: {scale: ")


def test_a_rule_needs_a_pilot(tmp_path):
    write_sweep(tmp_path / "s", Design(evaluations=0))
    sweep = read_sweep(tmp_path / "s")
    (data,) = datasets(sweep, Selection())
    with pytest.raises(AnalysisError, match=r"needs 4 design points with several rates each, found 0: launch a pilot"):
        fit_rule(rate_trials(sweep, data), "final_valid_metric", "min", POINT)


def test_the_vertex_stays_within_its_neighbours():
    rates = np.array([1e-3, 1e-2, 1e-1])
    score = {float(r): (math.log(r / 0.02)) ** 2 for r in rates}
    assert vertex(score) == pytest.approx(0.02)
    assert vertex({0.1: 1.0, 0.2: 2.0}) == 0.1
    assert vertex({0.1: 1.0, 0.2: 0.5, 0.3: math.inf}) == 0.2
