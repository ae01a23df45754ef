"""The adapter hands the right rows to the theory, and poor data give reasons instead of numbers."""

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.laws import theory_fit
from analysis.laws.law_choice import LawChoice, candidates
from analysis.laws.overlay import overlay
from analysis.laws.theory_fit import FitSettings, design_of, fit_dataset, line_cost
from analysis.rows.load import datasets, read_sweep
from analysis.rows.means import configurations
from analysis.rows.sweep import Measure, Selection
from benchmarks.synthetic import Design, Truth, write_sweep
from sweeper.store.store import ResultsStore
from theory.errors import TheoryError
from theory.optimum.allocation import budget_line


def only(uri, **measure):
    (data,) = datasets(read_sweep(uri), Selection(measure=Measure(**measure)))
    return data


def test_the_law_behind_made_up_rows_is_found_again(tmp_path):
    truth = Truth()
    write_sweep(tmp_path, Design(budgets=(30_000, 100_000, 300_000, 1_000_000), seeds=3), truth=truth)
    found = fit_dataset(only(tmp_path), FitSettings(law="effective_information:floor=additive"))
    assert found.fit.values["alpha"] == pytest.approx(truth.alpha, rel=0.1)
    assert found.fit.values["beta"] == pytest.approx(truth.beta, rel=0.05)
    for allocation in found.allocations:
        cost = found.costs[allocation.k_c]
        sizes = np.arange(2, 60)
        line = budget_line(allocation.budget, cost, sizes, whole=True)
        metrics = [truth.metric(int(n), k) for n, k in zip(line.n_rec, line.k_e, strict=True) if n >= 1]
        assert allocation.d_m == pytest.approx(sizes[int(np.argmin(metrics))], rel=0.15)


def test_the_best_variant_has_the_smallest_aicc_or_ties_with_fewer_parameters(data):
    found = fit_dataset(data, FitSettings())
    variants = {n: f for n, f in found.fits.items() if n.startswith("effective_information")}
    assert len(variants) == 9
    lowest = min(fit.aicc for fit in variants.values())
    tied = [fit for fit in variants.values() if fit.aicc <= lowest + 2]
    assert found.fit in tied
    assert found.fit.p == min(fit.p for fit in tied)
    assert {rank.name for rank in found.comparison.rows} == set(found.fits)


def test_a_robust_loss_comes_after_the_choice_by_aicc(data, monkeypatch):
    """A robust fit has no AICc: a choice among robust fits would take whichever law stands first."""
    texts = ("constant", "separable_power_law")
    monkeypatch.setattr(theory_fit, "candidates", lambda *_: {text: LawChoice.read(text).law() for text in texts})
    fitted = fit_dataset(data, FitSettings(loss="tukey"))
    assert (fitted.fit.law.name, fitted.fit.inputs.loss) == ("separable_power_law", "tukey")
    assert "constant" in {rank.name for rank in fitted.comparison.rows}


def test_a_budget_without_an_optimum_is_named_with_the_reason(data, monkeypatch):
    def refuses(*_, **__):
        raise TheoryError("no room")

    monkeypatch.setattr(theory_fit, "optimum", refuses)
    found = fit_dataset(data, FitSettings(law="separable_power_law"))
    named = {refused.law for refused in found.refused if refused.reason == "no room"}
    assert named == {f"optimum at P = {budget:g}" for budget in data.rows["budget"].unique()}


@pytest.mark.parametrize("option", ["boxcox", "alpha_of_n"])
def test_link_and_alpha_are_free_only_from_three_budgets_on(data, option):
    rows = data.rows
    assert sum(option in name for name in candidates("best", rows)) == 3
    two = rows[rows["budget"] < 200_000]
    assert not any(option in name for name in candidates("best", two))
    assert not any("connectivity" in name for name in candidates("best", rows))


def test_enwik8_with_the_additive_floor_reaches_the_published_quality():
    wanted = {"test": 0.985, "valid": 0.995, "train": 0.998}
    for split, r in wanted.items():
        found = fit_dataset(
            only("published:enwik8", split=split), FitSettings(law="effective_information:floor=additive")
        )
        assert found.fit.pearson_r >= r
        assert 16 <= found.allocations[0].d_m <= 26
        assert found.fit.has("one_budget")
        assert "quadratic" in found.fits


def test_accuracies_are_fitted_on_the_logit_and_predicted_as_accuracies(tmp_path):
    found = fit_dataset(only("published:shd_adding"), FitSettings(law="quadratic"))
    assert found.scale.name == "logit"
    predicted = found.predict(found.fit.inputs.design)
    assert ((predicted > 1 / 19) & (predicted < 1)).all()
    values = found.data.rows["value"].to_numpy()
    assert np.corrcoef(predicted, values)[0, 1] > 0.7
    best = found.allocations[0]
    assert 5 <= best.d_m <= 19


def test_rows_at_chance_leave_the_logit_through_the_ledger(tmp_path, trial):
    store = ResultsStore.create(tmp_path)
    accuracy = {"metric": "accuracy", "direction": "max", "chance": 0.1}
    rows = [trial(f"t{d}", d_m=d, n_rec=600 // d, final_test_metric=0.5 + d / 100, **accuracy) for d in range(2, 12)]
    store.write("trials", [*rows, trial("collapsed", d_m=20, n_rec=9, final_test_metric=0.1, **accuracy)])
    found = fit_dataset(only(tmp_path), FitSettings(law="quadratic"))
    (entry,) = found.excluded
    assert entry.trial_ids == ("collapsed",)
    assert "chance" in entry.why
    assert found.fit.n == 10


def test_the_cost_reproduces_the_rows_or_interpolates_them(data, trial):
    cost = line_cost(data.rows)
    assert np.array_equal(cost.complexity(data.rows["d_m"].to_numpy(float)), data.rows["k_e"])
    other = data.rows.assign(k_e=data.rows["k_e"] * 1.5)
    interpolated = line_cost(other)
    assert interpolated.complexity(other["d_m"].to_numpy(float)) == pytest.approx(other["k_e"].to_numpy())
    assert line_cost(data.rows.assign(d_m=np.nan)) is None
    branchless = line_cost(data.rows.assign(d_branch=np.nan))
    assert branchless is not None
    assert np.allclose(branchless.complexity(data.rows["d_m"]), data.rows["k_e"])


def test_poor_data_give_reasons(tmp_path, trial):
    ResultsStore.create(tmp_path).write("trials", [trial("a"), trial("b", seed=1)])
    found = fit_dataset(only(tmp_path), FitSettings())
    assert found.fit is None
    assert found.allocations == ()
    reasons = {refused.law: refused.reason for refused in found.refused}
    assert "2 rows cannot support" in reasons["separable_power_law"]
    assert overlay(found, configurations(found.data)) is None
    with pytest.raises(AnalysisError, match="no law was fitted"):
        found.predict(design_of(found.data.rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "--law nonsense.*Valid:.*effective_information"),
        ("effective_information:floor=deep", "floor.*'deep'.*max"),
        ("effective_information:floor", "not of the form option=value"),
        ("effective_information:floor=max,floor=none", "floor is given twice"),
        ("effective_information:ceiling=3", "unknown option"),
        ("effective_information:connectivity=3", "connectivity must be true or false, got '3'"),
        ("separable_power_law:n_ref=1.0", "n_ref follows from the rows"),
    ],
)
def test_unknown_laws_and_options_name_the_choices(text, message):
    with pytest.raises(AnalysisError, match=message):
        LawChoice.read(text).law()


def test_unknown_loss():
    with pytest.raises(AnalysisError, match="--loss: 'cauchy' is not known.*tukey"):
        FitSettings(loss="cauchy")


def test_the_overlay_follows_the_budgets(law, view):
    drawn = view.overlay
    assert {(line.budget, line.k_c) for line in drawn.lines} == {(b, 100.0) for b in (3e4, 1e5, 3e5)}
    for line in drawn.lines:
        readout = law.costs[line.k_c].readout_params
        assert line.n_rec * (line.k_e + line.k_c) + readout == pytest.approx(line.budget)
    best = {o.budget: o for o in drawn.optima}
    for line in drawn.lines:
        assert best[line.budget].metric >= line.metric.min() - 1e-9
        assert best[line.budget].metric == pytest.approx(line.metric.min(), abs=2e-3)
    assert drawn.predicted == pytest.approx(view.table["mean"].to_numpy(), abs=0.02)


@pytest.mark.parametrize("text", ["effective_information:connectivity=True", "effective_information"])
def test_an_option_is_left_out_wherever_it_stands(text):
    assert LawChoice.read(text).without("connectivity").text == "effective_information"
    whole = "effective_information:floor=max,connectivity=true"
    assert LawChoice.read(whole).text == whole


def test_a_threshold_of_huber_reaches_the_fit_and_its_variants(data):
    law = "separable_power_law"
    fits = [fit_dataset(data, FitSettings(law=law, loss="huber", huber_threshold=bend, starts=8)) for bend in (1e-4, 9)]
    assert [found.fit.inputs.huber_threshold for found in fits] == [1e-4, 9]
    assert fits[0].fit.robust_weights.mean() < 0.5
    assert (fits[1].fit.robust_weights == 1).all()
    assert all(fit.inputs.huber_threshold is None for fit in fits[0].fits.values() if fit is not fits[0].fit)
    for settings in ({"huber_threshold": 0.1}, {"loss": "huber", "huber_threshold": -1.0}):
        with pytest.raises(AnalysisError, match="--huber-threshold .*: needs --loss huber .* and a value above 0"):
            FitSettings(**settings)
