"""How far a fitted law can be trusted: intervals, held-out budgets, calibration, rivals and choices of the analyst.

Everything is computed by `theory`; this module decides what is asked, and turns refusals into sentences. What comes out
is typed in `analysis.laws.findings`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from analysis.laws.compute import compute_splits
from analysis.laws.findings import (
    DrawsUsed,
    Estimate,
    Evidence,
    Exponents,
    FrontierLaw,
    HeldOutErrors,
    LackOfFit,
    LawIntervals,
    NeuronForm,
    NeuronLaws,
    NoInterval,
    OptimumIntervals,
    Place,
    PowerLaw,
    Refusal,
    Residuals,
)
from analysis.laws.next_steps import chosen_runs
from analysis.laws.sensitivity import sensitivity, without_flagged
from analysis.laws.theory_fit import LawFit
from analysis.laws.view import View
from theory.data.cost import Cost
from theory.data.replicates import Noise
from theory.errors import TheoryError
from theory.fit.f_tests import FTest, lack_of_fit
from theory.fit.restore import restore
from theory.fit.result import Direction, FitResult
from theory.optimum.frontier import power_law
from theory.uncertainty.averaging import Averaging, average_over
from theory.uncertainty.calibration import Calibration, calibrate
from theory.uncertainty.heldout import leave_budget_out, leave_one_k_e_out, regime_check
from theory.uncertainty.identifiability import identifiability
from theory.uncertainty.intervals import Interval, bootstrap, cluster_draws, delta, envelope
from theory.uncertainty.neuron import fit_neuron
from theory.uncertainty.profile import Profile
from theory.uncertainty.quantities import Draws, all_constants, all_parameters, best_d_m, optimum_quantities
from theory.uncertainty.restore import as_draws

LAWS_HELD_OUT = 3
"""Laws that are tried without each k_e in turn: the chosen one and the best of other families. Assumption."""

SURE = 0.01
"""Chance below which lack of fit counts as shown (F test). Assumption."""
_LIKELY = 0.05
"""Chance below which it counts as probable. Assumption."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EvidenceSettings:
    """How much computing the intervals may take."""

    draws: int = 600
    """Bootstrap draws behind each interval; 0 leaves intervals, profiles and calibration out."""
    simulations: int = 200
    """Simulated sweeps of the calibration."""
    seed: int = 0
    """Seed of draws and simulations."""


def gather(view: View, settings: EvidenceSettings) -> Evidence | None:
    """Collect all evidence about one group's law; None without a law.

    Args:
        view: the group.
        settings: how much to compute.
    """
    law = view.law
    if law.fit is None:
        return None
    evidence = Evidence(
        exponents=(),
        held_out=held_out(law),
        frontier=frontier_section(view),
        residuals=residual_section(view),
        sensitivity=tuple(sensitivity(view)),
        flagged=without_flagged(view),
        neuron=neuron_section(view),
    )
    # A law whose parameters are all solved exactly has nothing for a bootstrap or a profile to vary.
    if not law.fit.free:
        reason = f"{law.fit.law.label} has no searched parameter: no interval beyond that of the means"
        return replace(evidence, intervals_reason=reason)
    # Intervals around a fit that did not converge would be made of numbers that mean nothing.
    if not (settings.draws and law.fit.usable):
        return evidence
    ranges = intervals(law, settings)
    known: dict[str, Any] = {"intervals_reason": ranges.reason} if isinstance(ranges, Refusal) else dict(vars(ranges))
    # A robust loss has no likelihood to profile; its intervals stay those of the draws.
    profiled = identifiability(law.fit) if law.fit.inputs.loss == "least_squares" else None
    parameters = known.pop("parameters", None)
    if profiled is not None and parameters is not None:
        parameters = tuple(with_profile(row, profiled.profiles.get(row.quantity)) for row in parameters)
    return replace(
        evidence,
        **known,
        parameters=parameters,
        identifiability=None if profiled is None else profiled.few_levels,
        calibration=calibration_section(law, settings),
        design=chosen_runs(view),
    )


def _or_reason(compute: Callable[[FitResult], T], fit: FitResult) -> T | Refusal:
    try:
        return compute(fit)
    except TheoryError as error:
        return Refusal(reason=str(error))


def intervals(law: LawFit, settings: EvidenceSettings) -> LawIntervals | Refusal:
    """Compute intervals of parameters, optima and exponents, all from the same draws.

    The interval of a parameter is the wider, on each side, of the delta method and a percentile bootstrap; `gather`
    adds the profile. An optimum's carries the choice of the law where AICc made it: it is averaged over the laws that
    were compared.
    """
    fit = law.fit
    assert fit is not None, "intervals are asked for fitted laws only"
    try:
        # One set of draws for all quantities: they are the costly part, and intervals that come from the same draws
        # agree with each other.
        draws = bootstrap(fit, settings.draws, kind="residual", seed=settings.seed)
        # Residuals of seeds of one configuration are alike where the law misses it; draws of whole configurations show
        # that and widen the interval where it matters.
        clusters = cluster_draws(fit, settings.draws, seed=settings.seed)
        asked = [*all_parameters(fit), *all_constants(fit)]
        rows = envelope(fit, asked, draws=draws, clusters=clusters)
        parameters = tuple(finite(row) for row in rows)
    except TheoryError as error:
        return Refusal(reason=str(error))
    choice, itself = choice_of_law(law), as_draws(fit, restore(fit))
    optima, exponents = [], []
    for k_c, cost in law.costs.items():
        budgets = sorted(a.budget for a in law.allocations if a.k_c == k_c)
        # exponents change slowly along P: the ends and the middle show them, at a third of the cost
        sloped = {budgets[0], budgets[len(budgets) // 2], budgets[-1]} if budgets else set()
        for budget in budgets:
            by_name = _place_intervals(law, itself, budget, cost, draws, clusters, choice, slopes=budget in sloped)
            sizes = {name: by_name[name] for name in ("d_m", "n_rec", "metric")}
            optima.append(OptimumIntervals(budget=budget, k_c=k_c, **sizes))
            if budget in sloped:
                slopes = {name: by_name[f"slope {name}"] for name in ("n_rec", "k_e", "d_m")}
                exponents.append(Exponents(budget=budget, k_c=k_c, **slopes))
    return LawIntervals(
        parameters=parameters,
        optimum_intervals=tuple(optima),
        exponents=tuple(exponents),
        compute=compute_splits(law, lambda asked: envelope(fit, asked, draws=draws, clusters=clusters)),
        draws=DrawsUsed(asked=settings.draws, failed=draws.failed, kind="residual", seed=settings.seed),
    )


def with_profile(row: Interval, profiled: Profile | None) -> Interval:
    """The wider, on each side, of an interval and a profile; a side that the profile leaves open has no end.

    One interval for each parameter, by which everything is judged that says whether it is identified.
    """
    if profiled is None or row.low is None or row.high is None:
        return row
    low = None if profiled.low is None else min(row.low, profiled.low)
    high = None if profiled.high is None else max(row.high, profiled.high)
    if low is not None and high is not None:
        return replace(row, low=low, high=high)
    side = "either side" if low is None and high is None else "the lower side" if low is None else "the upper side"
    return replace(row, low=low, high=high, reason=f"open on {side}")


def finite(row: Interval) -> Interval:
    """Take ends that are no numbers for missing ones."""
    low, high = (None if end is None or not np.isfinite(end) else end for end in (row.low, row.high))
    return replace(row, low=low, high=high)


def compared_laws(law: LawFit) -> dict[str, FitResult]:
    """Return the fits among which AICc chose, with the rivals that have an optimum; none where a law was named."""
    if len(law.candidates) < 2 or law.fit is None or law.fit.inputs.loss != "least_squares":
        return {}
    return {
        name: fit for name, fit in law.fits.items() if fit.usable and fit.aicc is not None and "n_rec" in fit.law.axes
    }


def choice_of_law(law: LawFit) -> Averaging | Refusal | None:
    """Prepare, once for all places, the average over the laws that AICc chose among; None where a law was named."""
    compared = compared_laws(law)
    if len(compared) < 2:
        return None
    try:
        return average_over(compared)
    except (TheoryError, np.linalg.LinAlgError) as error:
        return Refusal(reason=str(error))


def _carrying(value: float, over: Interval) -> Interval:
    """The chosen law's estimate with the interval over all laws that were compared."""
    if over.low is None or over.high is None:
        return replace(over, estimate=value)
    # The average over laws may lie beside the chosen law's estimate; an interval that does not hold its own estimate
    # would only confuse.
    return replace(over, estimate=value, low=min(over.low, value), high=max(over.high, value))


def _place_intervals(
    law: LawFit,
    itself: Draws,
    budget: float,
    cost: Cost,
    draws: Draws,
    clusters: Draws | None,
    choice: Averaging | Refusal | None,
    *,
    slopes: bool,
) -> dict[str, Estimate]:
    # `itself` is the fit as one draw. All quantities of a place are asked for together, because finding the optimum of
    # every draw is what takes the time.
    quantities = optimum_quantities(budget, cost, slopes=slopes)
    wanted = list(quantities.values())
    try:
        # An interval without the choice of the law would be too narrow, so none is given.
        if isinstance(choice, Refusal):
            return {name: NoInterval(reason=choice.reason) for name in quantities}
        if choice is None:
            rows = envelope(itself.fit, wanted, draws=draws, clusters=clusters)
        else:
            # The averaged interval takes the place of the chosen law's, whose draws are then not asked: locating an
            # optimum for each of a thousand of them would be most of the work of a report.
            values = [float(quantity.evaluate(itself)[0]) for quantity in wanted]
            rows = [_carrying(value, over) for value, over in zip(values, choice.intervals(wanted), strict=True)]
        rows = [finite(row) for row in rows]
    # A matrix that is singular at one place costs that place its interval and no other.
    except (TheoryError, np.linalg.LinAlgError) as error:
        return {name: NoInterval(reason=str(error)) for name in quantities}
    by_name: dict[str, Estimate] = dict(zip(quantities, rows, strict=True))
    metric = rows[list(quantities).index("metric")]
    if metric.low is not None and metric.high is not None:
        # the law lives on the fitted scale, people read the metric
        ends = law.scale.back(np.array([metric.low, metric.estimate, metric.high]))
        low, estimate, high = (float(value) for value in ends)
        by_name["metric"] = replace(metric, low=low, estimate=estimate, high=high)
    return by_name


def neuron_section(view: View) -> NeuronLaws | Refusal | None:
    """Noise laws of single neurons, ranked; None where the rows are networks."""
    # A single neuron has no redundancy across neurons, so its error shows the noise law alone.
    if (view.table["n_rec"] != 1).any():
        return None
    value = view.table["mean"].to_numpy(float)
    # The noise laws describe an error that falls to a floor; an accuracy is turned into one.
    error, named = (value, view.data.title) if view.data.direction == "min" else (1 - value, f"1 - {view.data.title}")
    try:
        rows = fit_neuron(view.table["k_e"].to_numpy(float), error)
    except TheoryError as refusal:
        return Refusal(reason=str(refusal))
    names = ("form", "alpha", "alpha_se", "floor", "aicc", "delta")
    return NeuronLaws(
        error=named, forms=tuple(NeuronForm(**{name: getattr(row, name) for name in names}) for row in rows)
    )


def held_out(law: LawFit) -> HeldOutErrors:
    """Errors on the largest budget, and on each k_e in turn, of laws that have not seen them."""
    fits = {name: fit for name, fit in law.fits.items() if fit.inputs.loss == "least_squares"}
    errors = HeldOutErrors()
    try:
        # The headline of the report: a law earns trust by what it has not seen, not by its r on what it was fitted to.
        errors = replace(errors, budget=tuple(leave_budget_out(fits)))
    except TheoryError as error:
        errors = replace(errors, budget_reason=str(error))
    try:
        return replace(errors, k_e=tuple(leave_one_k_e_out(one_of_each_family(law, fits))))
    except TheoryError as error:
        return replace(errors, k_e_reason=str(error))


def one_of_each_family(law: LawFit, fits: Mapping[str, FitResult]) -> dict[str, FitResult]:
    """The chosen law and the best variant of each other family, `LAWS_HELD_OUT` at most.

    Leaving out each k_e in turn refits every law as often as there are values of k_e, so that not all are tried.

    Args:
        law: the group's laws, with their ranks.
        fits: fits by name, among which the choice is made.
    """
    ranked = [row.name for row in law.comparison.rows if row.name in fits] if law.comparison else []
    chosen = [name for name, fit in fits.items() if fit is law.fit]
    best_of_family: dict[str, str] = {}
    for name in ranked:
        # They are ranked, so the first of each family is its best.
        best_of_family.setdefault(fits[name].law.name, name)
    others = [name for name in best_of_family.values() if name not in chosen]
    return {name: fits[name] for name in [*chosen, *others][:LAWS_HELD_OUT]}


def calibration_section(law: LawFit, settings: EvidenceSettings) -> Calibration | Refusal:
    """Coverage and bias measured on this design: simulate from the law, refit, count."""
    fit = law.fit
    assert fit is not None, "calibration is asked for fitted laws only"
    quantities = all_parameters(fit)
    # One optimum, that of the largest budget: each quantity is refitted in every simulated sweep.
    quantities += [best_d_m(a.budget, law.costs[a.k_c]) for a in law.allocations[-1:]]
    try:
        return calibrate(fit, quantities, n=settings.simulations, seed=settings.seed)
    except TheoryError as error:
        return Refusal(reason=str(error))


def frontier_section(view: View) -> FrontierLaw:
    """A saturating power law through the frontier, with intervals, and the check for a break."""
    # The frontier that the figures show first, so that text and picture speak of the same points.
    members = view.table.iloc[view.frontier.position]
    size, value = members["trainable_params"].to_numpy(float), members["mean"].to_numpy(float)
    direction: Direction = "min" if view.data.direction == "min" else "max"
    points = FrontierLaw(
        sizes=tuple(size.tolist()),
        metric=tuple(value.tolist()),
        regime=regime_check(size, value, direction=direction),
    )
    try:
        fit = power_law(size, value, weights=members["n"].to_numpy(float), direction=direction)
    except TheoryError as error:
        return replace(points, power_law_reason=str(error))
    line = PowerLaw(
        E=fit.coefficients["all"]["E"],
        A=fit.coefficients["all"]["A"],
        p_ref=fit.derived["p_ref"],
        exponent=fit.values["exponent"],
        rmse=fit.rmse,
        interval=_or_reason(lambda fitted: tuple(finite(row) for row in delta(fitted)), fit),
        statuses=fit.statuses,
    )
    return replace(points, power_law=line)


def residual_section(view: View) -> Residuals:
    """Size of the residuals, and lack of fit against the noise between seeds (F test)."""
    fit = view.law.fit
    assert fit is not None, "residuals are asked for fitted laws only"
    assert view.overlay is not None, "a fitted law has an overlay"
    # Of means and not of runs: seed noise averages out of them, and what is left is the law's.
    gap = view.table["mean"].to_numpy(float) - view.overlay.predicted
    largest = int(np.argmax(np.abs(gap)))
    test = _lack_of_fit(fit)
    if test is not None:
        if test.p_value < SURE:
            verdict = "the law misses more than seed noise explains"
        elif test.p_value < _LIKELY:
            verdict = "the law probably misses more than seed noise explains"
        else:
            verdict = "seed noise explains the misses"
    return Residuals(
        rms=float(np.sqrt(np.mean(gap**2))),
        largest=float(gap[largest]),
        largest_at=Place(
            **{name: float(view.table[name].iloc[largest]) for name in ("n_rec", "k_e", "trainable_params")}
        ),
        lack_of_fit=None
        if test is None
        else LackOfFit(ratio=test.f, p=test.p_value, sentence=f"F = {test.f:.3g}, p = {test.p_value:.2g}: {verdict}."),
    )


def _lack_of_fit(fit: FitResult) -> FTest | None:
    """F test of what a fit misses, on the scale and with the weights that it was fitted with."""
    inputs, weights = fit.inputs, restore(fit).compiled.weights
    codes = inputs.design.configurations()
    means = np.bincount(codes, weights=weights * inputs.metric) / np.bincount(codes, weights=weights)
    # A mean of n runs has the variance of one run over n, so its squared gap counts n times: once for each of its rows.
    missed = float(np.sum(weights * (means[codes] - fit.predict(inputs.design)) ** 2))
    return lack_of_fit(missed, int(codes.max()) + 1 - fit.p, Noise(fit.pure_error_sd, fit.pure_error_df))
