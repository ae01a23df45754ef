"""Errors on what was left out: the largest budget (the headline of a comparison), one k_e at a time, and what
exclusions change."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import MIN_STARTS, fit_law, refit_part
from theory.fit.restore import restore
from theory.fit.result import Direction, FitResult
from theory.fit.run_noise import noise_of_runs
from theory.types import FloatArray
from theory.uncertainty.resample import refit_many
from theory.uncertainty.selection import MARGIN

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """How one law predicts runs that it has not seen. Numbers are None where it cannot; `reason` says why."""

    name: str
    """Name given by the caller."""
    label: str
    """The law with its options."""
    held: str
    """What was left out."""
    rows: int
    """Runs left out."""
    rmse: float | None
    """Root mean square error of their prediction, metric units."""
    bias: float | None
    """Mean of metric minus prediction."""
    seed_sds: float | None
    """rmse in units of the seed noise of a run among those left out; 1 is perfect. None where that noise is unknown."""
    reason: str | None
    """Why there is no number."""


def leave_budget_out(fits: Mapping[str, FitResult], *, budget: float | None = None) -> list[HeldOut]:
    """Refit without one budget and predict it; best law first.

    Args:
        fits: Fits by name; they are repeated on the remaining rows with their own settings.
        budget: Which one (as in `Design.budgets`); default: the largest.

    Raises:
        TheoryError: the data have one budget, or not this one.

    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fits = {"separable": fit_law("separable_power_law", table.design, table.columns["test_bpc"])}
    >>> leave_budget_out(fits)
    Traceback (most recent call last):
    theory.errors.TheoryError: budget: the data have one budget (3.51675e+06); leaving it out leaves nothing to fit
    """
    design = _common(fits)
    levels = np.unique(design.budgets)
    if levels.size < 2:
        raise TheoryError(f"budget: the data have one budget ({levels[0]:g}); leaving it out leaves nothing to fit")
    # The largest, because a scaling law is wanted for what lies beyond the data.
    level = float(levels[-1]) if budget is None else float(budget)
    if level not in levels:
        raise TheoryError(f"budget: {level:g} is not in the data. Valid: {', '.join(f'{value:g}' for value in levels)}")
    masks = [design.budgets == level]
    return _ranked([_held_out(name, fit, masks, f"budget {level:g}") for name, fit in fits.items()])


def leave_one_k_e_out(fits: Mapping[str, FitResult]) -> list[HeldOut]:
    """Leave out each level of k_e in turn, predict it from the others, and pool the errors; best law first.

    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> names = ("separable_power_law", "constant")
    >>> fits = {name: fit_law(name, table.design, table.columns["train_bpc"]) for name in names}
    >>> leave_one_k_e_out(fits)[0].name
    'separable_power_law'
    """
    design = _common(fits)
    levels = np.unique(design.k_e)
    # With two levels a single one would be left, from which no dependence on k_e can be fitted.
    if levels.size < 3:
        raise TheoryError(f"k_e: {levels.size} levels; leaving one out needs at least 3")
    masks = [design.k_e == level for level in levels]
    return _ranked([_held_out(name, fit, masks, "each k_e in turn") for name, fit in fits.items()])


def _common(fits: Mapping[str, FitResult]) -> Design:
    if not fits:
        raise TheoryError("fits: empty; nothing to compare")
    return next(iter(fits.values())).inputs.design


def _held_out(name: str, fit: FitResult, masks: list[Mask], held: str) -> HeldOut:
    rows = int(sum(mask.sum() for mask in masks))
    # That of the very runs which are left out: a noisy small network elsewhere makes no miss of theirs smaller.
    # Without replicates nobody knows it, and residuals are no stand-in: they hold what the law misses.
    noise = 0.0 if fit.pure_error_sd is None else noise_of_runs(fit, np.any(masks, axis=0))
    try:
        # A law that the remaining rows cannot support stays in the table with the reason, so that the others are still
        # compared.
        errors = _together(fit, masks) or [_alone(fit, mask) for mask in masks]
    except TheoryError as error:
        return HeldOut(
            name=name, label=fit.law.label, held=held, rows=rows, rmse=None, bias=None, seed_sds=None, reason=str(error)
        )
    # Errors are pooled before the root mean square, so that levels with more runs count for more.
    missed = np.concatenate(errors)
    rmse = float(np.sqrt(np.mean(missed**2)))
    return HeldOut(
        name=name,
        label=fit.law.label,
        held=held,
        rows=rows,
        rmse=rmse,
        bias=float(missed.mean()),
        seed_sds=rmse / noise if noise > 0 else None,
        reason=None,
    )


def _alone(fit: FitResult, mask: Mask) -> FloatArray:
    """Metric minus its prediction by a fit without these rows."""
    inputs = fit.inputs
    return inputs.metric[mask] - refit_part(fit, ~mask).predict(inputs.design.take(mask))


def _together(fit: FitResult, masks: list[Mask]) -> list[FloatArray] | None:
    """The same for several sets of whole configurations in one search, which takes a third of the time; None where the
    refits differ in more than their rows."""
    inputs = fit.inputs
    # Levels and groups may be left out altogether, a prior is weighed against the noise of its own rows, and where too
    # few rows remain the refit alone has the reason.
    if inputs.loss != "least_squares" or inputs.priors or inputs.vary or len(fit.coefficients) > 1:
        return None
    if any(fit.n - int(mask.sum()) < fit.p + inputs.spare for mask in masks):
        return None
    compiled = restore(fit).compiled
    # Rows are left out by a weight of 0, so that all refits keep one shape.
    weights = np.ones((len(masks), int(compiled.codes.max()) + 1))
    for weight, mask in zip(weights, masks, strict=True):
        weight[compiled.codes[mask]] = 0.0
    refits = refit_many(fit, weights=weights, starts=MIN_STARTS + 1, seed=inputs.seed)
    if refits.kept.size < len(masks):
        return None
    predicted = refits.draws.predict(inputs.design)
    return [inputs.metric[mask] - row[mask] for mask, row in zip(masks, predicted, strict=True)]


def _ranked(rows: list[HeldOut]) -> list[HeldOut]:
    # Laws that could not be refitted come last instead of dropping out, so that the table shows them with their reason.
    return sorted(rows, key=lambda row: np.inf if row.rmse is None else row.rmse)


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """What leaving out some rows changes."""

    reason: str
    """Rule that excludes them."""
    rows: int
    """Number of rows that are left out."""
    values: dict[str, float] | None
    """Parameters without them; None if the fit is then refused."""
    change: dict[str, float] | None
    """Relative change of each searched parameter."""
    note: str | None
    """Why there are no numbers."""


def exclusion_effects(fit: FitResult, exclusions: Mapping[str, npt.ArrayLike]) -> list[Exclusion]:
    """Refit without each set of rows: the ledger's effect column.

    Args:
        fit: The fit of all rows.
        exclusions: Boolean masks of the rows to leave out, [rows], by reason.

    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> found = exclusion_effects(fit, {"d_m above 80": table.columns["d_m"] > 80})[0]
    >>> found.rows, sorted(found.change)
    (2, ['a', 'b'])
    """
    effects = []
    inputs = fit.inputs
    for reason, spec in exclusions.items():
        mask = np.asarray(spec, dtype=bool)
        if mask.shape != inputs.metric.shape:
            raise TheoryError(
                f"exclusions.{reason}: has shape {mask.shape}, expected one flag for each of {fit.n} rows"
            )
        try:
            part = refit_part(fit, ~mask)
        except TheoryError as error:
            effects.append(Exclusion(reason=reason, rows=int(mask.sum()), values=None, change=None, note=str(error)))
            continue
        # Relative, because parameters have different units; only searched ones can change.
        change = {
            name: part.values[name] / fit.values[name] - 1
            for name in fit.free
            # A level that was left out has no value any more, and a relative change from 0 does not exist.
            if name in part.values and fit.values[name]
        }
        effects.append(Exclusion(reason=reason, rows=int(mask.sum()), values=part.values, change=change, note=None))
    return effects


@dataclass(frozen=True, kw_only=True)
class Regime:
    """Whether a broken power law beats the plain one inside the range."""

    broken: bool | None
    """True if it does by more than `selection.MARGIN`; None if it cannot be tested."""
    delta_aicc: float | None
    """AICc of the plain law minus that of the broken one."""
    p_break: float | None
    """Trainable parameters at the break."""
    sentence: str
    """The finding as a sentence."""


def regime_check(
    trainable_params: npt.ArrayLike, metric: npt.ArrayLike, *, direction: Direction = "min", seed: int = 0
) -> Regime:
    """Compare a power law with a broken one along the budget, on frontier points or on all of their runs.

    Args:
        trainable_params: Realised counts, [rows].
        metric: [rows].
        direction: "min" or "max".
        seed: Of the starts.

    >>> params = 10.0 ** np.linspace(4, 7, 16)
    >>> kinked = 1 + np.where(params < 3e5, (params / 3e5) ** -0.1, (params / 3e5) ** -0.8)
    >>> regime_check(params, kinked + 0.002 * np.cos(np.arange(16))).broken
    True
    """
    params = np.asarray(trainable_params, dtype=np.float64)
    # Both laws read trainable_params alone; the other sizes are there because a design must have them.
    design = Design(n_rec=np.ones_like(params), k_e=params, trainable_params=params)
    try:
        # Both see all rows with equal weights, so that their AICc's can be compared.
        plain = fit_law("power_law", design, metric, direction=direction, seed=seed)
        broken = fit_law("broken_power_law", design, metric, direction=direction, seed=seed)
    except TheoryError as error:
        return Regime(broken=None, delta_aicc=None, p_break=None, sentence=f"No regime check: {error}")
    if plain.aicc is None or broken.aicc is None:
        return Regime(broken=None, delta_aicc=None, p_break=None, sentence="No regime check: a fit is exact.")
    delta, place = plain.aicc - broken.aicc, broken.values["p_break"]
    # The broken law contains the plain one, and the place of its break is chosen for the largest gain.
    if delta <= MARGIN:
        return Regime(
            broken=False, delta_aicc=delta, p_break=None, sentence="No break: one power law describes the range."
        )
    sentence = (
        f"A break at {place:.3g} parameters is preferred by {delta:.1f} AICc units; do not extrapolate across it."
    )
    return Regime(broken=True, delta_aicc=delta, p_break=place, sentence=sentence)
