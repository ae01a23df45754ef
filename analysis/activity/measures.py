"""Measures of recorded activity: numbers in, numbers out. R sequences, T time steps, N neurons."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import signal, stats

FloatArray = npt.NDArray[np.float64]

QUANTILES = 199
"""Points of the quantile plot."""
SHORTEST_SEGMENT = 32
"""Steps of a segment of Welch's estimate, at least: fewer leave no frequencies to tell apart."""
SAMPLES_PER_NEURON = 10
"""Independent samples for each neuron that a spectrum of eigenvalues wants: with fewer the smallest ones shrink
(Marchenko and Pastur 1967 give 0.47 of their value as the lower edge at ten samples for equal eigenvalues)."""


class Spectrum(NamedTuple):
    """Eigenvalues of the covariance of the activity and the power law through them."""

    eigenvalues: FloatArray
    """Above zero, the largest first."""
    exponent: float | None
    """beta in lambda_i ~ i^-beta over `ranks`; None with fewer than three eigenvalues in that range."""
    standard_error: float | None
    """Of the regression; eigenvalues of one network are not independent, so the true error is larger."""
    ranks: tuple[int, int]
    """First and last rank of the fit."""
    participation_ratio: float
    """(sum lambda)^2 / sum lambda^2: how many dimensions the activity fills (Gao et al. 2017)."""
    samples: float
    """Independent samples behind it: steps over all sequences divided by the correlation time of the activity."""


class PowerSpectra(NamedTuple):
    """Power spectral density of single neurons, by Welch's method."""

    frequency: FloatArray
    """Cycles per time step, [F]."""
    median: FloatArray
    """Over neurons, of spectra that each add up to one, [F]."""
    low: FloatArray
    """10th percentile over neurons, [F]."""
    high: FloatArray
    """90th percentile over neurons, [F]."""


class Gaussianity(NamedTuple):
    """How Gaussian w_y . m is: of each neuron over all steps, standardised."""

    skew: FloatArray
    """[N]; 0 for a Gaussian."""
    excess_kurtosis: FloatArray
    """[N]; 0 for a Gaussian."""
    theoretical: FloatArray
    """Quantiles of a standard Gaussian, [Q]."""
    observed: FloatArray
    """Those of all neurons together, [Q]."""


class Population(NamedTuple):
    """What the neurons do together."""

    share: FloatArray
    """Share of the neurons that are above the threshold at each step of the first sequence, [T]."""
    rates: FloatArray
    """Share of the steps that each neuron is above the threshold, [N]."""
    interval_cv: FloatArray
    """Coefficient of variation of the intervals between onsets, of neurons with at least three, [<= N]."""
    synchrony: float | None
    """Golomb and Rinzel's chi (1993), 0 to 1; None where no neuron's activity varies."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """All measures of one network."""

    threshold: float
    """Activity above which a neuron counts as active."""
    raster: npt.NDArray[np.bool_]
    """Which neuron is active when, of the first sequence, [N, T]."""
    population: Population
    spectrum: Spectrum
    power: PowerSpectra
    gaussianity: Gaussianity
    timescales: FloatArray
    """Memory timescales of all neurons, in the unit of `dt`, sorted."""


def measure(
    activity_RTN: npt.NDArray[np.float32],
    potential_RTN: npt.NDArray[np.float32],
    timescales_ND: npt.NDArray[np.float32],
    *,
    threshold: float = 0.0,
) -> Measures:
    """Measure one recording.

    Args:
        activity_RTN: activity after the rectification.
        potential_RTN: w_y . m of the same steps.
        timescales_ND: memory timescales, in the unit of `dt`.
        threshold: activity above which a neuron counts as active.
    """
    activity, potential = activity_RTN.astype(np.float64), potential_RTN.astype(np.float64)
    return Measures(
        threshold=threshold,
        raster=(activity[0] > threshold).T,
        population=population(activity, threshold),
        spectrum=covariance_spectrum(activity),
        power=power_spectra(activity),
        gaussianity=gaussianity(potential),
        timescales=np.sort(timescales_ND.astype(np.float64), axis=None),
    )


def population(activity_RTN: FloatArray, threshold: float) -> Population:
    """Rates, intervals and synchrony of a population."""
    active = activity_RTN > threshold
    # The mean over neurons varies as much as one neuron does where all do the same, and little where each goes its way.
    alone = activity_RTN.var(axis=1).mean()
    together = activity_RTN.mean(axis=2).var(axis=1).mean()
    return Population(
        share=active[0].mean(axis=1),
        rates=active.mean(axis=(0, 1)),
        interval_cv=_interval_cv(active),
        synchrony=float(np.sqrt(together / alone)) if alone > 0 else None,
    )


def _interval_cv(active_RTN: npt.NDArray[np.bool_]) -> FloatArray:
    """Coefficient of variation of the intervals between onsets, of neurons that have at least three intervals."""
    onsets = active_RTN[:, 1:] & ~active_RTN[:, :-1]
    spread = []
    for neuron in range(onsets.shape[2]):
        # Within sequences: the step from the end of one to the start of the next is no interval.
        intervals = np.concatenate([np.diff(np.flatnonzero(row)) for row in onsets[:, :, neuron]])
        if len(intervals) >= 3:
            spread.append(intervals.std() / intervals.mean())
    return np.asarray(spread, dtype=np.float64)


def covariance_spectrum(activity_RTN: FloatArray, ranks: tuple[int, int] | None = None) -> Spectrum:
    """Eigenvalues of the covariance over all steps of all sequences.

    Args:
        activity_RTN: activity.
        ranks: first and last rank of the power law; None takes 2 to half of the neurons. The first eigenvalue is often
            a mode of all neurons together, and the last ones are shrunk by the finite number of samples (Stringer et
            al. 2019 leave out the first 10 and fit to 500 of thousands of neurons).
    """
    flat = activity_RTN.reshape(-1, activity_RTN.shape[2])
    centred = flat - flat.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T @ centred / len(centred))[::-1]
    # Neurons that never change have no variance, and rounding leaves a trace of them.
    values = values[values > values[0] * 1e-12] if values[0] > 0 else values[:0]
    first, last = ranks or (2, max(activity_RTN.shape[2] // 2, 2))
    last = min(last, len(values))
    exponent = error = None
    if last - first >= 2:
        line = stats.linregress(np.log(np.arange(first, last + 1)), np.log(values[first - 1 : last]))
        exponent, error = float(-line.slope), float(line.stderr)
    total = values.sum()
    return Spectrum(
        eigenvalues=values,
        exponent=exponent,
        standard_error=error,
        ranks=(first, last),
        participation_ratio=float(total**2 / (values**2).sum()) if len(values) else 0.0,
        samples=len(flat) / correlation_time(activity_RTN),
    )


def correlation_time(activity_RTN: FloatArray) -> float:
    """Steps between independent samples: 1 + 2 sum of the mean autocorrelation up to its first zero, at least 1."""
    centred = activity_RTN - activity_RTN.mean(axis=1, keepdims=True)
    steps = centred.shape[1]
    # Through the frequencies, padded to twice the length so that the end does not meet the start.
    power = np.abs(np.fft.rfft(centred, n=2 * steps, axis=1)) ** 2
    covariance = np.fft.irfft(power, axis=1)[:, :steps].mean(axis=(0, 2))
    if covariance[0] <= 0:
        return 1.0
    correlation = covariance / covariance[0]
    ends = np.flatnonzero(correlation <= 0)
    until = int(ends[0]) if len(ends) else steps
    return float(max(1.0, 1.0 + 2.0 * correlation[1:until].sum()))


def power_spectra(activity_RTN: FloatArray) -> PowerSpectra:
    """Power spectra of single neurons, each scaled to the sum one, averaged over sequences."""
    steps = activity_RTN.shape[1]
    # A quarter of the sequence: seven overlapping segments, each long enough to show slow changes.
    length = min(steps, max(SHORTEST_SEGMENT, steps // 4))
    frequency, density = signal.welch(activity_RTN, nperseg=length, axis=1)
    # Without frequency 0, which the detrending has taken away.
    by_neuron = density[:, 1:].mean(axis=0)
    varied = by_neuron[:, by_neuron.sum(axis=0) > 0]
    shares = varied / varied.sum(axis=0)
    if not shares.shape[1]:
        shares = np.full((len(frequency) - 1, 1), np.nan)
    low, median, high = np.quantile(shares, [0.1, 0.5, 0.9], axis=1)
    return PowerSpectra(frequency=frequency[1:], median=median, low=low, high=high)


def gaussianity(potential_RTN: FloatArray) -> Gaussianity:
    """Compare w_y . m with a Gaussian, neuron by neuron and all together."""
    flat = potential_RTN.reshape(-1, potential_RTN.shape[2])
    spread = flat.std(axis=0)
    # A neuron that never changes has no shape.
    scaled = (flat - flat.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    shares = np.arange(1, QUANTILES + 1) / (QUANTILES + 1)
    observed = np.quantile(scaled, shares) if scaled.size else np.full(QUANTILES, np.nan)
    return Gaussianity(
        skew=stats.skew(scaled, axis=0),
        excess_kurtosis=stats.kurtosis(scaled, axis=0),
        theoretical=stats.norm.ppf(shares),
        observed=observed,
    )
