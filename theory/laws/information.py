"""Representation information: N noisy parallel channels with a power-law spectrum, in bits, with every derivative.

    I(N, S, beta) = 1/2 int_0^N log2(1 + S x^-beta) dx = N H(u; beta) / (2 ln 2),      u = S N^-beta

This is a reconstruction that agrees with the abstract, captions and tables of arXiv 2605.12049; the paper's own formula
may differ. A sum over whole channels and spectra scaled to a fixed trace were tried and left out: on the published
Enwik8 table and on both tasks of the replication study the sum's best AICc lies within 0.4 of the integral's (2 is a
tie), that of scaled spectra from 0.1 below to 4 above.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.laws.channel import channel_information
from theory.types import FloatArray

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


def information(n_rec: npt.ArrayLike, ln_snr: npt.ArrayLike, beta: npt.ArrayLike) -> Information:
    """Evaluate the representation information and its gradient.

    Args:
        n_rec: Number of neurons N, above 0; need not be whole.
        ln_snr: ln S, the first channel's signal-to-noise ratio S = signal / noise variance.
        beta: Exponent of the signal spectrum, above 0. The three arguments broadcast.

    Returns:
        Bits and derivatives in the broadcast shape.

    >>> round(float(information(1, 0.0, 1.0).bits), 12)
    1.0
    """
    n, x, b = (np.asarray(value, dtype=np.float64) for value in (n_rec, ln_snr, beta))
    ln_n = np.log(n)
    ln_u = x - b * ln_n
    h, f, h_beta = channel_information(ln_u, b)
    scale = BITS * n
    # u depends on N and beta too: the terms of that chain rule cancel in d_ln_n and leave -ln N F in d_beta
    return Information(scale * h, scale * np.logaddexp(0, ln_u), scale * f, scale * (h_beta - ln_n * f))
