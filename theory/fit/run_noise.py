"""Noise of the runs of a fit, which is what its misses and its differences are measured in."""

import numpy as np
import numpy.typing as npt

from theory.data.moderated import run_noise
from theory.fit.result import FitResult


def noise_of_runs(fit: FitResult, rows: npt.NDArray[np.bool_] | None = None) -> float:
    """Standard deviation of a single run, as the root mean square over some rows of a fit.

    Args:
        fit: The fit.
        rows: Which of its rows, [rows]; None: all.

    Returns:
        Seed noise by `theory.data.moderated`, in the units of the fitted metric. Without replicates the residuals'
        stands in, which holds what the law misses as well.
    """
    design = fit.inputs.design
    noise = run_noise(fit.inputs.metric, design.configurations(), design.budgets)
    if noise is None:
        return fit.noise_sd
    variance = noise.variance[design.configurations()]
    return float(np.sqrt(np.mean(variance if rows is None else variance[rows])))
