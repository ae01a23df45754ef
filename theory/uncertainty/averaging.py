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
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from theory.errors import TheoryError
from theory.fit.restore import Restored, missed_means, restore
from theory.fit.result import FitResult
from theory.types import FloatArray
from theory.uncertainty.covariance import linearise
from theory.uncertainty.intervals import Interval
from theory.uncertainty.quantities import Draws, Quantity
from theory.uncertainty.resample import Refits, refit_many
from theory.uncertainty.restore import as_draws
from theory.uncertainty.selection import means_aicc

LEAST_WEIGHT = 1e-3
"""Laws with less weight are left out: they cannot move an end where the tail area is 0.025."""

LEAST_LEVELS = 5
"""Levels of k_e below which the jackknife has too few groups for an error of its own (assumption)."""

LEAST_BUDGETS = 3
"""Budgets below which the jackknife has too few groups, likewise; a sweep has few of them."""

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
    # The variance comes from the misses of the means, which hold seed noise and what the law misses alike.
    linear = linearise(restored.problem, draws, rss / degrees, quantities)
    return Evidence(means_aicc(rss, means, p), linear.estimate, linear.standard_error, degrees)


def weights_of(laws: Sequence[Evidence]) -> FloatArray:
    """Akaike weights, [R, laws]; those too small to move an end are 0.

    Args:
        laws: One entry for each law.
    """
    return akaike_weights(np.stack([law.aicc for law in laws], axis=1))


def akaike_weights(score: FloatArray) -> FloatArray:
    """Weights of laws by their AICc, [R, laws]; those too small to move an end are 0."""
    lowest = score.min(axis=1, keepdims=True)
    # Where no law has an AICc, all count alike.
    has_score = np.isfinite(lowest)
    gap = np.where(has_score, score - np.where(has_score, lowest, 0.0), 0.0)
    # AICc is twice a negative log-likelihood, so half of the gap is the logarithm of the ratio of evidences (Burnham
    # and Anderson 2002, section 2.9).
    weight = np.exp(-gap / 2)
    weight /= weight.sum(axis=1, keepdims=True)
    weight = np.where(weight < LEAST_WEIGHT, 0.0, weight)
    # Shares are normalised again, so that what was cut off does not make the interval narrower.
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


class LeftOut(NamedTuple):
    """A law refitted without each group of rows in turn."""

    sets: npt.NDArray[np.intp]
    """Data sets to which that was done."""
    groups: int
    """Number of groups that were left out in turn."""
    refits: Refits
    """Set by set, group by group; a refit that failed is missing."""


def leave_out(
    fit: FitResult, draws: Draws, *, wrong: npt.NDArray[np.bool_], metric: FloatArray | None = None
) -> list[LeftOut]:
    """Refit a law without each level of k_e in turn, and without each budget where it shows lack of fit.

    Args:
        fit: Whose law and settings are used.
        draws: Its parameters for R data sets.
        wrong: Where the law shows lack of fit, [R].
        metric: The data sets, [R, rows]; None: the fit's own.

    Returns:
        An entry for each of the two; none for fewer than 5 levels of k_e or 3 budgets.
    """
    design = restore(fit).problem.design
    data = fit.inputs.metric[None] if metric is None else metric
    everywhere = np.ones(len(data), dtype=np.bool_)
    entries = []
    # A budget is a large part of a sweep, so leaving one out widens every interval. That is paid only where the law
    # shows that it misses the data.
    for size, least, where in ((design.k_e, LEAST_LEVELS, everywhere), (design.budgets, LEAST_BUDGETS, wrong)):
        groups = np.unique(size, return_inverse=True)[1].ravel()
        count, sets = int(groups.max()) + 1, np.flatnonzero(where)
        if count < least or not sets.size:
            continue
        # Rows are left out by a weight of 0, so that all refits keep one shape and run at once.
        remaining = (groups != np.arange(count)[:, None]).astype(np.float64)
        refits = refit_many(
            fit,
            metric=np.repeat(data[sets], count, axis=0),
            weights=np.tile(remaining, (sets.size, 1)),
            # Each refit starts from the optimum of its own data set, from which leaving out one level moves it little.
            centre=np.repeat(draws.x[sets], count, axis=0),
        )
        entries.append(LeftOut(sets, count, refits))
    return entries


def widen(
    law: Evidence,
    entries: Sequence[LeftOut],
    quantities: Sequence[Quantity],
    *,
    wrong: npt.NDArray[np.bool_],
    level: float = 0.95,
) -> Evidence:
    """Widen the errors of a law to those of the jackknife, where these are larger.

    Args:
        law: What it says.
        entries: Its refits, see `leave_out`.
        quantities: What is asked.
        wrong: Where the law shows lack of fit, [R].
        level: Nominal coverage, at which the two kinds of error are compared.

    Returns:
        The same with larger errors.
    """
    error = law.standard_error
    for entry in entries:
        jackknife = np.zeros_like(error)
        jackknife[entry.sets] = _jackknife(law, entry, quantities, wrong, level)
        # The larger error is taken and not their sum: both measure the same uncertainty, of which each may miss a part.
        error = np.maximum(error, jackknife)
    return law._replace(standard_error=error)


def _jackknife(
    law: Evidence, entry: LeftOut, quantities: Sequence[Quantity], wrong: npt.NDArray[np.bool_], level: float
) -> FloatArray:
    """Standard errors of the delete-a-group jackknife for some data sets, wider where its few groups stand alone."""
    sets, count = entry.sets, entry.groups
    # A refit that fails without a group says that everything hangs on it.
    moved = np.full((sets.size * count, len(quantities)), np.inf)
    values = [quantity.evaluate(entry.refits.draws) for quantity in quantities]
    moved[entry.refits.kept.astype(np.int64)] = np.stack(
        [np.log(value) if quantity.log else value for quantity, value in zip(quantities, values, strict=True)], axis=1
    )
    shift = moved.reshape(sets.size, count, -1) - law.estimate[sets, None]
    # The factor of the delete-a-group jackknife: estimates without one group share most of their data and so scatter
    # far less than independent ones would.
    error = np.sqrt((count - 1) / count * (shift**2).sum(axis=1))
    tail = 0.5 + level / 2
    # The end of the interval is taken with the t quantile of the law's degrees of freedom, where the groups have fewer.
    # For a law that fits, the jackknife stands beside the delta method, which has them; else it stands alone.
    few = stdtrit(count - 1, tail) / stdtrit(law.degrees, tail)
    return np.asarray(error * np.where(wrong[sets, None], few, 1.0))


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
    # Any finite bracket does where the end is infinite; its result is thrown away in the last line.
    low, high = np.where(unknown, 0.0, low), np.where(unknown, 1.0, high)
    share = np.where(used, weight.T[:, :, None], 0.0)
    centre, width = np.where(used, estimate, 0.0), np.where(used & np.isfinite(error), error, 1.0)
    # Bisection, because a mixture of t distributions has no quantile in closed form and is monotone, so that halving
    # always works for all data sets at once.
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        with np.errstate(over="ignore"):  # the step of an estimate at 0 without error: its tail areas are 0 and 1
            above = (share * stdtr(degrees, (middle - centre) / width)).sum(axis=0) > tail
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(unknown, -np.inf if tail < 0.5 else np.inf, (low + high) / 2)


class Weighted(NamedTuple):
    """A law that was compared, ready to be asked."""

    name: str
    share: float
    """Akaike weight of the law, above 0."""
    restored: Restored
    draws: Draws
    """The fit itself, as a single draw."""
    rss: float
    """Sum of squares of the means, in the problem's units."""
    wrong: npt.NDArray[np.bool_]
    """Whether it shows lack of fit, [1]."""
    entries: list[LeftOut]
    """Refits of the law without each group, see `leave_out`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Averaging:
    """The laws that were compared, with weights and refits, which serve every quantity that is asked."""

    laws: tuple[Weighted, ...]
    """The laws that have weight."""

    def intervals(self, quantities: Sequence[Quantity], *, level: float = 0.95) -> list[Interval]:
        """Take intervals of quantities; see `averaged`."""
        laws = [
            widen(
                evidence(law.restored, law.draws, np.array([law.rss]), quantities),
                law.entries,
                quantities,
                wrong=law.wrong,
                level=level,
            )
            for law in self.laws
        ]
        share = np.array([law.share for law in self.laws])
        low, high = average(laws, share[None], level)
        estimate = np.sum([law.estimate[0] * part for law, part in zip(laws, share, strict=True)], axis=0)
        # Shares below half a per cent would be printed as 0 %.
        ordered = sorted(((law.share, law.name) for law in self.laws), reverse=True)
        words = ", ".join(f"{name} {100 * part:.0f} %" for part, name in ordered if part >= 0.005)
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


def average_over(fits: Mapping[str, FitResult]) -> Averaging:
    """Weigh the laws that were compared, and refit those with weight for the jackknife.

    Args:
        fits: Usable least-squares fits of the same rows, by name.

    Raises:
        TheoryError: no fit, robust losses, or too few configurations.
    """
    if not fits:
        raise TheoryError("fits: empty; nothing to average")
    candidates: list[tuple[str, Restored, float]] = []
    for name, fit in fits.items():
        if fit.inputs.loss != "least_squares":
            raise TheoryError(f"fits.{name}: loss {fit.inputs.loss!r} has no AICc, so its law has no weight")
        restored = restore(fit)
        if len(restored.problem.design) <= fit.p:
            continue  # as many parameters as configurations: no AICc of the means, and so no weight
        candidates.append((name, restored, missed_means(fit, restored)))
    if not candidates:
        raise TheoryError("fits: as many parameters as configurations; nothing can be averaged")
    # AICc of the means and not of the runs, for the reason in the docstring of this module.
    scores = [means_aicc(np.array([rss]), len(one.problem.design), one.compiled.p) for _, one, rss in candidates]
    laws = []
    for (name, restored, rss), share in zip(candidates, akaike_weights(np.stack(scores, axis=1))[0], strict=True):
        # Only laws with weight are refitted: the jackknife is the dear part, and a law without weight cannot move an
        # end.
        if share > 0:
            fit = fits[name]
            draws, wrong = as_draws(fit, restored), np.array([fit.has("lack_of_fit")])
            laws.append(Weighted(name, float(share), restored, draws, rss, wrong, leave_out(fit, draws, wrong=wrong)))
    return Averaging(laws=tuple(laws))


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
    return average_over(fits).intervals(quantities, level=level)
