"""Integral and sum against reference values, brute force, limits and differences."""

import numpy as np
import pytest

from theory.errors import TheoryError
from theory.laws.channel import channel_information
from theory.laws.information import BITS, Theta, gradient, i_rep, information, information_limit

REFERENCE = [  # beta, S, N, F, I_int, I_sum: 30-digit arithmetic
    (1.0, 1.0, 1, 0.69314718055995, 1.0, 0.5),
    (1.0, 1000.0, 100, 0.95310179804325, 241.72334280683, 239.43327402227),
    (0.5, 10.0, 1000, 0.3472430442526, 323.44603506316, 322.36850971607),
    (0.9, 1000.0, 562, 0.86895718952374, 913.18933786299, 910.63153500569),
    (1.75, 646.0, 1024, 0.067916332746206, 90.362153412681, 86.869519627274),
    (2.0, 1e4, 1e4, 0.015607966601082, 225.89667159289, 221.24903149764),
    (0.2, 1e-3, 10, 7.8803379583216e-4, 5.6868523443638e-3, 5.3845893677074e-3),
    (4.0, 1e9, 1e6, 1.9751718125317e-4, 569.91411576936, None),
]


@pytest.mark.parametrize(("beta", "snr", "n", "f", "integral", "total"), REFERENCE)
def test_reference_values(beta, snr, n, f, integral, total):
    ln_u = np.log(snr) - beta * np.log(n)
    assert float(channel_information(ln_u, beta).f) == pytest.approx(f, rel=1e-12)
    assert float(information(n, np.log(snr), beta).bits) == pytest.approx(integral, rel=1e-12)
    if total is not None:
        assert float(information(n, np.log(snr), beta, method="sum").bits) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 64, 1000, 30_000, 10**6])
def test_sum_against_brute_force(n):
    channel = np.arange(1, n + 1, dtype=float)
    for beta in (0.2, 0.5, 1.0, 2.0, 4.0):
        for snr in (1e-3, 1.0, 1e4, 1e9):
            exact = 0.5 * np.log1p(snr * channel**-beta).sum() / np.log(2)
            assert float(information(n, np.log(snr), beta, method="sum").bits) == pytest.approx(exact, rel=1e-8)


def test_integral_exceeds_sum_within_its_bound():
    n, ln_snr, beta = np.meshgrid([1, 16, 100, 1e6], np.log([1e-3, 1, 1e4, 1e9]), [0.2, 0.8, 1.0, 2.0, 4.0])
    gap = information(n, ln_snr, beta).bits - information(n, ln_snr, beta, method="sum").bits
    bound = BITS * (channel_information(ln_snr, beta).h - np.logaddexp(0, ln_snr - beta * np.log(n)))
    assert (gap >= -1e-12).all()
    assert (gap <= bound * (1 + 1e-9) + 1e-12).all()


def test_scaling_identity():
    beta, ln_snr = np.linspace(0.2, 4, 20), np.linspace(-5, 15, 20)
    doubled = information(600, ln_snr + beta * np.log(2), beta).bits
    np.testing.assert_allclose(doubled, 2 * information(300, ln_snr, beta).bits, rtol=1e-13)


def test_limits():
    s = 3.0
    assert float(information(50, np.log(s), 1e-9).bits) == pytest.approx(25 * np.log2(1 + s), rel=1e-7)
    n, tiny = 200, 1e-9
    harmonic = (np.arange(1, n + 1) ** -0.7).sum()
    small = float(information(n, np.log(tiny), 0.7, method="sum").bits)
    assert small == pytest.approx(tiny / (2 * np.log(2)) * harmonic, rel=1e-8)
    assert float(information(1e9, np.log(1e4), 1.5).bits) == pytest.approx(1214.592, rel=5e-4)
    assert float(information_limit(np.log(1e4), 1.5)) == pytest.approx(1214.592, rel=1e-6)
    assert np.isinf(information_limit(0.0, 1.0))


@pytest.mark.parametrize("method", ["integral", "sum"])
def test_monotone_in_neurons_and_snr(method):
    n = np.arange(1, 400)
    assert (np.diff(information(n, 2.0, 1.2, method=method).bits) > 0).all()
    assert (np.diff(information(100, np.linspace(-5, 10, 50), 1.2, method=method).bits) > 0).all()


@pytest.mark.parametrize("method", ["integral", "sum"])
def test_gradient_against_central_differences(method):
    rng = np.random.default_rng(1)
    n, x, beta = np.exp(rng.uniform(3, 11, 60)), rng.uniform(-3, 12, 60), rng.uniform(0.25, 3, 60)
    step = 1e-5
    at = information(n, x, beta, method=method)

    def slope(up, down):
        return (information(*up, method=method).bits - information(*down, method=method).bits) / (2 * step)

    by_n = slope((n * np.exp(step), x, beta), (n * np.exp(-step), x, beta))
    np.testing.assert_allclose(at.d_ln_n, by_n, rtol=1e-5, atol=1e-7 * at.bits.max())
    np.testing.assert_allclose(at.d_ln_snr, slope((n, x + step, beta), (n, x - step, beta)), rtol=1e-7)
    np.testing.assert_allclose(at.d_beta, slope((n, x, beta + step), (n, x, beta - step)), rtol=1e-7)
    if method == "integral":
        np.testing.assert_allclose(at.d_ln_n, n / 2 * np.logaddexp(0, x - beta * np.log(n)) / np.log(2), rtol=1e-9)


def test_unknown_method_lists_choices():
    with pytest.raises(TheoryError, match="integral, sum"):
        information(10, 0.0, 1.0, method="exact")


def test_i_rep_follows_the_written_formula():
    """1/2 sum log2(1 + snr i^-beta), snr = S / max((k_e/k_ref)^-alpha, phi), written out."""
    theta = Theta(alpha=0.9, beta=1.1, snr_ref=50.0, k_ref=1000.0, phi=0.3, floor="max", gamma=0.2, k_c_ref=750.0)
    for k_e, k_c in ((200.0, 300.0), (900.0, 750.0), (5e4, 1500.0)):
        snr = 50.0 / max((k_e / 1000) ** -0.9, 0.3)
        i = np.arange(1, 41)
        expected = 0.5 * np.log2(1 + snr * i ** (-1.1 * (k_c / 750) ** -0.2)).sum()
        assert float(i_rep(40, k_e, theta, k_c=k_c, method="sum")) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("floor", ["max", "additive"])
def test_i_rep_gradient_in_every_argument(floor):
    base = {"alpha": 0.9, "beta": 1.1, "snr_ref": 50.0, "phi": 0.3, "gamma": 0.2}
    n_rec, k_e, k_c, step = 300.0, np.array([200.0, 4e4]), np.array([300.0, 1500.0]), 1e-6

    def at(n_rec=n_rec, k_e=k_e, **changed):
        theta = Theta(k_ref=1000.0, floor=floor, k_c_ref=750.0, **{**base, **changed})
        return gradient(n_rec, k_e, theta, k_c=k_c)

    found = at()
    moves = {
        "d_ln_n_rec": lambda s: at(n_rec=n_rec * np.exp(s)),
        "d_ln_k_e": lambda s: at(k_e=k_e * np.exp(s)),
        "d_gamma": lambda s: at(gamma=0.2 + s),
        **{
            f"d_ln_{name}": lambda s, name=name: at(**{name: base[name] * np.exp(s)})
            for name in ("alpha", "beta", "snr_ref", "phi")
        },
    }
    for name, move in moves.items():
        slope = (move(step).bits - move(-step).bits) / (2 * step)
        np.testing.assert_allclose(getattr(found, name), slope, rtol=1e-6, atol=1e-6, err_msg=name)


def test_i_rep_asks_for_what_is_missing():
    with pytest.raises(TheoryError, match="k_c: missing"):
        i_rep(10, 100.0, Theta(alpha=1, beta=1, snr_ref=1, k_ref=1, gamma=0.1))
    with pytest.raises(TheoryError, match="phi: 0"):
        i_rep(10, 100.0, Theta(alpha=1, beta=1, snr_ref=1, k_ref=1, phi=0.0))
