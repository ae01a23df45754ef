"""The closed form of one spectrum: H, F and their derivatives as alternating sums with CVZ weights.

A spectrum x^-beta whose last channel has signal-to-noise ratio u carries N H(u; beta) / (2 ln 2) bits, where

    H(u; beta) = ln(1 + u) + beta F(u; beta),      F(u; beta) = 2F1(1, 1/beta; 1 + 1/beta; -1/u).

Both are expectations over y ~ Exp(1): H = E softplus(ln u + beta y), F = E sigmoid(ln u + beta y). Expanding softplus
and sigmoid in powers of exp(-abs(ln u + beta y)) gives alternating series, which the weights of Cohen, Rodriguez
Villegas and Zagier (Experimental Mathematics 9, 2000) sum with an error of 5.8^-n. No special function is called,
nothing overflows, and beta = 1, 1/2, 1/3, ... are no exceptions.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.types import FloatArray

TERMS = 20
"""Terms of the alternating sums; the error is 5.8^-20, below rounding (measured against 40 digits: 1e-14 for H and
F)."""

BLOCK = 8192
"""Points per block: the temporaries of a block stay in the processor's cache."""

SMALL = 0.02
"""Below this abs((1 - n beta) y0) the differences in J and K cancel, and their power series is used instead."""


class Channel(NamedTuple):
    """The closed form and its derivatives, all dimensionless, with the broadcast shape of the inputs."""

    h: FloatArray
    f: FloatArray
    h_beta: FloatArray


def alternating_weights(terms: int) -> FloatArray:
    """Return the CVZ weights c_1..c_n: sum_n (-1)^(n+1) a_n = sum c_n a_n, for slowly converging a_n.

    >>> weights = alternating_weights(20)
    >>> bool(abs(weights @ (1 / np.arange(1, 21)) - np.log(2)) < 1e-15)
    True
    """
    # Algorithm 1 of the paper, with d = T_n(3), the Chebyshev polynomial whose size at 3 sets the error.
    d = (3 + np.sqrt(8)) ** terms
    d = (d + 1 / d) / 2
    b, c, weights = -1.0, -d, []
    for k in range(terms):
        c = b - c
        weights.append(c / d)
        b *= (k + terms) * (k - terms) / ((k + 0.5) * (k + 1))
    return np.array(weights)


WEIGHTS = alternating_weights(TERMS)


def channel_information(ln_u: npt.ArrayLike, beta: npt.ArrayLike) -> Channel:
    """Evaluate H, F and dH/dbeta at fixed u.

    Args:
        ln_u: Logarithm of the last channel's signal-to-noise ratio; any shape.
        beta: Exponent of the signal spectrum, above 0; broadcasts with `ln_u`.

    Returns:
        h = H(u; beta) = twice the mean information of a channel in nats; f = F = dH/dln_u; h_beta = dH/dbeta.

    >>> channel = channel_information(0.0, 1.0)  # beta = 1: F = u ln(1 + 1/u), H = ln(1 + u) + F
    >>> round(float(channel.f), 12) == round(float(np.log(2)), 12)
    True
    """
    x, b = np.broadcast_arrays(np.asarray(ln_u, dtype=np.float64), np.asarray(beta, dtype=np.float64))
    flat_x, flat_b = x.ravel(), b.ravel()
    out = np.empty((3, flat_x.size))
    for start in range(0, flat_x.size, BLOCK):
        block = slice(start, start + BLOCK)
        _block(flat_x[block], flat_b[block], out[:, block])
    h, f, h_beta = out.reshape((3, *x.shape))
    return Channel(h, f, h_beta)


def _block(x: FloatArray, b: FloatArray, out: FloatArray) -> None:
    """Fill `out` (3 rows: h, f, h_beta) for one block of points."""
    # y is never negative, so for u >= 1 the exponent ln u + beta y has one sign and one expansion does; for u < 1 the
    # sign changes at y0. A block of one kind, the usual case, is spared the copies that masks make.
    above = x >= 0
    if above.all():
        out[:] = _above(x, b)
    elif not above.any():
        out[:] = _below(x, b)
    else:
        out[:, above] = _above(x[above], b[above])
        out[:, ~above] = _below(x[~above], b[~above])


def _above(x: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """u >= 1: H = x + b + sum q^n/(n (1+nb)), F = 1 - sum q^n/(1+nb), H_b = 1 - sum q^n/(1+nb)^2, q = exp(-x)."""
    q = np.exp(-x)
    power = np.ones_like(x)
    h, f, h_beta = x + b, np.ones_like(x), np.ones_like(x)
    for n, weight in enumerate(WEIGHTS, start=1):
        power *= q
        r = 1 / (1 + n * b)
        term = weight * power * r
        h += term / n
        f -= term
        h_beta -= term * r
    return h, f, h_beta


def _below(x: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """u < 1: the expectation splits at y0 = -x/b, where the channel's signal-to-noise ratio passes 1.

    With e0 = exp(-y0), q = exp(x), t = 1 - n b, r = 1/(1 + n b), J = (q^n - e0)/t and K = (q^n - e0 (1 + t y0))/t^2:
    H = b e0 + sum (e0 r + J)/n, F = e0 + sum (J - e0 r), H_b = e0 (1 + y0) + sum (K - e0 r (y0 + r)).
    """
    q, y0 = np.exp(x), -x / b
    e0 = np.exp(-y0)
    power = np.ones_like(x)
    h, f, h_beta = e0 * b, e0.copy(), e0 * (1 + y0)
    for n, weight in enumerate(WEIGHTS, start=1):
        power *= q
        j, k = _differences(power, e0, y0, 1 - n * b)
        r = 1 / (1 + n * b)
        e0_r = e0 * r
        h += (weight / n) * (e0_r + j)
        f += weight * (j - e0_r)
        h_beta += weight * (k - e0_r * (y0 + r))
    return h, f, h_beta


def _differences(power: FloatArray, e0: FloatArray, y0: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """J and K of `_below`; their power series in z = t y0 where the differences would cancel (beta near 1/n)."""
    z = t * y0
    small = np.flatnonzero(np.abs(z) < SMALL)
    if small.size:
        t = t.copy()
        t[small] = 1.0
    # q^n = e0 exp(z), so J = e0 y0 (exp(z) - 1)/z and K = e0 y0^2 (exp(z) - 1 - z)/z^2: the direct K loses digits like
    # z^-2. The direct forms are evaluated everywhere, with t = 1 where they would divide by about 0, and those are then
    # replaced.
    difference = power - e0
    j = difference / t
    k = (difference - e0 * z) / (t * t)
    if small.size:
        s, y, e = z[small], y0[small], e0[small]
        j[small] = e * y * (1 + s * (1 / 2 + s * (1 / 6 + s * (1 / 24 + s * (1 / 120 + s / 720)))))
        k[small] = e * y * y * (1 / 2 + s * (1 / 6 + s * (1 / 24 + s * (1 / 120 + s * (1 / 720 + s / 5040)))))
    return j, k
