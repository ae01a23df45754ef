"""The closed form and its derivatives against 60-digit arithmetic (mpmath)."""

import mpmath
import numpy as np

from theory.laws.information import information
from theory.reference.digits import Reached, digits

PRECISION = 60
"""Decimal digits of the reference."""

LEAST_BITS, LEAST_GRADIENT = 13.5, 11.5
"""Digits below which something is wrong; measured: 14 and 12."""


def reference(n_rec: float, ln_snr: float, beta: float) -> list[float]:
    """Return bits and their derivatives by ln n_rec, ln S and beta, rounded from 60 digits.

    I = N H / (2 ln 2) with H = ln(1 + u) + beta F, F = 2F1(1, 1/beta; 1 + 1/beta; -1/u), u = S N^-beta, straight from
    the definition, derivatives by mpmath's own differentiation.
    """
    # The formula cancels near beta = 1 and for small u; 60 digits leave more than 16 after any of that.
    with mpmath.workdps(PRECISION):

        def bits(ln_n: mpmath.mpf, ln_s: mpmath.mpf, b: mpmath.mpf) -> mpmath.mpf:
            u = mpmath.exp(ln_s - b * ln_n)
            f = mpmath.hyp2f1(1, 1 / b, 1 + 1 / b, -1 / u)
            return mpmath.exp(ln_n) * (mpmath.log1p(u) + b * f) / (2 * mpmath.log(2))

        at = (mpmath.log(mpmath.mpf(n_rec)), mpmath.mpf(ln_snr), mpmath.mpf(beta))
        orders = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
        return [float(mpmath.diff(bits, at, order) if any(order) else bits(*at)) for order in orders]


def compare(points: int = 240, seed: int = 0) -> list[Reached]:
    """Compare at random points over all that a sweep can meet: 1 to 1e5 neurons, S from 1e-3 to 1e9, beta 0.2 to 4.

    Args:
        points: How many.
        seed: Of the points.
    """
    rng = np.random.default_rng(seed)
    n_rec = np.exp(rng.uniform(0, np.log(1e5), points))
    ln_snr, beta = rng.uniform(np.log(1e-3), np.log(1e9), points), rng.uniform(0.2, 4.0, points)
    computed = information(n_rec, ln_snr, beta)
    exact = np.array([reference(*point) for point in zip(n_rec, ln_snr, beta, strict=True)])
    names = ("bits", "d bits / d ln n_rec", "d bits / d ln S", "d bits / d beta")
    return [
        Reached(
            name=f"closed form, {points} points",
            number=number,
            digits=digits(part, exact[:, k]),
            least=LEAST_GRADIENT if k else LEAST_BITS,
        )
        for k, (number, part) in enumerate(zip(names, computed, strict=True))
    ]
