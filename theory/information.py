"""Representation information: N noisy parallel channels with a power-law spectrum, in bits, with every derivative.

    I_sum(N, S, beta) = 1/2 sum_{i=1}^N log2(1 + S i^-beta)
    I_int(N, S, beta) = 1/2 int_0^N log2(1 + S x^-beta) dx = N H(u; beta) / (2 ln 2),      u = S N^-beta

This is a reconstruction that agrees with the abstract, captions and tables of arXiv 2605.12049; the paper's own formula
may differ. The integral
is the default; the sum costs the same (16 terms and an Euler-Maclaurin tail). The integral is never smaller.
"""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from theory.channel import BLOCK, FloatArray, channel_information
from theory.errors import unknown

Method = Literal["integral", "sum"]
METHODS = ("integral", "sum")

HEAD = 16
"""Channels summed one by one before the tail is integrated; Euler-Maclaurin then errs by at most 3.1e-10 (relative)."""

BITS = 0.5 / np.log(2)
"""From twice the information in nats to bits."""


class Information(NamedTuple):
    """Information in bits and its derivatives, all of one shape."""

    bits: FloatArray
    d_ln_n: FloatArray
    """Derivative with respect to ln n_rec at fixed S: the capacity of the marginal neurons."""
    d_ln_snr: FloatArray
    """Derivative with respect to ln S: the mean posterior gain."""
    d_beta: FloatArray
    """Derivative with respect to beta at fixed S."""


def information(
    n_rec: npt.ArrayLike, ln_snr: npt.ArrayLike, beta: npt.ArrayLike, *, method: Method = "integral"
) -> Information:
    """Evaluate the representation information and its gradient.

    Args:
        n_rec: Number of neurons N, above 0. Real for the integral; the sum joins the integers by straight lines up to
            16, smoothly beyond.
        ln_snr: ln S, the first channel's signal-to-noise ratio S = signal / noise variance.
        beta: Exponent of the signal spectrum, above 0. The three arguments broadcast.
        method: "integral" (the closed form) or "sum" (over whole channels).

    Returns:
        Bits and derivatives in the broadcast shape.

    Raises:
        TheoryError: `method` is unknown.

    >>> round(float(information(1, 0.0, 1.0).bits), 12), float(information(1, 0.0, 1.0, method="sum").bits)
    (1.0, 0.5)
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    n, x, b = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (n_rec, ln_snr, beta)))
    return _integral(n, x, b) if method == "integral" else _sum(n, x, b)


def information_limit(ln_snr: npt.ArrayLike, beta: npt.ArrayLike) -> FloatArray:
    """Bits of infinitely many neurons, I_inf = 1/2 S^(1/beta) pi / sin(pi/beta) / ln 2; infinite for beta <= 1.

    >>> round(float(information_limit(np.log(1e4), 1.5)), 3)
    1214.592
    """
    x, b = np.broadcast_arrays(np.asarray(ln_snr, dtype=np.float64), np.asarray(beta, dtype=np.float64))
    finite = b > 1
    safe = np.where(finite, b, 2.0)
    return np.where(finite, BITS * np.exp(x / safe) * np.pi / np.sin(np.pi / safe), np.inf)


def _integral(n: FloatArray, x: FloatArray, b: FloatArray) -> Information:
    ln_n = np.log(n)
    ln_u = x - b * ln_n
    h, f, h_beta = channel_information(ln_u, b)
    scale = BITS * n
    return Information(scale * h, scale * np.logaddexp(0, ln_u), scale * f, scale * (h_beta - ln_n * f))


def _sum(n: FloatArray, x: FloatArray, b: FloatArray) -> Information:
    """First HEAD channels one by one, the rest by int_HEAD^N + boundary terms of Euler-Maclaurin; in blocks that fit
    the cache."""
    flat = n.ravel(), x.ravel(), b.ravel()
    out = np.empty((4, n.size))
    for start in range(0, n.size, BLOCK):
        block = slice(start, start + BLOCK)
        out[:, block] = _sum_block(*(part[block] for part in flat))
    return Information(*out.reshape((4, *n.shape)))


def _sum_block(n: FloatArray, x: FloatArray, b: FloatArray) -> Information:
    head = _head(np.minimum(n, HEAD), x, b)
    beyond = n > HEAD
    if not beyond.any():
        return head
    tail = _tail(n[beyond], x[beyond], b[beyond])
    for total, part in zip(head, tail, strict=True):
        total[beyond] += part
    head.d_ln_n[beyond] = tail.d_ln_n
    return head


def _head(n: FloatArray, x: FloatArray, b: FloatArray) -> Information:
    out = Information(*(np.zeros_like(n) for _ in range(4)))
    for i in range(1, HEAD + 1):
        share = np.clip(n - (i - 1), 0, 1)  # 1: the whole channel, in between: the straight line
        z = x - b * np.log(i)
        decay = np.exp(-np.abs(z))
        nats = np.maximum(z, 0) + np.log1p(decay)
        gain = share * np.where(z > 0, 1.0, decay) / (1 + decay)
        out.bits[...] += share * nats
        out.d_ln_n[...] = np.where((n > i - 1) & (n <= i), n * nats, out.d_ln_n)
        out.d_ln_snr[...] += gain
        out.d_beta[...] -= gain * np.log(i)
    for part in out:
        part *= BITS
    return out


def _tail(n: FloatArray, x: FloatArray, b: FloatArray) -> Information:
    """Channels HEAD+1 .. N (derivative in ln n_rec: of the smooth continuation)."""
    at_n, at_head = _boundary(n, x, b), _boundary(np.full_like(n, HEAD), x, b)
    integral_n, integral_head = _integral(n, x, b), _integral(np.full_like(n, HEAD), x, b)
    bits = integral_n.bits - integral_head.bits + BITS * (at_n.value - at_head.value)
    return Information(
        bits,
        integral_n.d_ln_n + BITS * at_n.slope,
        integral_n.d_ln_snr - integral_head.d_ln_snr + BITS * (at_n.d_x - at_head.d_x),
        integral_n.d_beta - integral_head.d_beta + BITS * (at_n.d_b - at_head.d_b),
    )


class _Boundary(NamedTuple):
    """Euler-Maclaurin's boundary value f/2 + f'/12 - f'''/720 at n, its n d/dn, and its derivatives in ln S and
    beta."""

    value: FloatArray
    slope: FloatArray
    d_x: FloatArray
    d_b: FloatArray


def _boundary(n: FloatArray, x: FloatArray, b: FloatArray) -> _Boundary:
    """f(n) = softplus(z), z = ln S - beta ln n; with D = n d/dn: n f' = D f, n^3 f''' = (D^3 - 3 D^2 + 2 D) f."""
    ln_n = np.log(n)
    z = x - b * ln_n
    s = expit(z)
    s1 = s * (1 - s)
    s2, s3 = s1 * (1 - 2 * s), s1 * (1 - 6 * s1)
    third = -(b**3) * s2 - 3 * b**2 * s1 - 2 * b * s
    fourth = b**4 * s3 + 6 * b**3 * s2 + 11 * b**2 * s1 + 6 * b * s  # n^4 f'''' = (D^4 - 6 D^3 + 11 D^2 - 6 D) f
    second = b**2 * s1 + b * s
    d_x = s / 2 - b * s1 / (12 * n) + (b**3 * s3 + 3 * b**2 * s2 + 2 * b * s1) / (720 * n**3)
    explicit = -s / (12 * n) + (3 * b**2 * s2 + 6 * b * s1 + 2 * s) / (720 * n**3)
    return _Boundary(
        np.logaddexp(0, z) / 2 - b * s / (12 * n) - third / (720 * n**3),
        -b * s / 2 + second / (12 * n) - fourth / (720 * n**3),
        d_x,
        explicit - ln_n * d_x,
    )
