"""The alternating sums against elementary cases, scipy's 2F1, and identities."""

import numpy as np
import pytest
from scipy.special import hyp2f1

from theory.laws.channel import alternating_weights, channel_information

LN_U = np.linspace(-25, 25, 101)


def elementary(ln_u, beta):
    u = np.exp(ln_u)
    if beta == 1:
        return u * np.log1p(1 / u)
    return np.sqrt(u) * np.arctan(1 / np.sqrt(u))


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_elementary_cases(beta):
    np.testing.assert_allclose(channel_information(LN_U, beta).f, elementary(LN_U, beta), rtol=1e-12)


def test_elementary_case_beta_one_half():
    ln_u = np.linspace(-25, 9, 60)  # beyond, 1 - u ln(1 + 1/u) itself cancels
    u = np.exp(ln_u)
    expected = np.where(ln_u < 5, 2 * u * (1 - u * np.log1p(1 / u)), 1 - 2 / (3 * u) + 2 / (4 * u**2) - 2 / (5 * u**3))
    np.testing.assert_allclose(channel_information(ln_u, 0.5).f, expected, rtol=1e-9)


@pytest.mark.parametrize("beta", [0.2, 0.34, 0.7, 0.9, 1.3, 1.75, 3.0, 4.0])
def test_agrees_with_hypergeometric_function(beta):
    expected = hyp2f1(1, 1 / beta, 1 + 1 / beta, -np.exp(-LN_U))
    np.testing.assert_allclose(channel_information(LN_U, beta).f, expected, rtol=1e-8)


@pytest.mark.parametrize("beta", [1.0, 0.5, 1 / 3, 0.25])
def test_smooth_through_beta_of_one_over_n(beta):
    near = [channel_information(LN_U, beta * (1 + shift)) for shift in (-1e-9, 0.0, 1e-9)]
    for one, two in zip(near[0], near[1], strict=True):
        np.testing.assert_allclose(one, two, rtol=5e-7)
    np.testing.assert_allclose(near[0].h + near[2].h, 2 * near[1].h, rtol=1e-12)


def test_derivatives_against_central_differences():
    rng = np.random.default_rng(0)
    x, beta, step = rng.uniform(-12, 12, 200), rng.uniform(0.2, 4, 200), 1e-5
    at = channel_information(x, beta)
    by_x = (channel_information(x + step, beta).h - channel_information(x - step, beta).h) / (2 * step)
    by_beta = (channel_information(x, beta + step).h - channel_information(x, beta - step).h) / (2 * step)
    u = np.exp(x)
    np.testing.assert_allclose(at.f, by_x, rtol=1e-7)
    np.testing.assert_allclose(at.h_beta, by_beta, rtol=1e-7)
    np.testing.assert_allclose(at.h, np.log1p(u) + beta * at.f, rtol=1e-13)


def test_limit_of_large_snr():
    assert abs(float(channel_information(40.0, 1.3).h) - 41.3) < 1e-13


def test_no_overflow_at_extremes():
    for part in channel_information(np.array([-600.0, 600.0]), np.array([0.2, 4.0])):
        assert np.isfinite(part).all()


def test_scalar_and_broadcast_shapes():
    assert channel_information(0.0, 1.0).h.shape == ()
    assert channel_information(np.zeros((3, 1)), np.ones(4)).h.shape == (3, 4)


def test_a_shared_beta_gives_what_one_per_point_gives():
    """Shared along the rows, the same in a few columns, and different everywhere are summed in different ways."""
    rng = np.random.default_rng(1)
    x, beta = rng.normal(-1, 3, (40, 90)), 1 / rng.uniform(0.4, 4.5, (40, 1))
    beta[:3] = [[1.0], [0.5], [1 / 3]]
    levels = beta * np.array([1.0, 1.02])[np.arange(90) % 2]
    single = [channel_information(x[:, i], levels[:, i]) for i in range(90)]
    for name in ("h", "f", "h_beta"):
        wanted = np.stack([getattr(one, name) for one in single], axis=1)
        np.testing.assert_allclose(getattr(channel_information(x, levels), name), wanted, rtol=1e-12)
        shared = getattr(channel_information(x, beta), name)
        np.testing.assert_allclose(shared[:, ::2], wanted[:, ::2], rtol=1e-12)
        np.testing.assert_allclose(getattr(channel_information(x[:1], levels[:1]), name), wanted[:1], rtol=1e-12)


def test_weights_sum_a_slow_series():
    n = np.arange(1, 21)
    assert abs(alternating_weights(20) @ (1 / (2 * n - 1)) - np.pi / 4) < 1e-15
