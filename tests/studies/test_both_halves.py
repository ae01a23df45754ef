"""The second study on spikes, whose code is that of text, and what compares the two."""

import json
from dataclasses import replace

import numpy as np
import pytest

from studies.interior_optimum import half, study
from studies.interior_optimum.half import Half
from studies.interior_optimum.hypotheses import CONTRADICTED, NOT_DECIDED, NOT_RUN, SUPPORTED
from studies.interior_optimum.page import page
from studies.interior_optimum.task import GRIDS, HOLDOUT, MAIN, SPIKES, TASKS
from tests.studies.made_up import sweep_of
from tests.studies.small_study import accuracy, invoke, metric, spikes_half, text_half, told


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setattr(half, "yardstick", lambda: 9.0)
    return text_half(tmp_path)


@pytest.fixture
def spikes(tmp_path):
    return spikes_half(tmp_path)


def test_a_half_without_a_folder_or_grids_has_not_been_run(tmp_path):
    task = replace(SPIKES, grids=tmp_path)
    (only,) = half.answers(half.read_half(task, tmp_path))
    assert (only.question, only.verdict) == ("H1 to H5", NOT_RUN)
    assert "study2_spikes.yaml has not been written yet" in only.sentence


def test_on_spikes_the_largest_accuracy_is_looked_for(spikes):
    task, plans = spikes
    answers = told(task, sweep_of(*plans.values(), value=accuracy, noise=0.00004))
    assert "H6" not in answers
    lines = {row["place"]: row for row in answers["H1"].numbers["lines"]}
    assert lines["P = 10,000, k_c = 32"]["best_d_m"] == 6
    assert (answers["H1"].verdict, answers["H2"].verdict) == (SUPPORTED, SUPPORTED)
    assert answers["H3"].question == "H3: at each P the best network of k_c = 128 is better than the best of k_c = 32"
    assert answers["H3"].verdict == SUPPORTED
    assert answers["H3"].sentence.startswith("Gain of k_c = 128 in accuracy: +0.01")
    # no k_c is added here
    assert not answers["H3"].numbers["adds_k_c"]
    assert answers["H5"].question.endswith("P = 10,000, k_c = 32 where it was")
    assert answers["H5"].sentence.startswith("ln d_m* after 12,000 steps against the interval of 3,000")


def test_an_accuracy_that_falls_from_the_smallest_d_m_on_contradicts_an_interior_optimum(spikes):
    task, plans = spikes
    falling = sweep_of(plans[MAIN], value=lambda row: 0.9 - 0.1 * np.log(row.spec.model.d_m), noise=0.0004)
    assert told(task, falling)["H1"].verdict == CONTRADICTED


def test_an_accuracy_near_its_end_gives_way_to_the_loss_at_all_budgets(spikes):
    task, plans = spikes
    # flat in accuracy, with a clear best d_m in the loss
    sweep = sweep_of(
        plans[MAIN],
        value=lambda row: 0.98 if row.budget == 100_000 else 0.9,
        loss=metric,
        noise=0.0004,
    )
    answered = list(half.answers(Half(task=task, sweep=sweep, predictions={})))
    first = [answer for answer in answered if answer.question.startswith("H1")]
    assert [answer.verdict for answer in first] == [SUPPORTED, NOT_DECIDED]
    assert first[1].question.endswith("(by accuracy, which is near its end: reported)")
    assert "in nats of the test loss: +0.10" in next(a for a in answered if a.question.startswith("H3")).sentence
    just_below = sweep_of(plans[MAIN], value=lambda row: 0.969, loss=metric, noise=0.0001)
    assert told(task, just_below)["H1"].verdict == NOT_DECIDED


def test_the_two_halves_are_compared_when_both_have_been_run(text, spikes):
    halves = {
        "text": Half(task=text[0], sweep=sweep_of(text[1][MAIN], value=metric), predictions={}),
        "spikes": Half(task=spikes[0], sweep=sweep_of(spikes[1][MAIN], value=accuracy, noise=0.0004), predictions={}),
    }
    last = study.both(halves)["spikes"][-1]
    assert last.question.startswith("H7")
    assert last.verdict == SUPPORTED
    assert last.numbers["exponents"]["spikes"][0] == pytest.approx(0.15, abs=0.05)
    fewer = halves["spikes"].sweep
    halves["spikes"] = replace(halves["spikes"], sweep=replace(fewer, trials=fewer.trials[:-1]))
    early = study.both(halves)["spikes"][-1]
    assert early.verdict == NOT_RUN
    assert early.sentence.startswith("spikes: 1 of 60 trials have not been run yet. So far: ")


def test_accuracy_and_loss_are_both_predicted_since_the_largest_budget_may_reach_the_end(spikes, tmp_path, monkeypatch):
    task, plans = spikes
    monkeypatch.setitem(study.TASKS, "spikes", task)
    (tmp_path / "spikes").mkdir()
    main = sweep_of(plans[MAIN], value=accuracy, loss=metric, noise=0.0004)
    done = invoke(monkeypatch, main, "predict", tmp_path, "spikes")
    assert done.exit_code == 0, done.output
    predictions = json.loads((tmp_path / "spikes" / "prediction.json").read_text())
    assert set(predictions) == {"final_metric", "final_loss"}

    def judged(at_end: float) -> float:
        whole = sweep_of(
            plans[MAIN], plans[HOLDOUT], loss=metric, noise=0.0004,
            value=lambda row: at_end if row.budget == 300_000 else accuracy(row),
        )  # fmt: skip
        return told(task, whole, predictions)["H4"].numbers["errors"]["the last value"]["level"]

    # the last value of the loss is behind by the gain of a threefold budget; that of the accuracy by what was made up
    assert judged(0.99) == pytest.approx(0.1 * np.log(3), abs=0.03)
    assert judged(0.5) > 0.2


def test_the_stored_page_follows_from_the_stored_rows():
    results = GRIDS.parent / "results"
    answered = study.both({name: half.read_half(task, results) for name, task in TASKS.items()})
    assert (results / "verdicts.md").read_text() == page(answered)
