"""Noise laws of single neurons: error against k_e, as on NeuronIO.

    ln error = ln A + ln nu(k_e)        nu: theory.laws.noise, so error = A D(k_e), A max(D, phi), or A (D + phi)

Least squares on ln error; the floor of the error is A phi. Fit the floor, do not seed it: alpha depends on it (fixing
the floor at 0.90 or 0.995 of the last point moves alpha from 0.45 to 0.95).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from theory.data.design import Design
from theory.errors import TheoryError, unknown
from theory.fit.fit import fit_law
from theory.fit.restore import restore
from theory.fit.result import FitResult
from theory.laws.neuron_noise import NeuronNoise
from theory.uncertainty.covariance import linearise
from theory.uncertainty.quantities import parameter
from theory.uncertainty.restore import as_draws

FORMS: dict[str, tuple[str, str]] = {
    "power + additive floor": ("power", "additive"),
    "power + max floor": ("power", "max"),
    "power": ("power", "none"),
    "exponential + additive floor": ("exponential", "additive"),
    "stretched + additive floor": ("stretched", "additive"),
    "exponential": ("exponential", "none"),
}
"""Decay and floor by name: those of the published comparison."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronFit:
    """One noise law on one error column."""

    form: str
    """Key of `FORMS`."""
    fit: FitResult
    """The whole result (of ln error)."""
    alpha: float | None
    """Noise exponent (of a stretched exponential: at k_ref); None for the exponential."""
    alpha_se: float | None
    """Standard error of alpha; None if alpha is at a bound or open."""
    floor: float | None
    """Floor in units of the error; None without one."""
    aicc: float | None
    """AICc of the fit, on ln error."""
    delta: float | None
    """AICc above the best form."""


def fit_neuron(
    k_e: npt.ArrayLike, error: npt.ArrayLike, *, forms: Sequence[str] = tuple(FORMS), seed: int = 0
) -> list[NeuronFit]:
    """Fit noise laws to single neurons and rank them by AICc, best first.

    Args:
        k_e: Effective complexity, [neurons].
        error: An error above 0 (MAE, MSE, 1 - AUC), [neurons].
        forms: Keys of `FORMS`.
        seed: Of the starts.

    Raises:
        TheoryError: an error is not above 0, too few neurons, or an unknown form.

    >>> from theory.data.published import load_published
    >>> table = load_published("neuronio")
    >>> best = fit_neuron(table.design.k_e, table.columns["test_soma_mae"])[0]
    >>> best.form, round(best.alpha, 3), round(best.floor, 4)
    ('power + additive floor', 0.956, 0.3154)
    """
    errors = np.asarray(error, dtype=np.float64)
    if not (np.isfinite(errors) & (errors > 0)).all():
        raise TheoryError("error: every value must be finite and above 0 (for an AUC use 1 - AUC)")
    # A single neuron has n_rec = 1; the noise law reads k_e alone.
    design = Design(n_rec=np.ones_like(errors), k_e=np.asarray(k_e, dtype=np.float64))
    rows = []
    for form in forms:
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        decay, floor_kind = FORMS[form]
        # Errors of neurons span decades and scatter in proportion, so the law is fitted to their logarithm.
        fit = fit_law(NeuronNoise(decay=decay, floor=floor_kind), design, np.log(errors), seed=seed)
        alpha, alpha_se = fit.values.get("alpha"), None
        # At a bound the data do not limit alpha on one side, so a symmetric standard error would mislead.
        if alpha is not None and not fit.at_bound("alpha"):
            restored = restore(fit)
            linear = linearise(
                restored.problem, as_draws(fit, restored), np.array([restored.variance]), [parameter("alpha")]
            )
            spread = float(linear.standard_error[0, 0])
            # The standard error is of ln alpha, the search coordinate; times alpha it is that of alpha.
            alpha_se = alpha * spread if np.isfinite(spread) else None
        floor = (
            # The law fits ln error = ln A + ln nu, so the floor in units of the error is A times that of nu.
            None if "phi" not in fit.derived else float(np.exp(fit.coefficients["all"]["ln_A"]) * fit.derived["phi"])
        )
        rows.append(
            NeuronFit(form=form, fit=fit, alpha=alpha, alpha_se=alpha_se, floor=floor, aicc=fit.aicc, delta=None)
        )
    lowest = min((row.aicc for row in rows if row.aicc is not None), default=None)
    # A form without an AICc is an exact fit or has too few neurons, and comes last.
    ranked = sorted(rows, key=lambda row: np.inf if row.aicc is None else row.aicc)
    return [replace(row, delta=None if row.aicc is None or lowest is None else row.aicc - lowest) for row in ranked]
