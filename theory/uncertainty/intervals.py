"""Intervals: the delta method, bootstraps, their envelope, predictions.

Measured on 81 runs (3 budgets x 9 d_m x 3 seeds) at nominal 95 %: percentile bootstraps alone cover 81 to 95 %, the
delta method with t quantiles 91 to 98 % (67 % in far extrapolation), the wider of the two (`envelope`) 94 to 99 %.
`calibration.calibrate` measures it on your own design.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from theory.data.design import Design
from theory.errors import TheoryError, unknown
from theory.fit.restore import restore
from theory.fit.result import FitResult
from theory.types import FloatArray
from theory.uncertainty.covariance import linearise
from theory.uncertainty.quantities import Draws, Quantity, all_parameters
from theory.uncertainty.resample import refit_many, resample
from theory.uncertainty.restore import as_draws

CONFIGURATIONS = 10
"""Configurations per parameter from which the cluster bootstrap is trusted (assumption: a draw then has 6 different
ones for each of them)."""

DISAGREE = 4 / 3
"""Ratio of the widths of two bootstraps from which they disagree."""

Kind = Literal["parameter", "mean", "new_run"]

OPEN = 20.0
"""Half width in the logarithm (a factor of 5e8) beyond which an interval limits nothing."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An interval, or the reason why there is none."""

    quantity: str
    """Name of the quantity."""
    estimate: float
    """Value of the fit."""
    low: float | None
    """Lower end; None: see `reason`."""
    high: float | None
    """Upper end; None where the lower one is."""
    level: float
    """Nominal coverage."""
    method: str
    """delta, percentile, envelope or profile."""
    reason: str | None = None
    """Why there is no interval, or what it depends on."""


def delta(fit: FitResult, quantities: Sequence[Quantity] | None = None, *, level: float = 0.95) -> list[Interval]:
    """Linear error propagation with t quantiles.

    Args:
        fit: A usable fit.
        quantities: See `theory.uncertainty.quantities`; default: the searched parameters.
        level: Nominal coverage.

    >>> from theory.fit.fit import fit_law
    >>> design = Design(n_rec=2.0 ** np.arange(12), k_e=np.ones(12))
    >>> noise = 0.003 * np.random.default_rng(0).standard_normal(12)
    >>> fit = fit_law("power_law", design, 1 + design.params ** -0.5 + noise)
    >>> interval = delta(fit)[0]
    >>> interval.low < 0.5 < interval.high
    True
    """
    quantities = _checked(fit, quantities)
    restored = restore(fit)
    linear = linearise(restored.problem, as_draws(fit, restored), np.array([restored.variance]), quantities)
    # t and not normal quantiles, since the variance is estimated from the same few residuals.
    quantile = float(stdtrit(restored.degrees, 0.5 + level / 2))
    intervals = []
    for k, quantity in enumerate(quantities):
        centre, half = float(linear.estimate[0, k]), quantile * float(linear.standard_error[0, k])
        # A flat direction rarely has an error of exactly infinity in floating point; a factor this large means the
        # same.
        if quantity.log and half > OPEN:
            half = np.inf
        reason = _reason(fit, quantity, half)
        # A quantity that nothing fitted enters has an error of 0, but an interval of no width would claim perfect
        # knowledge.
        ends = (None, None) if half == 0 or not np.isfinite(half) else (centre - half, centre + half)
        intervals.append(_interval(quantity, centre, ends, level, "delta", reason))
    return intervals


def bootstrap(fit: FitResult, n: int = 1000, *, kind: str = "cluster", starts: int = 2, seed: int = 0) -> Draws:
    """Refit on resampled data.

    Args:
        fit: A usable fit.
        n: Draws.
        kind: "cluster" (configurations with replacement: trusts no form of noise, needs many configurations),
            "residual", "wild" or "parametric".
        starts: Searches per draw: from the fit and around it.
        seed: Of draws and starts.

    Returns:
        Draws for `percentile` or for quantities of your own.

    >>> from theory.fit.fit import fit_law
    >>> design = Design(n_rec=2.0 ** np.arange(12), k_e=np.ones(12))
    >>> fit = fit_law("power_law", design, 1 + design.params ** -0.5 + 0.003 * np.cos(np.arange(12)))
    >>> bootstrap(fit, 50, kind="residual").parameter("exponent").shape
    (50,)
    """
    if n < 2:
        raise TheoryError(f"n: {n} draws make no interval; need at least 2, better 1000")
    # Of the two, one is None: rows drawn with replacement change the weights, new residuals change the metric.
    metric, weights = resample(fit, n, kind, rng=np.random.default_rng(seed))
    # Another seed for the starts, so that they are independent of the draws.
    refits = refit_many(fit, metric=metric, weights=weights, starts=starts, seed=seed + 1)
    # Where more than half of the refits fail, those that are left are a selection and not a sample.
    if len(refits.draws) < n / 2:
        raise TheoryError(
            f"bootstrap: only {len(refits.draws)} of {n} refits gave finite values; the fit is not usable"
        )
    return refits.draws


def percentile(draws: Draws, quantities: Sequence[Quantity] | None = None, *, level: float = 0.95) -> list[Interval]:
    """Take the percentiles of bootstrap draws.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> interval = percentile(bootstrap(fit, 100, kind="residual"))[0]
    >>> interval.quantity, interval.low < fit.values["a"] < interval.high
    ('a', True)
    """
    quantities = _checked(draws.fit, quantities)
    here = as_draws(draws.fit, restore(draws.fit))
    intervals = []
    for quantity in quantities:
        # The estimate is the fit's own value; the middle of the draws would carry the bootstrap's bias.
        values, centre = _scaled(quantity, draws), float(_scaled(quantity, here)[0])
        low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
        intervals.append(_interval(quantity, centre, (float(low), float(high)), level, "percentile", None))
    return intervals


def envelope(
    fit: FitResult,
    quantities: Sequence[Quantity] | None = None,
    *,
    level: float = 0.95,
    draws: Draws | None = None,
    clusters: Draws | None = None,
    n: int = 1000,
    seed: int = 0,
) -> list[Interval]:
    """Take the wider end, on each side, of the delta method and a percentile bootstrap: the default interval.

    Residuals are exchanged between all rows, which is optimistic where outliers or noise sit on rows that decide. Where
    the configurations are many enough to be drawn themselves, both bootstraps are made; if their widths differ by more
    than a third, the wider is taken and the reason says so.

    Args:
        fit: A usable fit.
        quantities: Default: the searched parameters.
        level: Nominal coverage of each.
        draws: Bootstrap draws; default: `n` residual draws (the kind whose coverage was measured).
        clusters: Draws of configurations to compare with, see `cluster_draws`; default: `n` of them if `draws` are not
            given either.
        n: Draws if none are given.
        seed: Their seed.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> from theory.uncertainty.quantities import best_d_m
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> optimum = envelope(fit, [best_d_m(3_516_748, table.cost)], n=100)[0]
    >>> 14 < optimum.low < optimum.estimate < optimum.high < 20
    True
    """
    quantities = _checked(fit, quantities)
    if draws is None:
        draws = bootstrap(fit, n, kind="residual", seed=seed)
        clusters = clusters or cluster_draws(fit, n, seed=seed)
    linear, resampled = delta(fit, quantities, level=level), percentile(draws, quantities, level=level)
    drawn = [None] * len(quantities) if clusters is None else percentile(clusters, quantities, level=level)
    return [
        _hull(quantity, one, *_wider(quantity, two, other))
        for quantity, one, two, other in zip(quantities, linear, resampled, drawn, strict=True)
    ]


def cluster_draws(fit: FitResult, n: int = 1000, *, seed: int = 0) -> Draws | None:
    """Draw configurations with replacement, if there are enough of them for such draws to be trusted.

    A draw leaves out a third of the configurations, so a law needs several times as many as it has parameters.

    Args:
        fit: A usable fit.
        n: Draws.
        seed: Of draws and starts.

    Returns:
        The draws; None with fewer than 10 configurations per parameter.
    """
    if int(fit.inputs.design.configurations().max()) + 1 < CONFIGURATIONS * fit.p:
        return None
    return bootstrap(fit, n, kind="cluster", seed=seed)


def _wider(quantity: Quantity, residual: Interval, cluster: Interval | None) -> tuple[Interval, str | None]:
    """The interval to use, and what to say of it where the two bootstraps disagree."""
    # Without cluster draws there is nothing to compare with.
    if cluster is None or None in (residual.low, residual.high, cluster.low, cluster.high):
        return residual, None
    one, other = (_width(quantity, interval) for interval in (residual, cluster))
    if max(one, other) <= DISAGREE * min(one, other):
        return residual, None
    # Uneven noise makes the residual bootstrap too narrow, and few configurations may do the same to the cluster
    # bootstrap. The wider errs on the safe side.
    kind, ratio = ("cluster", other / one) if other > one else ("residual", one / other)
    words = (
        f"drawing configurations and drawing residuals disagree; the {kind} bootstrap's interval is {ratio:.1f} times "
        "as wide and is the one given: noise is uneven, or some runs are outliers"
    )
    return (cluster if kind == "cluster" else residual), words


def _width(quantity: Quantity, interval: Interval) -> float:
    assert interval.low is not None, "an interval without ends has no width"
    assert interval.high is not None, "an interval without ends has no width"
    # The width is compared on the scale on which the interval was built.
    return float(np.log(interval.high / interval.low)) if quantity.log else interval.high - interval.low


def _hull(quantity: Quantity, one: Interval, two: Interval, words: str | None) -> Interval:
    reason = "; ".join(part for part in (one.reason, words) if part) or None
    # Where the delta method finds a direction open, finite percentiles only show how far the searches went.
    if one.low is None or one.high is None or two.low is None or two.high is None:
        low = high = None
    else:
        # On each side by itself: the delta method is symmetric by construction, the bootstrap shows a skew.
        low, high = min(one.low, two.low), max(one.high, two.high)
    return Interval(
        quantity=quantity.name,
        estimate=one.estimate,
        low=low,
        high=high,
        level=one.level,
        method="envelope",
        reason=reason,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Predicted metric with intervals, [rows] each."""

    mean: FloatArray
    """Fitted means."""
    low: FloatArray
    """Lower ends."""
    high: FloatArray
    """Upper ends."""
    kind: Kind
    """"mean": of the mean over runs; "new_run": of one new run, seed noise included."""
    level: float
    """Nominal coverage."""


def prediction(
    fit: FitResult,
    design: Design,
    *,
    kind: Literal["mean", "new_run"] = "mean",
    level: float = 0.95,
    group: object = None,
) -> Prediction:
    """Predict the metric with an interval of the mean, or of one new run.

    Args:
        fit: A usable fit.
        design: Where.
        kind: "mean" or "new_run".
        level: Nominal coverage.
        group: Metric group for all rows where the design has no such covariate.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> mean, run = prediction(fit, table.design), prediction(fit, table.design, kind="new_run")
    >>> bool((run.high - run.low > mean.high - mean.low).all())
    True
    """
    if kind not in ("mean", "new_run"):
        raise unknown("kind", kind, ("mean", "new_run"))
    restored = restore(fit)
    # Each row is a quantity of its own, so that its error includes the covariance between coefficients and searched
    # parameters.
    rows = [_row_quantity(design.take([row]), group) for row in range(len(design))]
    linear = linearise(restored.problem, as_draws(fit, restored), np.array([restored.variance]), rows)
    # The error of the fitted mean and the noise of a new run are independent, so their variances add.
    spread = linear.standard_error[0] ** 2 + (fit.noise_sd**2 if kind == "new_run" else 0.0)
    half = float(stdtrit(restored.degrees, 0.5 + level / 2)) * np.sqrt(spread)
    mean = linear.estimate[0]
    return Prediction(mean=mean, low=mean - half, high=mean + half, kind=kind, level=level)


def _row_quantity(row: Design, group: object) -> Quantity:
    # No logarithm: a metric may have either sign, and errors of its mean are nearly normal as it is.
    return Quantity(name="metric", evaluate=lambda draws: draws.predict(row, group=group)[:, 0], log=False)


def _checked(fit: FitResult, quantities: Sequence[Quantity] | None) -> list[Quantity]:
    if not fit.usable:
        raise TheoryError("fit: not usable, so its numbers have no intervals; read its statuses")
    return all_parameters(fit) if quantities is None else list(quantities)


def _scaled(quantity: Quantity, draws: Draws) -> FloatArray:
    values = quantity.evaluate(draws)
    return np.log(values) if quantity.log else values


def _reason(fit: FitResult, quantity: Quantity, half: float) -> str | None:
    # A parameter at its bound counts as known there, which makes other intervals narrower than they should be. So the
    # reason of every interval names it.
    bound = [name for name in fit.free if fit.at_bound(name)]
    if quantity.name in bound:
        return f"{quantity.name} is at its bound: the data do not limit it"
    if not np.isfinite(half):
        return (
            f"{quantity.name} is not identified: the data leave a direction open that changes it; see identifiability"
        )
    if half == 0:
        return f"{quantity.name} does not depend on anything that was fitted"
    return f"holds {', '.join(bound)} at the bound" if bound else None


def _interval(
    quantity: Quantity,
    centre: float,
    ends: tuple[float | None, float | None],
    level: float,
    method: str,
    reason: str | None,
) -> Interval:
    # Ends in the logarithm come back through exp, so that positive quantities have positive ends.
    low, high = (None if end is None else float(np.exp(end)) if quantity.log else end for end in ends)
    estimate = float(np.exp(centre)) if quantity.log else centre
    return Interval(
        quantity=quantity.name, estimate=estimate, low=low, high=high, level=level, method=method, reason=reason
    )
