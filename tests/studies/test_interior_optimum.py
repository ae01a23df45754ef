"""The commands of the second study, on rows with the ids of small grids."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.rows.alarms import Alarm
from analysis.rows.learning_rates import fit_rule
from analysis.rows.load import datasets, rate_trials, read_sweep
from analysis.rows.sweep import DESIGN_POINT, Selection
from studies.answers import Answer
from studies.interior_optimum import half, study
from studies.interior_optimum.baselines import grid_text, tune
from studies.interior_optimum.figures import pictures
from studies.interior_optimum.half import OTHER_LINES, UNDER_TRAINED, WAITS, Half
from studies.interior_optimum.hypotheses import NOT_RUN, PARTS
from studies.interior_optimum.page import line_by_line
from studies.interior_optimum.prediction import LAST, SURFACE, WITHOUT_THEORY
from studies.interior_optimum.task import (
    CONVERGED,
    GRIDS,
    HOLDOUT,
    K_C_128,
    LONGER,
    MAIN,
    TEXT,
)
from sweeper.plan.expand import PlanRow, expand
from sweeper.plan.grid import load_grid, parse_grid
from tests.studies.made_up import sweep_of
from tests.studies.small_study import CELLS, ELM, TRAINING, grid, invoke, metric, text_half, told, without


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setattr(half, "yardstick", lambda: 9.0)
    return text_half(tmp_path)


def test_nothing_is_judged_before_its_trials_have_been_run(text):
    task, plans = text
    whole = sweep_of(plans[MAIN], value=metric)
    (only,) = half.answers(Half(task=task, sweep=replace(whole, trials=whole.trials[:0]), predictions={}))
    assert only.verdict == NOT_RUN
    part = without(whole, whole.trials["seed"] > 0)
    assert {answer.verdict for name, answer in told(task, part).items() if name.startswith("H")} == {NOT_RUN}
    first = told(task, replace(whole, trials=whole.trials[:-7]))["H1"]
    assert first.verdict == NOT_RUN
    assert first.sentence.startswith(f"7 of {len(whole.trials)} trials have not been run yet. So far: ")


def test_a_complete_main_sweep_is_judged_and_the_rest_waits(text):
    task, plans = text
    sweep = sweep_of(plans[MAIN], value=metric)
    answers = told(task, sweep)
    assert answers["H1"].verdict != NOT_RUN
    assert answers["H1"].sentence.endswith("P = 300,000 has not been run yet.")
    assert {name for name, answer in answers.items() if answer.verdict == NOT_RUN} == {"H4", "H5", "H6"}
    questions = [answer.question for answer in half.answers(Half(task=task, sweep=sweep, predictions={}))]
    assert sum(question.startswith("H2") for question in questions) == 4
    assert len(set(questions)) == len(questions)


def test_rows_of_the_largest_budget_wait_for_the_rest_of_it(text):
    task, plans = text
    sweep = sweep_of(plans[MAIN], plans[HOLDOUT], value=metric)
    assert told(task, replace(sweep, trials=sweep.trials[:-3]))["H1"].verdict == NOT_RUN
    late = told(task, sweep)["H1"]
    assert late.verdict != NOT_RUN
    assert "has not been run" not in late.sentence
    assert {row["budget"] for row in late.numbers["lines"]} == {10_000, 30_000, 100_000, 300_000}
    assert {part[WAITS] for part in late.numbers[PARTS]} == {""}


def test_the_lines_of_a_budget_are_final_when_its_own_trials_have_been_run(text):
    task, plans = text
    whole = sweep_of(plans[MAIN], plans[CONVERGED], value=metric, noise=0.0002)
    trials = whole.trials
    lost = (trials["budget"] == 30_000) & (trials["seed"] == 1) & (trials["d_m"] == 6)
    part = without(whole, lost | (trials["budget"] == 100_000))
    answers = told(task, part)
    assert {answers[name].verdict for name in ("H1", "H2", "H3")} == {NOT_RUN}
    for name in ("H1", "H2", "H3"):
        waits = {line["budget"]: line[WAITS] for line in answers[name].numbers[PARTS]}
        assert waits[10_000] == ""
        assert waits[30_000] == "2 of 20 trials have not been run yet"
    # H5 is about one budget, so that it waits for no other
    assert answers["H5"].verdict != NOT_RUN
    table = line_by_line(list(answers.values()))
    assert any("P = 10,000, k_c = 16 | **final** | supported" in row for row in table)
    assert any("P = 30,000, k_c = 16 | waiting: 2 of 20 trials have not been run yet |" in row for row in table)
    assert not any("Exclusions" in row for row in table)


def test_a_line_waits_for_others_where_their_correction_can_change_it(text):
    task, plans = text
    one = sweep_of(plans[MAIN], value=metric)
    lines = told(task, without(one, one.trials["budget"] > 10_000))["H1"].numbers[PARTS]
    assert {line[WAITS] for line in lines if not line["settled"]} == {OTHER_LINES}
    assert {line[WAITS] for line in lines if line["settled"]} <= {""}
    assert not all(line["settled"] for line in lines)


def test_points_trained_longer_take_their_places_when_all_of_their_budget_have_been_run(text):
    task, plans = text
    longer = grid(ELM, name="longer", budgets=[10_000, 30_000], steps=8000)
    task.grid(LONGER).write_text(longer)

    def value(row: PlanRow) -> float:
        """Twice the steps gain half a bit, so that a lone one would be the best whatever its d_m."""
        return metric(row) - 0.5 * (row.spec.training.steps == 8000)

    whole = sweep_of(plans[MAIN], expand(parse_grid(longer)), value=value, noise=0.0002)
    trials = whole.trials

    def second(sweep) -> Answer:
        answers = half.answers(Half(task=task, sweep=sweep, predictions={}))
        return next(a for a in answers if a.question.startswith("H1") and a.question.endswith("twice as long)"))

    one = second(without(whole, (trials["steps"] == 8000) & (trials.index != trials.index[-1])))
    assert (one.question, one.verdict) == ("H1 to H4 (flagged points trained twice as long)", NOT_RUN)
    assert one.sentence == "39 of 40 trials have not been run yet."
    part = second(without(whole, (trials["steps"] == 8000) & (trials["budget"] == 30_000) & (trials["d_m"] > 2)))
    assert part.verdict == NOT_RUN
    waits = {line["budget"]: line[WAITS] for line in part.numbers[PARTS]}
    assert (waits[10_000], waits[30_000]) == ("", "16 of 40 trials have not been run yet")
    assert {row["best_d_m"] for row in part.numbers["lines"] if row["budget"] == 30_000} == {6}
    assert second(whole).verdict != NOT_RUN


def test_a_point_that_raises_the_alarm_must_be_in_the_grid_of_longer_trainings(text, monkeypatch):
    task, plans = text
    longer = grid(ELM, name="longer", budgets=[10_000], steps=8000)
    task.grid(LONGER).write_text(longer)
    sweep = sweep_of(plans[MAIN], expand(parse_grid(longer)), value=metric, noise=0.0002)

    def waits(*budgets: float) -> dict[float, str]:
        alarms = [Alarm(UNDER_TRAINED, budget, 6.0, 50.0, 16.0, "made up", ()) for budget in budgets]
        monkeypatch.setattr(half, "find_alarms", lambda sweep, data, table: alarms)
        answers = half.answers(Half(task=task, sweep=sweep, predictions={}))
        last = next(a for a in answers if a.question.startswith("H1") and a.question.endswith("twice as long)"))
        return {line["budget"]: line[WAITS] for line in last.numbers[PARTS]} | {0: last.verdict}

    assert NOT_RUN not in waits(10_000).values()
    found = waits(10_000, 30_000)
    assert found[0] == NOT_RUN
    assert found[10_000] == ""
    assert found[30_000] == "The grid of longer trainings lacks 1 point that raised the alarm"


def test_all_rows_give_all_verdicts_and_a_trial_that_diverged_counts_as_run(text):
    task, plans = text
    sweep = sweep_of(*plans.values(), value=metric)
    sweep.trials.loc[0, ["status", "final_test_metric", "final_valid_metric"]] = ["diverged", None, None]
    answers = told(task, sweep)
    assert NOT_RUN not in {answers[name].verdict for name in ("H1", "H2", "H3", "H5", "H6")}
    # four times the steps move nothing in this truth
    ends, again = (answers["H5"].numbers["quadratic"][which] for which in ("short", "long"))
    assert again[0] == pytest.approx(ends[0], abs=0.15)
    exclusions = answers["Exclusions"]
    assert exclusions.verdict == "0 points, 1 trials"
    assert "seed 0 (diverged)" in exclusions.sentence
    assert "no training was validated four times in its last fifth" in exclusions.sentence


def test_trainings_of_two_kinds_are_not_mixed(text):
    task, plans = text
    slower = expand(parse_grid(grid(ELM, name="other", budgets=[30_000]).replace("length: 32", "length: 64")))
    with pytest.raises(AnalysisError, match="ELM Networks of 4,000 steps with different settings"):
        told(task, sweep_of(plans[MAIN], slower, value=metric))


def test_a_prediction_is_written_once_and_before_anybody_could_look(text, tmp_path, monkeypatch):
    task, plans = text
    monkeypatch.setitem(study.TASKS, "text", task)
    results = tmp_path / "text"
    results.mkdir()

    def ask(sweep):
        return invoke(monkeypatch, sweep, "predict", tmp_path, "text")

    main = sweep_of(plans[MAIN], value=metric)
    assert "1 of 60 trials have not been run yet" in str(ask(replace(main, trials=main.trials[:-1])).exception)
    seen = sweep_of(plans[MAIN], plans[HOLDOUT], value=metric)
    assert "a prediction must come first" in str(ask(seen).exception)
    # by another grid, whose trials have other ids
    other = expand(parse_grid(grid(ELM, name="other", budgets=[300_000], rate=0.003)))
    assert "holds rows of P = 300,000" in str(ask(sweep_of(plans[MAIN], other, value=metric)).exception)
    assert not (results / "prediction.json").exists()
    done = ask(main)
    assert done.exit_code == 0, done.output
    predictions = json.loads((results / "prediction.json").read_text())
    (stored,) = predictions.values()
    assert len(stored["points"]) == len(stored[WITHOUT_THEORY][LAST]) == len(stored[WITHOUT_THEORY][SURFACE]) == 10
    by_point = main.trials[main.trials["budget"] == 100_000].groupby(["k_c", "d_m"])["final_test_metric"].mean()
    assert stored[WITHOUT_THEORY][LAST] == pytest.approx([by_point[p["k_c"], p["d_m"]] for p in stored["points"]])
    assert "there is a prediction already" in str(ask(main).exception)
    verdict = told(task, seen, predictions)["H4"]
    assert verdict.numbers["points"] == 10
    assert verdict.verdict != NOT_RUN


def test_the_verdicts_are_written_with_figures_of_both_estimators(text, tmp_path, monkeypatch):
    task, plans = text
    monkeypatch.setitem(study.TASKS, "text", task)
    (tmp_path / "text").mkdir()
    done = invoke(monkeypatch, sweep_of(plans[MAIN], value=metric), "verdicts", tmp_path, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    answers = [Answer(**answer) for answer in stored["text"]]
    assert stored["spikes"][-1]["question"].startswith("H7")
    written_page = (tmp_path / "out" / "verdicts.md").read_text()
    assert written_page.startswith("# Verdicts of the second study")
    assert "## Line by line, text" in written_page
    found = {picture.name: picture.figure for picture in pictures(answers)}
    assert set(found) == {f"{size}-at-k_c-{k_c}" for size in ("d_m", "n_rec") for k_c in (16, 64)}
    drawn = found["d_m-at-k_c-16"]["data"]
    assert [trace["name"] for trace in drawn] == ["quadratic", "cubic"]
    optima = next(answer.numbers["optima"] for answer in answers if answer.question.startswith("H2: d_m*"))
    assert list(drawn[1]["y"]) == [row["cubic"][0] for row in optima]
    assert "'@" not in str(found)


PILOT = CELLS.replace("seeds: 2\n", "").replace(
    "{architecture: lstm}", "{architecture: lstm, model: {dropout_in: [0.0, 0.1]}}"
) + TRAINING.format(steps=4000, rate=[0.005, 0.01, 0.02])


def test_the_grid_of_the_baselines_takes_the_best_of_the_validation_split():
    plan = expand(parse_grid(PILOT.replace("name: cells", "name: cells_pilot")))

    def value(row: PlanRow) -> float:
        best = 0.01 if row.spec.architecture == "lstm" else 0.005
        dropout = row.settings.get("dropout_in", 0.1)
        return 3 + abs(np.log(row.settings["learning_rate"] / best)) + abs(dropout - 0.1)

    sweep = sweep_of(plan, value=value, noise=0.0)
    # the test split says the opposite and must not be asked
    sweep.trials["final_test_metric"] = -sweep.trials["final_valid_metric"]
    tuned = tune(plan, sweep)
    lstm = [one for one in tuned if one.architecture == "lstm"]
    assert {one.budget for one in lstm} == {10_000, 30_000, 100_000}
    assert {(one.learning_rate, one.model["dropout_in"], one.at_end) for one in lstm} == {(0.01, 0.1, False)}
    assert {(one.learning_rate, one.at_end) for one in tuned if one.architecture == "gru"} == {(0.005, True)}
    made = expand(parse_grid(grid_text(plan.text, tuned)))
    assert made.name == "cells"
    assert len(made.trials) == 3 * 3 * 4
    assert {row.spec.training.learning_rate for row in made.trials.values()} == {0.01, 0.005}
    assert {row.spec.training.steps for row in made.trials.values()} == {4000}
    with pytest.raises(AnalysisError, match="1 of 36 trials have not been run"):
        tune(plan, replace(sweep, trials=sweep.trials[1:]))


def test_the_shipped_grids_are_those_of_the_page():
    parts = (MAIN, K_C_128, HOLDOUT, CONVERGED)
    plans = {TEXT.grid(part).name: expand(load_grid(TEXT.grid(part))) for part in parts}
    main = plans["study2_text.yaml"].trials.values()
    assert {row.budget for row in main} == {10_000, 30_000, 100_000}
    assert {row.counts.k_c for row in main} == {16, 64}
    assert {row.seed for row in main} == {0, 1, 2, 3}
    assert all(4 <= row.spec.model.n_rec <= 6_000 for plan in plans.values() for row in plan.trials.values())
    assert {row.budget for row in plans["study2_text_holdout.yaml"].trials.values()} == {300_000}
    long = plans["study2_text_converged.yaml"].trials.values()
    assert {(row.budget, row.counts.k_c, row.spec.training.steps) for row in long} == {(10_000, 16, 16_000)}
    # four validations in the last fifth, without which the under-training alarm cannot be raised
    every = [row.spec.training for plan in plans.values() for row in plan.trials.values()]
    assert all(0.2 * training.steps / training.eval_every >= 4 for training in every)
    # one group with the main sweep, or the law and the hold-out would be about other trainings
    trainings = {
        replace(row.spec.training, learning_rate=1.0)
        for name in ("study2_text.yaml", "study2_text_k_c_128.yaml", "study2_text_holdout.yaml")
        for row in plans[name].trials.values()
    }
    assert len(trainings) == 1


def test_the_rate_rule_of_the_grids_is_that_of_the_stored_pilot():
    sweep = read_sweep(GRIDS.parent / "results" / "text_pilot")
    (data,) = datasets(sweep, Selection())
    rule = fit_rule(rate_trials(sweep, data), "final_valid_metric", "min", list(DESIGN_POINT))
    for part in (MAIN, K_C_128, HOLDOUT, CONVERGED, LONGER):
        assert rule.yaml() in TEXT.grid(part).read_text()
    point = ["budget", "d_m", "d_branch"]
    scores = sweep.trials.pivot_table(index=point, columns="learning_rate", values="final_valid_metric")
    assert len(scores) == 12
    assert not scores.idxmin(axis=1).isin([scores.columns.min(), scores.columns.max()]).any()
