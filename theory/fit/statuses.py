"""Findings about a fit, as sentences: what was found, what follows, what data would help."""

import numpy as np
from scipy.special import pdtrc, stdtrit

from theory.data.design import number_rows
from theory.fit.information import information_matrix
from theory.fit.misfit import SPANNED, misfit
from theory.fit.problem import Problem
from theory.fit.restore import Restored, restore
from theory.fit.result import FitResult, Starts, Status
from theory.fit.solver import Polished
from theory.types import FloatArray

# A cosine, so that the same number serves every law, unit and size of data.
FLAT = 1e-6
"""Cosine between residual and Jacobian below which the optimum counts as smooth and reached."""

FEW_LEVELS = 3
"""Levels per axis and budgets that a law with an exponent and a floor needs."""

TIE = 2.0
"""AICc differences below this are a tie."""

CHANCE = 0.05
"""Chance that is allowed of calling a right law's floor implausible (both sides together), or a bound too narrow."""

MISFIT = 0.04
"""Chance of calling a right law's misses lack of fit."""

COPIES = 0.01
"""Chance of calling repeated rows copies where they are coincidences."""

LEAST_STEP = 1e-7
"""Share of the metric's range below which a common step of its values is one of rounding (assumption)."""


def search_statuses(best: Polished, starts: Starts, non_finite: int, problem: Problem) -> list[Status]:
    """Say whether the search converged and whether the starts agree."""
    statuses: list[Status] = []
    if best.gradient <= FLAT:
        statuses.append(
            _status(
                "converged", "ok", f"Converged: the scaled gradient is {best.gradient:.1e} after a polish to 1e-12."
            )
        )
    # At a kink the gradient never vanishes, whatever the number of steps, so this is no failure of the search.
    elif (kink := problem.law.scan(1)) is not None:
        statuses.append(
            _status(
                "at_kink",
                "note",
                f"No further descent, but the gradient does not vanish (cosine {best.gradient:.1e}): "
                f"the optimum sits on a kink of {kink[0]}, so its interval needs the bootstrap.",
            )
        )
    else:
        statuses.append(
            _status(
                "max_iterations",
                "warning",
                f"Not converged: the polish stopped after {best.evaluations} evaluations with a scaled "
                f"gradient of {best.gradient:.1e}; use more starts, tighter bounds, or a law with fewer parameters.",
            )
        )
    if non_finite:
        statuses.append(
            _status(
                "non_finite", "note", f"{non_finite} of {starts.total} starts gave no finite value and were dropped."
            )
        )
    if not problem.free:
        return statuses
    share = f"{starts.agreeing} of {starts.total} starts reached the best sum of squares"
    gap = "" if starts.runner_up is None else f"; the next optimum is {100 * starts.runner_up:.3g} % worse"
    # The best end agrees with itself; a single one may be any local optimum.
    if starts.agreeing < 2:
        statuses.append(
            _status(
                "starts_disagree", "warning", f"Starts disagree: only {share}{gap}; raise starts or simplify the law."
            )
        )
    else:
        statuses.append(_status("starts_agree", "ok", f"{share}{gap}."))
    return statuses


def value_statuses(fit: FitResult, constant_aicc: float | None) -> list[Status]:
    """Say what the fitted numbers cannot mean."""
    # A floor is recognised by the name that all laws with an irreducible metric give it.
    has_floor = len(fit.law.coefficients) > 1 and fit.law.coefficients[0].name == "E"
    has_means = fit.inputs.loss == "least_squares"
    resting = [name for name in fit.free if fit.at_bound(name)]
    # Once for all statuses that ask the problem of the fit.
    restored = restore(fit) if has_floor or has_means or resting else None
    statuses = [] if restored is None else [_bound_status(fit, restored, name) for name in resting]
    for key, coefficients in fit.coefficients.items():
        for item in fit.law.coefficients:
            # Exactly 0 is what the constrained solution gives a coefficient whose data pull it to the wrong sign.
            if item.sign and coefficients[item.name] == 0:
                statuses.append(
                    _status(
                        "no_effect",
                        "warning",
                        f"{item.name} = 0 ({key}): with the required sign the law explains nothing here; "
                        "the data contradict the direction of the effect.",
                    )
                )
    if (
        fit.aicc is not None
        and constant_aicc is not None
        # The constant itself, with one coefficient for each group, is not compared with itself.
        and fit.p > len(fit.coefficients)
        and fit.aicc > constant_aicc - TIE
    ):
        statuses.append(
            _status(
                "no_better_than_constant",
                "warning",
                f"No law beats the constant: AICc {fit.aicc:.1f} against {constant_aicc:.1f} "
                "for a plain mean; the data show no dependence on the sizes.",
            )
        )
    if restored is not None:
        statuses += _misfit_statuses(fit, restored) if has_means else []
        statuses += _floor_statuses(fit, restored) if has_floor else []
    # Priors and fixed values are announced with every result, because numbers that rest on them are not the data's
    # alone.
    for name, prior in fit.inputs.priors.items():
        statuses.append(
            _status(
                "prior_used",
                "note",
                f"{name} has a prior: centre {prior.mean:g}, sd {prior.sd:g} in the search coordinate.",
            )
        )
    for name, value in fit.inputs.fixed.items():
        statuses.append(_status("fixed", "note", f"{name} was fixed at {value:g}, not fitted."))
    return statuses


def design_statuses(fit: FitResult) -> list[Status]:
    """Say what the design itself cannot tell."""
    statuses = [*_budget_statuses(fit), *_level_statuses(fit)]
    # Without replicates noise and lack of fit cannot be told apart, however many configurations there are.
    if fit.pure_error_sd is None:
        sentence = (
            "No configuration has more than one seed: seed noise is unknown and the residuals stand in for it, "
            "so lack of fit cannot be told from noise. Add 2 more seeds."
        )
        statuses.append(_status("no_replicates", "note", sentence))
    repeats, expected = repeated_rows(fit)
    # Counts of rare coincidences are Poisson; a metric with few digits repeats itself without any copying.
    # pdtrc(k - 1, m) is the chance of k or more.
    if repeats and pdtrc(repeats - 1, expected) < COPIES:
        sentence = (
            f"{repeats} rows repeat another row's sizes and metric exactly; counted as independent runs they "
            "make intervals too narrow. Drop the copies."
        )
        statuses.append(_status("duplicated_rows", "warning", sentence))
    return statuses


def repeated_rows(fit: FitResult) -> tuple[int, float]:
    """Count the rows that repeat another row's sizes and metric, and how many a metric of this resolution would repeat.

    Two runs of one configuration with normal noise of standard deviation s differ by less than half a step of the
    metric with a chance of about step / (2 sqrt(pi) s).
    """
    configurations, metric = fit.inputs.design.configurations(), fit.inputs.metric
    codes = number_rows([configurations, metric])
    repeats = codes.size - int(codes.max()) - 1
    if not repeats:
        return 0, 0.0
    # Only runs of one configuration can repeat each other, so pairs are counted within each.
    runs = np.bincount(configurations)
    # Where there are no replicates, or all of them agree, the residuals are the best measure of noise there is.
    noise = fit.pure_error_sd or fit.noise_sd
    chance = min(1.0, resolution(metric) / (2 * np.sqrt(np.pi) * noise)) if noise > 0 else 0.0
    return repeats, float(np.sum(runs * (runs - 1) / 2) * chance)


def resolution(metric: FloatArray) -> float:
    """Return the step of which all differences of a metric are multiples, such as 1 / (test items) of an accuracy; 0
    for values without a common step.

    >>> round(resolution(np.array([0.1, 0.35, 0.6, 0.65])), 9), resolution(np.random.default_rng(0).random(9))
    (0.05, 0.0)
    """
    values = np.unique(metric)
    # Two values have one difference, which is a multiple of itself.
    if values.size < 3:
        return 0.0
    steps = np.unique(np.diff(values))
    # Euclid's algorithm in floating point: what is left below the rounding of the values themselves counts as nothing.
    rounding = 1e-12 * float(np.abs(values).max()) * values.size
    common = float(steps[0])
    for step in steps[1:]:
        larger, rest = float(step), common
        while rest > rounding:
            larger, rest = rest, abs(larger - rest * round(larger / rest))
        common = larger
        if common <= LEAST_STEP * (values[-1] - values[0]):
            return 0.0
    return common


def _budget_statuses(fit: FitResult) -> list[Status]:
    """A law of both axes needs several budgets, or else its parameters trade off."""
    searched = sorted({number.parameter.name for number in fit.searched.values()})
    # A single parameter has nothing to trade off against, and a law of one axis needs no second budget to tell it.
    if len(searched) < 2 or not {"n_rec", "k_e"} <= set(fit.law.axes):
        return []
    count = np.unique(fit.inputs.design.budgets).size
    if count == 1:
        sentence = (
            f"Parameters not identified by one budget: {', '.join(searched)} trade off along a ridge; only the "
            "place and curvature of the optimum are determined. "
            "Add two more budgets, or 7 runs over n_rec at a fixed d_m."
        )
        return [_status("one_budget", "warning", sentence)]
    if count < FEW_LEVELS:
        sentence = f"{count} budgets only; exponents need at least {FEW_LEVELS} over a decade or more."
        return [_status("few_budgets", "warning", sentence)]
    return []


def _level_statuses(fit: FitResult) -> list[Status]:
    """An exponent needs a few levels of its axis."""
    design, statuses = fit.inputs.design, []
    columns = {
        "n_rec": design.n_rec,
        "k_e": design.k_e,
        "k_c": design.k_c,
        "trainable_params": design.budgets,
        "tokens": design.tokens,
    }
    # A law whose parameters are all fixed has no exponent to determine.
    for axis in fit.law.axes if fit.free else ():
        column = columns[axis]
        levels = 0 if column is None else np.unique(column).size
        if levels < FEW_LEVELS:
            plural = "s" if levels != 1 else ""
            need = f"an exponent needs at least {FEW_LEVELS}: add runs with other {axis}."
            sentence = f"{axis} has {levels} level{plural}; {need}"
            statuses.append(_status("few_levels", "warning", sentence))
    return statuses


def _floor_statuses(fit: FitResult, restored: Restored) -> list[Status]:
    """An irreducible metric that lies beyond what was measured, noise and its own error included, is a wrong fit's."""
    information = information_matrix(restored.problem, restored.x[None], restored.coefficients[None])
    direction = np.zeros((1, len(fit.coefficients), information.scale.shape[1]))
    for group in range(len(fit.coefficients)):
        # The floor is the first coefficient of its group, behind the searched parameters.
        direction[0, group, restored.x.size + group * len(fit.law.coefficients)] = 1.0
    variance = np.array([restored.variance])
    # The problem's weights carry the scale of its residuals, so that errors of coefficients come in metric units.
    errors = information.standard_error(direction, variance)[0]
    means = _best_means(fit, restored)
    statuses = []
    for (key, coefficients), error, (edge, best) in zip(fit.coefficients.items(), errors, means, strict=True):
        floor, half = coefficients["E"], float(stdtrit(restored.degrees, 1 - CHANCE / 2)) * float(error)
        if fit.direction == "min":
            beyond = floor - half > edge
            # A metric that was never negative is taken for one that cannot be.
            below_zero = floor + half < 0 and float(fit.inputs.metric.min()) >= 0
        else:
            beyond, below_zero = floor + half < edge, False
        if beyond or below_zero:
            where = "" if len(fit.coefficients) == 1 else f" ({key})"
            against = f"the best mean measured, {best:.4g}" if beyond else "0, below which the metric never was"
            sentence = (
                f"E = {floor:.4g} +- {half:.2g}{where} lies beyond {against}, noise included; the law is wrong here."
            )
            statuses.append(_status("floor_implausible", "warning", sentence))
    return statuses


def _best_means(fit: FitResult, restored: Restored) -> list[tuple[float, float]]:
    """Return for each group how far its best mean may be from where it was measured, by its noise, and the mean."""
    compiled, groups = restored.compiled, restored.problem.groups
    # Least squares has merged the rows of a configuration; a robust loss keeps them, and rejected rows count for less.
    groups = groups[compiled.codes]
    # A configuration that was run in two groups has a mean in each of them.
    codes = number_rows([fit.inputs.design.configurations(), groups])
    weights = compiled.weights if fit.robust_weights is None else compiled.weights * fit.robust_weights
    total, of_group = np.bincount(codes, weights=weights), np.zeros(int(codes.max()) + 1, dtype=np.int64)
    mean = np.bincount(codes, weights=weights * fit.inputs.metric) / np.where(total > 0, total, np.nan)
    of_group[codes] = groups
    sign = 1.0 if fit.direction == "min" else -1.0
    best = []
    for number in range(len(fit.coefficients)):
        measured = np.flatnonzero((of_group == number) & (total > 0))
        # The best of m means is low by chance alone: each mean gets the share CHANCE / m (Bonferroni).
        quantile = float(stdtrit(restored.degrees, 1 - CHANCE / 2 / measured.size))
        edges = sign * mean[measured] + quantile * fit.noise_sd / np.sqrt(total[measured])
        best_place = int(np.argmin(edges))
        best.append((sign * float(edges[best_place]), float(mean[measured[best_place]])))
    return best


def _misfit_statuses(fit: FitResult, restored: Restored) -> list[Status]:
    """Does the law miss the means of its configurations by more than the noise between their seeds?"""
    compiled = restored.compiled
    # Each configuration spends one run on its mean; the rest are the degrees of freedom between seeds.
    spare = fit.n - len(restored.problem.design)
    missed = misfit(restored.problem, restored.x, restored.coefficients, compiled.within, spare)
    if missed is None or missed.p_value >= MISFIT:
        return []
    how = "in a smooth way " if missed.smooth else ""
    sentence = (
        f"Lack of fit: the law misses the means of the configurations {how}by {np.sqrt(missed.test.f):.2g} times what "
        f"seed noise explains (F = {missed.test.f:.3g}, p = {missed.p_value:.1e}); its form is wrong here, and "
        "intervals that assume it are too narrow."
    )
    return [_status("lack_of_fit", "warning", sentence)]


def _bound_status(fit: FitResult, restored: Restored, name: str) -> Status:
    side, value = fit.at_bound(name), fit.values[name]
    # A weakly determined parameter of a right law ends at a bound by chance, which is no sign of a wrong one.
    if _pushed(fit, restored, name):
        sentence = (
            f"{name} = {value:.4g} is at its {side} bound, and the data push beyond it: its value is the bound's, not "
            "the data's."
        )
        return _status("at_bound", "warning", sentence)
    sentence = f"{name} = {value:.4g} rests at its {side} bound; the data do not tell it from values inside."
    return _status("rests_at_bound", "note", sentence)


def _pushed(fit: FitResult, restored: Restored, name: str) -> bool:
    """Whether the sum of squares would fall beyond the bound by more than noise explains (a one-sided score test)."""
    problem = restored.problem
    if fit.robust_weights is not None:
        problem = problem.with_data(weights=problem.weights * fit.robust_weights)
    end = problem.evaluate(restored.x[None])
    residual, jacobian = end.residual[0], end.jacobian[0]
    place = fit.free.index(name)
    inside = [k for k, label in enumerate(fit.free) if not fit.at_bound(label)]
    column, others = jacobian[place], jacobian[inside].T
    # Only what the other parameters cannot follow counts as a pull of this one.
    alone = column - others @ np.linalg.lstsq(others, column, rcond=None)[0]
    length = np.linalg.norm(alone)
    if length <= SPANNED * np.linalg.norm(column):
        return False
    noise = stdtrit(restored.degrees, 1 - CHANCE) * np.sqrt(restored.variance)
    return bool(abs(alone @ residual) > noise * length)


def _status(code: str, level: str, sentence: str) -> Status:
    return Status(code=code, level=level, sentence=sentence)  # type: ignore[arg-type]
