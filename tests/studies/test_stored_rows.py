"""The committed study: its verdicts follow from its rows, and its page tells what they say."""

import json
from pathlib import Path

import pytest

from analysis.activity.exponents import measured_values
from analysis.laws.findings import FixedExponents
from analysis.laws.measured import fixed_exponents
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection
from studies.answers import Answer, overview
from studies.paper_in_miniature.study import elm_groups, law_free

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "studies" / "paper_in_miniature" / "results"
TASKS = ("text", "shd")


@pytest.fixture(scope="module")
def verdicts() -> dict[str, list[Answer]]:
    told = json.loads((STUDY / "verdicts.json").read_text())
    return {name: [Answer(**answer) for answer in answers] for name, answers in told.items()}


def test_the_page_shows_the_verdicts(verdicts):
    assert tuple(verdicts) == TASKS
    table = overview(verdicts)
    assert table in (STUDY.parent / "README.md").read_text()
    assert table in (STUDY / "verdicts.md").read_text()


@pytest.mark.parametrize("task", TASKS)
def test_the_verdicts_follow_from_the_rows(verdicts, task):
    told = {answer.question: answer for answer in verdicts[task]}
    for answer in law_free(elm_groups(read_sweep(STUDY / task))[0]):
        assert told[answer.question].verdict == answer.verdict
        assert told[answer.question].sentence == answer.sentence


@pytest.mark.parametrize("task", TASKS)
def test_the_stored_law_was_fitted_to_these_rows(task):
    report = json.loads((STUDY / task / "fit.json").read_text())
    where = report["provenance"]["where"]
    data = datasets(read_sweep(STUDY / task), Selection(where=where))[0]
    assert report["provenance"]["rows_sha256"][data.label] == data.rows_sha256


@pytest.mark.parametrize("task", TASKS)
def test_the_page_of_all_rows_opens_on_a_group_that_has_intervals(task):
    """`fit.json` is of the main part, whose rows are fewer than those of the first group of an unfiltered page."""
    report = json.loads((STUDY / task / "fit_all.json").read_text())
    first = datasets(read_sweep(STUDY / task), Selection())[0]
    assert list(report["provenance"]["rows_sha256"].values()) == [first.rows_sha256]
    (group,) = report["groups"]
    assert group["evidence"]["exponents"]
    assert all(row["n_rec"]["low"] < row["n_rec"]["high"] for row in group["evidence"]["exponents"])


@pytest.mark.parametrize("task", TASKS)
def test_the_prediction_was_made_without_the_largest_budget(task):
    told = json.loads((STUDY / task / "prediction.json").read_text())
    trials = read_sweep(STUDY / task).trials
    began = trials.loc[trials["sweep"] == told["sweep"], "started_at"]
    assert len(began)
    assert told["made_at"] < began.min().isoformat()
    assert {point["budget"] for point in told["points"]} == {300_000}


@pytest.mark.parametrize(("task", "other"), [("shd", "text"), ("text", "shd")])
def test_the_page_tells_how_much_worse_the_exponents_of_the_other_task_fit(task, other):
    where = json.loads((STUDY / task / "fit.json").read_text())["provenance"]["where"]
    (data,) = datasets(read_sweep(STUDY / task), Selection(where=where))
    values = measured_values([str(STUDY / other / "fit.json")], ())
    found = fixed_exponents(fit_dataset(data, FitSettings()), values)
    assert isinstance(found, FixedExponents)
    free, fixed = found.laws
    page = " ".join((STUDY.parent / "README.md").read_text().split())
    worse, times = fixed.aicc - free.aicc, fixed.held_out / free.held_out
    assert f"worse by {worse:.1f}" in page
    assert f"errs {times:.1f} times as much" in page
    alpha, beta = (value.value for value in values)
    assert f"({alpha:.2f} and {beta:.2f})" in page
