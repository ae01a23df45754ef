"""Representation information: N noisy parallel channels with a power-law spectrum, in bits, with every derivative.

    I_sum(N, S, beta) = 1/2 sum_{i=1}^N log2(1 + S i^-beta)
    I_int(N, S, beta) = 1/2 int_0^N log2(1 + S x^-beta) dx = N H(u; beta) / (2 ln 2),      u = S N^-beta

This is a reconstruction that agrees with the abstract, captions and tables of arXiv 2605.12049; the paper's own formula
may differ. The integral
is the default; the sum costs the same (16 terms and an Euler-Maclaurin tail). The integral is never smaller.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from theory.errors import TheoryError, unknown
from theory.laws.channel import BLOCK, channel_information
from theory.laws.noise import Floor, Noise, noise
from theory.types import FloatArray

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


@dataclass(frozen=True, kw_only=True)
class Theta:
    """The numbers of the law as it is written: snr = S / nu(k_e), nu from (k_e/k_ref)^-alpha and phi, spectrum
    i^-beta."""

    alpha: float
    """Noise exponent in k_e."""
    beta: float
    """Exponent of the signal spectrum."""
    snr_ref: float
    """S: the first channel's signal-to-noise ratio at k_ref without floor."""
    k_ref: float
    """Reference complexity."""
    phi: float | None = None
    """Noise floor in units of the noise at k_ref; None: no floor."""
    floor: Floor = "max"
    """"max" or "additive"; without phi there is none."""
    gamma: float = 0.0
    """beta(k_c) = beta (k_c/k_c_ref)^-gamma."""
    k_c_ref: float | None = None
    """Reference connectivity; needed if gamma is not 0."""


class Gradient(NamedTuple):
    """I_rep in bits and its derivatives, of one shape."""

    bits: FloatArray
    d_ln_n_rec: FloatArray
    d_ln_k_e: FloatArray
    d_ln_alpha: FloatArray
    d_ln_beta: FloatArray
    d_ln_snr_ref: FloatArray
    d_ln_phi: FloatArray
    """0 without a floor."""
    d_gamma: FloatArray


def i_rep(
    n_rec: npt.ArrayLike,
    k_e: npt.ArrayLike,
    theta: Theta,
    *,
    k_c: npt.ArrayLike | None = None,
    method: Method = "integral",
) -> FloatArray:
    """Representation information of n_rec neurons of complexity k_e, in bits.

    Args:
        n_rec: Neurons, above 0.
        k_e: Effective complexity, above 0; broadcasts with `n_rec`.
        theta: The law's numbers.
        k_c: Connectivity; needed if theta.gamma is not 0.
        method: "integral" or "sum".

    >>> theta = Theta(alpha=1.0, beta=1.0, snr_ref=1000.0, k_ref=2461.0)
    >>> round(float(i_rep(100, 2461, theta)), 11)
    241.72334280683
    """
    return gradient(n_rec, k_e, theta, k_c=k_c, method=method).bits


def gradient(
    n_rec: npt.ArrayLike,
    k_e: npt.ArrayLike,
    theta: Theta,
    *,
    k_c: npt.ArrayLike | None = None,
    method: Method = "integral",
) -> Gradient:
    """`i_rep` with its derivatives in the sizes and in every parameter; arguments as there.

    >>> theta = Theta(alpha=1.0, beta=1.0, snr_ref=100.0, k_ref=2461.0)
    >>> round(float(gradient(100, 2461, theta).d_ln_n_rec), 12)  # last channel's snr is 1: (N/2) log2(2)
    50.0
    """
    nu, share = _noise(k_e, theta)
    ln_ratio: FloatArray = np.zeros(1)
    if theta.gamma != 0:
        if k_c is None or theta.k_c_ref is None:
            raise TheoryError("k_c: missing; gamma is not 0, so k_c and theta.k_c_ref are needed")
        ln_ratio = np.log(np.asarray(k_c, dtype=np.float64) / theta.k_c_ref)
    beta = theta.beta * np.exp(-theta.gamma * ln_ratio)
    beta = beta.reshape(()) if beta.size == 1 else beta
    found = information(n_rec, np.log(theta.snr_ref) - nu.ln_nu, beta, method=method)
    by_snr, by_beta = found.d_ln_snr, beta * found.d_beta
    return Gradient(
        found.bits,
        found.d_ln_n,
        by_snr * nu.local_exponent,
        -by_snr * nu.d_decay["alpha"],
        by_beta,
        by_snr,
        -by_snr * (1 - share),
        -by_beta * ln_ratio.reshape(beta.shape),
    )


def _noise(k_e: npt.ArrayLike, theta: Theta) -> tuple[Noise, FloatArray]:
    """nu with phi written as the decay at k_floor, and the share of nu that still decays."""
    values = {"alpha": np.asarray(theta.alpha)}
    if theta.phi is None:
        nu = noise(k_e, theta.k_ref, values)
        return nu, np.ones_like(nu.ln_nu)
    if theta.phi <= 0:
        raise TheoryError(f"phi: {theta.phi} is not above 0; use None for no floor")
    values["k_floor"] = np.asarray(theta.k_ref * theta.phi ** (-1 / theta.alpha))
    nu = noise(k_e, theta.k_ref, values, floor=theta.floor)
    return nu, nu.local_exponent / theta.alpha


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
