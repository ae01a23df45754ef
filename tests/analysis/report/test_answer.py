"""The answer card: the same few sentences everywhere, right about the shipped study."""

import io
import json
import shlex
from dataclasses import replace

import pytest
from click.testing import CliRunner
from rich.console import Console

from analysis.cli import cli
from analysis.errors import AnalysisError
from analysis.laws.findings import RefusedLaw
from analysis.laws.next_steps import next_steps
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import make_view
from analysis.report.answer import _not_measured, answer_lines, why_no_law
from analysis.report.collect import unfitted, views_without_law
from analysis.report.console import print_answer
from analysis.report.report import card, group_report
from analysis.report.sections import group_sections
from analysis.rows.load import datasets, read_sweep
from analysis.rows.plans import StoredPlans
from analysis.rows.sweep import Measure, Selection
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid
from sweeper.store.store import ResultsStore
from tests.analysis.laws.test_suggest import GRID
from tests.analysis.laws.test_suggest import write as written_sweep
from theory.uncertainty.intervals import Interval

TEXT = "studies/paper_in_miniature/results/text"


@pytest.fixture(scope="module")
def cards():
    sweep = read_sweep(TEXT)
    views = views_without_law(sweep, datasets(sweep, Selection()))
    return {view.data.label: card(view, fitted=False) for view in views}


def test_a_card_has_at_most_seven_lines_each_with_a_topic(view, cards):
    for lines in [card(view), *cards.values()]:
        assert 1 < len(lines) <= 7
        assert all(": " in line and "nan" not in line for line in lines)


def test_the_split_of_the_study_is_told_for_three_budgets_with_band_and_confidence(cards):
    split = next(iter(cards.values()))[0]
    assert split.count("P = ") == 3
    assert "P = 30,000: N = 103 (67–148 as good), d_m = 4 (2–6 as good), k_c = 128 (best of 6)" in split
    assert "[bracketed, 2 runs]" in split


def test_other_architectures_stand_beside_it_in_one_sentence(cards):
    (line,) = [line for line in next(iter(cards.values())) if line.startswith("Beside it")]
    assert "gru 2.32, lstm 2.29 against elm 2.79 at P = 100,000" in line
    assert line.endswith("elm is better in 0 of 9 comparisons at equal P.")


def test_groups_without_d_m_say_less(cards):
    (lines,) = [lines for label, lines in cards.items() if label.endswith(" gru")]
    assert [line.partition(":")[0] for line in lines] == ["Best split", "Level", "Next"]
    assert "d_m" not in lines[0]


def test_the_next_command_is_safe_to_paste(view):
    odd = "it's a folder; rm -rf $HOME"
    moved = view._replace(sweep=replace(view.sweep, uri=odd))
    (line,) = [line for line in card(moved) if line.startswith("Next")]
    assert shlex.quote(odd) in line


def test_half_a_sweep_is_called_one_before_anything_else(view):
    trials = view.sweep.trials
    name = trials["sweep"].iloc[0]
    whole = replace(view.sweep, grids={}, trials=trials)
    whole.__dict__["plans"] = StoredPlans(grid_of=dict.fromkeys(trials["trial_id"], name))
    assert card(view._replace(sweep=whole)) == card(view)
    half = replace(whole)
    half.__dict__["plans"] = StoredPlans(
        grid_of=dict.fromkeys([*trials["trial_id"], "a", "b"], name) | {"c": "another"}
    )
    lines = card(view._replace(sweep=half))
    planned = len(trials) + 2
    assert (
        f"Cannot be concluded: The sweep is not finished: 2 of {planned} planned trials have no row yet." in lines[-2]
    )
    assert lines[-1].startswith(
        f"Next: the 2 of {planned} planned trials that have no row yet. The same `sweeper launch`"
    )


def test_step_and_command_of_the_card_speak_of_the_same_runs_and_the_command_runs(cards, tmp_path):
    line = next(iter(cards.values()))[-1]
    assert line.startswith("Next: d_m = 1 at P = 10,000, k_c = 64, because")
    arguments = shlex.split(line.split("`")[-2])
    assert arguments[:2] == ["analysis", "suggest"]
    arguments[-1] = str(tmp_path / "next.yaml")
    outcome = CliRunner().invoke(cli, arguments[1:])
    assert outcome.exit_code == 0, outcome.output
    rows = list(expand(load_grid(tmp_path / "next.yaml")).trials.values())
    sizes = {(row.budget, row.spec.model.d_m, row.spec.model.d_tree * row.spec.model.d_branch) for row in rows}
    assert sizes == {(10_000, 1, 64)}
    assert f"({len(rows)} trials, about" in line


def test_more_seeds_of_a_step_are_replicates_of_the_very_networks_that_were_run(tmp_path, trial):
    path = written_sweep(tmp_path / "results", GRID)
    sweep = read_sweep(path)
    (data,) = datasets(sweep, Selection())
    (view,) = views_without_law(sweep, [data])
    (number,) = [place for place, step in enumerate(next_steps(view), 1) if step.what.startswith("3 seeds of every")]
    target = str(tmp_path / "next.yaml")
    outcome = CliRunner().invoke(cli, ["suggest", str(path), "--step", str(number), "-o", target])
    assert outcome.exit_code == 0, outcome.output
    asked = expand(load_grid(target)).trials
    known = {json.loads(spec)["seed"] for spec in data.rows["spec"]}
    assert {row.spec.seed for row in asked.values()} == {2}
    assert known == {0, 1}
    again = {replace(row.spec, seed=0).trial_id for row in asked.values()}
    assert again == set(data.rows.loc[data.rows["seed"] == 0, "trial_id"])


def test_a_step_without_runs_of_its_own_is_refused(tmp_path):
    path = written_sweep(tmp_path / "results", GRID)
    outcome = CliRunner().invoke(cli, ["suggest", str(path), "--step", "99"])
    assert "no step with runs of its own; choose one of: 1" in str(outcome.exception)
    assert "give either --hours or --step" in CliRunner().invoke(cli, ["suggest", str(path)]).output
    aimed = CliRunner().invoke(cli, ["suggest", str(path), "--step", "1", "--target", "exponent"])
    assert "--target goes with --hours" in aimed.output


def test_the_command_of_the_card_takes_this_very_group(cards):
    sweep = read_sweep(TEXT)
    wanted = {data.label: set(data.rows["trial_id"]) for data in datasets(sweep, Selection())}
    for label, lines in cards.items():
        arguments = shlex.split(lines[-1].split("`")[-2])
        if "--group" in arguments:
            name = arguments[arguments.index("--group") + 1]
            (data,) = datasets(sweep, Selection(group=name))
            assert set(data.rows["trial_id"]) == wanted[label]
            wanted.pop(label)
    assert len(wanted) == 1, "one group has nothing urgent"


def test_the_command_keeps_condition_metric_and_split(tmp_path, trial):
    ResultsStore.create(tmp_path).write(
        "trials",
        [
            trial(f"{steps}-{d_m}", d_m=d_m, steps=steps, final_valid_loss=2.0)
            for steps in (100, 200)
            for d_m in (2, 4, 8)
        ],
    )
    measure = Measure(kind="final_loss", split="valid")
    sweep = read_sweep(tmp_path)
    names = [data.label for data in datasets(sweep, Selection())]
    assert len(names) == 2
    with pytest.raises(AnalysisError, match="did you mean") as refusal:
        datasets(sweep, Selection(group=names[0][:-1]))
    assert names[0] in str(refusal.value)
    (data,) = datasets(sweep, Selection(measure=measure, where="d_m >= 2", group=names[0]))
    view = make_view(sweep, unfitted(data, "none"))
    arguments = shlex.split(card(view, fitted=False)[-1].split("`")[-2])
    expected = {"--group": names[0], "--where": "d_m >= 2", "--metric": "final_loss", "--split": "valid"}
    for option, value in expected.items():
        assert arguments[arguments.index(option) + 1] == value


def test_a_group_without_d_m_is_not_told_to_vary_it(tmp_path, trial):
    gated = [replace(trial(str(n), n_rec=n, budget=300 * n), d_m=None, d_mlp=None, architecture="gru") for n in (8, 16)]
    ResultsStore.create(tmp_path).write("trials", gated)
    sweep = read_sweep(tmp_path)
    (data,) = datasets(sweep, Selection())
    group = group_report(make_view(sweep, fit_dataset(data, FitSettings(starts=8))), None)
    text = " ".join([*group.answer, *group.cannot_conclude, *(step.what for step in group.next)])
    assert "values of d_m" not in text
    assert "which this architecture has not" in text


def test_a_law_far_behind_a_rival_is_said_on_the_card(view, monkeypatch):
    assert any(line.startswith(f"Law: {view.law.fit.law.label}, r = ") for line in card(view))
    note = "The law drawn is 122 AICc units behind another."
    monkeypatch.setattr(type(view), "rival_note", property(lambda _: note))
    assert any(line.startswith(f"Law: {note}") for line in card(view))


def test_growth_that_only_the_law_sees_is_called_so(view):
    stays = Interval(quantity="slope d_m", estimate=0.5, low=0.1, high=0.8, level=0.95, method="envelope")
    place = view.drawn_optima[0]
    assert "is best at every budget" in _not_measured(view._replace(optima=[place]), stays)
    two = [place, place._replace(best=(place.best + 1) % len(view.table))]
    apart = view._replace(optima=two)
    assert view.table["d_m"].iloc[two[0].best] != view.table["d_m"].iloc[two[1].best]
    assert _not_measured(apart, stays) == ""
    assert "its interval holds 0" in _not_measured(apart, replace(stays, low=-0.1))


def test_limits_come_in_the_order_given_and_are_two(view):
    (line,) = [
        line for line in answer_lines(view, cannot_conclude=["A.", "B.", "C."], steps=next_steps(view)) if "A." in line
    ]
    assert line == "Cannot be concluded: A. B."


def test_report_and_card_say_the_same(view):
    group = group_report(view, None)
    assert group.answer == card(view)
    assert group_sections(group)[0].sentences == list(group.answer)


def test_reasons_of_many_refused_laws_are_one_sentence():
    refused = [RefusedLaw(f"l{i}", f"law {i}: 9 rows cannot support {i} parameters; add runs") for i in range(12)]
    refused.append(RefusedLaw("q", "law q: odd"))
    assert why_no_law(refused) == "13 laws were refused; most often: 9 rows cannot support 0 parameters and odd"


def test_on_a_narrow_terminal_the_next_command_stays_in_one_piece():
    command = "analysis suggest results --group 'text, enwiki-mini/letters, elm, batch_size 8' --hours 0.01 -o n.yaml"
    told = io.StringIO()
    lines = [f"Next: more runs. Runs in their order of worth: `{command}`.", "Law: none."]
    print_answer(lines, Console(width=60, file=told))
    lines = told.getvalue().splitlines()
    assert f"  {command}" in lines
    assert lines[-1] == "Law: none."
    assert max(len(line) for line in lines if command not in line) <= 60
