"""What replicates say: the noise between seeds of one configuration, and whether budgets differ in it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from theory.data.design import IntArray, check_metric, check_weights
from theory.data.moderated import run_noise
from theory.errors import TheoryError
from theory.types import FloatArray


class Noise(NamedTuple):
    """Pooled standard deviation between seeds."""

    sd: float | None
    """None where no configuration has two runs."""
    freedom: int
    """Its degrees of freedom: runs minus configurations."""


def pure_error(metric: FloatArray, configurations: IntArray, weights: FloatArray | None = None) -> Noise:
    """Pool the variance between replicates (seeds of one configuration) over all configurations.

    Args:
        metric: [rows].
        configurations: Number of each row's configuration, from 0, [rows].
        weights: 1 / variance of each row up to a factor, [rows]; None: equal.

    >>> noise = pure_error(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]))
    >>> round(noise.sd, 6), noise.freedom
    (1.414214, 1)
    """
    weight = np.ones_like(metric) if weights is None else weights
    total = np.bincount(configurations, weights=weight)
    # a number that no row has leaves a gap with total 0, whose mean nobody asks for
    mean = np.bincount(configurations, weights=weight * metric) / np.where(total > 0, total, 1)
    # Each configuration with runs spends one degree of freedom on its mean.
    freedom = metric.size - int(np.count_nonzero(total))
    if freedom == 0:
        return Noise(None, 0)
    # Weights are inverse variances up to a factor, so this is the noise of a run of weight 1.
    return Noise(float(np.sqrt(np.sum(weight * (metric - mean[configurations]) ** 2) / freedom)), freedom)


def replicate_weights(
    metric: npt.ArrayLike, configurations: npt.ArrayLike, by: npt.ArrayLike, *, prior_df: float = 4.0
) -> FloatArray:
    """Weights 1 / variance from replicates, one variance for each group of rows, shrunk towards the pooled one.

    Args:
        metric: [rows].
        configurations: Label of each row's configuration, [rows]; its spread is seed noise.
        by: Groups that may differ in noise, such as the budget, [rows].
        prior_df: Degrees of freedom that the pooled variance counts for (assumption).

    Raises:
        TheoryError: no configuration has two seeds.

    >>> replicate_weights([0.0, 2.0, 0.0, 0.2], [0, 0, 1, 1], [1, 1, 2, 2]).round(2).tolist()
    [0.8, 0.8, 1.2, 1.2]
    """
    groups = np.asarray(by)
    values = check_metric(metric, groups.size)
    codes = np.unique(np.asarray(configurations), return_inverse=True)[1].ravel().astype(np.int64)
    noise = run_noise(values, codes, groups)
    if noise is None:
        raise TheoryError("configurations: none has two seeds, so the noise is unknown; use equal weights or add seeds")
    own = noise.variance[codes]
    known = np.bincount(codes)[codes] > 1
    pooled = float(own[known].mean())
    variance = np.empty(groups.size)
    for group in np.unique(groups):
        rows = groups == group
        freedom = int(rows.sum()) - np.unique(codes[rows]).size
        # A few seeds estimate a variance badly, and one that comes out near 0 by chance would take over the fit; the
        # pooled one counts as prior_df more degrees of freedom. A group without replicates gets it alone.
        variance[rows] = (freedom * float(own[rows].mean()) + prior_df * pooled) / (freedom + prior_df)
    # The estimate of least variance weighs each row by its inverse variance (Gauss and Markov).
    return check_weights(1 / variance, groups.size)


def bartlett(noises: Sequence[Noise]) -> float | None:
    """Chance of variances this different if they were the same (Bartlett 1937, with his correction).

    Args:
        noises: Pooled noise of each group. Those without noise or with a single degree of freedom are left out, since
            the approximation needs more.

    Returns:
        The chance; None where fewer than two groups are left to compare.

    >>> bartlett([Noise(0.01, 10), Noise(0.01, 10)])
    1.0
    """
    usable = [(noise.sd, noise.freedom) for noise in noises if noise.sd and noise.freedom > 1]
    if len(usable) < 2:
        return None
    sd, freedom = (np.array(column, dtype=float) for column in zip(*usable, strict=True))
    total, count = freedom.sum(), len(usable)
    pooled = float((freedom * sd**2).sum() / total)
    # Bartlett's statistic is 0 where all groups have one variance and grows with their spread.
    statistic = total * np.log(pooled) - float((freedom * np.log(sd**2)).sum())
    # without the correction the statistic of small groups is too large for its chi-squared distribution
    correction = 1 + (float((1 / freedom).sum()) - 1 / total) / (3 * (count - 1))
    # Rounding may leave equal variances slightly below 0.
    return float(chdtrc(count - 1, max(float(statistic) / correction, 0.0)))
