"""Ranking, ties, and comparisons that make no sense."""

import numpy as np
import pytest

from tests.theory.truths import SIGMA, grid_design, log_sizes
from theory.data.published import load_published
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.uncertainty.selection import compare

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
