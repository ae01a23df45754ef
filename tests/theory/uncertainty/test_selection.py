"""Ranking, ties, and comparisons that make no sense."""

import numpy as np
import pytest

from tests.theory.truths import SIGMA, grid_design, log_sizes
from theory.data.published import load_published
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.uncertainty.selection import MARGIN, compare, decide

DESIGN = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9), seeds=3)


def test_true_law_wins(t2):
    metric = t2.simulate(DESIGN, 0)
    floors = {floor: get_law("effective_information", floor=floor) for floor in ("none", "max", "additive")}
    laws = {**floors, "separable": "separable_power_law", "quadratic": "quadratic", "constant": "constant"}
    found = compare({name: fit_law(law, DESIGN, metric) for name, law in laws.items()})
    assert found.best == "additive"
    assert found.verdict.startswith("additive is preferred")
    assert [row.delta for row in found.rows] == sorted(row.delta for row in found.rows)


def test_one_budget_prefers_the_quadratic():
    table = load_published("enwik8")
    fits = {
        name: fit_law(get_law(name), table.design, table.columns["test_bpc"])
        for name in ("quadratic", "effective_information", "separable_power_law")
    }
    found = compare(fits)
    assert found.best == "quadratic"
    assert all(row.pearson_r > 0.98 for row in found.rows)


def test_ties_are_called_ties(t1):
    metric = t1.simulate(DESIGN, 0)
    fit = fit_law("effective_information", DESIGN, metric)
    found = compare({"one": fit, "two": fit})
    assert found.verdict.startswith("Tie: one, two")


def test_noise_beats_no_constant():
    metric = 1.7 + SIGMA * np.random.default_rng(0).standard_normal(len(DESIGN))
    fits = {
        name: fit_law(name, DESIGN, metric) for name in ("constant", "separable_power_law", "effective_information")
    }
    assert compare(fits).verdict.startswith("No law beats the constant")


def test_other_rows_and_robust_losses_are_refused(t1):
    metric = t1.simulate(DESIGN, 0)
    fit = fit_law("power_law", DESIGN, metric)
    with pytest.raises(TheoryError, match="other rows"):
        compare({"a": fit, "b": fit_law("power_law", DESIGN, metric + 1)})
    with pytest.raises(TheoryError, match="has no AICc"):
        compare({"a": fit, "b": fit_law("power_law", DESIGN, metric, loss="tukey")})
    with pytest.raises(TheoryError, match="empty"):
        compare({})


def forms(truth, seed, floors=("none", "max", "additive")):
    metric = truth.simulate(DESIGN, seed)
    return {
        link: {
            floor: fit_law(get_law("effective_information", floor=floor, link=link), DESIGN, metric, starts=12)
            for floor in floors
        }
        for link in ("affine", "boxcox")
    }


def test_decision_asks_for_the_same_winner_under_links_on_runs_and_on_means(t2):
    decision = decide(forms(t2, 0))
    assert decision.winner == "additive"
    assert set(decision.leads) == {
        f"{link} link, {unit}" for link in ("affine", "boxcox") for unit in ("runs", "means")
    }
    assert min(lead for _, lead in decision.leads.values()) > MARGIN
    fits = forms(t2, 0)
    fits["boxcox"] = dict.fromkeys(fits["boxcox"], fits["boxcox"]["none"])  # one link that sees no difference
    assert decide(fits).winner is None


def test_penalty_of_a_nested_parameter_is_no_verdict():
    """Where the truth has no floor, the law without one leads by the penalty of the floor's parameter and no more."""
    law = get_law("effective_information", floor="none", k_ref=2461.0, n_ref=562.0, k_range=(200.0, 1e5))
    theta = {"u_ref": 1.0, "alpha": 0.6, "beta": 1.2}
    mean = law.predict(theta, (2.0, 1e-3), DESIGN)
    metric = mean + SIGMA * np.random.default_rng(0).standard_normal(len(DESIGN))
    names = ("none", "additive")
    fits = {name: fit_law(get_law("effective_information", floor=name), DESIGN, metric) for name in names}
    assert 1 < fits["additive"].aicc - fits["none"].aicc < 3
    decision = decide({"affine": fits})
    assert decision.winner is None
    assert all(abs(lead) < 1 for _, lead in decision.leads.values())
    assert "ahead" in compare(fits).verdict or "Tie" in compare(fits).verdict


def test_short_lead_is_no_preference(t2):
    """The Box-Cox link contains the affine one, which leads by a penalty: too little to rule the other out."""
    metric = t2.simulate(DESIGN, 0)
    fits = {
        link: fit_law(get_law("effective_information", floor="additive", link=link), DESIGN, metric)
        for link in ("affine", "boxcox")
    }
    found = compare(fits)
    if found.rows[1].delta > 2:
        assert "is not ruled out" in found.verdict
    else:
        assert found.verdict.startswith("Tie")


def test_decision_needs_two_kinds(t2):
    with pytest.raises(TheoryError, match="one kind of law only"):
        decide(forms(t2, 0, floors=("none", "max")), {"none": "same", "max": "same"})
