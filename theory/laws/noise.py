"""Noise of one neuron against its effective complexity k_e: three decays, three floors.

    nu(k_e) = D(k_e)                 floor "none"
              max(D(k_e), phi)       floor "max"        (the paper's word)
              D(k_e) + phi           floor "additive"   (preferred by the NeuronIO table)

with the decay D scaled so that D(k_ref) = 1,

    D = (k_e/k_ref)^-alpha                              decay "power"
        exp(-(k_e - k_ref)/k_decay)                     decay "exponential"
        exp(-(alpha/s) ((k_e/k_ref)^s - 1))             decay "stretched", alpha the exponent at k_ref

(a stretched exponential: s = 1 is the exponential with k_decay = k_ref/alpha, s -> 0 the power law) and the floor
written as the decay at a size, phi = D(k_floor): with the max floor, k_e simply saturates at k_floor. The
signal-to-noise ratio is
S / nu, and -d ln nu / d ln k_e is the local exponent of the noise.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.errors import unknown
from theory.laws.base import REFERENCE, Theta
from theory.laws.parameters import Parameter
from theory.types import FloatArray

DECAYS: dict[str, tuple[str, ...]] = {
    "power": ("alpha",),
    "exponential": ("k_decay",),
    "stretched": ("alpha", "stretch"),
}
"""Parameters of each decay."""
FLOORS = ("none", "max", "additive")


class Noise(NamedTuple):
    """ln nu with its derivatives; every array has the broadcast shape of k_e and the parameters."""

    ln_nu: FloatArray
    slopes: dict[str, FloatArray]
    """Derivative with respect to ln of each parameter, by the names that `Terms.gradient` uses: a decay parameter acts
    through D(k_e) under its own name, and through phi = D(k_floor) with the suffix "@reference"."""
    local_exponent: FloatArray
    """-d ln nu / d ln k_e."""


class _Log(NamedTuple):
    """ln D at a size with its derivatives in the logarithms of the parameters and of the size."""

    value: FloatArray
    d_parameters: dict[str, FloatArray]
    d_ln_k: FloatArray


def check_form(decay: str, floor: str) -> None:
    """Refuse a decay or a floor that there is not.

    Raises:
        TheoryError: one of them is unknown; the message lists the choices.
    """
    if decay not in DECAYS:
        raise unknown("decay", decay, DECAYS)
    if floor not in FLOORS:
        raise unknown("floor", floor, FLOORS)


def decay_parameters(decay: str, k_decay: Parameter) -> list[Parameter]:
    """List the searched parameters of a decay.

    Args:
        decay: "power", "exponential" or "stretched".
        k_decay: That of the exponential, whose bounds depend on the data.
    """
    described = {
        "alpha": Parameter(name="alpha", lower=0.01, upper=10.0, start=(0.2, 3.0), meaning="noise exponent in k_e"),
        "stretch": Parameter(name="stretch", lower=1e-3, upper=3.0, start=(0.02, 1.0), meaning="stretching exponent"),
        "k_decay": k_decay,
    }
    return [described[name] for name in DECAYS[decay]]


def noise(k_e: npt.ArrayLike, k_ref: float, theta: Theta, *, decay: str = "power", floor: str = "none") -> Noise:
    """Evaluate ln nu(k_e) and its derivatives.

    Args:
        k_e: Effective complexity (parameters per neuron), above 0.
        k_ref: Where D = 1, above 0.
        theta: Parameters of the decay and, with a floor, "k_floor"; natural units, broadcasting with `k_e`. A decay
            parameter that varies by level has its reference level under its name with the suffix "@reference".
        decay: "power", "exponential" or "stretched".
        floor: "none", "max" or "additive".

    Raises:
        TheoryError: `decay` or `floor` is unknown.

    >>> law = noise([100.0, 1e4], 100.0, {"alpha": np.array(1.0), "k_floor": np.array(1e3)}, floor="max")
    >>> np.exp(law.ln_nu).round(12).tolist(), law.local_exponent.tolist()
    ([1.0, 0.1], [1.0, 0.0])
    """
    check_form(decay, floor)
    # Everything is written in ln D: over decades of k_e the decay itself would underflow, and the fit needs logarithms
    # anyway.
    at_size = _ln_decay(np.log(np.asarray(k_e, dtype=np.float64)), k_ref, theta, decay)
    if floor == "none":
        return Noise(at_size.value, at_size.d_parameters, -at_size.d_ln_k)
    # A floor that levels share is one size of noise, so it is written in the decay of the reference level.
    shared = {name: theta.get(name + REFERENCE, theta[name]) for name in DECAYS[decay]}
    at_floor = _ln_decay(np.log(theta["k_floor"]), k_ref, shared, decay)
    # `share` is the part of nu that the decay makes up, d ln nu / d ln D; the floor has the rest. With the max floor it
    # jumps from 1 to 0 at k_floor, which is why laws with that floor scan its place.
    if floor == "max":
        # At the kink itself the decay counts, so that a floor at the largest k_e touches no row.
        share = np.asarray(at_size.value >= at_floor.value, dtype=np.float64)
        ln_nu = np.maximum(at_size.value, at_floor.value)
    else:
        # The sum is taken in logarithms: an exponential decay underflows long before its logarithm does.
        ln_nu = np.logaddexp(at_size.value, at_floor.value)
        share = np.exp(at_size.value - ln_nu)
    slopes = {name: share * slope for name, slope in at_size.d_parameters.items()}
    slopes |= {name + REFERENCE: (1 - share) * slope for name, slope in at_floor.d_parameters.items()}
    slopes["k_floor"] = (1 - share) * at_floor.d_ln_k
    return Noise(ln_nu, slopes, -share * at_size.d_ln_k)


def floor_noise(k_ref: float, theta: Mapping[str, float], decay: str) -> float:
    """Return phi = D(k_floor), the noise that no complexity removes, in units of that at k_ref.

    Args:
        k_ref: Where D = 1.
        theta: Parameters of the decay, and "k_floor".
        decay: "power", "exponential" or "stretched".
    """
    only_decay = {name: np.asarray(theta[name]) for name in DECAYS[decay]}
    return float(np.exp(noise(theta["k_floor"], k_ref, only_decay, decay=decay).ln_nu))


def _ln_decay(ln_k: FloatArray, k_ref: float, parameters: Theta, decay: str) -> _Log:
    if decay == "power":
        value = -parameters["alpha"] * (ln_k - np.log(k_ref))
        # ln D is proportional to alpha, so its derivative in ln alpha is ln D itself; 0 * ln_k gives the slope the
        # rows' shape.
        return _Log(value, {"alpha": value}, -parameters["alpha"] + 0 * ln_k)
    ratio = np.exp(ln_k - np.log(k_ref))
    if decay == "exponential":
        rate = k_ref / parameters["k_decay"]
        value = -rate * (ratio - 1)
        return _Log(value, {"k_decay": -value}, -rate * ratio)
    alpha, s = parameters["alpha"], parameters["stretch"]
    # expm1 below keeps the digits as s goes to 0, where the decay turns into the power law and exp(z) - 1 would cancel.
    z = s * (ln_k - np.log(k_ref))
    value, slope = -alpha * np.expm1(z) / s, -alpha * np.exp(z)
    return _Log(value, {"alpha": value, "stretch": slope * z / s - value}, slope)
