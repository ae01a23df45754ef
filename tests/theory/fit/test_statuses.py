"""Findings about a fit fire where something is wrong, and not where the law is right."""

import numpy as np
import pytest

from theory.data.design import Design
from theory.fit.fit import fit_law

SIZES = np.repeat(2.0 ** np.arange(4, 12), 3)
DESIGN = Design(n_rec=SIZES, k_e=np.ones(SIZES.size))


def noisy(mean, seed, sd):
    return mean + sd * np.random.default_rng(seed).standard_normal(np.shape(mean))


def test_floor_of_a_right_law_is_not_called_implausible():
    """The lowest of many noisy runs lies below the floor itself, which is no sign against the law."""
    below = fired = 0
    for seed in range(40):
        metric = noisy(1 + 8 * SIZES**-1.0, seed, 0.05)
        fit = fit_law("power_law", DESIGN, metric)
        below += fit.coefficients["all"]["E"] > metric.min()
        fired += fit.has("floor_implausible")
    assert below == 40
    assert fired == 0


@pytest.mark.parametrize("direction", ["min", "max"])
@pytest.mark.parametrize("loss", ["least_squares", "huber"])
def test_floor_beyond_the_best_mean_is_called_implausible(direction, loss):
    """The curve flattens and then drops at its largest sizes: the floor of the flat part is no floor."""
    sign = 1 if direction == "min" else -1
    mean = 2 + 8 * SIZES**-1.5 - 0.2 * (SIZES > 1500)
    metric = noisy(mean, 0, 0.02)
    metric[0] += 0.01  # weights of huber's loss start from distinct residuals
    fit = fit_law("power_law", DESIGN, sign * metric, direction=direction, bounds={"exponent": (1.2, 6.0)}, loss=loss)
    assert fit.has("floor_implausible")
    sentence = next(status.sentence for status in fit.statuses if status.code == "floor_implausible")
    assert "the best mean measured" in sentence


def test_floor_below_zero_is_implausible_for_a_metric_that_cannot_be_negative():
    metric = noisy(3 - 0.05 * np.log(SIZES) ** 2, 1, 0.01)
    assert fit_law("power_law", DESIGN, metric).has("floor_implausible")
    assert not fit_law("power_law", DESIGN, metric - 3).has("floor_implausible")


def test_every_group_has_its_own_floor_to_judge():
    tasks = np.repeat(["x", "y"], SIZES.size)
    design = Design(n_rec=np.tile(SIZES, 2), k_e=np.ones(2 * SIZES.size), covariates={"task": tasks})
    right = 1 + 8 * SIZES**-1.5
    metric = noisy(np.concatenate([right, right + 1 - 0.3 * (SIZES > 1500)]), 0, 0.02)
    fit = fit_law("power_law", design, metric, groups="task", bounds={"exponent": (1.2, 6.0)})
    sentences = [status.sentence for status in fit.statuses if status.code == "floor_implausible"]
    assert len(sentences) == 1
    assert "task=y" in sentences[0]


def test_lack_of_fit_is_told_from_seed_noise():
    right = [fit_law("power_law", DESIGN, noisy(1 + 8 * SIZES**-0.5, seed, 0.05)) for seed in range(40)]
    assert sum(fit.has("lack_of_fit") for fit in right) <= 2
    wave = 0.15 * np.sin(1.7 * np.log(SIZES))
    wrong = [fit_law("power_law", DESIGN, noisy(1 + 8 * SIZES**-0.5 + wave, seed, 0.05)) for seed in range(10)]
    assert sum(fit.has("lack_of_fit") for fit in wrong) >= 9


def test_metric_of_few_digits_repeats_itself_without_copies():
    """Accuracies of 200 test items: several seeds agree by chance."""
    accuracy = np.round(200 * noisy(0.9 - 2 * SIZES**-1.0, 0, 0.01)) / 200
    fit = fit_law("power_law", DESIGN, accuracy, direction="max")
    assert np.unique(np.stack([SIZES, accuracy]), axis=1).shape[1] < SIZES.size
    assert not fit.has("duplicated_rows")


def test_a_single_copy_of_a_row_is_named():
    metric = noisy(1 + 8 * SIZES**-0.5, 0, 0.05)
    metric[4] = metric[3]
    assert fit_law("power_law", DESIGN, metric).has("duplicated_rows")
    rounded = np.round(metric, 2)
    rounded[::3] = rounded[1::3]
    rounded[2::3] = rounded[1::3]
    assert fit_law("power_law", DESIGN, rounded).has("duplicated_rows")


def test_small_smooth_miss_is_found():
    """An interaction of one seed standard deviation, which the sum of all 64 misses hardly shows."""
    n_rec, k_e = (axis.ravel() for axis in np.meshgrid(2.0 ** np.arange(4, 12), 2.0 ** np.arange(4, 12)))
    design = Design(n_rec=np.tile(n_rec, 2), k_e=np.tile(k_e, 2))
    x, y = np.log(n_rec / 181), np.log(k_e / 181)
    right = 1 + (n_rec / 181) ** -0.5 + (k_e / 181) ** -0.5
    wrong = right + 0.05 * x * y / (x * y).std()
    counts = []
    for mean in (right, wrong):
        fits = [fit_law("separable_power_law", design, noisy(np.tile(mean, 2), seed, 0.05)) for seed in range(12)]
        counts.append(sum(fit.has("lack_of_fit") for fit in fits))
        sentences = [one.sentence for fit in fits for one in fit.statuses if one.code == "lack_of_fit"]
    assert counts[0] <= 2
    assert counts[1] == 12
    assert all("in a smooth way" in sentence for sentence in sentences)


def test_a_parameter_that_rests_at_its_bound_by_chance_is_a_note_and_one_that_is_pushed_is_a_warning():
    design = Design(n_rec=np.repeat(2.0 ** np.arange(10), 3), k_e=np.ones(30))
    metric = 1 + design.params**-0.5 + 0.01 * np.random.default_rng(0).standard_normal(30)
    free = fit_law("power_law", design, metric).values["exponent"]
    near = fit_law("power_law", design, metric, bounds={"exponent": (free * 1.001, 3.0)})
    assert near.at_bound("exponent") == "lower"
    assert near.has("rests_at_bound")
    assert not near.has("at_bound")
    far = fit_law("power_law", design, metric, bounds={"exponent": (free * 1.5, 3.0)})
    assert far.has("at_bound")
    assert not far.has("rests_at_bound")
