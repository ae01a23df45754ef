"""From a stored result back to the problem and the point that it came from."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from theory.fit.compile import Compiled, compile_fit
from theory.fit.problem import Problem
from theory.fit.result import FitResult
from theory.fit.robust import limits, variance_factor
from theory.fit.search import huber_threshold, prior_penalty
from theory.types import FloatArray


class Restored(NamedTuple):
    """A fit ready for refits and derivatives."""

    compiled: Compiled
    problem: Problem
    """With the penalties of priors; rows merged for least squares, single for robust losses (without their weights)."""
    x: FloatArray
    """Optimum in search coordinates, [p]."""
    coefficients: FloatArray
    """[groups, q]"""
    variance: float
    """Variance of a residual in the problem's units, in the sense of covariance = variance (J^T J)^-1."""
    threshold: float | None = None
    """Huber's threshold in the problem's units where the fit took it from its replicates: refits keep it."""

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the variance."""
        return self.compiled.n - self.compiled.p


def restore(fit: FitResult) -> Restored:
    """Rebuild the problem of a fit and its optimum."""
    # A result stores what was given and not the problem, which is large and follows from it.
    compiled = compile_fit(fit.law, fit.inputs, merge=fit.inputs.loss == "least_squares")
    problem = compiled.problem
    x = np.array([free.parameter.to_search(fit.values[free.label]) for free in problem.free])
    names = [item.name for item in fit.law.coefficients]
    coefficients = np.array([[fit.coefficients[key][name] for name in names] for key in compiled.group_keys])
    # All runs count, those that were merged too: `fit.rss` includes the spread within replicates.
    variance = fit.rss / compiled.scale**2 / (compiled.n - compiled.p)
    threshold = huber_threshold(compiled, fit.inputs)
    # A robust loss bounds large residuals, so their sum of squares says little of the variance of its estimates.
    if fit.inputs.loss != "least_squares":
        residual = np.sqrt(problem.weights) * (problem.predict(x[None], coefficients[None]) - problem.metric)
        limit = limits(np.array([fit.noise_sd / compiled.scale]), fit.inputs.loss, threshold)
        variance = float(variance_factor(residual, limit, fit.inputs.loss, compiled.p)[0])
    # The same noise that the last round of the search weighed the priors against, once the rounds have settled.
    if fit.inputs.priors:
        problem = replace(problem, penalties=(prior_penalty(problem, fit.inputs, float(np.sqrt(variance))),))
    return Restored(compiled, problem, x, coefficients, variance, threshold)


def missed_means(fit: FitResult, restored: Restored) -> float:
    """Weighted sum of squares by which a least-squares fit misses the means of its configurations, in the problem's
    units: that of the runs without the spread between seeds, which no law can change."""
    # Rounding may leave the difference of an exact fit slightly below 0.
    return max(fit.rss / restored.compiled.scale**2 - restored.compiled.within, 0.0)
