"""Rival laws: what the effective-information law must beat before it is believed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from theory.data.design import Design
from theory.errors import TheoryError
from theory.laws.base import Law, Terms, Theta
from theory.laws.parameters import Coefficient, Parameter, inner_points
from theory.types import FloatArray


def _exponent(name: str, meaning: str) -> Parameter:
    # Not 0: a power that flat is a constant over any sweep, and its column could not be told from that of E.
    return Parameter(name=name, lower=0.005, upper=6.0, start=(0.05, 2.0), meaning=meaning)


@dataclass(frozen=True, kw_only=True)
class Constant(Law):
    """metric = E: no law at all."""

    name = "constant"
    axes = ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Implement `Law.parameters`."""
        return ()

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Implement `Law.coefficients`."""
        return (Coefficient(name="E", meaning="metric"),)

    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Implement `Law.terms`."""
        del theta, gradient
        return Terms((np.ones((1, len(design))),), {})


@dataclass(frozen=True, kw_only=True)
class Polynomial(Law):
    """metric = c0 + c1 x + c2 x^2 (+ c3 x^3), x = ln(n_rec / n_ref), with its own coefficients in every budget."""

    degree: int = 2
    """Degree of the polynomial, 2 or 3."""
    n_ref: float | None = None
    """Where x = 0; `bind` takes the geometric mean of the range. It does not change the fit."""

    # A parabola knows nothing of other budgets, so each has its own, and the law cannot extrapolate.
    coefficients_per: Literal["group", "budget"] = "budget"

    def __post_init__(self) -> None:
        if self.degree not in (2, 3):
            raise TheoryError(f"degree: {self.degree} is not one of: 2, 3")

    @property
    def name(self) -> str:  # type: ignore[override]
        """Key in the registry."""
        # The registry has two names for this class, and a result must say which one was fitted.
        return "quadratic" if self.degree == 2 else "cubic"

    @property
    def options(self) -> dict[str, Any]:
        """Implement `Law.options`; the degree is in the name."""
        return {"n_ref": self.n_ref}

    @property
    def label(self) -> str:
        """Implement `Law.label`."""
        return f"{self.name} in ln n_rec, per budget"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Implement `Law.parameters`."""
        return ()

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Implement `Law.coefficients`."""
        return tuple(Coefficient(name=f"c{power}") for power in range(self.degree + 1))

    def bind(self, design: Design) -> "Polynomial":
        """Implement `Law.bind`."""
        return replace(self, n_ref=self.n_ref or float(np.sqrt(design.n_rec.min() * design.n_rec.max())))

    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Implement `Law.terms`."""
        del theta, gradient
        # Centred, because powers of ln n_rec itself are nearly parallel over a narrow range.
        x = np.log(design.n_rec / (self.n_ref or 1.0))[None, :]
        return Terms(tuple(x**power for power in range(self.degree + 1)), {})


@dataclass(frozen=True, kw_only=True)
class SeparablePowerLaw(Law):
    """metric = E + A (n_rec/n_ref)^-a + B (k_e/k_ref)^-b (+ C (k_c/k_c_ref)^-c): the baseline that the theory must
    beat.

    It is the limit of the effective-information law for beta > 1, small u and an additive floor, with a = beta - 1 and
    b = alpha.
    """

    connectivity: bool = False
    """Whether the term in k_c is there."""
    n_ref: float | None = None
    """The n_rec at which the term A stands alone; `bind` takes medians. References do not change the fit."""
    k_ref: float | None = None
    """The k_e at which the term B stands alone."""
    k_c_ref: float | None = None
    """The k_c at which the term C stands alone."""

    name = "separable_power_law"

    @property
    def options(self) -> dict[str, Any]:
        """Implement `Law.options`."""
        return asdict(self)

    @property
    def label(self) -> str:
        """Implement `Law.label`."""
        return f"{self.name} (n_rec, k_e{', k_c' if self.connectivity else ''})"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Implement `Law.parameters`."""
        exponents = (_exponent("a", "exponent in n_rec"), _exponent("b", "exponent in k_e"))
        return (*exponents, _exponent("c", "exponent in k_c")) if self.connectivity else exponents

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Implement `Law.coefficients`."""
        # Signs are required of these terms: more neurons, complexity or synapses may not make the metric worse.
        names = ("A", "B", "C") if self.connectivity else ("A", "B")
        return (
            Coefficient(name="E", meaning="irreducible metric"),
            *(Coefficient(name=name, sign=1) for name in names),
        )

    def bind(self, design: Design) -> "SeparablePowerLaw":
        """Implement `Law.bind`."""
        filled: dict[str, Any] = {
            # A median lies in the data whatever the spacing of a sweep.
            "n_ref": self.n_ref or float(np.median(design.n_rec)),
            "k_ref": self.k_ref or float(np.median(design.k_e)),
        }
        if self.connectivity:
            filled["k_c_ref"] = self.k_c_ref or float(np.median(design.connectivity))
        return replace(self, **filled)

    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Implement `Law.terms`."""
        axes = [("a", design.n_rec, self.n_ref), ("b", design.k_e, self.k_ref)]
        if self.connectivity:
            axes.append(("c", design.connectivity, self.k_c_ref))
        columns: list[FloatArray] = [np.ones((1, len(design)))]
        slopes: dict[tuple[str, int], FloatArray] = {}
        for index, (name, size, reference) in enumerate(axes, start=1):
            # Sizes relative to a median: the columns are then of order one, and A, B, C are effects in the middle of
            # the data.
            exponent = theta[name] * np.log(size / (reference or 1.0))
            columns.append(np.exp(-exponent))
            if gradient:
                # The search runs in the logarithm of the exponent, so its derivative carries the exponent as a factor.
                slopes[name, index] = -exponent * columns[-1]
        return Terms(tuple(columns), slopes)


@dataclass(frozen=True, kw_only=True)
class PowerLaw(Law):
    """metric = E + A (P/p_ref)^-exponent in the trainable parameters alone; also the law of the frontier."""

    p_ref: float | None = None
    """The trainable parameters at which the second term is A; `bind` takes the median."""

    name = "power_law"
    axes = ("trainable_params",)

    @property
    def options(self) -> dict[str, Any]:
        """Implement `Law.options`."""
        return asdict(self)

    @property
    def label(self) -> str:
        """Implement `Law.label`."""
        return "power_law (trainable_params)"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Implement `Law.parameters`."""
        return (_exponent("exponent", "exponent in trainable_params"),)

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Implement `Law.coefficients`."""
        return (
            Coefficient(name="E", meaning="irreducible metric"),
            Coefficient(name="A", sign=1, meaning="reducible metric at p_ref"),
        )

    def bind(self, design: Design) -> "PowerLaw":
        """Implement `Law.bind`."""
        return replace(self, p_ref=self.p_ref or float(np.median(design.params)))

    def derived(self, theta: Mapping[str, float]) -> dict[str, float]:
        """Implement `Law.derived`."""
        # Without its reference the amplitude A of a stored result would mean nothing.
        return {"p_ref": self.p_ref or 1.0}

    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Implement `Law.terms`."""
        exponent = theta["exponent"] * np.log(design.params / (self.p_ref or 1.0))
        column = np.exp(-exponent)
        return Terms((np.ones((1, len(design))), column), {("exponent", 1): -exponent * column} if gradient else {})


@dataclass(frozen=True, kw_only=True)
class BrokenPowerLaw(Law):
    """metric = E + A (P/p_break)^-first below a break and E + A (P/p_break)^-second above it: does the regime change
    inside the range?"""

    p_range: tuple[float, float] | None = None
    """Smallest and largest trainable count; bounds of the break."""

    name = "broken_power_law"
    axes = ("trainable_params",)

    @property
    def options(self) -> dict[str, Any]:
        """Implement `Law.options`."""
        return asdict(self)

    @property
    def label(self) -> str:
        """Implement `Law.label`."""
        return "broken_power_law (trainable_params)"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Implement `Law.parameters`."""
        low, high = self.p_range or (1.0, 1e12)
        return (
            _exponent("first", "exponent below the break"),
            _exponent("second", "exponent above the break"),
            Parameter(name="p_break", lower=low, upper=high, meaning="trainable_params at the break"),
        )

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Implement `Law.coefficients`."""
        return (
            Coefficient(name="E", meaning="irreducible metric"),
            Coefficient(name="A", sign=1, meaning="reducible metric at the break"),
        )

    def bind(self, design: Design) -> "BrokenPowerLaw":
        """Implement `Law.bind`."""
        # A break outside the data would leave one power law and an exponent that no row determines.
        params = design.params
        if params.min() == params.max():
            raise TheoryError("trainable_params: one value only; a broken power law needs a range of budgets")
        return replace(self, p_range=self.p_range or (float(params.min()), float(params.max())))

    def scan(self, count: int) -> tuple[str, FloatArray] | None:
        """Implement `Law.scan`."""
        return "p_break", inner_points(*(self.p_range or (1.0, 1e12)), count)

    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Implement `Law.terms`."""
        # In the logarithm both branches are straight lines that meet at 0.
        x = np.log(design.params) - np.log(theta["p_break"])
        # Both branches are 1 at the break: the curve is continuous and only its slope jumps.
        # The bounds of the break are the data's range, so both branches have rows or the break sits at its bound.
        below = x < 0
        slope = np.where(below, theta["first"], theta["second"])
        column = np.exp(-slope * x)
        slopes = {}
        if gradient:
            # Exact on both sides of the break; at the break itself x = 0, where the two sides' derivatives of the
            # exponents agree on 0.
            by_slope = -slope * x * column
            slopes = {("first", 1): by_slope * below, ("second", 1): by_slope * ~below, ("p_break", 1): slope * column}
        return Terms((np.ones((1, len(design))), column), slopes)
