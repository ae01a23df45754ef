"""How a network misses the voltage of a neuron: by state and by lag. R windows, T milliseconds."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

STATES = 10
"""Classes of the target voltage, of equally many milliseconds."""
AFTER_SPIKE = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
"""First milliseconds after an output spike of each class; the class before the first holds the spike itself."""
MOST_LAGS = 100
"""Milliseconds over which the autocorrelation is kept."""


class ByState(NamedTuple):
    """Residuals in classes of milliseconds."""

    place: FloatArray
    """Median target voltage, or median time since the last spike, of each class [C]."""
    bias: FloatArray
    """Mean residual [C]."""
    sd: FloatArray
    """Standard deviation of the residual about that mean [C]."""
    steps: npt.NDArray[np.int64]
    """Milliseconds in each class [C]."""


class ByLag(NamedTuple):
    """Autocorrelation of the residual."""

    lag: npt.NDArray[np.int64]
    """Milliseconds, from 0 [L]."""
    correlation: FloatArray
    """1 at lag 0; of all windows, each about the mean of all [L]."""
    time: float
    """Milliseconds between independent residuals: 1 + 2 sum of the correlation up to its first zero."""


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Residuals (predicted less target, mV) of one network."""

    bias: float
    sd: float
    explained: float
    """Share of the variance of the target that the prediction explains (R^2)."""
    by_voltage: ByState
    """By the target voltage."""
    after_spike: ByState
    """By the time since the neuron's last spike; milliseconds before the first spike of a window are left out."""
    by_lag: ByLag


def residuals(predicted_RT: FloatArray, target_RT: FloatArray, spikes_RT: npt.NDArray[np.bool_]) -> Residuals:
    """Measure how a network misses.

    Args:
        predicted_RT: the network's voltage, mV.
        target_RT: the neuron's voltage, mV.
        spikes_RT: whether the neuron spiked.
    """
    error = predicted_RT.astype(np.float64) - target_RT
    spread = float(target_RT.var())
    return Residuals(
        bias=float(error.mean()),
        sd=float(error.std()),
        explained=1.0 - float((error**2).mean()) / spread if spread > 0 else float("nan"),
        by_voltage=_by_voltage(error, target_RT),
        after_spike=_after_spike(error, spikes_RT),
        by_lag=_by_lag(error),
    )


def _by_voltage(error: FloatArray, target: FloatArray) -> ByState:
    # Clipped voltages are many equal values, and classes that they would make empty are left out.
    edges = np.unique(np.quantile(target, np.linspace(0, 1, STATES + 1)[1:-1]))
    return _classes(error.ravel(), np.digitize(target, edges).ravel(), target.ravel())


def _after_spike(error: FloatArray, spikes: npt.NDArray[np.bool_]) -> ByState:
    time = np.arange(spikes.shape[1])
    last = np.maximum.accumulate(np.where(spikes, time, -1), axis=1)
    known = last >= 0
    since = (time - last)[known]
    return _classes(error[known], np.digitize(since, AFTER_SPIKE), since.astype(np.float64))


def _classes(error: FloatArray, number: npt.NDArray[np.int64], place: FloatArray) -> ByState:
    parts = [number == one for one in np.unique(number)]
    return ByState(
        place=np.array([np.median(place[part]) for part in parts], dtype=np.float64),
        bias=np.array([error[part].mean() for part in parts], dtype=np.float64),
        sd=np.array([error[part].std() for part in parts], dtype=np.float64),
        steps=np.array([part.sum() for part in parts], dtype=np.int64),
    )


def _by_lag(error: FloatArray) -> ByLag:
    centred = error - error.mean()
    steps = error.shape[1]
    lags = np.arange(min(MOST_LAGS + 1, steps))
    # Means over the pairs that there are, so that long lags, which have fewer, are not shrunk.
    covariance = np.array([(centred[:, : steps - lag] * centred[:, lag:]).mean() for lag in lags])
    if covariance[0] <= 0:
        return ByLag(lags, np.where(lags == 0, 1.0, 0.0), 1.0)
    correlation = covariance / covariance[0]
    ends = np.flatnonzero(correlation <= 0)
    until = int(ends[0]) if len(ends) else len(lags)
    return ByLag(lags, correlation, float(max(1.0, 1.0 + 2.0 * correlation[1:until].sum())))
