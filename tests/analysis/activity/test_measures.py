"""Measures of activity against processes whose answer is known."""

import numpy as np
import pytest

from analysis.activity.measures import (
    correlation_time,
    covariance_spectrum,
    gaussianity,
    measure,
    population,
    power_spectra,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_exponent_of_a_known_spectrum_comes_back_whatever_basis_the_neurons_are(rng):
    neurons = 60
    scales = np.arange(1, neurons + 1) ** -0.6  # of amplitudes: eigenvalues fall with 1.2
    basis, _ = np.linalg.qr(rng.normal(size=(neurons, neurons)))
    activity = (rng.normal(size=(8, 5000, neurons)) * scales) @ basis.T
    spectrum = covariance_spectrum(activity)
    assert spectrum.exponent == pytest.approx(1.2, abs=0.02)
    assert spectrum.ranks == (2, 30)
    exact = np.arange(1, neurons + 1) ** -1.2
    assert spectrum.participation_ratio == pytest.approx(exact.sum() ** 2 / (exact**2).sum(), rel=0.03)
    assert spectrum.samples == pytest.approx(8 * 5000, rel=0.1)


def test_neurons_that_never_change_have_no_eigenvalue_and_few_leave_no_exponent(rng):
    activity = np.zeros((2, 500, 5))
    assert covariance_spectrum(activity).exponent is None
    assert len(covariance_spectrum(activity).eigenvalues) == 0
    activity[..., 1:4] = rng.normal(size=(2, 500, 3))
    silent = covariance_spectrum(activity)
    assert len(silent.eigenvalues) == 3
    assert silent.exponent is None


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_the_correlation_time_of_a_decaying_memory_is_known(rng, kept):
    activity = np.zeros((4, 20_000, 3))
    for step in range(1, activity.shape[1]):
        activity[:, step] = kept * activity[:, step - 1] + rng.normal(size=(4, 3))
    assert correlation_time(activity) == pytest.approx((1 + kept) / (1 - kept), rel=0.1)


def test_synchrony_is_one_where_all_do_the_same_and_falls_with_the_number_where_none_do(rng):
    one = np.abs(rng.normal(size=(3, 4000, 1)))
    assert population(np.repeat(one, 25, axis=2), 0.0).synchrony == pytest.approx(1.0)
    apart = np.abs(rng.normal(size=(3, 4000, 25)))
    assert population(apart, 0.0).synchrony == pytest.approx(1 / 5, rel=0.1)
    assert population(np.ones((3, 400, 25)), 0.0).synchrony is None


def test_a_clock_has_no_spread_of_intervals_and_chance_has_that_of_a_geometric_law(rng):
    clock = np.zeros((2, 300, 2))
    clock[:, ::6, 0] = 1.0
    assert population(clock, 0.5).interval_cv == pytest.approx([0.0])  # the neuron that is silent has none
    # A step of silence stands before each onset, so intervals are two geometric waits in a row.
    share = 0.1
    chance = (rng.random((2, 60_000, 4)) < share).astype(float)
    mean, variance = 1 / share + 1 / (1 - share), (1 - share) / share**2 + share / (1 - share) ** 2
    assert population(chance, 0.5).interval_cv == pytest.approx(np.full(4, variance**0.5 / mean), rel=0.05)
    assert population(chance, 0.5).rates == pytest.approx(np.full(4, share), rel=0.05)


def test_no_interval_spans_two_sequences():
    activity = np.zeros((2, 40, 1))
    activity[0, [5, 15, 25, 35], 0] = 1.0
    activity[1, [3, 13, 23, 33], 0] = 1.0
    assert population(activity, 0.0).interval_cv == pytest.approx([0.0])


def test_a_sine_has_its_power_at_its_frequency_and_loudness_does_not_count(rng):
    time = np.arange(2048)
    sine = np.sin(2 * np.pi * 0.125 * time)[None, :, None] * np.array([1.0, 1000.0])
    power = power_spectra(np.repeat(sine, 2, axis=0))
    assert power.frequency[np.argmax(power.median)] == pytest.approx(0.125)
    assert power.low == pytest.approx(power.high)
    flat = power_spectra(rng.normal(size=(16, 4096, 8)))
    assert flat.median.std() / flat.median.mean() < 0.15
    assert flat.median.sum() == pytest.approx(1.0, rel=0.05)


def test_a_skewed_law_is_told_from_a_gaussian_neuron_by_neuron(rng):
    potential = np.stack([rng.normal(size=(4, 30_000)), rng.exponential(size=(4, 30_000))], axis=2)
    potential = np.concatenate([potential, np.ones((4, 30_000, 1))], axis=2)  # a neuron that never changes
    shape = gaussianity(potential * np.array([0.01, 50.0, 1.0]))
    assert shape.skew == pytest.approx([0.0, 2.0], abs=0.1)
    assert shape.excess_kurtosis == pytest.approx([0.0, 6.0], abs=0.8)
    alone = gaussianity(potential[..., :1])
    assert alone.observed == pytest.approx(alone.theoretical, abs=0.05)


def test_a_silent_network_is_measured_without_a_warning():
    silent = measure(np.zeros((2, 200, 4), np.float32), np.zeros((2, 200, 4), np.float32), np.ones((4, 3), np.float32))
    assert silent.population.rates.tolist() == [0.0] * 4
    assert silent.spectrum.exponent is None
    assert len(silent.gaussianity.skew) == 0
    assert silent.raster.shape == (4, 200)
