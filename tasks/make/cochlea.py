"""From sound to spikes: basilar membrane, hair cells and bushy cells, as in the Heidelberg Digits.

Model and constants: Cramer, Stradmann, Schemmel and Zenke 2020 (arXiv 1910.07407), which joins the membrane of
Sieroka, Dosch and Rupp 2006 (JASA 120, 297), the hair cell of Meddis 1986 (JASA 79, 702) and leaky integrate-and-fire
bushy cells. Needs numba (the extra `speech`).
"""

import functools
import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy import special

from tasks.packages import package

numba = package("numba", "the cochlea", extra="speech")

Complex: TypeAlias = npt.NDArray[np.complex128]
CHANNELS = 700
SAMPLE_RATE = 48_000
"""Rate of the sound in Hz; the neurons run at half of it, as in the original chain."""
NEURON_RATE = SAMPLE_RATE // 2
_SHORTEST_FFT = 1.25  # seconds: sounds of different length then share one transfer matrix
RMS_LEVEL = 0.3
"""Root mean square that sounds are scaled to before they reach the membrane."""

# Basilar membrane (Cramer 2020, table of parameters; cgs units).
_LENGTH_CM, _STIFFNESS, _STIFFNESS_DECAY, _STIFFNESS_OFFSET = 3.5, 1e9, 3.0, 3500.0
_DAMPING, _HEIGHT, _MASS, _DENSITY = 0.15, 0.1, 0.05, 1.0
# Bushy cells: converging fibres, seconds, and the weight of all fibres together.
_FIBRES, _TAU_MEMBRANE, _TAU_SYNAPSE, _REFRACTORY, _WEIGHT = 40, 1e-3, 5e-4, 1e-3, 13e3


def membrane_velocity(frequency: npt.NDArray[np.float64], position: float) -> Complex:
    """Transfer function from sound to the velocity of the basilar membrane.

    The path integral of the wave number, G = 2/alpha g(0) + int_0^x g dx, is closed with u = exp(alpha x / 2): then
    g dx is a multiple of du / sqrt(C0 - i omega R0 u - (a + m omega^2) u^2), whose primitive is an arc sine.

    Args:
        frequency: Hz, positive, [F].
        position: cm from the oval window.

    Returns:
        Complex transfer function, [F].
    """
    omega = 2 * np.pi * frequency
    resistance = _DAMPING * np.sqrt(_STIFFNESS * _MASS)
    inertia = _STIFFNESS_OFFSET + _MASS * omega**2
    root = np.sqrt(4 * inertia * _STIFFNESS - (omega * resistance) ** 2)

    def impedance(u: float) -> Complex:
        return np.asarray(_STIFFNESS / u**2 - inertia - 1j * omega * resistance / u)

    def wave_number(u: float) -> Complex:
        return np.asarray(omega * np.sqrt(_DENSITY / (_HEIGHT * impedance(u))))

    def phase(u: float) -> Complex:
        bent = np.arcsin((2 * inertia * u + 1j * omega * resistance) / root)
        start = np.arcsin((2 * inertia + 1j * omega * resistance) / root)
        path = omega * np.sqrt(_DENSITY / (_HEIGHT * inertia)) * (bent - start)
        return np.asarray(2 / _STIFFNESS_DECAY * (wave_number(1.0) + path))

    def pressure(u: float) -> Complex:
        return np.asarray(np.sqrt(phase(u) / wave_number(u)) * special.hankel1(0, phase(u)))

    u = math.exp(_STIFFNESS_DECAY * position / 2)
    y = 2 * omega / _STIFFNESS_DECAY * np.sqrt(2 / (_HEIGHT * _STIFFNESS))
    entry = np.sqrt(2 * _STIFFNESS / _HEIGHT) * 1j * special.hankel2(0, y) / special.hankel2(1, y)
    return np.asarray(2 * omega / impedance(u) * pressure(u) / pressure(1.0) * entry)


@functools.lru_cache(maxsize=2)
def _transfer_matrix(bins: int, channels: int) -> npt.NDArray[np.complex64]:
    """Return the transfer function of every channel on the grid of an FFT of `bins` positive frequencies."""
    # at 0 Hz the transfer function is 0 / 0, so that 1 Hz stands for it
    frequency = np.maximum(np.arange(bins) * NEURON_RATE / bins, 1.0)
    positions = np.linspace(0, _LENGTH_CM, channels)
    return np.stack([membrane_velocity(frequency, position).astype(np.complex64) for position in positions])


def spikes(
    sound: npt.NDArray[np.float64], *, seed: int, channels: int = CHANNELS
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint16]]:
    """Turn a sound into the spikes of the bushy cells.

    Args:
        sound: samples at SAMPLE_RATE, [n]; scale them to a root mean square of RMS_LEVEL.
        seed: of the random release in the auditory nerve fibres.
        channels: number of positions along the membrane; 0 is the base (high pitch).

    Returns:
        Times in seconds in rising order and the channel of every spike.
    """
    samples = len(sound) // 2
    bins = scipy.fft.next_fast_len(max(samples, int(_SHORTEST_FFT * NEURON_RATE)))
    # As in the original chain: the positive half of the spectrum, transformed back at half the rate.
    spectrum = scipy.fft.fft(sound, 2 * bins)[:bins].astype(np.complex64)
    velocity = scipy.fft.ifft(_transfer_matrix(bins, channels) * spectrum, axis=1, overwrite_x=True).real
    # A seed for each channel, so that channels are independent and can be computed in any order.
    trains = [_bushy_cell(velocity[c, :samples].astype(np.float64), seed * channels + c) for c in range(channels)]
    times = np.concatenate(trains) / NEURON_RATE
    units = np.repeat(np.arange(channels, dtype=np.uint16), [len(part) for part in trains])
    # Spikes of one moment are sorted by channel as well, so that the file does not depend on how the channels were
    # joined.
    order = np.lexsort((units, times))
    return times[order], units[order]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _exponential(state: Any) -> float:
    """Draw from the exponential distribution of mean 1 with a splitmix64 generator; advance `state`."""
    # a generator of our own, because numba's is not promised to stay the same between versions
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    # 53 random bits over 2^53, and half a step more, so that the logarithm never meets 0
    return -math.log((float(z >> np.uint64(11)) + 0.5) / 9007199254740992.0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _hair_cell(velocity: Any) -> Any:
    """Return the firing probability per sample of one auditory nerve fibre (Meddis 1986, transmitter pools)."""
    dt = 1.0 / NEURON_RATE
    y, g, loss, r, x, a, b, h, m = 5.05, 2000.0, 2500.0, 6580.0, 66.3, 5.0, 300.0, 50000.0, 1.0
    k = g * a / (a + b)
    # The constants carry the letters of the paper, so that equations can be compared line by line.
    cleft = m * y * k / (loss * k + y * (loss + r))
    # the pools begin as silence leaves them, or the start would look like the onset of a sound
    free, store = cleft * (loss + r) / k, cleft * r / x
    probability = np.empty(len(velocity))
    for step in range(len(velocity)):
        drive = velocity[step] + a
        eject = g * dt * drive / (drive + b) * free if drive > 0 else 0.0
        replenish = y * dt * (m - free) if free < m else 0.0
        reprocess = x * dt * store
        reuptake = r * dt * cleft
        free = max(free + replenish - eject + reprocess, 0.0)
        store = max(store + reuptake - reprocess, 0.0)
        cleft = max(cleft + eject - (loss + r) * dt * cleft, 0.0)
        # below 1, because the fibres take log(1 - p)
        probability[step] = min(cleft * h * dt, 0.999999)
    return probability


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _fibre_spikes(probability: Any, state: Any) -> Any:
    """Return how many of the converging fibres fire in each sample.

    A fibre fires with the given probability per sample unless it fired less than the refractory time ago. It is drawn
    as the first sample at which the summed hazard -log(1 - p) since the end of the refractory time exceeds an
    exponential variate, which is the same law with one variate per spike.
    """
    refractory = int(_REFRACTORY * NEURON_RATE)
    counts = np.zeros(len(probability), dtype=np.int64)
    target, release = np.empty(_FIBRES), np.full(_FIBRES, -1)
    for fibre in range(_FIBRES):
        target[fibre] = _exponential(state)
    hazard, next_target, next_release = 0.0, 0.0, len(probability)
    for step in range(len(probability)):
        before = hazard
        # one running sum for all fibres; nothing to look at until it reaches the next target or a fibre is free again
        hazard += -math.log1p(-probability[step])
        if hazard < next_target and step < next_release:
            continue
        next_target, next_release = np.inf, len(probability)
        for fibre in range(_FIBRES):
            if release[fibre] == step:
                release[fibre] = -1
                target[fibre] = before + _exponential(state)
            if release[fibre] < 0 and hazard >= target[fibre]:
                counts[step] += 1
                release[fibre] = step + refractory
            if release[fibre] < 0:
                next_target = min(next_target, target[fibre])
            else:
                next_release = min(next_release, release[fibre])
    return counts


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _bushy_cell(velocity: Any, seed: int) -> Any:
    """Return the samples at which the leaky integrate-and-fire cell of one channel spikes."""
    state = np.array([seed], dtype=np.uint64)
    counts = _fibre_spikes(_hair_cell(velocity), state)
    dt = 1.0 / NEURON_RATE
    membrane_decay, synapse_decay = math.exp(-dt / _TAU_MEMBRANE), math.exp(-dt / _TAU_SYNAPSE)
    refractory = int(_REFRACTORY * NEURON_RATE)
    spike_samples = np.empty(len(counts), dtype=np.int64)
    count, potential, current, waiting = 0, 0.0, 0.0, 0
    for step in range(len(counts)):
        if waiting <= 0:
            if potential < 1.0:
                potential *= membrane_decay
            else:
                waiting, potential = refractory, 0.0
                spike_samples[count] = step - 1  # the threshold was reached at the end of the sample before
                count += 1
        current = current * synapse_decay + counts[step]
        if waiting <= 0:
            potential = min(potential + current * _WEIGHT / _FIBRES * dt, 1.0)
        waiting -= 1
    return spike_samples[:count]
