"""Findings about a fit, as sentences: what was found, what follows, what data would help."""

import numpy as np

from theory.data.design import number_rows
from theory.fit.problem import Problem
from theory.fit.result import FitResult, Starts, Status
from theory.fit.solver import Polished

FLAT = 1e-6
"""Cosine between residual and Jacobian below which the optimum counts as smooth and reached."""

FEW_LEVELS = 3
"""Levels per axis and budgets that a law with an exponent and a floor needs."""

TIE = 2.0
"""AICc differences below this are a tie."""


def search_statuses(best: Polished, starts: Starts, non_finite: int, problem: Problem) -> list[Status]:
    """Say whether the search converged and whether the starts agree."""
    statuses: list[Status] = []
    if best.gradient <= FLAT:
        statuses.append(
            _status(
                "converged", "ok", f"Converged: the scaled gradient is {best.gradient:.1e} after a polish to 1e-12."
            )
        )
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
    statuses = [_bound_status(fit, name) for name in fit.free if fit.at_bound(name)]
    for key, coefficients in fit.coefficients.items():
        for item in fit.law.coefficients:
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
    statuses += _floor_status(fit)
    for name, prior in fit.given.priors.items():
        statuses.append(
            _status(
                "prior_used",
                "note",
                f"{name} has a prior: centre {prior.mean:g}, sd {prior.sd:g} in the search coordinate.",
            )
        )
    for name, value in fit.given.fixed.items():
        statuses.append(_status("fixed", "note", f"{name} was fixed at {value:g}, not fitted."))
    return statuses


def design_statuses(fit: FitResult) -> list[Status]:
    """Say what the design itself cannot tell."""
    statuses = [*_budget_statuses(fit), *_level_statuses(fit)]
    if fit.pure_error_sd is None:
        sentence = (
            "No configuration has more than one seed: seed noise is unknown and the residuals stand in for it, "
            "so lack of fit cannot be told from noise. Add 2 more seeds."
        )
        statuses.append(_status("no_replicates", "note", sentence))
    codes = number_rows([fit.given.design.configurations(), fit.given.metric])
    repeats = codes.size - int(codes.max()) - 1
    if repeats:
        sentence = (
            f"{repeats} rows repeat another row's sizes and metric exactly; counted as independent runs they "
            "make intervals too narrow. Drop the copies."
        )
        statuses.append(_status("duplicated_rows", "warning", sentence))
    return statuses


def _budget_statuses(fit: FitResult) -> list[Status]:
    """A law of both axes needs several budgets, or else its parameters trade off."""
    searched = sorted({number.parameter.name for number in fit.searched.values()})
    if len(searched) < 2 or not {"n_rec", "k_e"} <= set(fit.law.axes):
        return []
    count = np.unique(fit.given.design.budgets).size
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
    design, statuses = fit.given.design, []
    columns = {"n_rec": design.n_rec, "k_e": design.k_e, "k_c": design.k_c, "trainable_params": design.budgets}
    for axis in fit.law.axes if fit.free else ():
        column = columns[axis]
        levels = 0 if column is None else np.unique(column).size
        if levels < FEW_LEVELS:
            plural = "s" if levels != 1 else ""
            need = f"an exponent needs at least {FEW_LEVELS}: add runs with other {axis}."
            sentence = f"{axis} has {levels} level{plural}; {need}"
            statuses.append(_status("few_levels", "warning", sentence))
    return statuses


def _floor_status(fit: FitResult) -> list[Status]:
    """An irreducible metric beyond the best value seen is a sign of a wrong fit."""
    names = [item.name for item in fit.law.coefficients]
    if len(names) < 2 or names[0] != "E" or len(fit.coefficients) > 1:
        return []
    floor = next(iter(fit.coefficients.values()))["E"]
    best = fit.given.metric.min() if fit.direction == "min" else fit.given.metric.max()
    beyond = floor > best if fit.direction == "min" else floor < best
    if beyond or (fit.direction == "min" and floor < 0):
        return [
            _status(
                "floor_implausible",
                "warning",
                f"E = {floor:.4g} lies beyond what is possible (best seen {best:.4g}); the law is wrong here.",
            )
        ]
    return []


def _bound_status(fit: FitResult, name: str) -> Status:
    side = fit.at_bound(name)
    return _status(
        "at_bound",
        "warning",
        f"{name} = {fit.values[name]:.4g} is at its {side} bound: the data do not limit it on this side; "
        "its value is the bound's, not the data's.",
    )


def _status(code: str, level: str, sentence: str) -> Status:
    return Status(code=code, level=level, sentence=sentence)  # type: ignore[arg-type]
