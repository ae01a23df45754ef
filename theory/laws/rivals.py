"""Rival laws: what the effective-information law must beat before it is believed."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, Self

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
    """metric = c0 + c1 x + c2 x^2 (+ c3 x^3), x = ln(n_rec / n_ref), with its own coefficients in every budget
    and, where the rows have several k_c, at each of them."""

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


class _Term(NamedTuple):
    """One power of a size."""

    exponent: str
    """Name of its exponent."""
    coefficient: str
    """Name of its coefficient."""
    size: str
    """Column of the design, or trainable_params for its realised counts."""
    reference: str
    """Field of the law that holds the reference."""

    def of(self, law: Law, design: Design) -> FloatArray:
        """The size of every row."""
        if self.size == "tokens":
            # Points of a budget line say nothing of training: they are compared at the tokens that the data have.
            reference = getattr(law, self.reference)
            if design.tokens is None and reference is not None:
                return np.full(len(design), float(reference))
            return design.tokens_seen
        if self.size == "k_c":
            return design.connectivity
        return design.params if self.size == "trainable_params" else np.asarray(getattr(design, self.size))


@dataclass(frozen=True, kw_only=True)
class _SumOfPowers(Law):
    """metric = E + a power of each of several sizes, which the search has over a reference."""

    @property
    @abstractmethod
    def _terms(self) -> Sequence[_Term]:
        """The powers."""

    @property
    def options(self) -> dict[str, Any]:
        """Implement `Law.options`."""
        return asdict(self)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Implement `Law.parameters`."""
        return tuple(_exponent(term.exponent, f"exponent in {term.size}") for term in self._terms)

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Implement `Law.coefficients`."""
        # Signs are required of these terms: more neurons, complexity, synapses or tokens may not make the metric worse.
        terms = (
            Coefficient(name=t.coefficient, sign=1, meaning=f"factor of {t.size}^-{t.exponent}") for t in self._terms
        )
        return (Coefficient(name="E", meaning="irreducible metric"), *terms)

    def bind(self, design: Design) -> Self:
        """Implement `Law.bind`."""
        # A median lies in the data whatever the spacing of a sweep.
        medians = {t.reference: getattr(self, t.reference) or float(np.median(t.of(self, design))) for t in self._terms}
        return replace(self, **medians)

    def constants(self, theta: Theta, coefficients: Sequence[Any]) -> dict[str, Any]:
        """Implement `Law.constants`."""
        constants = {"E": coefficients[0]}
        for term, value in zip(self._terms, coefficients[1:], strict=True):
            # A (n/n_ref)^-a is (A n_ref^a) n^-a.
            constants[term.coefficient] = value * (getattr(self, term.reference) or 1.0) ** theta[term.exponent]
        return constants

    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Implement `Law.terms`."""
        columns: list[FloatArray] = [np.ones((1, len(design)))]
        slopes: dict[tuple[str, int], FloatArray] = {}
        for index, term in enumerate(self._terms, start=1):
            # Sizes relative to a median: the columns are then of order one, and their coefficients are effects in the
            # middle of the data.
            size = term.of(self, design) / (getattr(self, term.reference) or 1.0)
            exponent = theta[term.exponent] * np.log(size)
            columns.append(np.exp(-exponent))
            if gradient:
                # The search runs in the logarithm of the exponent, so its derivative carries the exponent as a factor.
                slopes[term.exponent, index] = -exponent * columns[-1]
        return Terms(tuple(columns), slopes)


@dataclass(frozen=True, kw_only=True)
class SeparablePowerLaw(_SumOfPowers):
    """metric = E + A n_rec^-a + B k_e^-b (+ C k_c^-c) (+ D tokens^-d): the baseline that the theory must beat.

    The search has every size over a reference in the middle of the data; `constants` takes the references out again.

    It is the limit of the effective-information law for beta > 1, small u and an additive floor, with a = beta - 1 and
    b = alpha.
    """

    connectivity: bool = False
    """Whether the term in k_c is there."""
    tokens: bool = False
    """Whether the term in the tokens trained on is there."""
    n_ref: float | None = None
    """Reference of n_rec; `bind` takes medians. References do not change the fit."""
    k_ref: float | None = None
    """Reference of k_e."""
    k_c_ref: float | None = None
    """Reference of k_c."""
    tokens_ref: float | None = None
    """Reference of the tokens; a design that says nothing of tokens is at it."""

    name = "separable_power_law"

    @property
    def label(self) -> str:
        """Implement `Law.label`."""
        return f"{self.name} ({', '.join(term.size for term in self._terms)})"

    @property
    def axes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Implement `Law.axes`."""
        # Connectivity is often varied at two levels beside the other axes, and then its term is a step that needs no
        # more of them.
        return tuple(term.size for term in self._terms if term.size != "k_c")

    @property
    def formula(self) -> str:
        """Implement `Law.formula`."""
        return f"metric = {' + '.join(['E', *(f'{t.coefficient} {t.size}^-{t.exponent}' for t in self._terms)])}"

    @property
    def _terms(self) -> list[_Term]:
        terms = [_Term("a", "A", "n_rec", "n_ref"), _Term("b", "B", "k_e", "k_ref")]
        terms += [_Term("c", "C", "k_c", "k_c_ref")] * self.connectivity
        return terms + [_Term("d", "D", "tokens", "tokens_ref")] * self.tokens


@dataclass(frozen=True, kw_only=True)
class ParametersAndTokens(_SumOfPowers):
    """metric = E + A N^-a + B D^-b with N the trainable parameters and D the tokens trained on: the third approach of
    Hoffmann et al. (2022), arXiv 2203.15556, for tables that know nothing of neurons.

    As in `SeparablePowerLaw` the search has both sizes over a reference, which `constants` takes out again.
    """

    p_ref: float | None = None
    """Reference of N; `bind` takes the median. It does not change the fit."""
    tokens_ref: float | None = None
    """Reference of D, likewise; a design that says nothing of tokens is at it."""

    name = "parameters_and_tokens"
    axes = ("trainable_params", "tokens")
    formula = "metric = E + A N^-a + B D^-b, N = trainable_params, D = tokens"
    _terms = (_Term("a", "A", "trainable_params", "p_ref"), _Term("b", "B", "tokens", "tokens_ref"))

    @property
    def label(self) -> str:
        """Implement `Law.label`."""
        return f"{self.name} (trainable_params, tokens)"


@dataclass(frozen=True, kw_only=True)
class PowerLaw(Law):
    """metric = E + A P^-exponent in the trainable parameters alone; also the law of the frontier."""

    p_ref: float | None = None
    """The trainable parameters at which the second term is the coefficient A; `bind` takes the median."""

    name = "power_law"
    axes = ("trainable_params",)
    formula = "metric = E + A P^-exponent, P = trainable_params"

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

    def constants(self, theta: Theta, coefficients: Sequence[Any]) -> dict[str, Any]:
        """Implement `Law.constants`."""
        return {"E": coefficients[0], "A": coefficients[1] * (self.p_ref or 1.0) ** theta["exponent"]}

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
