"""The commands of the second study, on rows with the ids of small grids."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from analysis.errors import AnalysisError
from analysis.rows.learning_rates import fit_rule
from analysis.rows.load import datasets, rate_trials, read_sweep
from analysis.rows.sweep import DESIGN_POINT, Selection
from studies.answers import Answer
from studies.interior_optimum import rows, study
from studies.interior_optimum.baselines import grid_text, tune
from studies.interior_optimum.figures import pictures
from studies.interior_optimum.hypotheses import NOT_RUN
from studies.interior_optimum.prediction import LAST, SURFACE, WITHOUT_THEORY
from sweeper.plan.expand import PlanRow, expand
from sweeper.plan.grid import load_grid, parse_grid
from tests.studies.made_up import sweep_of

TRAINING = """
training:
  preset: paper
  steps: {steps}
  batch_size: 32
  length: 32
  eval_every: 2000
  learning_rate: {rate}
"""

ELM = """
name: {name}
task: {{name: text, data: embedded, alphabet: letters}}
model: {{d_m: [2, 4, 6, 9, 14], d_tree: 4, d_branch: [4, 16], rho_rec: 0.5}}
budgets: {budgets}
seeds: 2
limits: {{n_rec: [4, 6000]}}
"""

CELLS = """
name: cells
task: {name: text, data: embedded, alphabet: letters}
budgets: [10_000, 30_000, 100_000]
seeds: 2
blocks: [{architecture: lstm}, {architecture: chrono_lstm}, {architecture: gru}]
"""


def grid(template: str, steps: int = 4000, rate: object = 0.006, **given: object) -> str:
    return template.format(**given) + TRAINING.format(steps=steps, rate=rate)


def metric(row: PlanRow) -> float:
    """A made-up truth with an optimum that moves with the budget; LSTMs and GRUs are worse."""
    if row.spec.architecture != "elm":
        return 3.3 - 0.1 * np.log(row.budget)
    model = row.spec.model
    best = np.log(5) + 0.15 * np.log(row.budget / 10_000) + 0.2 * (model.d_branch == 16)
    return 3 - 0.1 * np.log(row.budget) + 0.05 * (np.log(model.d_m) - best) ** 2 - 0.1 * (model.d_branch == 16)


@pytest.fixture
def grids(tmp_path, monkeypatch):
    """Grids of a small study in place of the shipped ones, and the plan of each."""
    texts = {
        "MAIN": grid(ELM, name="main", budgets=[10_000, 30_000, 100_000]),
        "HOLDOUT": grid(ELM, name="holdout", budgets=[300_000]),
        "CONVERGED": grid(ELM, name="converged", budgets=[10_000], steps=16_000),
        "BASELINES": CELLS + TRAINING.format(steps=4000, rate=0.01),
    }
    for name, text in texts.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        monkeypatch.setattr(study, name, path)
    monkeypatch.setattr(study, "yardstick", lambda: 9.0)
    return {name: expand(parse_grid(text)) for name, text in texts.items()}


def told(sweep, prediction) -> dict[str, Answer]:
    return {answer.question.split(":")[0]: answer for answer in study.answers(sweep, prediction)}


def invoke(monkeypatch, sweep, *arguments):
    monkeypatch.setattr(study, "read_sweep", lambda results: sweep)
    return CliRunner().invoke(study.cli, [str(argument) for argument in arguments])


def test_nothing_is_judged_before_its_trials_have_been_run(grids, tmp_path):
    nothing = replace(sweep_of(grids["MAIN"], value=metric), trials=sweep_of(grids["MAIN"], value=metric).trials[:0])
    (only,) = study.answers(nothing, tmp_path / "prediction.json")
    assert only.verdict == NOT_RUN
    whole = sweep_of(grids["MAIN"], value=metric)
    part = replace(whole, trials=whole.trials[whole.trials["seed"] == 0])
    assert {a.verdict for name, a in told(part, tmp_path / "none").items() if name.startswith("H")} == {NOT_RUN}
    some = replace(whole, trials=whole.trials[:-7])
    first = told(some, tmp_path / "none")["H1"]
    assert first.verdict == NOT_RUN
    assert first.sentence.startswith(f"7 of {len(whole.trials)} trials have not been run yet. So far: ")


def test_a_complete_main_sweep_is_judged_and_the_rest_waits(grids, tmp_path):
    answers = told(sweep_of(grids["MAIN"], value=metric), tmp_path / "none")
    assert answers["H1"].verdict != NOT_RUN
    assert answers["H1"].sentence.endswith("P = 300,000 has not been run yet.")
    assert {name for name, answer in answers.items() if answer.verdict == NOT_RUN} == {"H4", "H5", "H6"}
    questions = [answer.question for answer in study.answers(sweep_of(grids["MAIN"], value=metric), tmp_path / "none")]
    assert sum(question.startswith("H2") for question in questions) == 4
    assert len(set(questions)) == len(questions)


def test_rows_of_the_largest_budget_wait_for_the_rest_of_it(grids, tmp_path):
    sweep = sweep_of(grids["MAIN"], grids["HOLDOUT"], value=metric)
    early = replace(sweep, trials=sweep.trials[:-3])
    assert told(early, tmp_path / "none")["H1"].verdict == NOT_RUN
    late = told(sweep, tmp_path / "none")["H1"]
    assert late.verdict != NOT_RUN
    assert "has not been run" not in late.sentence
    assert {row["budget"] for row in late.numbers["lines"]} == {10_000, 30_000, 100_000, 300_000}


def test_all_rows_give_all_verdicts_and_a_trial_that_diverged_counts_as_run(grids, tmp_path):
    sweep = sweep_of(*grids.values(), value=metric)
    sweep.trials.loc[0, ["status", "final_test_metric", "final_valid_metric"]] = ["diverged", None, None]
    answers = told(sweep, tmp_path / "none")
    assert NOT_RUN not in {answers[name].verdict for name in ("H1", "H2", "H3", "H5", "H6")}
    # four times the steps move nothing in this truth
    ends, again = (answers["H5"].numbers["quadratic"][which] for which in ("short", "long"))
    assert again[0] == pytest.approx(ends[0], abs=0.15)
    exclusions = answers["Exclusions"]
    assert exclusions.verdict == "0 points, 1 trials"
    assert "seed 0 (diverged)" in exclusions.sentence
    assert "no training was validated four times in its last fifth" in exclusions.sentence


def test_trainings_of_two_kinds_are_not_mixed(grids, tmp_path):
    slower = expand(parse_grid(grid(ELM, name="other", budgets=[30_000]).replace("length: 32", "length: 64")))
    with pytest.raises(AnalysisError, match="ELM Networks of 4,000 steps with different settings"):
        told(sweep_of(grids["MAIN"], slower, value=metric), tmp_path / "none")


def test_a_prediction_is_written_once_and_before_anybody_could_look(grids, tmp_path, monkeypatch):
    main = sweep_of(grids["MAIN"], value=metric)
    part = replace(main, trials=main.trials[:-1])
    refused = invoke(monkeypatch, part, "predict", tmp_path)
    assert "1 of 60 trials have not been run yet" in str(refused.exception)
    seen = sweep_of(grids["MAIN"], grids["HOLDOUT"], value=metric)
    assert "a prediction must come first" in str(invoke(monkeypatch, seen, "predict", tmp_path).exception)
    # by another grid, whose trials have other ids
    other = expand(parse_grid(grid(ELM, name="other", budgets=[300_000], rate=0.003)))
    other_way = invoke(monkeypatch, sweep_of(grids["MAIN"], other, value=metric), "predict", tmp_path)
    assert "holds rows of P = 300,000" in str(other_way.exception)
    assert not (tmp_path / "prediction.json").exists()
    done = invoke(monkeypatch, main, "predict", tmp_path)
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "prediction.json").read_text())
    assert len(stored["points"]) == len(stored[WITHOUT_THEORY][LAST]) == len(stored[WITHOUT_THEORY][SURFACE]) == 10
    by_point = main.trials[main.trials["budget"] == 100_000].groupby(["k_c", "d_m"])["final_test_metric"].mean()
    assert stored[WITHOUT_THEORY][LAST] == pytest.approx([by_point[p["k_c"], p["d_m"]] for p in stored["points"]])
    assert "there is a prediction already" in str(invoke(monkeypatch, main, "predict", tmp_path).exception)
    verdict = told(seen, tmp_path / "prediction.json")["H4"]
    assert verdict.numbers["points"] == 10
    assert verdict.verdict != NOT_RUN


def test_the_verdicts_are_written_with_figures_of_both_estimators(grids, tmp_path, monkeypatch):
    sweep = sweep_of(grids["MAIN"], value=metric)
    done = invoke(monkeypatch, sweep, "verdicts", tmp_path, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    stored = [Answer(**answer) for answer in json.loads((tmp_path / "out" / "verdicts.json").read_text())]
    assert "# Verdicts of the second study" in (tmp_path / "out" / "verdicts.md").read_text()
    found = {picture.name: picture.figure for picture in pictures(stored)}
    assert set(found) == {f"{size}-at-k_c-{k_c}" for size in ("d_m", "n_rec") for k_c in (16, 64)}
    drawn = found["d_m-at-k_c-16"]["data"]
    assert [trace["name"] for trace in drawn] == ["quadratic", "cubic"]
    optima = next(answer.numbers["optima"] for answer in stored if answer.question.startswith("H2: d_m*"))
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
    plans = {path.name: expand(load_grid(path)) for path in (rows.MAIN, rows.K_C_128, rows.HOLDOUT, rows.CONVERGED)}
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
    sweep = read_sweep(rows.GRIDS.parent / "results" / "text_pilot")
    (data,) = datasets(sweep, Selection())
    rule = fit_rule(rate_trials(sweep, data), "final_valid_metric", "min", list(DESIGN_POINT))
    for path in (rows.MAIN, rows.K_C_128, rows.HOLDOUT, rows.CONVERGED):
        assert rule.yaml() in path.read_text()
    point = ["budget", "d_m", "d_branch"]
    scores = sweep.trials.pivot_table(index=point, columns="learning_rate", values="final_valid_metric")
    assert len(scores) == 12
    assert not scores.idxmin(axis=1).isin([scores.columns.min(), scores.columns.max()]).any()
