"""Weights from replicates: taken where budgets differ in noise, told in the report, and worth it."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.laws.sensitivity import sensitivity
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import make_view
from analysis.report.report import group_report
from analysis.report.sections import group_sections
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection
from analysis.rows.weights import weigh
from benchmarks.synthetic import Design, write_sweep

LAW = FitSettings(law="effective_information:floor=none", starts=8)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Three budgets x 8 d_m x 3 seeds, the smallest budget ten times as noisy."""
    path = tmp_path_factory.mktemp("uneven") / "sweep"
    write_sweep(path, Design(seeds=3, evaluations=0, noise=0.0005))
    (data,) = datasets(read_sweep(path), Selection())
    noise = np.where(data.rows["budget"] == 30_000, 0.01, 0.001) * np.random.default_rng(1).normal(size=len(data.rows))
    return replace(data, rows=data.rows.assign(value=data.rows["value"] + noise))


def test_budgets_that_differ_in_noise_are_weighted_by_it(uneven):
    found = weigh(uneven.rows, uneven.rows["value"].to_numpy(float), "auto")
    assert found.kind == "replicates"
    assert found.p_value < 1e-6
    small = (uneven.rows["budget"] == 30_000).to_numpy()
    assert found.values[~small].min() > 8 * found.values[small].max()  # the true 100, shrunk
    assert found.values.mean() == pytest.approx(1)
    assert [level.freedom for level in found.levels] == [16, 16, 16]


def test_rows_without_a_budget_are_named_by_their_neurons(uneven):
    rows = uneven.rows.copy()
    without = rows["budget"] == 30_000
    rows.loc[without, "size"] = 16.0  # what stands in place of a budget: n_rec
    rows.loc[without, "budget"] = np.nan
    said = weigh(rows, rows["value"].to_numpy(float), "auto").sentence
    assert " at P = " in said
    assert " at N = 16 (" in said


def test_equal_noise_keeps_equal_weights(data):
    values = data.rows["value"].to_numpy(float)
    found = weigh(data.rows, values, "auto")
    assert (found.kind, found.values) == ("equal", None)
    assert found.sentence.startswith("Equal weights: seed noise")
    assert weigh(data.rows, values, "replicates").kind == "replicates"


def test_without_replicates_the_report_says_why_they_are_equal():
    (data,) = datasets(read_sweep("published:enwik8"), Selection())
    found = weigh(data.rows, data.rows["value"].to_numpy(float), "replicates")
    assert found.sentence == (
        "Equal weights although --weights replicates was asked for: no configuration has two runs."
    )


def test_one_budget_is_not_compared_with_itself(data):
    rows = data.rows[data.rows["budget"] == 100_000]
    found = weigh(rows, rows["value"].to_numpy(float), "auto")
    assert (found.kind, found.p_value) == ("equal", None)
    assert "known at one budget only (no test of a difference)" in found.sentence


def test_the_fit_uses_them_and_the_report_shows_what_they_change(uneven, sweep):
    weighted, equal = fit_dataset(uneven, LAW), fit_dataset(uneven, replace(LAW, weights="equal"))
    assert weighted.fit.inputs.weights is not None
    assert equal.fit.inputs.weights is None
    assert weighted.fit.values["alpha"] != pytest.approx(equal.fit.values["alpha"], rel=1e-3)
    view = make_view(sweep, weighted)
    group = group_report(view, None)
    assert group.weights.kind == "replicates"
    assert [row.budget for row in group.weights.by_budget] == [3e4, 1e5, 3e5]
    (question,) = [section for section in group_sections(group) if section.id == "question"]
    assert "Weights 1 / variance of each budget" in " ".join(question.sentences)
    choices = {row.choice: row for row in sensitivity(view)}
    assert choices["equal weights"].parameters["alpha"] == pytest.approx(equal.fit.values["alpha"], rel=1e-6)
    assert "without the smallest budget" in choices


def test_unknown_weights_list_the_choices():
    with pytest.raises(AnalysisError, match=r"--weights: 'none' is not known.*Valid: auto, equal, replicates"):
        FitSettings(weights="none")
