"""Measured before fitted: true exponents cost the law nothing, wrong ones do; both are read from what measured them."""

import json
import sys

import numpy as np
import pytest

from analysis.activity.exponents import measured_values
from analysis.activity.measures import covariance_spectrum
from analysis.cli import main
from analysis.errors import AnalysisError
from analysis.html import to_json
from analysis.laws.findings import FixedExponents, MeasuredValue, Refusal
from analysis.laws.measured import fixed_exponents
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.report.verify import verify
from analysis.rows.load import datasets
from analysis.rows.sweep import Selection

TRUTH = {"alpha": 0.95, "beta": 1.75}
"""Exponents of the made-up sweeps (`benchmarks.synthetic.Truth`)."""


def fixed(law, **values) -> FixedExponents:
    found = fixed_exponents(law, [MeasuredValue(parameter=n, value=v, source="test") for n, v in values.items()])
    assert isinstance(found, FixedExponents)
    return found


def networks(exponents, sizes, *, samples=1e6, growth=0.0):
    """Recorded networks whose spectra are powers of these exponents."""
    return [
        {"n_rec": n, "spectrum": {
            "eigenvalues": [float(n**growth * rank**-beta) for rank in range(1, n + 1)], "exponent": beta,
            "standard_error": 0.01, "ranks": [2, n // 2], "participation_ratio": 3.0, "samples": samples}}
        for beta, n in zip(exponents, sizes, strict=True)
    ]  # fmt: skip


def test_the_true_exponents_cost_nothing_and_are_two_parameters_less(law):
    found = fixed(law, **TRUTH)
    free, held = found.laws
    assert (free.name, held.name) == ("free", "fixed as measured")
    assert held.p == free.p - 2
    assert {name: held.values[name] for name in TRUTH} == TRUTH
    assert held.aicc < free.aicc + 2
    assert held.rmse == pytest.approx(free.rmse, rel=0.05)
    assert held.held_out < 1.05 * free.held_out
    assert ("as well" in found.sentence) or ("better" in found.sentence)


@pytest.mark.parametrize("wrong", [{"beta": 0.8}, {"alpha": 0.3, "beta": 1.75}])
def test_wrong_exponents_describe_and_predict_worse(law, wrong):
    found = fixed(law, **wrong)
    free, held = found.laws
    assert held.aicc > free.aicc + 10
    assert held.rmse > 1.3 * free.rmse
    assert held.held_out > 1.5 * free.held_out
    assert "worse by" in found.sentence


def test_what_cannot_be_fixed_is_refused_with_the_reason(data, law):
    assert fixed_exponents(law, ()) is None
    rival = fit_dataset(data, FitSettings(law="quadratic", starts=8))
    (value,) = measured_values((), ("beta=1.3",))
    refused = fixed_exponents(rival, [value])
    assert isinstance(refused, Refusal)
    assert "has no parameter beta" in refused.reason


def test_one_budget_leaves_nothing_to_hold_out(sweep):
    (data,) = datasets(sweep, Selection(where="budget == 100000"))
    found = fixed(fit_dataset(data, FitSettings(law="effective_information:floor=additive", starts=8)), alpha=0.95)
    assert [row.held_out for row in found.laws] == [None, None]
    assert "one budget" in found.held_out_reason


def test_beta_is_the_mean_over_networks_that_were_recorded_long_enough(tmp_path):
    short = networks([3.0], [50], samples=100.0)
    made = {"settings": {}, "networks": networks([1.2, 1.4], [20, 80], growth=0.5) + short}
    (tmp_path / "activity.json").write_text(to_json(made))
    (value,) = measured_values([str(tmp_path / "activity.json")], ())
    assert (value.parameter, value.value) == ("beta", pytest.approx(1.3))
    assert "2 networks with N = 20 to 80 ± 0.1, 1 too short left out" in value.source
    (tmp_path / "activity.json").write_text(to_json({"networks": short}))
    with pytest.raises(AnalysisError, match="none of 1 recordings has 10 independent samples"):
        measured_values([str(tmp_path / "activity.json")], ())


def test_growth_of_the_eigenvalues_with_n_is_told(tmp_path):
    (tmp_path / "a.json").write_text(to_json({"networks": networks([1.3] * 3, [20, 40, 80], growth=1.0)}))
    (value,) = measured_values([str(tmp_path / "a.json")], ())
    assert "eigenvalues of one rank go as N^1, where the law has N^0" in value.source


def test_a_spectrum_with_a_known_exponent_is_measured_and_read(tmp_path):
    """From activity to the value that is fixed: independent channels whose variances fall as a power of their rank."""
    rng, sizes, truth = np.random.default_rng(0), (16, 32), 1.3
    made = []
    for n in sizes:
        activity = rng.normal(size=(8, 2000, n)) * np.arange(1, n + 1) ** (-truth / 2)
        made.append({"n_rec": n, "spectrum": covariance_spectrum(activity)._asdict()})
    (tmp_path / "activity.json").write_text(to_json({"networks": made}))
    (value,) = measured_values([str(tmp_path / "activity.json")], ())
    assert value.value == pytest.approx(truth, abs=0.05)


def test_alpha_is_that_of_the_best_noise_law_of_single_neurons(tmp_path):
    forms = [
        {"form": "power + floor", "alpha": 0.956, "alpha_se": 0.05, "floor": 0.3, "aicc": -50.0, "delta": 0.0},
        {"form": "power", "alpha": 0.4, "alpha_se": 0.05, "floor": None, "aicc": -10.0, "delta": 40.0},
    ]
    neurons = {"label": "n", "evidence": {"neuron": {"forms": forms}}}
    report = {"groups": [{"label": "no neurons", "evidence": {}}, neurons]}
    (tmp_path / "fit.json").write_text(json.dumps(report))
    (value,) = measured_values([str(tmp_path / "fit.json")], ())
    assert (value.parameter, value.value) == ("alpha", 0.956)
    assert value.source.startswith("power + floor law of single neurons, n ± 0.05, from ")


def test_the_exponents_of_another_sweep_are_those_of_its_usable_law(tmp_path, law):
    """From a report to the fit: the exponents of one made-up sweep do for another of the same truth."""
    chosen = {
        "law": {"name": "effective_information", "label": "EI"},
        "values": {"alpha": 0.9, "beta": 1.7, "lam": 1.0},
    }
    groups = [
        {"label": "unusable", "law": chosen | {"usable": False, "values": {"alpha": 9.0, "beta": 9.0}}},
        {"label": "nothing", "law": None},
        {"label": "text", "law": chosen | {"usable": True}},
    ]
    (tmp_path / "fit.json").write_text(json.dumps({"groups": groups}))
    values = measured_values([str(tmp_path / "fit.json")], ())
    assert {row.parameter: row.value for row in values} == {"alpha": 0.9, "beta": 1.7}
    assert {row.source for row in values} == {f"fitted to text (EI), from {tmp_path / 'fit.json'}"}
    found = fixed_exponents(law, values)
    assert isinstance(found, FixedExponents)
    assert found.laws[1].values["beta"] == 1.7
    (tmp_path / "fit.json").write_text(json.dumps({"groups": groups[:2]}))
    with pytest.raises(AnalysisError, match="nor a usable law of effective information"):
        measured_values([str(tmp_path / "fit.json")], ())


@pytest.mark.parametrize(
    ("files", "values", "message"),
    [
        ((), ("alfa=1",), "--fix: 'alfa' is not known; did you mean 'alpha'"),
        ((), ("alpha=none",), "--fix alpha=none: expected a number above 0"),
        ((), ("alpha=-1",), "--fix alpha=-1: expected a number above 0"),
        ((), ("alpha=1", "alpha=2"), "--fix: alpha is given twice, as '1' and '2'"),
        (("missing.json",), (), "--measured missing.json: cannot be read"),
        (("empty.json",), (), "--measured empty.json: holds neither recorded networks"),
        (("odd.json",), (), "--measured odd.json: not as `analysis activity` writes it"),
        (("a.json",), ("beta=1",), "beta is given 2 times, as "),
    ],
)
def test_what_is_no_measurement_is_refused(monkeypatch, tmp_path, files, values, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "odd.json").write_text('{"networks": [{"n_rec": 3}]}')
    (tmp_path / "a.json").write_text(to_json({"networks": networks([1.2], [20])}))
    with pytest.raises(AnalysisError) as error:
        measured_values(files, values)
    assert message in str(error.value)


def test_the_command_shows_the_table_and_the_report_proves_itself(monkeypatch, capsys, sweep_dir, tmp_path):
    (tmp_path / "activity.json").write_text(to_json({"networks": networks([1.75], [40])}))
    arguments = [
        "fit-theory",
        str(sweep_dir),
        "--quick",
        "--starts",
        "8",
        "--law",
        "effective_information:floor=additive",
    ]
    arguments += ["--measured", str(tmp_path / "activity.json"), "--fix", "alpha=0.95", "-o", str(tmp_path / "fit")]
    monkeypatch.setattr(sys, "argv", ["analysis", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    stored = json.loads((tmp_path / "fit.json").read_text())
    rows = {row["name"]: row for row in stored["groups"][0]["fixed"]["laws"]}
    assert "measured before fitted" in shown
    for row in rows.values():
        assert f"{row['held_out']:.4g}" in shown
    assert "Measured before fitted" in (tmp_path / "fit.html").read_text()
    assert verify(str(tmp_path / "fit.html")).holds
    stored["groups"][0]["fixed"]["laws"][1]["held_out"] *= 1.01
    (tmp_path / "fit.json").write_text(json.dumps(stored))
    (wrong,) = verify(str(tmp_path / "fit.json")).differences
    assert wrong.place == "report.groups[0].fixed.laws[1].held_out"
