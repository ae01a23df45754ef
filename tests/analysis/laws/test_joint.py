"""Joint fits over ablations: what differs is found, what does not is not, and the report says how it knows."""

import json
import sys

import numpy as np
import pytest

from analysis.cli import main
from analysis.commands.groups import make_views
from analysis.errors import AnalysisError
from analysis.laws import joint
from analysis.laws.evidence import EvidenceSettings
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.report import report
from analysis.report.collect import describe
from analysis.report.html import report_html
from analysis.report.model import ReportSettings
from analysis.report.verify import verify
from analysis.rows.load import read_sweep
from analysis.rows.sweep import Selection
from benchmarks.synthetic import Design, write_sweep

SETTINGS = FitSettings(law="effective_information:floor=additive", starts=8)


def views_of(path, design, settings=SETTINGS):
    write_sweep(path, design)
    return make_views(read_sweep(path), Selection(), settings)


@pytest.fixture(scope="module")
def ablated(tmp_path_factory):
    """Three timescales, of which the shortest has a smaller alpha."""
    design = Design(ablations=((100.0, None), (10.0, 0.7), (500.0, None)), evaluations=0)
    return views_of(tmp_path_factory.mktemp("joint") / "ablated", design)


@pytest.fixture(scope="module")
def found(ablated):
    (entry,) = joint.joint_fits(ablated, (), SETTINGS)
    return entry


def test_the_parameter_that_moves_is_found_with_its_values(found):
    assert (found["setting"], [row["level"] for row in found["levels"]]) == ("tau_m_max", ["10", "100", "500"])
    best = min((row for row in found["models"]), key=lambda row: row["aicc"])
    assert best["model"] == "alpha"
    assert best["p_holm"] < 1e-6
    assert "The levels of tau_m_max differ: best described by alpha" in " ".join(found["sentences"])
    rows = {row["level"]: row for row in found["parameters"] if row["model"] == "alpha"}
    for level, truth in (("10", 0.7), ("100", 0.95), ("500", 0.95)):
        assert rows[level]["low"] < truth < rows[level]["high"]
        assert rows[level]["low"] < rows[level]["value"] < rows[level]["high"]
    assert rows["10"]["high"] < rows["100"]["low"]


def test_parameters_that_do_not_move_are_not_claimed_to(found):
    rows = {row["model"]: row for row in found["models"]}
    assert rows["all shared"]["p"] == rows["beta"]["p"] - 2 == rows["a, b per level"]["p"] - 4
    assert rows["beta"]["p_value"] > 0.05  # given the truth, beta describes nothing that is not there
    assert rows["beta"]["p_holm"] >= rows["beta"]["p_value"]


def test_the_same_law_at_every_level_shows_no_difference(tmp_path):
    design = Design(ablations=((100.0, None), (10.0, None)), evaluations=0)
    (entry,) = joint.joint_fits(views_of(tmp_path / "same", design), (), SETTINGS)
    assert entry["sentences"][0].startswith("No difference between the levels of tau_m_max is shown")


def test_connectivity_is_compared_within_one_group(tmp_path):
    views = views_of(tmp_path / "trees", Design(trees=((20, 4), (20, 20)), evaluations=0))
    assert len(views) == 1
    (entry,) = joint.joint_fits(views, (), SETTINGS)
    assert (entry["setting"], [row["level"] for row in entry["levels"]]) == ("k_c", ["80", "400"])
    assert [row["level"] for row in entry["parameters"] if row["parameter"] == "alpha"] == ["80", "400"]


def test_named_parameters_vary_together(ablated):
    (entry,) = joint.joint_fits(ablated, ("alpha=tau_m_max", "beta=tau_m_max"), SETTINGS)
    rows = {row["model"]: row for row in entry["models"]}
    assert set(rows) == {"all shared", "all named vary", "alpha shared", "beta shared"}
    assert rows["alpha shared"]["p_value"] < 1e-6
    assert len(entry["parameters"]) == 6


def test_a_parameter_that_is_named_with_two_settings_has_a_value_for_each_combination(tmp_path):
    """Neither setting is dropped: with one of them alone the levels of the other would share a value that is wrong."""
    design = Design(ablations=((100.0, None), (10.0, 0.7)), trees=((20, 4), (20, 20)), evaluations=0)
    views = views_of(tmp_path / "two", design)
    (both,) = joint.joint_fits(views, ("alpha=tau_m_max", "alpha=k_c"), SETTINGS)
    assert both["setting"] == "tau_m_max, k_c"
    levels = ["10, 80", "10, 400", "100, 80", "100, 400"]
    assert [row["level"] for row in both["levels"]] == [
        "tau_m_max 10, k_c 80", "tau_m_max 10, k_c 400", "tau_m_max 100, k_c 80", "tau_m_max 100, k_c 400",
    ]  # fmt: skip
    assert [row["level"] for row in both["parameters"]] == levels
    values = {row["level"]: row["value"] for row in both["parameters"]}
    for level, truth in zip(levels, (0.7, 0.7, 0.95, 0.95), strict=True):
        assert values[level] == pytest.approx(truth, rel=0.1)
    (one,) = joint.joint_fits(views, ("alpha=tau_m_max", "alpha=tau_m_max"), SETTINGS)
    assert [row["level"] for row in one["parameters"]] == ["10", "100"]


def test_levels_with_too_few_configurations_are_left_out_and_named(ablated):
    where = "tau_m_max == 100 or (tau_m_max == 10 and budget == 30000 and d_m <= 3)"
    views = make_views(read_sweep(ablated[0].sweep.uri), Selection(where=where), SETTINGS)
    (entry,) = joint.joint_fits(views, (), SETTINGS)
    assert entry["left_out"] == [{"level": "10", "rows": 4, "configurations": 2}]
    assert "fewer than two levels of tau_m_max" in entry["sentences"][0]
    assert entry["models"] == entry["parameters"] == []


def test_a_law_without_parameters_says_so(ablated):
    law = FitSettings(law="quadratic", starts=8)
    views = [view._replace(law=fit_dataset(view.data, law)) for view in ablated]
    (entry,) = joint.joint_fits(views, (), SETTINGS)
    assert "has no searched parameter that could vary" in entry["sentences"][0]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("tau_max", "--vary: 'tau_max' is not known; did you mean 'tau_m_max'? Valid: tau_m_max"),
        ("alfa=tau_m_max", "parameter: 'alfa' is not known; did you mean 'alpha'?"),
    ],
)
def test_unknown_names_list_the_choices(ablated, vary, message):
    with pytest.raises(AnalysisError) as error:
        joint.joint_fits(ablated, (vary,), SETTINGS)
    assert message in str(error.value)


def test_without_ablations_there_is_nothing_to_vary(view):
    assert joint.joint_fits([view], (), SETTINGS) == []
    with pytest.raises(AnalysisError, match="--vary k_c: no two groups of these rows differ in a setting"):
        joint.joint_fits([view], ("k_c",), SETTINGS)


def test_the_command_reports_it_and_the_report_proves_itself(monkeypatch, capsys, ablated, tmp_path):
    folder = ablated[0].sweep.uri
    arguments = ["fit-theory", folder, "--quick", "--vary", "tau_m_max", "--starts", "8", "--law", SETTINGS.law]
    monkeypatch.setattr(sys, "argv", ["analysis", *map(str, arguments), "-o", str(tmp_path / "fit")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "Joint fit over tau_m_max" in shown
    assert "best described by alpha" in shown
    stored = json.loads((tmp_path / "fit.json").read_text())
    (entry,) = stored["joint"]
    value = next(row for row in entry["parameters"] if row["model"] == "alpha")
    assert f"{value['value']:.4g}" in shown
    assert "Ablations, fitted jointly" in (tmp_path / "fit.html").read_text()
    assert verify(str(tmp_path / "fit.html")).holds
    value["value"] *= 1.01
    (tmp_path / "fit.json").write_text(json.dumps(stored))
    (wrong,) = verify(str(tmp_path / "fit.json")).differences
    assert wrong.place.startswith("report.joint[0].parameters")


def test_a_quick_report_leaves_it_out_unless_it_is_asked_for(ablated):
    assert report.assemble(ablated[0].sweep, [describe(view, None) for view in ablated], ReportSettings()).joint == ()
    text = report_html(
        report.assemble(ablated[0].sweep, [describe(view, None) for view in ablated], ReportSettings()), ablated
    )
    assert "fitted jointly" not in text


@pytest.mark.parametrize("vary", [[], ["alpha=tau_m_max"]])
def test_a_joint_fit_that_fails_is_one_sentence_and_costs_the_report_nothing(ablated, monkeypatch, vary):
    def broken(*_, **__):
        raise np.linalg.LinAlgError("made-up\nfault")

    monkeypatch.setattr("analysis.laws.joint.fit_law", broken)
    (entry,) = joint.joint_fits(ablated, vary, SETTINGS)
    assert entry["setting"] == "tau_m_max"
    assert entry["sentences"] == ["No joint fit: it could not be computed: made-up fault"]
    settings = ReportSettings(evidence=EvidenceSettings(draws=0), vary=tuple(vary))
    done = [describe(view, None) for view in ablated]
    (written,) = report.assemble(ablated[0].sweep, done, settings).joint
    assert "made-up fault" in written.sentences[0]
