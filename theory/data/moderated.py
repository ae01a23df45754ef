"""Noise of a single run where networks differ in it: each configuration's own variance, moderated by its budget's.

Two or three seeds say little about the noise of one configuration, and one variance for all says it wrongly where small
or narrow networks are noisier. In between lies the empirical Bayes estimate of Smyth (2004), "Linear models and
empirical Bayes methods for assessing differential expression in microarray experiments", Statistical Applications in
Genetics and Molecular Biology 3(1): the variance of a configuration is the mean of its own and that of its budget,
weighted by degrees of freedom, and how many the budget's counts for is read off the spread of the variances. Where they
differ no more than chance makes them, it is the variance pooled over the budget.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, polygamma, stdtrit

from theory.data.design import IntArray
from theory.types import FloatArray

LEAST = 1e-5
"""Share of the median variance below which a variance counts as that much: equal runs of a rounded metric would
otherwise have a logarithm of minus infinity (the offset of Smyth's program limma)."""

MOST_PRIOR = 1e6
"""Degrees of freedom of the prior from which it counts as certain: no variance differs from its budget's."""


NEWTON_STEPS = 50
"""Most steps of Newton's method, which needs fewer than ten."""

TINY = 1e-300
"""In place of a divisor of zero, where every run of two configurations is the same."""


class RunNoise(NamedTuple):
    """Seed noise of a single run of each configuration."""

    variance: FloatArray
    """In squared units of the metric, [configurations]."""
    freedom: FloatArray
    """Degrees of freedom that it rests on, [configurations]; never more than those of the budget's pooled variance."""
    borrowed: npt.NDArray[np.bool_]
    """Whether no configuration of its budget has two runs, so that the other budgets stand in, [configurations]."""

    def take(self, index: npt.ArrayLike) -> "RunNoise":
        """The noise of some of the configurations."""
        return RunNoise(*(np.asarray(column)[np.asarray(index)] for column in self))

    @property
    def sd(self) -> FloatArray:
        """Standard deviation of a single run, [configurations]."""
        return np.asarray(np.sqrt(self.variance))


def run_noise(metric: FloatArray, configurations: IntArray, levels: npt.ArrayLike) -> RunNoise | None:
    """Estimate the noise of a run of each configuration.

    Args:
        metric: [rows].
        configurations: Number of each row's configuration, from 0 without gaps, [rows].
        levels: Budget of each row, or another size within which noise is alike, [rows].

    Returns:
        The noise; None where no configuration has two runs.

    >>> noise = run_noise(np.array([0.0, 2.0, 0.0, 2.0, 5.0]), np.array([0, 0, 1, 1, 2]), np.ones(5))
    >>> noise.variance.tolist(), noise.freedom.tolist()
    ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0])
    """
    runs = np.bincount(configurations)
    means = np.bincount(configurations, weights=metric) / runs
    own_freedom = (runs - 1).astype(np.float64)
    if not own_freedom.any():
        return None
    squares = np.bincount(configurations, weights=(metric - means[configurations]) ** 2)
    own = squares / np.maximum(own_freedom, 1)
    first = np.unique(configurations, return_index=True)[1]
    level = np.unique(np.asarray(levels)[first], return_inverse=True)[1].ravel()
    pooled = np.bincount(level, weights=squares).astype(np.float64)
    pooled_freedom = np.bincount(level, weights=own_freedom).astype(np.float64)
    known = pooled_freedom > 0
    centre, prior_freedom = _prior(own, own_freedom, level, pooled, pooled_freedom)
    # A budget without replicates has no noise of its own to show; what all others show together is the best guess.
    centre = np.where(known, centre, squares.sum() / own_freedom.sum())
    most = np.where(known, pooled_freedom, own_freedom.sum())
    if np.isinf(prior_freedom):
        variance, freedom = centre[level], most[level]
    else:
        freedom = prior_freedom + own_freedom
        variance = (prior_freedom * centre[level] + own_freedom * own) / freedom
        freedom = np.minimum(freedom, most[level])
    return RunNoise(variance, freedom, ~known[level])


def _prior(
    own: FloatArray, own_freedom: FloatArray, level: IntArray, pooled: FloatArray, pooled_freedom: FloatArray
) -> tuple[FloatArray, float]:
    """Variance around which those of each level's configurations lie, [levels], and the degrees of freedom it has."""
    equal = pooled / np.maximum(pooled_freedom, 1)
    repeated = own_freedom > 0
    median = float(np.median(own[repeated]))
    spare = int(repeated.sum()) - np.unique(level[repeated]).size
    # With one replicated configuration per level, or mostly equal runs, nothing tells how far variances differ.
    if spare < 1 or median <= 0:
        return equal, np.inf
    half, at = own_freedom[repeated] / 2, level[repeated]
    # Logarithms of variances, corrected by the mean that chance gives them (Smyth 2004, section 6.2).
    logs = np.log(np.maximum(own[repeated], LEAST * median)) - digamma(half) + np.log(half)
    count = np.bincount(at, minlength=equal.size)
    mean = np.bincount(at, weights=logs, minlength=equal.size) / np.maximum(count, 1)
    excess = float(np.sum((logs - mean[at]) ** 2) / spare - np.mean(polygamma(1, half)))
    if excess <= polygamma(1, MOST_PRIOR / 2):
        return equal, np.inf
    prior = 2 * _inverse_trigamma(excess)
    return np.asarray(np.exp(mean + digamma(prior / 2) - np.log(prior / 2))), prior


def _inverse_trigamma(value: float) -> float:
    """Argument at which the trigamma function has a value above 0: Newton's method, from below (Smyth 2004, appendix).

    >>> round(_inverse_trigamma(float(polygamma(1, 2.5))), 9)
    2.5
    """
    x = 0.5 + 1 / value
    for _ in range(NEWTON_STEPS):
        at = float(polygamma(1, x))
        step = at * (1 - at / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x


def difference_limits(noise: RunNoise, runs: FloatArray, best: int, level: float) -> FloatArray:
    """Differences of two means that noise explains, of each configuration from the best one.

    Welch's t test: variances of the two may differ, and their degrees of freedom are combined (Welch 1947).

    Args:
        noise: Of the configurations that are compared, [n].
        runs: Of each configuration, [n].
        best: Number of the best one.
        level: Confidence of the two-sided test, such as 0.95.

    Returns:
        The largest such difference, [n].

    >>> alike = RunNoise(np.array([2.0, 2.0]), np.array([4.0, 4.0]), np.array([False, False]))
    >>> difference_limits(alike, np.array([2.0, 2.0]), 0, 0.95).round(3).tolist()
    [3.926, 3.926]
    """
    share = noise.variance / runs
    both = share + share[best]
    # Two means whose variance is one pooled estimate have its degrees of freedom, not twice as many.
    most = np.maximum(noise.freedom, noise.freedom[best])
    combined = both**2 / np.maximum(share**2 / noise.freedom + share[best] ** 2 / noise.freedom[best], TINY)
    freedom = np.where(both > 0, np.minimum(combined, most), most)
    return np.asarray(stdtrit(freedom, (1 + level) / 2) * np.sqrt(both))
