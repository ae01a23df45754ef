"""Intervals that carry the choice of the law: averaged over the laws that were compared, weighted by their AICc.

The interval of a law that AICc chose assumes that it was the only law considered. Here every law that was compared
takes part with its Akaike weight (Burnham and Anderson 2002, chapter 4), and an end of the interval is where the
weighted tail areas of all laws reach (1 - level) / 2: the model-averaged tail area interval of Turek and Fletcher
(2012, Computational Statistics and Data Analysis 56).

The unit of evidence is the mean of a configuration, not the run. Where no law is right, the misses of all seeds of a
configuration are one miss; counted as runs they would make the weights too sure and the errors too small. Where a law
is right, the means lose only the degrees of freedom between seeds.

Misses of a wrong law are alike at neighbouring sizes, which no sum of squares shows. So each law's error is the larger
of the delta method's and of the delete-a-group jackknife's (Shao and Tu 1995, chapter 2), which refits without each
level of k_e in turn (and, where the law shows lack of fit, without each budget): an optimum that hangs on single levels
has a wide interval. `theory/simulations/coverage.md` has
the measured coverage; departures that no residual shows remain invisible to every interval made of residuals.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from theory.errors import TheoryError
from theory.fit.restore import Restored, restore
from theory.fit.result import FitResult
from theory.types import FloatArray
from theory.uncertainty.covariance import linearise
from theory.uncertainty.intervals import Interval
from theory.uncertainty.quantities import Draws, Quantity
from theory.uncertainty.resample import refit_many
from theory.uncertainty.restore import as_draws
from theory.uncertainty.selection import means_aicc

LEAST_WEIGHT = 1e-3
"""Laws with less weight are left out: they cannot move an end where the tail area is 0.025."""

LEAST_LEVELS = 5
"""Levels of k_e below which the jackknife has too few groups for an error of its own (assumption)."""

LEAST_BUDGETS = 3
"""The same for budgets, which a sweep has few of."""

HALVINGS = 50
"""Bisections of an end, down to 1e-15 of its first bracket."""


class Evidence(NamedTuple):
    """What one law says of some quantities, for R data sets at once."""

    aicc: FloatArray
    """AICc of the means of the configurations, [R]; inf where there are too few."""
    estimate: FloatArray
    """[R, quantities], in logarithms where the quantity asks for it."""
    standard_error: FloatArray
    """From the misses of the means, [R, quantities]; inf where the data leave the quantity open."""
    degrees: int
    """Degrees of freedom of the standard errors."""


def evidence(restored: Restored, draws: Draws, rss: FloatArray, quantities: Sequence[Quantity]) -> Evidence:
    """Collect what one law says.

    Args:
        restored: The fit of the law, by least squares.
        draws: Its parameters for R data sets.
        rss: Sum of squares of the means of each, in the problem's units, [R].
        quantities: What is asked.

    Raises:
        TheoryError: as many parameters as configurations.
    """
    means, p = len(restored.problem.design), restored.compiled.p
    degrees = means - p
    if degrees < 1:
        raise TheoryError(
            f"{restored.problem.law.label}: {means} configurations leave no degree of freedom beside {p} parameters"
        )
    linear = linearise(restored.problem, draws, rss / degrees, quantities)
    return Evidence(means_aicc(rss, means, p), linear.estimate, linear.standard_error, degrees)


def weights_of(laws: Sequence[Evidence]) -> FloatArray:
    """Akaike weights, [R, laws]; those too small to move an end are 0.

    Args:
        laws: One entry for each law.
    """
    score = np.stack([law.aicc for law in laws], axis=1)
    lowest = score.min(axis=1, keepdims=True)
    # Where no law has an AICc, all count alike.
    known = np.isfinite(lowest)
    gap = np.where(known, score - np.where(known, lowest, 0.0), 0.0)
    weight = np.exp(-gap / 2)
    weight /= weight.sum(axis=1, keepdims=True)
    weight = np.where(weight < LEAST_WEIGHT, 0.0, weight)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def widen(
    fit: FitResult,
    law: Evidence,
    draws: Draws,
    quantities: Sequence[Quantity],
    *,
    wrong: npt.NDArray[np.bool_],
    metric: FloatArray | None = None,
    level: float = 0.95,
) -> Evidence:
    """Widen the errors of a law to those of the jackknife, where these are larger.

    Args:
        fit: Whose law and settings are used.
        law: What it says.
        draws: Its parameters for R data sets.
        quantities: What is asked.
        wrong: Where the law shows lack of fit, [R]: these are refitted without each budget in turn as well.
        metric: The data sets, [R, rows]; None: the fit's own.
        level: Nominal coverage, at which the two kinds of error are compared.

    Returns:
        The same with larger errors; unchanged with fewer than 5 levels of k_e and fewer than 3 budgets.
    """
    design = restore(fit).problem.design
    data = fit.given.metric[None] if metric is None else metric
    error = law.standard_error
    everywhere = np.ones(len(data), dtype=np.bool_)
    for size, least, where in ((design.k_e, LEAST_LEVELS, everywhere), (design.budgets, LEAST_BUDGETS, wrong)):
        groups = np.unique(size, return_inverse=True)[1].ravel()
        if groups.max() + 1 >= least and where.any():
            jackknife = np.zeros_like(error)
            jackknife[where] = _jackknife(fit, law, draws, quantities, data, groups, where, wrong, level)
            error = np.maximum(error, jackknife)
    return law._replace(standard_error=error)


def _jackknife(
    fit: FitResult,
    law: Evidence,
    draws: Draws,
    quantities: Sequence[Quantity],
    data: FloatArray,
    groups: npt.NDArray[np.intp],
    where: npt.NDArray[np.bool_],
    wrong: npt.NDArray[np.bool_],
    level: float,
) -> FloatArray:
    """Standard errors of the delete-a-group jackknife for some data sets, wider where its few groups stand alone."""
    chosen, count = np.flatnonzero(where), int(groups.max()) + 1
    left = (groups != np.arange(count)[:, None]).astype(np.float64)
    again = refit_many(
        fit,
        metric=np.repeat(data[chosen], count, axis=0),
        weights=np.tile(left, (chosen.size, 1)),
        centre=np.repeat(draws.x[chosen], count, axis=0),
    )
    # A refit that fails without a group says that everything hangs on it.
    moved = np.full((chosen.size * count, len(quantities)), np.inf)
    values = [quantity.evaluate(again.draws) for quantity in quantities]
    moved[again.kept.astype(np.int64)] = np.stack(
        [np.log(value) if quantity.log else value for quantity, value in zip(quantities, values, strict=True)], axis=1
    )
    shift = moved.reshape(chosen.size, count, -1) - law.estimate[chosen, None]
    error = np.sqrt((count - 1) / count * (shift**2).sum(axis=1))
    tail = 0.5 + level / 2
    # The end of the interval is taken with the t quantile of the law's degrees of freedom, where the groups have fewer.
    # For a law that fits, the jackknife stands beside the delta method, which has them; else it stands alone.
    few = stdtrit(count - 1, tail) / stdtrit(law.degrees, tail)
    return np.asarray(error * np.where(wrong[chosen, None], few, 1.0))


def average(laws: Sequence[Evidence], weight: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Return the ends of R data sets' averaged intervals, [R, quantities]; infinite where the data leave one open.

    Args:
        laws: One entry for each law.
        weight: See `weights_of`, [R, laws].
        level: Nominal coverage.
    """
    return _end(laws, weight, 0.5 - level / 2), _end(laws, weight, 0.5 + level / 2)


def _end(laws: Sequence[Evidence], weight: FloatArray, tail: float) -> FloatArray:
    """Where the weighted sum of the laws' t distributions reaches a tail area, by bisection: [R, quantities]."""
    used = weight.T[:, :, None] > 0  # [laws, R, 1]
    estimate = np.stack([law.estimate for law in laws])
    # An estimate without error is a step.
    error = np.stack([law.standard_error for law in laws])
    error = np.maximum(error, 1e-12 * np.maximum(np.abs(estimate), 1e-300))
    degrees = np.array([law.degrees for law in laws])[:, None, None]
    reach = np.abs(stdtrit(degrees, tail)) * error
    # The end of the mixture lies between the ends of its parts.
    low = np.where(used, estimate - reach, np.inf).min(axis=0)
    high = np.where(used, estimate + reach, -np.inf).max(axis=0)
    unknown = ~(np.isfinite(low) & np.isfinite(high))
    low, high = np.where(unknown, 0.0, low), np.where(unknown, 1.0, high)
    share = np.where(used, weight.T[:, :, None], 0.0)
    centre, width = np.where(used, estimate, 0.0), np.where(used & np.isfinite(error), error, 1.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = (share * stdtr(degrees, (middle - centre) / width)).sum(axis=0) > tail
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(unknown, -np.inf if tail < 0.5 else np.inf, (low + high) / 2)


def averaged(fits: Mapping[str, FitResult], quantities: Sequence[Quantity], *, level: float = 0.95) -> list[Interval]:
    """Take intervals over all laws that were compared: what to print where AICc chose the law.

    Args:
        fits: Usable least-squares fits of the same rows, by name; all must know the quantities.
        quantities: What is asked, such as `quantities.best_d_m(budget, cost)`.
        level: Nominal coverage.

    Returns:
        Intervals with the method "averaged"; the estimate is the weighted mean (in the logarithm for positive
        quantities), and the reason names the laws with their weights.

    Raises:
        TheoryError: no fit, robust losses, or too few configurations.

    >>> from theory.data.published import load_published
    >>> from theory.fit.fit import fit_law
    >>> from theory.uncertainty.quantities import best_d_m
    >>> table = load_published("enwik8")
    >>> names = ("quadratic", "separable_power_law")
    >>> fits = {name: fit_law(name, table.design, table.columns["test_bpc"]) for name in names}
    >>> interval = averaged(fits, [best_d_m(3_516_748, table.cost)])[0]
    >>> interval.method, 15 < interval.low < interval.estimate < interval.high < 30
    ('averaged', True)
    """
    if not fits:
        raise TheoryError("fits: empty; nothing to average")
    laws: list[Evidence] = []
    draws: list[Draws] = []
    names: list[str] = []
    for name, fit in fits.items():
        if fit.given.loss != "least_squares":
            raise TheoryError(f"fits.{name}: loss {fit.given.loss!r} has no AICc, so its law has no weight")
        restored = restore(fit)
        if len(restored.problem.design) <= fit.p:
            continue  # as many parameters as configurations: no AICc of the means, and so no weight
        rss = max(fit.rss / restored.compiled.scale**2 - restored.compiled.within, 0.0)
        names.append(name)
        draws.append(as_draws(fit, restored))
        laws.append(evidence(restored, draws[-1], np.array([rss]), quantities))
    if not laws:
        raise TheoryError("fits: as many parameters as configurations; nothing can be averaged")
    weight = weights_of(laws)
    laws = [
        widen(fit, law, draw, quantities, wrong=np.array([fit.has("lack_of_fit")]), level=level) if share > 0 else law
        for fit, law, draw, share in zip([fits[name] for name in names], laws, draws, weight[0], strict=True)
    ]
    low, high = average(laws, weight, level)
    estimate = np.sum(
        # without those of no weight: their estimates may be infinite
        [share * law.estimate[0] for law, share in zip(laws, weight[0], strict=True) if share > 0],
        axis=0,
    )
    shares = sorted(zip(weight[0], names, strict=True), reverse=True)
    words = ", ".join(f"{name} {100 * share:.0f} %" for share, name in shares if share >= 0.005)
    intervals = []
    for k, quantity in enumerate(quantities):
        ends = (float(low[0, k]), float(high[0, k]))
        closed = bool(np.isfinite(ends).all())
        value = [float(np.exp(end)) if quantity.log else end for end in (*ends, float(estimate[k]))]
        intervals.append(
            Interval(
                quantity=quantity.name,
                estimate=value[2],
                low=value[0] if closed else None,
                high=value[1] if closed else None,
                level=level,
                method="averaged",
                reason=f"averaged over laws by AICc of the means: {words}"
                if closed
                else f"a law with weight leaves {quantity.name} open: {words}",
            )
        )
    return intervals
