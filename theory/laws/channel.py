"""The closed form of one spectrum: H, F and their derivatives as alternating sums with CVZ weights.

A spectrum x^-beta whose last channel has signal-to-noise ratio u carries N H(u; beta) / (2 ln 2) bits, where

    H(u; beta) = ln(1 + u) + beta F(u; beta),      F(u; beta) = 2F1(1, 1/beta; 1 + 1/beta; -1/u).

Both are expectations over y ~ Exp(1): H = E softplus(ln u + beta y), F = E sigmoid(ln u + beta y). Expanding softplus
and sigmoid in powers of exp(-abs(ln u + beta y)) gives alternating series, which the weights of Cohen, Rodriguez
Villegas and Zagier (Experimental Mathematics 9, 2000) sum with an error of 5.8^-n. No special function is called,
nothing overflows, and beta = 1, 1/2, 1/3, ... are no exceptions.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.types import FloatArray

TERMS = 20
"""Terms of the alternating sums; the error is 5.8^-20, below rounding (measured against 40 digits: 1e-14 for H and
F)."""

BLOCK = 2048
"""Points per block: the temporaries of a block, which hold every term of every point, stay in the processor's cache."""

FEW = 256
"""Points per level of beta from which each level is evaluated by itself."""

NEAR = 0.05
"""Below this abs(1 - n beta) a term's parts in q^n and in e0 cancel, so their difference is taken point by point."""

SMALL = 0.02
"""Below this abs((1 - n beta) y0) even that difference cancels, and its power series is used instead."""


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
    # c / d are the weights; each follows from the one before, so that no binomial coefficient of large numbers is
    # formed.
    b, c, weights = -1.0, -d, []
    for k in range(terms):
        c = b - c
        weights.append(c / d)
        b *= (k + terms) * (k - terms) / ((k + 0.5) * (k + 1))
    return np.array(weights)


ORDER = np.arange(1.0, TERMS + 1)[:, None]
"""n of each term, [terms, 1]."""

SIGNED = alternating_weights(TERMS)[:, None]
"""Weight of each term, [terms, 1]."""


def channel_information(ln_u: npt.ArrayLike, beta: npt.ArrayLike) -> Channel:
    """Evaluate H, F and dH/dbeta at fixed u.

    Args:
        ln_u: Logarithm of the last channel's signal-to-noise ratio; any shape.
        beta: Exponent of the signal spectrum, above 0; broadcasts with `ln_u`. One that all points along the last axis
            share is best given with a last axis of 1: what depends on it alone is then evaluated once.

    Returns:
        h = H(u; beta) = twice the mean information of a channel in nats; f = F = dH/dln_u; h_beta = dH/dbeta.

    >>> channel = channel_information(0.0, 1.0)  # beta = 1: F = u ln(1 + 1/u), H = ln(1 + u) + F
    >>> round(float(channel.f), 12) == round(float(np.log(2)), 12)
    True
    """
    x, b = np.asarray(ln_u, dtype=np.float64), np.asarray(beta, dtype=np.float64)
    shape = np.broadcast_shapes(x.shape, b.shape)
    points, betas = shape[-1] if shape else 1, b.shape[-1] if b.ndim else 1
    flat_x = (x if x.shape == shape else np.broadcast_to(x, shape)).reshape(-1, points)
    flat_b = np.broadcast_to(b, (*shape[:-1], betas)).reshape(-1, betas)
    # Coefficients depend on beta alone. Where many points share a few values of beta (levels of k_c), each value is
    # evaluated once and not point by point.
    levels = _levels(flat_b)
    if len(levels) > 1:
        out = np.empty((3, *flat_x.shape))
        for columns in levels:
            out[:, :, columns] = _blocks(flat_x[:, columns], flat_b[:, columns[:1]])
    else:
        out = _blocks(flat_x, flat_b)
    h, f, h_beta = out.reshape((3, *shape))
    return Channel(h, f, h_beta)


def _levels(b: FloatArray) -> list[npt.NDArray[np.int64]]:
    """Return the columns of b, [sets, points], that are equal in all sets (rows of one connectivity), where there are
    few such levels; nothing otherwise."""
    if len(b) == 1 or b.shape[1] == 1 or b.size < 2 * FEW:
        return []
    # The first set says which columns belong together; the test below asks whether the others agree.
    values, first, place = np.unique(b[0], return_index=True, return_inverse=True)
    if b.size < FEW * values.size or not (b == b[:, first][:, place]).all():
        return []
    return [np.flatnonzero(place == level) for level in range(values.size)]


def _blocks(x: FloatArray, b: FloatArray) -> FloatArray:
    """Return h, f and h_beta, [3, sets, points]; x is [sets, points], b [sets, points] or [sets, 1]."""
    # A beta of every point's own has coefficients of every point's own, several arrays of them.
    size = BLOCK if b.shape[1] == 1 else BLOCK // 8
    width = min(size, x.shape[1])
    sets = size // width
    if len(x) <= sets and x.shape[1] <= width:
        return _block(x, b)
    out = np.empty((3, *x.shape))
    for row, start in product(range(0, len(x), sets), range(0, x.shape[1], width)):
        block = slice(row, row + sets), slice(start, start + width)
        out[:, block[0], block[1]] = _block(x[block], b[block[0]] if b.shape[1] == 1 else b[block])
    return out


def _block(x: FloatArray, b: FloatArray) -> FloatArray:
    """Return h, f and h_beta, [3, sets, points], of one block: x is [sets, points], b [sets, points] or [sets, 1]."""
    # y is never negative, so for u >= 1 the exponent ln u + beta y has one sign and one expansion does; for u < 1 the
    # sign changes at y0. Both are sums over powers of exp(-abs(x)) with coefficients that depend on beta alone.
    power = _powers(np.exp(-np.abs(x)))
    t, r = 1 - ORDER * b[:, None], 1 / (1 + ORDER * b[:, None])  # [sets, terms, points or 1]
    above = x >= 0
    if above.all():
        return _above(x, b, r, power)
    below = _below(np.minimum(x, 0.0), b, t, r, power)
    if not above.any():
        return below
    return np.where(above, _above(x, b, r, power), below)


def _powers(q: FloatArray) -> FloatArray:
    """q^1 to q^TERMS, [sets, terms, points], by doubling."""
    power = np.empty((len(q), TERMS, q.shape[1]))
    power[:, 0] = q
    done = 1
    # Doubling takes 5 products instead of 19, and rounding grows with the number of products.
    while done < TERMS:
        more = min(done, TERMS - done)
        np.multiply(power[:, :more], power[:, done - 1 : done], out=power[:, done : done + more])
        done += more
    return power


def _sums(weights: list[FloatArray], power: FloatArray) -> FloatArray:
    """Sum each set of weights, [sets, terms, points or 1], times the powers over the terms: [weights, sets, points]."""
    if weights[0].shape[2] == 1 < power.shape[2]:
        # One product of matrices per set: the weights are those of all its points.
        return (np.concatenate(weights, axis=2).transpose(0, 2, 1) @ power).transpose(1, 0, 2)
    return np.stack([(weight * power).sum(axis=1) for weight in weights])


def _above(x: FloatArray, b: FloatArray, r: FloatArray, power: FloatArray) -> FloatArray:
    """u >= 1: H = x + b + sum q^n/(n (1+nb)), F = 1 - sum q^n/(1+nb), H_b = 1 - sum q^n/(1+nb)^2, q = exp(-x)."""
    once = SIGNED * r
    sums = _sums([once / ORDER, -once, -once * r], power)
    sums[0] += x + b
    sums[1:] += 1
    return sums


def _below(x: FloatArray, b: FloatArray, t: FloatArray, r: FloatArray, power: FloatArray) -> FloatArray:
    """u < 1: the expectation splits at y0 = -x/b, where the channel's signal-to-noise ratio passes 1.

    With e0 = exp(-y0), q = exp(x), t = 1 - n b, r = 1/(1 + n b), J = (q^n - e0)/t and K = (q^n - e0 (1 + t y0))/t^2:
    H = b e0 + sum (e0 r + J)/n, F = e0 + sum (J - e0 r), H_b = e0 (1 + y0) + sum (K - e0 r (y0 + r)).
    """
    y0 = -x / b
    e0 = np.exp(-y0)
    # t passes 0 where beta = 1/n, which is an ordinary value of beta and must not be a special one of the result.
    near = np.abs(t) < NEAR
    # J and K are split into their parts in q^n and in e0, so that both are sums whose weights depend on beta alone.
    j = np.where(near, 0.0, SIGNED / np.where(near, 1.0, t))
    k = np.where(near, 0.0, j / np.where(near, 1.0, t))
    once = SIGNED * r
    sums = _sums([j / ORDER, j, k], power)
    sums[0] += e0 * (b + ((once - j) / ORDER).sum(axis=1))
    sums[1] += e0 * (1 - (once + j).sum(axis=1))
    sums[2] += e0 * ((1 - (once * r + k).sum(axis=1)) + y0 * (1 - (once + j).sum(axis=1)))
    if near.any():
        _add_near(sums, near, t, e0, y0, power)
    return sums


def _add_near(
    sums: FloatArray, near: npt.NDArray[np.bool_], t: FloatArray, e0: FloatArray, y0: FloatArray, power: FloatArray
) -> None:
    """Add J and K of the terms with beta near 1/n, whose parts may not be taken apart."""
    # Few terms of few sets are near, so only those are taken out.
    rows, terms = np.nonzero(near.any(axis=2))
    j, k = _differences(power[rows, terms], e0[rows], y0[rows], np.broadcast_to(t[rows, terms], e0[rows].shape))
    weight = SIGNED[terms] * near[rows, terms]
    # `rows` rises, so that the terms of one set lie next to each other.
    first = np.append(0, np.flatnonzero(rows[1:] != rows[:-1]) + 1)
    for place, part in enumerate((weight / ORDER[terms] * j, weight * j, weight * k)):
        sums[place, rows[first]] += np.add.reduceat(part, first, axis=0)


def _differences(power: FloatArray, e0: FloatArray, y0: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """J and K of `_below`; their power series in z = t y0 where the differences would cancel (beta near 1/n)."""
    z = t * y0
    small = np.nonzero(np.abs(z) < SMALL)
    t = np.where(np.abs(z) < SMALL, 1.0, t)
    # q^n = e0 exp(z), so J = e0 y0 (exp(z) - 1)/z and K = e0 y0^2 (exp(z) - 1 - z)/z^2: the direct K loses digits like
    # z^-2. The direct forms are evaluated everywhere, with t = 1 where they would divide by about 0, and those are then
    # replaced.
    difference = power - e0
    j = difference / t
    k = (difference - e0 * z) / (t * t)
    s, y, e = z[small], y0[small], e0[small]
    j[small] = e * y * (1 + s * (1 / 2 + s * (1 / 6 + s * (1 / 24 + s * (1 / 120 + s / 720)))))
    k[small] = e * y * y * (1 / 2 + s * (1 / 6 + s * (1 / 24 + s * (1 / 120 + s * (1 / 720 + s / 5040)))))
    return j, k
