"""The noise of a run is the pooled one where variances are alike, and its own where they are not."""

import numpy as np
import pytest

from theory.data.moderated import LEAST, difference_limits, run_noise
from theory.data.replicates import pure_error

BUDGETS, POINTS = 3, 5


def sweep(rng, sds, seeds):
    """Runs of equal mean: metric, configurations, budgets, [rows]."""
    codes = np.repeat(np.arange(sds.size), seeds)
    return rng.standard_normal(codes.size) * sds.ravel()[codes], codes, codes // POINTS


def excluded(sds, seeds, sweeps=400):
    """Share of equally good configurations that a 95 % test tells from the middle one, by budget."""
    rng, told = np.random.default_rng(0), []
    for _ in range(sweeps):
        metric, codes, budgets = sweep(rng, sds, seeds)
        means, noise = metric.reshape(-1, seeds).mean(1), run_noise(metric, codes, budgets)
        for budget in range(BUDGETS):
            rows = np.arange(POINTS) + budget * POINTS
            limits = difference_limits(noise.take(rows), np.full(POINTS, float(seeds)), 2, 0.95)
            told.append((np.abs(means[rows] - means[rows[2]]) > limits)[[0, 1, 3, 4]])
    return np.reshape(told, (sweeps, BUDGETS, 4)).mean(axis=(0, 2))


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("scale", [(1, 1, 1), (4, 2, 1)], ids=["alike", "by budget"])
def test_one_in_twenty_equal_configurations_is_told_apart_at_every_budget(scale, seeds):
    """With one variance for all budgets it is 1 in 5 at the noisy one and none at the quiet one."""
    sds = np.repeat(np.array(scale, dtype=float)[:, None], POINTS, axis=1)
    assert excluded(sds, seeds) == pytest.approx(0.05, abs=0.025)


def test_a_noisy_configuration_leaves_the_others_of_its_budget_nearly_alone():
    rng, sds = np.random.default_rng(1), np.ones((BUDGETS, POINTS))
    sds[0, -1] = 8.0
    ratios = []
    for _ in range(200):
        metric, codes, budgets = sweep(rng, sds, 3)
        noise, of_budget = run_noise(metric, codes, budgets), budgets == 0
        ratios.append([noise.sd[0], noise.sd[POINTS - 1], pure_error(metric[of_budget], codes[of_budget]).sd])
    quiet, noisy, pooled = np.median(ratios, axis=0)
    assert quiet < 2 < pooled < noisy


def test_variances_that_are_alike_are_pooled_within_their_budget():
    metric = np.array([0.0, 2.0, 10.0, 12.0, 0.0, 0.2, 5.0, 5.2])
    codes, budgets = np.repeat(np.arange(4), 2), np.repeat([1, 2], 4)
    noise = run_noise(metric, codes, budgets)
    assert noise.variance == pytest.approx([2, 2, 0.02, 0.02])
    assert noise.freedom.tolist() == [2] * 4


def test_runs_that_are_all_equal_have_no_noise_and_one_pair_of_them_no_infinite_weight():
    codes = np.repeat(np.arange(3), 3)
    assert run_noise(np.ones(9), codes, np.zeros(9)).variance.tolist() == [0] * 3
    noise = run_noise(np.array([1, 1, 1, 0, 1, 2, 0, 1, 2.0]), codes, np.zeros(9))
    assert np.isfinite(noise.variance).all()
    assert noise.variance[0] > LEAST


def test_without_replicates_there_is_no_noise():
    assert run_noise(np.array([1.0, 2.0]), np.array([0, 1]), np.zeros(2)) is None
