"""The trace of the signal spectrum, for laws that fix the total signal instead of the first channel's."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.types import FloatArray

HEAD = 16
"""Terms summed one by one before Euler-Maclaurin takes over; the error is then below 1e-10."""


class Trace(NamedTuple):
    """ln Z with Z = sum_{i <= n_rec} i^-beta, and its derivatives."""

    ln_z: FloatArray
    d_ln_n: FloatArray
    """Derivative with respect to ln n_rec."""
    d_beta: FloatArray
    """Derivative with respect to beta."""


def trace(n_rec: npt.ArrayLike, beta: npt.ArrayLike) -> Trace:
    """Evaluate ln sum_{i <= n_rec} i^-beta with derivatives; up to 16 the integers are joined by straight lines.

    >>> round(float(np.exp(trace(100, 1.0).ln_z)), 8)  # the harmonic number H_100
    5.18737752
    """
    n, b = np.broadcast_arrays(np.asarray(n_rec, dtype=np.float64), np.asarray(beta, dtype=np.float64))
    z, d_n, d_b = _head(n, b)
    tail, tail_n, tail_b = _tail(np.maximum(n, HEAD), b)
    d_n = np.where(n > HEAD, tail_n, d_n)
    z, d_b = z + tail, d_b + tail_b
    return Trace(np.log(z), d_n / z, d_b / z)


def _head(n: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    z, d_n, d_b = np.zeros_like(n), np.zeros_like(n), np.zeros_like(n)
    for i in range(1, HEAD + 1):
        share = np.clip(n - (i - 1), 0, 1)
        term = i**-b
        z += share * term
        d_n = np.where((n > i - 1) & (n <= i), n * term, d_n)
        d_b -= share * term * np.log(i)
    return z, d_n, d_b


def _tail(n: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """int_HEAD^n x^-b dx + (f(n) - f(HEAD))/2 + (f'(n) - f'(HEAD))/12 - (f'''(n) - f'''(HEAD))/720."""
    a, length = 1 - b, np.log(n / HEAD)
    near = np.abs(a * length) < 1e-4
    safe = np.where(near, 1.0, a)
    growth = np.where(near, length * (1 + a * length / 2 + (a * length) ** 2 / 6), np.expm1(safe * length) / safe)
    bend = np.where(
        near,
        length**2 * (0.5 + a * length / 3),
        (length * np.exp(safe * length) - np.expm1(safe * length) / safe) / safe,
    )
    base = HEAD**a
    low, high = _boundary(np.full_like(n, HEAD), b), _boundary(n, b)
    value = base * growth + high[0] - low[0]
    d_beta = -base * (np.log(HEAD) * growth + bend) + high[2] - low[2]
    return value, n ** (1 - b) + high[1], d_beta


def _boundary(x: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """f/2 + f'/12 - f'''/720 for f = x^-b, its x d/dx, and its derivative in b."""
    f = x**-b
    cubic = b * (b + 1) * (b + 2)
    factor = 1 / 2 - b / (12 * x) + cubic / (720 * x**3)
    slope = -b / 2 + b * (b + 1) / (12 * x) - cubic * (b + 3) / (720 * x**3)
    d_factor = -1 / (12 * x) + (3 * b**2 + 6 * b + 2) / (720 * x**3)
    return f * factor, f * slope, f * (d_factor - np.log(x) * factor)
