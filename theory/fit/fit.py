"""Fit a law: variable projection inside, many seeded starts outside, a tight polish at the end, findings as sentences.

>>> from theory.data.published import load_published
>>> table = load_published("enwik8")
>>> fit = fit_law("separable_power_law", table.design, table.columns["test_bpc"])
>>> round(fit.rmse, 5), fit.usable
(0.00466, True)
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.data.design import Design, check_metric
from theory.data.replicates import pure_error
from theory.errors import TheoryError, unknown
from theory.fit.compile import Compiled, compile_fit
from theory.fit.problem import Problem
from theory.fit.result import Direction, FitInput, FitResult
from theory.fit.search import Found, search
from theory.fit.statuses import design_statuses, search_statuses, value_statuses
from theory.laws.base import Law
from theory.laws.parameters import Prior
from theory.laws.registry import get_law
from theory.types import FloatArray

LOSSES = ("least_squares", "tukey", "huber")

SPARE = 5
"""Rows beyond the number of parameters: with fewer, AICc's correction is undefined or larger than any evidence."""

MIN_STARTS = 8
"""Fewer searches than this cannot say whether they agree; as many are made beside the one that begins at a fit."""


def fit_law(
    law: str | Law,
    design: Design,
    metric: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    groups: str | npt.ArrayLike | None = None,
    vary: Mapping[str, str | npt.ArrayLike] | None = None,
    fixed: Mapping[str, float] | None = None,
    priors: Mapping[str, Prior] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    direction: Direction = "min",
    loss: str = "least_squares",
    huber_threshold: float | None = None,
    starts: int = 32,
    seed: int = 0,
    spare: int = SPARE,
) -> FitResult:
    """Fit a law to independent runs.

    Args:
        law: A law, or its name (options: use `laws.get_law`).
        design: Sizes, one row per run.
        metric: [rows], finite, in the metric's own units (accuracies: see `links.to_logit`).
        weights: 1 / variance of each row up to a factor, [rows]; None: equal.
        groups: Covariate name or labels, [rows]: each level has its own coefficients (a, b).
        vary: Covariate name or labels by parameter: the parameter has one value per level, the others are shared.
        fixed: Values of parameters that are not searched.
        priors: Normal priors; announced in the statuses.
        bounds: Bounds that replace a parameter's own, natural units.
        direction: "min" if smaller metric is better, "max" if larger.
        loss: "least_squares", "tukey" (iteratively reweighted, rejects outliers) or "huber".
        huber_threshold: Residual beyond which Huber's loss is linear, in metric units (of a run of mean weight); None:
            1.345 standard deviations of replicates, or of residuals. Refits keep it.
        starts: Searches, at least 8.
        seed: Seed of the starting points.
        spare: Rows required beyond the number of parameters, at least 1.

    Raises:
        TheoryError: the input cannot be fitted; the message says why and what would help.

    >>> design = Design(n_rec=[100, 200, 400, 800, 100, 200, 400, 800], k_e=[50.0] * 4 + [500.0] * 4)
    >>> fit = fit_law("power_law", design, 1 + design.params ** -0.5)
    >>> round(fit.values["exponent"], 6)
    0.5
    """
    design, group_name, vary_names = _named(design, groups, vary or {})
    if loss not in LOSSES:
        raise unknown("loss", loss, LOSSES)
    if huber_threshold is not None and (loss != "huber" or not 0 < huber_threshold < np.inf):
        raise TheoryError(
            f"huber_threshold: {huber_threshold:g} must be finite and above 0, with loss huber (here {loss})"
        )
    if direction not in ("min", "max"):
        raise unknown("direction", direction, ("min", "max"))
    if starts < MIN_STARTS:
        raise TheoryError(f"starts: {starts} is too few to see whether searches agree; need at least {MIN_STARTS}")
    if spare < 1:
        raise TheoryError(f"spare: {spare} leaves no residual to judge the fit by; need at least 1")
    inputs = FitInput(
        design=design,
        metric=check_metric(metric, len(design)),
        weights=None if weights is None else np.asarray(weights, dtype=np.float64),
        groups=group_name,
        vary=vary_names,
        fixed=dict(fixed or {}),
        priors=dict(priors or {}),
        bounds=dict(bounds or {}),
        direction=direction,
        loss=loss,
        huber_threshold=huber_threshold,
        starts=starts,
        seed=seed,
        spare=spare,
    )
    return _fit_bound(get_law(law).bind(design), inputs)


def _fit_bound(law: Law, inputs: FitInput) -> FitResult:
    """Fit a bound law to a stored input: what `fit_law` does after reading its arguments, and what refits use."""
    # Means of replicates are sufficient for least squares; a robust loss judges every run by itself.
    compiled = compile_fit(law, inputs, merge=inputs.loss == "least_squares")
    outcome = search(compiled, inputs)
    return _assemble(law, inputs, compiled, outcome)


def refit(fit: FitResult, **changes: Any) -> FitResult:
    """Repeat a fit with the same law, references and settings but for the changes.

    The optimum is seldom far from the fit's, so one search begins there, and a few others see whether it moved away.

    Args:
        fit: A usable fit.
        changes: Fields of `FitInput`, such as the design, metric and weights of other rows.
    """
    inputs = replace(fit.inputs, near=fit.values, starts=MIN_STARTS, **changes)
    # Other losses have no such threshold.
    kept = inputs if inputs.loss == "huber" else replace(inputs, huber_threshold=None)
    return _fit_bound(fit.law, kept)


def refit_part(fit: FitResult, keep: npt.NDArray[np.bool_]) -> FitResult:
    """Repeat a fit on some of its rows.

    Args:
        fit: A usable fit.
        keep: Which rows stay, [rows].
    """
    inputs = fit.inputs
    weights = None if inputs.weights is None else inputs.weights[keep]
    return refit(fit, design=inputs.design.take(keep), metric=inputs.metric[keep], weights=weights)


def _named(
    design: Design, groups: str | npt.ArrayLike | None, vary: Mapping[str, str | npt.ArrayLike]
) -> tuple[Design, str | None, dict[str, str]]:
    """Turn labels given as arrays into covariates, so that everything has a name and travels with the design."""
    covariates = dict(design.covariates)
    names: dict[str, str] = {}
    for parameter, spec in vary.items():
        name = spec if isinstance(spec, str) else f"{parameter}_level"
        covariates[name] = design.labels(spec, f"vary.{parameter}")
        # Refits on other rows look levels up by the name of a column, which labels given as an array do not have.
        names[parameter] = name
    group_name = groups if isinstance(groups, str) or groups is None else "group"
    if group_name is not None:
        covariates[group_name] = design.labels(groups, "groups")
    return replace(design, covariates=covariates), group_name, names


def _assemble(law: Law, inputs: FitInput, compiled: Compiled, outcome: Found) -> FitResult:
    # The problem works in units of the metric's spread, so its sum of squares needs the square of that to come back.
    problem, best, rss = outcome.problem, outcome.best, outcome.rss * compiled.scale**2
    robust = outcome.robust_scale is not None
    values = {name: float(value) for name, value in inputs.fixed.items()}
    # Fixed values stand beside searched ones: whoever reads a result needs all numbers of the law.
    values |= {free.label: float(free.parameter.to_natural(best.x[j])) for j, free in enumerate(problem.free)}
    # Numbers that follow from the parameters are given at the reference level, because a result has one of each.
    reference = {
        number.parameter.name: values[number.label] for number in problem.free if problem.levels.is_reference(number)
    } | dict(inputs.fixed)
    columns = [coefficient.name for coefficient in law.coefficients]
    coefficients = {
        key: {name: float(value) for name, value in zip(columns, best.coefficients[g], strict=True)}
        for g, key in enumerate(compiled.group_keys)
    }
    # Also for robust losses: the noise between seeds is a property of the data, whatever is fitted to them.
    sd, freedom = pure_error(inputs.metric, inputs.design.configurations(), compiled.weights)
    result = FitResult(
        law=law,
        inputs=inputs,
        values=values,
        free=tuple(free.label for free in problem.free),
        bounds={free.label: (free.parameter.lower, free.parameter.upper) for free in problem.free},
        coefficients=coefficients,
        derived=law.derived(reference),
        n=compiled.n,
        p=compiled.p,
        rss=rss,
        rmse=float(np.sqrt(rss / compiled.n)),
        pearson_r=None,
        # A reweighted sum of squares is no likelihood.
        aicc=None if robust else aicc(rss, compiled.n, compiled.p, compiled.scale),
        noise_sd=outcome.robust_scale * compiled.scale
        if outcome.robust_scale is not None
        else float(np.sqrt(rss / (compiled.n - compiled.p))),
        pure_error_sd=sd,
        pure_error_df=freedom,
        condition=condition(problem, best.x),
        starts=outcome.starts,
        statuses=(),
        robust_weights=outcome.robust_weights,
    )
    # The correlation needs the result's own prediction, and the statuses need both, so they are filled in afterwards.
    result = replace(result, pearson_r=_pearson(result.predict(inputs.design), inputs.metric))
    statuses = [
        *search_statuses(outcome.best, outcome.starts, outcome.non_finite, problem),
        *value_statuses(result, constant_aicc(inputs)),
        *design_statuses(result),
    ]
    rank: dict[str, int] = {"error": 0, "warning": 1, "note": 2, "ok": 3}
    # Sorting is stable: within a level, findings keep the order in which they were made.
    return replace(result, statuses=tuple(sorted(statuses, key=lambda status: rank[status.level])))


def aicc(rss: float, n: int, p: int, scale: float) -> float | None:
    """AICc of a Gaussian likelihood with K = p + 1 parameters (the variance counts); None for an exact fit or too few
    rows.

    >>> round(aicc(14 * 0.004845**2, 14, 3, 1.0), 1)
    -136.8
    """
    penalty = aicc_penalty(n, p)
    # Residuals of 1e-12 of the spread are rounding errors, whose logarithm would win every comparison.
    if rss <= 1e-24 * n * scale**2 or penalty is None:
        return None
    return float(n * np.log(rss / n) + penalty)


def aicc_penalty(n: int, p: int) -> float | None:
    """What AICc adds for p parameters and the variance; None with too few rows."""
    k = p + 1
    # The correction divides by this number; at or below 0 there are too few rows for any comparison.
    return None if n - k - 1 <= 0 else 2 * k + 2 * k * (k + 1) / (n - k - 1)


def constant_aicc(inputs: FitInput) -> float | None:
    """AICc of no law at all: one mean per metric group."""
    # Scaled to mean 1 as in the fit, since AICc's compare only on the same scale.
    weights = np.ones_like(inputs.metric) if inputs.weights is None else inputs.weights / inputs.weights.mean()
    labels = inputs.design.labels(inputs.groups, "groups")
    codes = np.unique(labels, return_inverse=True)[1].ravel()
    total = np.bincount(codes, weights=weights)
    mean = np.bincount(codes, weights=weights * inputs.metric) / total
    rss = float(np.sum(weights * (inputs.metric - mean[codes]) ** 2))
    return aicc(rss, inputs.metric.size, total.size, float(np.std(inputs.metric)))


def condition(problem: Problem, x: FloatArray) -> float | None:
    """Condition number of the Jacobian in search coordinates, coefficients eliminated."""
    if x.size == 0:
        return None
    # Taken after the coefficients are eliminated: what remains is how well the searched parameters are told apart.
    singular = np.linalg.svd(problem.evaluate(x[None]).jacobian[0], compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else None


def _pearson(prediction: FloatArray, metric: FloatArray) -> float | None:
    # A constant has no correlation, and one that is constant up to rounding would have a random one.
    if np.ptp(prediction) <= 1e-12 * np.abs(prediction).max() or np.ptp(metric) == 0:
        return None
    return float(np.corrcoef(prediction, metric)[0, 1])
