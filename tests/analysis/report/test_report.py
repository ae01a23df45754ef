"""The report: every section has its numbers, poor data have reasons, and `verify` finds what was changed."""

import json
import re
import sys
from dataclasses import replace
from html import escape
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from analysis.cli import main
from analysis.commands.groups import make_views
from analysis.errors import AnalysisError
from analysis.glossary import GLOSSARY
from analysis.laws.evidence import EvidenceSettings, gather
from analysis.laws.findings import RefusedLaw
from analysis.laws.next_steps import next_steps
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import make_view
from analysis.report import report
from analysis.report.collect import collect, describe
from analysis.report.console import print_table
from analysis.report.html import embedded_report, report_html
from analysis.report.limits import unidentified
from analysis.report.model import ReportSettings, report_json
from analysis.report.sections import group_sections, provenance_section
from analysis.report.tables import optimum_table
from analysis.report.verify import compare_reports, read_report, verify
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection
from benchmarks.synthetic import Design, write_sweep
from sweeper.store.store import ResultsStore
from theory.uncertainty.identifiability import identifiability
from theory.uncertainty.intervals import Interval, delta
from theory.uncertainty.quantities import best_d_m

QUICK = EvidenceSettings(draws=80, simulations=40)
ORDER = [
    "answer",
    "question",
    "data",
    "parameters",
    "optima",
    "frontier",
    "exponents",
    "held-out",
    "rivals",
    "calibration",
    "residuals",
]
ORDER += ["alarms", "axes", "sensitivity", "next"]


@pytest.fixture(scope="module")
def written(sweep, view):
    return report.assemble(sweep, [describe(view, QUICK)], ReportSettings(evidence=QUICK))


@pytest.fixture(scope="module")
def document(written):
    return json.loads(report_json(written.to_dict()))


@pytest.fixture(scope="module")
def group(document):
    return document["groups"][0]


def test_the_verdict_on_rival_laws_calls_them_as_the_table_does(written):
    (group,) = written.groups
    assert group.rivals[0].label in group.verdict
    # "effective_information:floor=none,link=affine" is what `--law` reads.
    assert ":floor=" not in group.verdict


def test_a_budget_with_one_configuration_does_not_hide_how_the_others_were_compared(written):
    group = written.groups[0]
    lone = replace(group.optima[0].as_good, tolerance=None, rule="unknown: nothing to compare")
    mixed = replace(group, optima=(replace(group.optima[0], as_good=lone), *group.optima[1:]))
    (section,) = [section for section in group_sections(mixed) if section.id == "optima"]
    assert "95 % t-test" in section.sentences[0]


def test_sections_come_in_reading_order(written):
    assert [section.id for section in group_sections(written.groups[0])] == ORDER


def test_every_section_of_a_good_sweep_says_something(written):
    for section in group_sections(written.groups[0]):
        assert section.sentences or section.tables, section.id
        assert not any("Not computed" in sentence for sentence in section.sentences), section.id


def test_parameters_have_intervals_around_them(group):
    rows = {row["quantity"]: row for row in group["evidence"]["parameters"]}
    assert set(rows) == {"u_ref", "alpha", "beta", "k_floor"}
    for name, row in rows.items():
        assert row["low"] < group["law"]["values"][name] < row["high"]
    assert rows["alpha"]["low"] < 0.95 < rows["alpha"]["high"]  # the made-up truth


def test_the_optimum_has_an_interval_per_budget(group, law):
    rows = group["evidence"]["optimum_intervals"]
    assert [row["budget"] for row in rows] == [3e4, 1e5, 3e5]
    for row, allocation in zip(rows, law.allocations, strict=True):
        assert row["d_m"]["low"] < allocation.continuum_d_m < row["d_m"]["high"]
        n_rec = float(law.costs[allocation.k_c].neurons(allocation.budget, allocation.continuum_d_m))
        assert row["n_rec"]["estimate"] == pytest.approx(n_rec, rel=1e-6)
        assert row["metric"]["low"] < row["metric"]["estimate"] < row["metric"]["high"]


def test_exponents_are_slopes_of_the_optimum(group, law):
    middle = group["evidence"]["exponents"][1]
    low, _, high = law.allocations
    slope = np.log(high.continuum_d_m / low.continuum_d_m) / np.log(high.budget / low.budget)
    assert middle["d_m"]["estimate"] == pytest.approx(slope, abs=0.08)
    assert middle["n_rec"]["low"] < middle["n_rec"]["estimate"] < middle["n_rec"]["high"]


def test_the_largest_budget_is_held_out(group):
    rows = {row["name"]: row for row in group["evidence"]["held_out"]["budget"]}
    chosen = rows["effective_information:floor=additive"]
    assert chosen["held"] == "budget 300000"
    assert chosen["rmse"] < rows["constant"]["rmse"] / 5
    assert "cannot extrapolate" in rows["quadratic"]["reason"]
    assert len(group["evidence"]["held_out"]["k_e"]) == 3


def test_calibration_counts_coverage_on_this_design(group):
    found = group["evidence"]["calibration"]
    assert found["n"] + found["failed"] == 40
    assert all(0.8 <= row["coverage"] <= 1 for row in found["rows"])
    assert found["rows"][-1]["quantity"] == "d_m at 300000"


def test_the_choices_of_the_analyst_are_varied(group):
    choices = [row["choice"] for row in group["evidence"]["sensitivity"]]
    for expected in (
        "as reported",
        "train split",
        "valid split",
        "loss tukey",
        "loss huber",
        "without the smallest budget",
    ):
        assert expected in choices
    reported = group["evidence"]["sensitivity"][0]
    assert {place["budget"] for place in reported["d_m"]} == {3e4, 3e5}


def test_a_quantity_of_the_fit_itself_is_the_allocation(law):
    allocation = law.allocations[1]
    value = delta(law.fit, [best_d_m(allocation.budget, law.costs[allocation.k_c])])[0].estimate
    assert value == pytest.approx(allocation.continuum_d_m, rel=1e-6)


def test_flagged_rows_show_their_effect(sweep, view):
    from analysis.rows.alarms import Alarm

    worst = tuple(view.data.rows.loc[view.data.rows["d_m"] == 40, "trial_id"])
    flagged = view._replace(alarms=[Alarm("collapsed", 3e4, 40.0, 2.0, 100.0, "made up", worst)])
    (effect,) = gather(flagged, replace(QUICK, draws=0)).flagged
    assert (effect.reason, effect.rows) == ("collapsed", len(worst))
    assert set(effect.change) == set(view.law.fit.free)


def test_the_report_is_one_file_with_its_numbers_inside(written, document, view):
    text = report_html(written, [view])
    assert text == report_html(written, [view])
    assert embedded_report(text, "x") == document
    for section in group_sections(written.groups[0]):
        assert section.title in text
    assert "connect-src 'none'" in text
    assert provenance_section(written.provenance).tables[0].rows[0][1] == view.data.rows_sha256


def test_words_of_the_glossary_are_explained_in_sentences_and_headings(written, view):
    text = report_html(written, [view])
    for word in ("AICc", "k_e", "RMSE"):
        assert f'<abbr title="{escape(GLOSSARY[word])}">{word}</abbr>' in text
    assert re.search(r"<th scope='col'[^>]*><abbr title=[^>]*>AICc</abbr></th>", text)


def test_names_from_people_are_escaped(tmp_path, trial):
    evil = "</script><b>&"
    rows = [trial(f"t{d}", task=evil, d_m=d, n_rec=600 // d, final_test_metric=2 + d / 9) for d in range(2, 9)]
    ResultsStore.create(tmp_path).write("trials", rows)
    views = make_views(read_sweep(tmp_path), Selection(), FitSettings(law="quadratic"))
    text = report_html(
        report.assemble(views[0].sweep, [describe(view, None) for view in views], ReportSettings()), views
    )
    assert "<b>" not in text
    assert text.count("</script>") == 4


@pytest.mark.parametrize("kind", ["empty", "failed", "one", "one_budget", "one_seed"])
def test_poor_sweeps_have_a_report_that_says_what_to_run(tmp_path, trial, kind):
    if kind in ("one_budget", "one_seed"):
        budgets = (30_000,) if kind == "one_budget" else (30_000, 90_000, 300_000)
        write_sweep(tmp_path, Design(budgets=budgets, seeds=1 if kind == "one_seed" else 2))
    else:
        rows = {"empty": [], "failed": [trial("a", status="failed", final_test_metric=None)], "one": [trial("a")]}[kind]
        ResultsStore.create(tmp_path).write("trials", rows)
    sweep = read_sweep(tmp_path)
    settings = FitSettings(law="effective_information:floor=none")
    views = [make_view(sweep, fit_dataset(data, settings)) for data in datasets(sweep, Selection())]
    found = report.assemble(sweep, [describe(view, QUICK) for view in views], ReportSettings(evidence=QUICK))
    report_html(found, views)
    said = " ".join(s for g in found.groups for s in g.cannot_conclude)
    expected = {
        "empty": "",
        "failed": "No finished trial",
        "one": "No law could be fitted",
        "one_budget": "1 budget only",
        "one_seed": "One run per configuration",
    }[kind]
    assert expected in said
    for part in found.groups:
        assert part.next
        assert all(step.what for step in part.next)


def test_single_neurons_have_their_noise_laws_ranked():
    (view,) = make_views(read_sweep("published:neuronio"), Selection(), FitSettings(law="power_law"))
    found = report.group_report(view, replace(QUICK, draws=0))
    forms = found.evidence.neuron.forms
    assert forms[0].form == "power + additive floor"
    assert forms[0].alpha == pytest.approx(1.272, abs=0.05)
    worse = {row.form: row.delta for row in forms}
    assert worse["power + max floor"] == pytest.approx(19.2, abs=1)
    assert "neuron" in [section.id for section in group_sections(found)]


def test_parameters_with_meaningless_intervals_are_named():
    wide = Interval(quantity="alpha", estimate=1.0, low=1e-8, high=1e3, level=0.95, method="delta")
    narrow = replace(wide, quantity="beta", low=1.0, high=1.5)
    (sentence,) = unidentified(SimpleNamespace(parameters=(wide, narrow)))
    assert sentence.startswith("The law's parameter alpha is not identified by these rows (95 % interval open or wider")
    assert unidentified(SimpleNamespace(parameters=(narrow,))) == unidentified(None) == []
    open_above = replace(narrow, quantity="u_ref", high=None)
    (sentence,) = unidentified(SimpleNamespace(parameters=(wide, narrow, open_above)))
    assert sentence.startswith("The law's parameters alpha and u_ref are not identified")


def test_a_report_has_one_interval_and_one_verdict_for_each_parameter(written):
    """A profile once called identified what the card did not, each with an interval of its own."""
    (group,) = written.groups
    (section,) = [one for one in group_sections(group) if one.id == "parameters"]
    said = " ".join(section.sentences)
    assert "profile interval" not in said
    assert "Not identified:" not in said
    profiles = identifiability(group.law.fit).profiles
    for row in group.evidence.parameters:
        if (found := profiles.get(row.quantity)) is not None:
            assert row.low is found.low is None or row.low <= found.low
            assert row.high is found.high is None or row.high >= found.high


def test_next_steps_cost_what_such_trials_took(group, sweep):
    steps = {step["what"]: step for step in group["next"]}
    seeds = steps["3 seeds of every configuration"]
    finished = sweep.trials[sweep.trials["status"] == "finished"]
    per_trial = finished["wall_s"].sum() / len(finished) / 3600
    assert seeds["hours"] == pytest.approx(seeds["trials"] * per_trial, rel=0.3)


def test_the_law_chooses_runs_that_narrow_the_optimum(group):
    found = group["evidence"]["design"]
    assert found["target"] == "d_m at 300000"
    spread = [found["sd_now"], *(pick["sd_after"] for pick in found["picks"])]
    assert spread[-1] < spread[0]
    assert all(after < 1.03 * before for before, after in pairwise(spread))  # from draws, so to within a few percent
    assert {pick["budget"] for pick in found["picks"]} <= {3e4, 1e5, 3e5}
    assert all(pick["hours"] > 0 for pick in found["picks"])


def test_an_optimum_at_the_edge_asks_for_the_other_side(tmp_path):
    write_sweep(tmp_path, Design(d_m=(2, 3, 4, 5), seeds=2))
    (view,) = make_views(read_sweep(tmp_path), Selection(), FitSettings(law="quadratic"))
    found = report.group_report(view, None)
    wanted = [step for step in found.next if "not bracketed" in step.why]
    assert wanted[0].what.startswith("d_m = 8, 11 at P = 30,000")
    assert all(not row.bracketed and row.extend == "larger d_m" for row in found.optima)


def test_verify_confirms_a_true_report_and_names_a_changed_number(own_dir, tmp_path, monkeypatch, capsys):
    arguments = ["fit-theory", str(own_dir), "--law", "effective_information:floor=additive", "--draws", "40"]
    monkeypatch.setattr(sys, "argv", ["analysis", *arguments])
    with pytest.raises(SystemExit):
        main()
    page = own_dir / "fit.html"
    assert verify(str(page)).holds
    capsys.readouterr()
    said = read_report(str(page))
    said["groups"][0]["law"]["values"]["alpha"] *= 1.001
    (tmp_path / "forged.json").write_text(json.dumps(said))
    monkeypatch.setattr(sys, "argv", ["analysis", "verify", str(tmp_path / "forged.json")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "law.values.alpha" in capsys.readouterr().out


def test_verify_notices_other_rows(document, view):
    found = json.loads(json.dumps(document))
    found["provenance"]["rows_sha256"] = {view.data.label: "0" * 64}
    found["groups"][0]["data"]["excluded"].pop()
    verdict = compare_reports(document, found)
    places = {difference.place for difference in verdict.differences}
    assert any("rows_sha256" in place for place in places)
    assert any("excluded" in place for place in places)


def test_other_library_versions_are_told_but_no_difference(document):
    found = json.loads(json.dumps(document))
    found["provenance"]["versions"]["scipy"] = "0.1"
    verdict = compare_reports(document, found)
    assert verdict.holds
    assert any("scipy" in sentence for sentence in verdict.versions)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.html", "<p>hello</p>", "not a report of `analysis fit-theory`"),
        ("a.json", "{", "not readable as a report"),
        ("a.json", "{}", "not a report of format 3"),
        ("none.html", None, "cannot be read"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(AnalysisError, match=message):
        verify(str(tmp_path / name))


def test_a_sweep_that_diverged_is_told_to_learn_more_slowly(tmp_path):
    write_sweep(tmp_path / "gone", Design(d_m=(2, 4), seeds=1, failed=0.0, diverged=1.0))
    sweep = read_sweep(tmp_path / "gone")
    data = datasets(sweep, Selection())[0]
    (step,) = next_steps(make_view(sweep, fit_dataset(data, FitSettings(law="quadratic"))))
    assert "learning rate ten times smaller" in step.what
    assert step.trials == len(sweep.trials)


def test_a_split_with_a_perfect_run_is_a_reason_and_no_end(tmp_path):
    write_sweep(tmp_path / "r", Design(d_m=(2, 4, 8, 16), seeds=1, failed=0.0, diverged=0.0))
    sweep = read_sweep(tmp_path / "r")
    bits = sweep.trials["final_test_metric"]
    accuracy = {f"final_{split}_metric": 1 - bits / 6 for split in ("valid", "test")} | {"final_train_metric": 1.0}
    trials = sweep.trials.assign(metric="accuracy", direction="max", chance=0.05, **accuracy)
    data = datasets(replace(sweep, trials=trials), Selection())[0]
    view = make_view(sweep, fit_dataset(data, FitSettings(law="separable_power_law")))
    (row,) = [row for row in gather(view, replace(QUICK, draws=0)).sensitivity if row.choice == "train split"]
    assert "not between chance" in row.reason


def test_a_group_that_fails_is_one_sentence_and_costs_the_others_nothing(sweep, view, monkeypatch):
    def broken(*_):
        raise ValueError("made-up\nfault")

    monkeypatch.setattr("analysis.report.report.gather", broken)
    group = describe(view, QUICK).group
    assert group.law is not None
    assert group.cannot_conclude[-1].endswith("could not be computed: made-up fault")
    monkeypatch.setattr("analysis.report.collect.fit_dataset", broken)
    (done,) = collect(sweep, [view.data], ReportSettings())
    assert done.group.refused == (RefusedLaw("", "made-up fault"),)


def test_architectures_without_memory_units_are_null_in_json(tmp_path, trial):
    rows = [
        replace(
            trial(f"t{n}{seed}", n_rec=n, seed=seed, budget=100 * n, final_test_metric=3 - n / 100 + seed / 1000),
            architecture="gru",
            d_m=None,
            d_mlp=None,
            k_e=3.0 * n,
        )
        for n in (10, 20, 40, 80)
        for seed in (0, 1)
    ]
    ResultsStore.create(tmp_path).write("trials", rows)
    sweep, settings = read_sweep(tmp_path), ReportSettings(fit=FitSettings(starts=8))
    (done,) = collect(sweep, datasets(sweep, Selection()), settings)
    found = report.assemble(sweep, [done], settings)
    text = report_json(found.to_dict())
    assert "NaN" not in text
    assert json.loads(text)["groups"][0]["optima"][0]["measured"]["d_m"] is None
    said = " ".join(s for section in group_sections(done.group) for s in section.sentences)
    assert "nan" not in said


@pytest.mark.parametrize("width", [80, 140])
def test_no_cell_or_title_of_a_wide_table_is_cut(written, capsys, width):
    table = optimum_table(written.groups[0].optima, written.groups[0].evidence.optimum_intervals)
    print_table(table, Console(width=width))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for text in (*table.columns, "30,000", "300,000"):
        assert text in shown
