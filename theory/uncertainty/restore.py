"""A fit as one draw of its parameters."""

from theory.fit.restore import Restored
from theory.fit.result import FitResult
from theory.uncertainty.quantities import Draws


def as_draws(fit: FitResult, restored: Restored) -> Draws:
    """Return the fit itself as one draw."""
    # The fit goes through the same code as bootstrap draws, so its estimate and their quantiles cannot differ by
    # definition.
    return Draws(fit=fit, x=restored.x[None], coefficients=restored.coefficients[None])
