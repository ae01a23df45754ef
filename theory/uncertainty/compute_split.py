"""The best split of training compute between parameters and tokens, by a law that is separable in both.

With metric = E + A N^-a + B D^-b and C = f N D floating-point operations the best N at a given C is

    N* = G (C / f)^(b / (a + b)),    D* = (C / f) / N*,    G = (a A / (b B))^(1 / (a + b))

(Hoffmann et al. 2022, arXiv 2203.15556, section 3.3 and appendix D.3).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from theory.errors import TheoryError
from theory.fit.result import FitResult
from theory.laws.rivals import ParametersAndTokens
from theory.types import FloatArray
from theory.uncertainty.quantities import Draws, Quantity

FLOP = 6.0
"""Floating-point operations of training per parameter and token: 2 forward and 4 backward (Kaplan et al. 2020, arXiv
2001.08361, section 2.1). Their number moves N* and D* at a given C, but no exponent."""


class Split(NamedTuple):
    """The best split of some compute by R theories, each [R]."""

    n: FloatArray
    """Trainable parameters."""
    tokens: FloatArray
    metric: FloatArray


def check_split(fit: FitResult) -> None:
    """Refuse a law that has no split of compute.

    Raises:
        TheoryError: another law, several groups or levels, or a term that the data give no effect.
    """
    if not isinstance(fit.law, ParametersAndTokens):
        raise TheoryError(f"{fit.law.label}: has no split of compute; fit parameters_and_tokens")
    constants = fit.constants
    if list(constants) != ["all"]:
        raise TheoryError(f"{fit.law.label}: a split of compute needs one set of constants, got {len(constants)}")
    for name in ("A", "B"):
        if constants["all"][name] == 0:
            raise TheoryError(f"{name} = 0: the data show no effect of its size, so no split of compute is best")


def best_split(draws: Draws, compute: float, *, flop: float = FLOP) -> Split:
    """Split some compute by every draw of a law's parameters.

    Args:
        draws: Of a `ParametersAndTokens` law that `check_split` accepts.
        compute: Floating-point operations of training, C.
        flop: Operations per parameter and token, f.
    """
    a, b = draws.parameter("a"), draws.parameter("b")
    coefficients = list(draws.coefficients[:, 0].T)
    values = draws.fit.law.constants({"a": a, "b": b}, coefficients)
    # A draw may have a term without effect or of the other sign, by rounding of a finite difference at worst.
    with np.errstate(all="ignore"):
        ln_g = np.log(a * values["A"] / (b * values["B"])) / (a + b)
        ln_n = ln_g + b / (a + b) * np.log(compute / flop)
        ln_d = np.log(compute / flop) - ln_n
        metric = values["E"] + values["A"] * np.exp(-a * ln_n) + values["B"] * np.exp(-b * ln_d)
    return Split(np.exp(ln_n), np.exp(ln_d), np.asarray(metric))


def split_quantities(compute: float, *, flop: float = FLOP) -> dict[str, Quantity]:
    """Parameters, tokens, tokens per parameter and metric of the best split of some compute, as quantities.

    >>> list(split_quantities(1e20))
    ['n', 'tokens', 'ratio', 'metric']
    """

    def of(pick: Callable[[Split], FloatArray]) -> Callable[[Draws], FloatArray]:
        return lambda draws: pick(best_split(draws, compute, flop=flop))

    return {
        "n": Quantity(name=f"N at C = {compute:g}", evaluate=of(lambda split: split.n)),
        "tokens": Quantity(name=f"D at C = {compute:g}", evaluate=of(lambda split: split.tokens)),
        "ratio": Quantity(name=f"D / N at C = {compute:g}", evaluate=of(lambda split: split.tokens / split.n)),
        "metric": Quantity(name=f"metric at C = {compute:g}", evaluate=of(lambda split: split.metric), log=False),
    }


def split_exponents() -> dict[str, Quantity]:
    """Exponents of the best N and D in C, as quantities.

    >>> [quantity.name for quantity in split_exponents().values()]
    ['d ln N / d ln C', 'd ln D / d ln C']
    """

    def share(mine: str) -> Callable[[Draws], FloatArray]:
        return lambda draws: draws.parameter(mine) / (draws.parameter("a") + draws.parameter("b"))

    return {
        "n": Quantity(name="d ln N / d ln C", evaluate=share("b"), log=False),
        "tokens": Quantity(name="d ln D / d ln C", evaluate=share("a"), log=False),
    }
