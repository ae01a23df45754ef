"""The noise of a single neuron as a law of its own: ln error = ln A + ln nu(k_e)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from theory.data.design import Design
from theory.laws.base import Law, Terms, Theta
from theory.laws.noise import check_form, decay_parameters, floor_noise, noise
from theory.laws.parameters import Coefficient, Parameter, inner_points
from theory.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class NeuronNoise(Law):
    """ln error = ln A + ln nu(k_e)."""

    decay: str = "power"
    """power, exponential or stretched."""
    floor: str = "additive"
    """none, max or additive."""
    k_ref: float | None = None
    """The k_e at which the decay is 1; `bind` takes the geometric mean of the range."""
    k_range: tuple[float, float] | None = None
    """Smallest and largest k_e of the data."""

    name = "neuron_noise"
    axes = ("k_e",)

    def __post_init__(self) -> None:
        check_form(self.decay, self.floor)

    @property
    def options(self) -> dict[str, Any]:
        """Implement `Law.options`."""
        return asdict(self)

    @property
    def label(self) -> str:
        """Implement `Law.label`."""
        return f"{self.name} ({self.decay}, {self.floor + ' floor' if self.floor != 'none' else 'no floor'})"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Implement `Law.parameters`."""
        # The registry shows a law that no data have bound yet, so its bounds need some range.
        low, high = self.k_range or (1.0, 1e6)
        k_decay = Parameter(
            name="k_decay", lower=low / 1e4, upper=high * 1e2, start=(low, high), meaning="decay, parameters"
        )
        # Outside the data a max floor binds in all rows or in none, and its place no longer matters; an additive floor
        # is felt beyond the data on both sides, so its bounds are wider.
        floors = {
            "max": [Parameter(name="k_floor", lower=low, upper=high, meaning="k_e where the floor begins")],
            "additive": [
                Parameter(
                    name="k_floor", lower=low / 1e2, upper=high * 1e3, start=(low, high), meaning="k_e of the floor"
                )
            ],
            "none": [],
        }
        return tuple(decay_parameters(self.decay, k_decay) + floors[self.floor])

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Implement `Law.coefficients`."""
        # The amplitude is free in sign: it is a logarithm.
        return (Coefficient(name="ln_A", meaning="ln error at k_ref without floor"),)

    def bind(self, design: Design) -> "NeuronNoise":
        """Implement `Law.bind`."""
        # k_e spans decades here, so the middle of its range is the geometric one.
        low, high = float(design.k_e.min()), float(design.k_e.max())
        return replace(self, k_ref=self.k_ref or float(np.sqrt(low * high)), k_range=self.k_range or (low, high))

    def scan(self, count: int) -> tuple[str, FloatArray] | None:
        """Implement `Law.scan`."""
        if self.floor != "max":
            return None
        return "k_floor", inner_points(*(self.k_range or (1.0, 1e6)), count)

    def derived(self, theta: Mapping[str, float]) -> dict[str, float]:
        """Return phi = D(k_floor), the floor of nu."""
        if self.floor == "none":
            return {}
        return {"phi": floor_noise(self.k_ref or 1.0, theta, self.decay)}

    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Implement `Law.terms`."""
        nu = noise(design.k_e, self.k_ref or 1.0, theta, decay=self.decay, floor=self.floor)
        slopes = {(name, -1): slope for name, slope in nu.slopes.items()} if gradient else {}
        # ln nu has no coefficient to solve for (its factor is 1), so it is the base and only ln A is linear.
        return Terms((np.ones((1, len(design))),), slopes, np.atleast_2d(nu.ln_nu))
