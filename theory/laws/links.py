"""Links from information (bits) to the metric, and bounded metrics to an unbounded scale.

metric = a - b g(I),   g = I                               link "affine"
                       g = ln I                            link "log"
                       g = ((I/i_ref)^lam - 1) / lam       link "boxcox"   (lam = 1 is affine, lam = 0 is log)
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.errors import TheoryError, unknown
from theory.types import FloatArray

LINKS = ("affine", "log", "boxcox")


class Linked(NamedTuple):
    """g(I) with its derivatives in ln I and, for Box-Cox, in lam."""

    value: FloatArray
    d_ln_i: FloatArray
    d_lam: FloatArray | None


def apply_link(bits: FloatArray, link: str, *, lam: FloatArray | None = None, i_ref: float = 1.0) -> Linked:
    """Evaluate g(I).

    Args:
        bits: Information, above 0.
        link: "affine", "log" or "boxcox".
        lam: Exponent of Box-Cox, broadcasting with `bits`.
        i_ref: Bits at which the Box-Cox g is 0.

    >>> apply_link(np.array([2.0]), "boxcox", lam=np.array([1.0])).value.tolist()
    [1.0]
    """
    # The derivative in ln I is I itself.
    if link == "affine":
        return Linked(bits, bits, None)
    ln_i = np.log(bits)
    if link == "log":
        return Linked(ln_i, np.ones_like(ln_i), None)
    if link != "boxcox":
        raise unknown("link", link, LINKS)
    if lam is None:
        raise TheoryError("lam: missing; the link 'boxcox' needs its exponent")
    ln_r = ln_i - np.log(i_ref)
    z = lam * ln_r
    # The closed forms are 0/0 at lam = 0, and the derivative's loses digits like 1/z before that. At 1e-4 the first
    # omitted term of the series (about z^3/30) and the lost digits are both far below what a fit can notice.
    near = np.abs(z) < 1e-4
    # np.where evaluates both branches, so lam = 0 must not divide even where its result is thrown away.
    safe = np.where(lam == 0, 1.0, lam)
    growth = np.exp(z)
    value = np.where(near, ln_r * (1 + z / 2 + z * z / 6), np.expm1(z) / safe)
    bend = np.where(near, ln_r**2 * (1 / 2 + z / 3 + z * z / 8), (ln_r * growth - np.expm1(z) / safe) / safe)
    return Linked(value, growth, bend)


def to_logit(accuracy: npt.ArrayLike, *, chance: float, ceiling: float = 1.0) -> FloatArray:
    """Map an accuracy-like metric to ln((accuracy - chance) / (ceiling - accuracy)).

    Raises:
        TheoryError: a value is at or beyond chance or ceiling, where the scale ends.

    >>> to_logit([0.525], chance=0.05, ceiling=1.0).round(12).tolist()
    [0.0]
    """
    values = np.asarray(accuracy, dtype=np.float64)
    # Asked as "not inside", so that nan is refused too.
    bad = np.flatnonzero(~((values > chance) & (values < ceiling)))
    if bad.size:
        raise TheoryError(
            f"metric: row {bad[0]} is {values.flat[bad[0]]}, not between chance {chance} and ceiling {ceiling}; "
            "fit the loss instead, or leave collapsed runs out and list them as exclusions"
        )
    return np.log((values - chance) / (ceiling - values))


def from_logit(logit: npt.ArrayLike, *, chance: float, ceiling: float = 1.0) -> FloatArray:
    """Invert `to_logit`.

    >>> from_logit([0.0], chance=0.0, ceiling=1.0).tolist()
    [0.5]
    """
    share = 1 / (1 + np.exp(-np.asarray(logit, dtype=np.float64)))
    return np.asarray(chance + (ceiling - chance) * share)
