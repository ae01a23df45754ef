"""F tests: does a law miss more than seed noise explains, and is a larger model worth its parameters?

The chances are exact for models that are linear in their parameters and good for the laws here, whose searched
parameters are few.
"""

from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import fdtrc

from theory.data.replicates import Noise
from theory.fit.result import FitResult


class FTest(NamedTuple):
    """A ratio of variances and how likely one this large is by chance."""

    f: float
    """Ratio of the mean squares."""
    df: tuple[int, int]
    """Degrees of freedom of its numerator and denominator."""
    p_value: float
    """Chance of a larger ratio if nothing but noise were at work."""


def ratio_test(sum_of_squares: float, degrees: int, variance: float, freedom: int) -> FTest:
    """Compare a mean square with a variance that is known from elsewhere, with `freedom` degrees of freedom."""
    # Both are mean squares, which have the same expectation if nothing but noise is at work.
    ratio = sum_of_squares / degrees / variance
    # The upper tail itself, since 1 minus the lower one would lose every digit of a small chance.
    return FTest(ratio, (degrees, freedom), float(fdtrc(degrees, freedom, ratio)))


def lack_of_fit(sum_of_squares: float, degrees: int, noise: Noise) -> FTest | None:
    """Compare what a law misses with the noise between seeds.

    Args:
        sum_of_squares: Squared distances of the configurations' means from the law, each times its number of runs.
        degrees: Configurations minus the law's parameters.
        noise: Seed noise of single runs.

    Returns:
        The test; None without seed noise or with no more configurations than parameters.

    >>> lack_of_fit(8.0, 4, Noise(1.0, 20)).f
    2.0
    """
    # Noise that came out as exactly 0 has no ratio to compare with.
    if not noise.sd or not noise.freedom or degrees <= 0:
        return None
    return ratio_test(sum_of_squares, degrees, noise.sd**2, noise.freedom)


def nested(one: FitResult, other: FitResult) -> FTest | None:
    """Compare two nested least-squares fits to the same rows, whichever of them has more parameters.

    Returns:
        The test; None where they have as many parameters, or the larger leaves no spare row or is exact.

    >>> from theory.data.published import load_published
    >>> from theory.fit.fit import fit_law
    >>> table = load_published("enwik8")
    >>> small, large = (fit_law(name, table.design, table.columns["test_bpc"]) for name in ("quadratic", "cubic"))
    >>> nested(small, large).df
    (1, 10)
    """
    small, large = sorted((one, other), key=lambda fit: fit.p)
    # The larger model's residuals estimate the noise: it is the one that may be right if the smaller is not.
    more, spare = large.p - small.p, large.n - large.p
    if more <= 0 or spare <= 0 or large.rss <= 0:
        return None
    # a search that ended early could leave the larger model worse than the smaller: that is a ratio of 0, not below
    ratio = max(small.rss - large.rss, 0.0) / more / (large.rss / spare)
    return FTest(float(ratio), (more, spare), float(fdtrc(more, spare, ratio)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust chances for the number of tests made at once (Holm 1979), in the order given.

    >>> holm([0.04, 0.01, 0.03])
    [0.06, 0.03, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        # a larger chance never gets a smaller adjusted one than those before it
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
