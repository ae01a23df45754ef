"""Pareto set, membership probability, and the power law through it."""

import numpy as np
import pytest

from theory.data.published import load_published
from theory.errors import TheoryError
from theory.optimum.frontier import pareto, power_law
from theory.uncertainty.intervals import delta


def test_members_by_brute_force():
    rng = np.random.default_rng(0)
    params, metric = np.exp(rng.uniform(5, 12, 60)), rng.normal(size=60)
    found = pareto(params, metric, tolerance=0)
    for place in range(60):
        cheaper = params <= found.trainable_params[place]
        assert found.member[place] == (metric[cheaper].min() == found.metric[place])


def test_near_equal_counts_are_one_budget():
    table = load_published("enwik8")
    found = pareto(table.columns["trainable_params"], table.columns["test_bpc"])
    assert found.member.sum() == 1
    assert table.columns["d_m"][found.row[found.member][0]] == 30
    assert found.probability is None
    assert "Add seeds" in found.sentence


def test_probability_of_two_equal_configurations_is_a_half():
    found = pareto([100.0] * 4, [1.0, 1.2, 1.0, 1.2], configurations=["a", "a", "b", "b"], draws=20_000)
    np.testing.assert_allclose(found.probability, 0.5, atol=0.02)
    assert found.noise_sd == pytest.approx(np.sqrt(0.02))
    assert found.seeds.tolist() == [2, 2]


def test_seeds_sharpen_membership():
    few = pareto([100.0, 100.0], [1.0, 1.01], noise_sd=0.01)
    many = pareto([100.0] * 16, [1.0, 1.01] * 8, configurations=[0, 1] * 8, noise_sd=0.01)
    assert many.probability.max() > 0.95 > few.probability.max() > 0.6


def test_accuracy_frontier_rises():
    found = pareto([1e3, 1e4, 1e5], [0.5, 0.4, 0.9], direction="max", noise_sd=1e-6)
    assert found.member.tolist() == [True, False, True]


def test_power_law_recovers_with_interval():
    params = np.geomspace(1e4, 1e7, 7)
    metric = 1.2 + 0.8 * (params / 1e5) ** -0.3 + 1e-4 * np.random.default_rng(0).standard_normal(7)
    fit = power_law(params, metric)
    interval = delta(fit)[0]
    assert interval.low < 0.3 < interval.high
    assert fit.coefficients["all"]["E"] == pytest.approx(1.2, abs=0.01)


def test_too_few_budgets_are_refused():
    with pytest.raises(TheoryError, match="at least 4 budgets, got 2"):
        power_law([1e4, 1e5, 1e5], [2.0, 1.5, 1.5])


def test_bad_numbers_are_refused():
    with pytest.raises(TheoryError, match="metric: 1 of 2 values are not finite"):
        pareto([1e3, 1e4], [1.0, np.nan])
    with pytest.raises(TheoryError, match="trainable_params"):
        pareto([0.0, 1e4], [1.0, 2.0])
