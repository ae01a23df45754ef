"""The integral against reference values, sums over whole channels, limits and differences."""

import numpy as np
import pytest

from theory.laws.channel import channel_information
from theory.laws.information import BITS, information

REFERENCE = [  # beta, S, N, F, I: 30-digit arithmetic
    (1.0, 1.0, 1, 0.69314718055995, 1.0),
    (1.0, 1000.0, 100, 0.95310179804325, 241.72334280683),
    (0.5, 10.0, 1000, 0.3472430442526, 323.44603506316),
    (0.9, 1000.0, 562, 0.86895718952374, 913.18933786299),
    (1.75, 646.0, 1024, 0.067916332746206, 90.362153412681),
    (2.0, 1e4, 1e4, 0.015607966601082, 225.89667159289),
    (0.2, 1e-3, 10, 7.8803379583216e-4, 5.6868523443638e-3),
    (4.0, 1e9, 1e6, 1.9751718125317e-4, 569.91411576936),
]


@pytest.mark.parametrize(("beta", "snr", "n", "f", "bits"), REFERENCE)
def test_reference_values(beta, snr, n, f, bits):
    ln_u = np.log(snr) - beta * np.log(n)
    assert float(channel_information(ln_u, beta).f) == pytest.approx(f, rel=1e-12)
    assert float(information(n, np.log(snr), beta).bits) == pytest.approx(bits, rel=1e-12)


def test_integral_exceeds_the_sum_over_whole_channels_within_its_bound():
    """The paper counts whole channels; the law integrates over them, which adds at most what one channel holds."""
    for n in (1, 16, 1000):
        channel = np.arange(1, n + 1, dtype=float)
        for beta in (0.2, 0.8, 1.0, 2.0, 4.0):
            for ln_snr in np.log([1e-3, 1, 1e4, 1e9]):
                total = BITS * np.logaddexp(0, ln_snr - beta * np.log(channel)).sum()
                gap = float(information(n, ln_snr, beta).bits) - total
                bound = BITS * float(channel_information(ln_snr, beta).h - np.logaddexp(0, ln_snr - beta * np.log(n)))
                assert -1e-12 <= gap <= bound * (1 + 1e-9) + 1e-12


def test_scaling_identity():
    beta, ln_snr = np.linspace(0.2, 4, 20), np.linspace(-5, 15, 20)
    doubled = information(600, ln_snr + beta * np.log(2), beta).bits
    np.testing.assert_allclose(doubled, 2 * information(300, ln_snr, beta).bits, rtol=1e-13)


def test_limits():
    s = 3.0
    assert float(information(50, np.log(s), 1e-9).bits) == pytest.approx(25 * np.log2(1 + s), rel=1e-7)
    n, tiny = 200, 1e-9
    small = float(information(n, np.log(tiny), 0.7).bits)
    assert small == pytest.approx(tiny / (2 * np.log(2)) * n**0.3 / 0.3, rel=1e-8)
    assert float(information(1e9, np.log(1e4), 1.5).bits) == pytest.approx(1214.592, rel=5e-4)


def test_monotone_in_neurons_and_snr():
    n = np.arange(1, 400)
    assert (np.diff(information(n, 2.0, 1.2).bits) > 0).all()
    assert (np.diff(information(100, np.linspace(-5, 10, 50), 1.2).bits) > 0).all()


def test_gradient_against_central_differences():
    rng = np.random.default_rng(1)
    n, x, beta = np.exp(rng.uniform(3, 11, 60)), rng.uniform(-3, 12, 60), rng.uniform(0.25, 3, 60)
    step = 1e-5
    at = information(n, x, beta)

    def slope(up, down):
        return (information(*up).bits - information(*down).bits) / (2 * step)

    by_n = slope((n * np.exp(step), x, beta), (n * np.exp(-step), x, beta))
    np.testing.assert_allclose(at.d_ln_n, by_n, rtol=1e-5, atol=1e-7 * at.bits.max())
    np.testing.assert_allclose(at.d_ln_snr, slope((n, x + step, beta), (n, x - step, beta)), rtol=1e-7)
    np.testing.assert_allclose(at.d_beta, slope((n, x, beta + step), (n, x, beta - step)), rtol=1e-7)
    np.testing.assert_allclose(at.d_ln_n, n / 2 * np.logaddexp(0, x - beta * np.log(n)) / np.log(2), rtol=1e-9)
