"""A fit as one draw of its parameters, and quantities of the fit itself."""

from theory.fit.restore import Restored, restore
from theory.fit.result import FitResult
from theory.uncertainty.quantities import Draws, Quantity


def as_draws(fit: FitResult, restored: Restored) -> Draws:
    """Return the fit itself as one draw."""
    # The fit goes through the same code as bootstrap draws, so its estimate and their quantiles cannot differ by
    # definition.
    return Draws(fit=fit, x=restored.x[None], coefficients=restored.coefficients[None])


def estimate(fit: FitResult, quantity: Quantity) -> float:
    """Return the value of a quantity for the fit itself, without an interval."""
    return float(quantity.evaluate(as_draws(fit, restore(fit)))[0])
