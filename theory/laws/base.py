"""What a law is: named parameters with bounds, and the columns that a linear combination turns into the metric.

    metric(row) = base(row; theta) + sum_j c_j column_j(row; theta)

theta (the `parameters`) is searched; c (the `coefficients`) follows from linear least squares for every theta
("variable projection").
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from theory.data.design import Design
from theory.laws.parameters import Coefficient, Parameter
from theory.types import FloatArray

Theta = Mapping[str, FloatArray]
"""Parameters by name in natural units. Shapes broadcast against [rows]: [R, 1] evaluates R sets at once, [R, rows] lets
them differ by row."""

REFERENCE = "@reference"
"""Suffix under which a law finds the reference level of a parameter that varies by group: definitions shared by all
groups use that level."""


class Terms(NamedTuple):
    """A law at one or many theta, on the rows of a design."""

    columns: tuple[FloatArray, ...]
    """One array per coefficient, each broadcasting to [R, rows]."""
    gradient: dict[tuple[str, int], FloatArray]
    """Derivative of column j with respect to a parameter's search coordinate (its logarithm where `log`), by (name, j);
    missing means zero.

    The part that acts through a reference level has the name with the suffix "@reference". The base is column -1.
    """
    base: FloatArray | None = None
    """The part without a coefficient, or None."""


class Law(ABC):
    """A law to be fitted; built-in laws, rivals and a user's own function all have this form."""

    name: str
    """Key in the registry."""
    coefficients_per: Literal["group", "budget"] = "group"
    """Whether the coefficients belong to a metric group or to each budget and k_c of it; such a law cannot
    extrapolate."""

    axes: tuple[str, ...] = ("n_rec", "k_e")
    """Sizes in which the law has exponents, among n_rec, k_e, k_c, trainable_params and tokens: the data need levels of
    them."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """The searched parameters; bounds that depend on the data need `bind` first."""

    @property
    @abstractmethod
    def coefficients(self) -> tuple[Coefficient, ...]:
        """The linear parameters, in the order of the columns."""

    @abstractmethod
    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Evaluate the columns (and their derivatives) on a design."""

    @property
    def options(self) -> dict[str, Any]:
        """Arguments that rebuild this law, as JSON values."""
        return {}

    @property
    def label(self) -> str:
        """The law with its options, for tables."""
        return self.name

    def bind(self, design: Design) -> "Law":
        """Fix the reference values and bounds that depend on the data; values that were given stay."""
        del design  # most laws have nothing to fix; the argument is for those that do
        return self

    def derived(self, theta: Mapping[str, float]) -> dict[str, float]:
        """Return further numbers that follow from the parameters, in natural units."""
        del theta
        return {}

    @property
    def formula(self) -> str | None:
        """The law as a line for people, in which `constants` stand; None where the label says all that is known."""
        return None

    def constants(self, theta: Theta, coefficients: Sequence[Any]) -> dict[str, Any]:
        """Return the coefficients as `formula` has them: in units of the sizes themselves, without references.

        Args:
            theta: Parameters, numbers or arrays of any one shape.
            coefficients: Linear parameters in order, likewise.

        Returns:
            By name, all of them; empty where the formula has the references in it.
        """
        del theta, coefficients
        return {}

    def scan(self, count: int) -> tuple[str, FloatArray] | None:
        """Name a parameter in which the law has a kink, with values (natural units) that the multi-start must visit."""
        del count
        return None

    def wider(self) -> tuple["Law", Mapping[str, float]] | None:
        """Return a law that contains this one, with the values of its further parameters at which both are the same:
        the departure that lack of fit is looked for in first. None where no such law is known."""
        return None

    def stationarity(self, theta: Theta, design: Design, kappa: FloatArray) -> FloatArray | None:
        """Return a function with the optimum's sign pattern along a budget (above 0: a larger k_e is better), or None
        to search by values."""
        del theta, design, kappa
        return None

    def predict(self, theta: Mapping[str, Any], coefficients: Sequence[Any], design: Design) -> FloatArray:
        """Evaluate the metric.

        Args:
            theta: Parameters by name, numbers or arrays that broadcast against [rows].
            coefficients: Linear parameters in order, likewise.
            design: Where to evaluate.

        Returns:
            The metric, shape [rows] for plain numbers.

        >>> from theory.laws.registry import LAWS
        >>> LAWS["power_law"].predict({"exponent": 0.5}, [1.0, 2.0], Design(n_rec=[1, 4], k_e=[4, 4])).tolist()
        [2.0, 1.5]
        """
        # Laws return columns as [1, rows] even for single numbers. Callers that passed plain numbers or [rows] arrays
        # get [rows] back; only sets of parameters ([R, 1] and the like) keep the leading axis.
        plain = all(np.ndim(value) < 2 for value in (*theta.values(), *coefficients))
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in theta.items()}
        terms = self.terms(arrays, design, gradient=False)
        # Summed column by column rather than stacked: each column keeps its own broadcast shape until it is added.
        metric = np.zeros(len(design)) if terms.base is None else terms.base
        for value, column in zip(coefficients, terms.columns, strict=True):
            metric = metric + np.asarray(value, dtype=np.float64) * column
        return metric.reshape(len(design)) if plain else metric


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """A law with numbers: R sets of parameters and coefficients (R = 1 for a single theory). It is all that an
    allocation needs.

    >>> from theory.laws.registry import get_law
    >>> law = get_law("separable_power_law", n_ref=1.0, k_ref=1.0)
    >>> curve = Curve(law=law, theta={"a": 0.5, "b": 0.5}, coefficients=(1.0, 2.0, 3.0))
    >>> curve.theta["a"].shape
    (1,)
    """

    law: Law
    """The law, bound to its data."""
    theta: Mapping[str, Any]
    """Parameters by name, numbers or [R] arrays."""
    coefficients: Sequence[Any]
    """Linear parameters in the law's order, numbers or [R] arrays."""
    direction: Literal["min", "max"] = "min"
    """Whether smaller or larger metric is better."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "theta",
            # At least one axis, so that a single theory and a thousand draws take the same way.
            {name: np.atleast_1d(np.asarray(value, dtype=np.float64)) for name, value in self.theta.items()},
        )
        object.__setattr__(
            self,
            "coefficients",
            tuple(np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in self.coefficients),
        )

    @property
    def sets(self) -> int:
        """Number of parameter sets, R."""
        # Single numbers and arrays of R may be mixed: what is shared by all sets need not be repeated.
        return max([value.size for value in (*self.theta.values(), *self.coefficients)], default=1)

    @property
    def sign(self) -> float:
        """1 where smaller is better, -1 where larger is."""
        # Optimisers minimise; with the sign a metric to be maximised is minimised too.
        return 1.0 if self.direction == "min" else -1.0

    def on_grid(self, design: Design) -> FloatArray:
        """Metric of every set on every row: [R, rows]."""
        theta = {name: value[:, None] for name, value in self.theta.items()}
        with np.errstate(all="ignore"):  # extreme draws may overflow far from the data; the value is then not finite
            metric = self.law.predict(theta, [value[:, None] for value in self.coefficients], design)
        return np.broadcast_to(metric, (self.sets, len(design)))

    def row_by_row(self, design: Design) -> FloatArray:
        """Metric of set r on row r: [R]."""
        # [1, R] against R rows pairs set r with row r, where `on_grid` crosses every set with every row.
        theta = {name: value[None, :] for name, value in self.theta.items()}
        with np.errstate(all="ignore"):
            metric = self.law.predict(theta, list(self.coefficients), design)
        return np.broadcast_to(metric.reshape(-1), (len(design),))
