"""What a fitted law draws onto the measurement: plain arrays, whatever the law was."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class TheoryLine(NamedTuple):
    """The law along one budget and connectivity, by growing d_m."""

    budget: float
    k_c: float
    d_m: FloatArray
    n_rec: FloatArray
    k_e: FloatArray
    metric: FloatArray


class TheoryOptimum(NamedTuple):
    """The law's best allocation of one budget, where it lies inside the sampled range of d_m."""

    budget: float
    k_c: float
    n_rec: float
    d_m: float
    k_e: float
    metric: float
    band: tuple[float, float]
    """Smallest and largest d_m that the law calls as good within the tolerance."""


class Overlay(NamedTuple):
    """One fitted law, ready to be drawn."""

    law: str
    lines: tuple[TheoryLine, ...]
    optima: tuple[TheoryOptimum, ...]
    predicted: FloatArray
    """Prediction for each row of the configuration table."""

    def column(self, name: str) -> list[FloatArray]:
        """One column of all lines, by name."""
        return [getattr(line, name) for line in self.lines]
