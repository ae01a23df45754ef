"""The result of a fit, with what is needed to trust and repeat it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from theory.data.design import BUDGET_TOLERANCE, Design
from theory.errors import TheoryError
from theory.fit.levels import LevelMap, Searched, levels_of, map_levels, one_row, searched_numbers
from theory.laws.base import Curve, Law
from theory.laws.parameters import Prior
from theory.types import FloatArray

Level = Literal["ok", "note", "warning", "error"]
Direction = Literal["min", "max"]


@dataclass(frozen=True, kw_only=True)
class Status:
    """One finding about a fit, as a sentence for people and a code for programs."""

    code: str
    """Short key, such as "converged", "at_bound", "one_budget"."""
    level: Level
    """ok, note, warning (read before use) or error (do not use)."""
    sentence: str
    """What was found, what follows, and what data would help."""


@dataclass(frozen=True, kw_only=True)
class Starts:
    """How well the searches agreed."""

    total: int
    """Number of searches that were started."""
    agreeing: int
    """Searches that ended at the best cost (relative 1e-6)."""
    runner_up: float | None
    """Relative gap of the sum of squares to the next different optimum; None if there is none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FitInput:
    """Everything that was given to the fit, so that it can be repeated on other data (bootstrap, held-out budgets)."""

    design: Design
    """Sizes, one row per run."""
    metric: FloatArray
    """Metric, [rows]."""
    weights: FloatArray | None = None
    """1 / variance up to a factor, [rows]; None: equal."""
    groups: str | None = None
    """Covariate whose levels have their own coefficients."""
    vary: Mapping[str, str] = field(default_factory=dict)
    """Covariate by parameter: the parameter has one value for each level."""
    fixed: Mapping[str, float] = field(default_factory=dict)
    """Parameters that are not searched."""
    priors: Mapping[str, Prior] = field(default_factory=dict)
    """Normal priors on search coordinates."""
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Bounds that replace a parameter's own."""
    direction: Direction = "min"
    """Whether smaller or larger metric is better."""
    loss: str = "least_squares"
    """least_squares, tukey or huber."""
    huber_threshold: float | None = None
    """Residual beyond which Huber's loss is linear, metric units (of a run of weight 1); None: from replicates or
    residuals, see `theory.fit.robust`."""
    starts: int = 32
    """Number of searches."""
    seed: int = 0
    """Seed of the starting points."""
    near: Mapping[str, float] | None = None
    """Values by label at which one more search starts: those of a fit of nearly the same rows. No kink is then scanned
    beyond the starts."""
    spare: int = 5
    """Rows that must remain beyond the number of parameters."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FitResult:
    """A fitted law. `usable` says whether its numbers mean anything; `statuses` say what they do not mean."""

    law: Law
    """The law, bound to the data (references and bounds filled in)."""
    inputs: FitInput
    """The data and the settings of the fit."""
    values: dict[str, float]
    """Searched and fixed parameters in natural units; levels as "alpha[tau_m_max=10]"."""
    free: tuple[str, ...]
    """Names in `values` that were searched."""
    bounds: dict[str, tuple[float, float]]
    """Bounds of the searched ones, natural units."""
    coefficients: dict[str, dict[str, float]]
    """Linear parameters by group ("all" for one group), of the law's columns: sizes over their references."""
    derived: dict[str, float]
    """Numbers that follow from the parameters (reference level)."""
    n: int
    """Number of rows."""
    p: int
    """Searched parameters and coefficients together."""
    rss: float
    """Weighted sum of squared residuals, metric units (weights of mean 1)."""
    rmse: float
    """sqrt(rss / n), metric units."""
    pearson_r: float | None
    """Correlation of prediction and metric; None where either is constant."""
    aicc: float | None
    """n ln(rss/n) + 2K + 2K(K+1)/(n-K-1), K = p + 1; None for robust losses and exact fits, which have no such
    likelihood."""
    noise_sd: float
    """sqrt(rss / (n - p)); for robust losses from the median absolute residual."""
    pure_error_sd: float | None
    """Pooled standard deviation of seeds of one configuration (of runs of weight 1); None without replicates."""
    pure_error_df: int
    """Its degrees of freedom."""
    condition: float | None
    """Condition number of the scaled Jacobian in search coordinates (coefficients eliminated); None without searched
    parameters."""
    starts: Starts
    """Agreement of the searches."""
    statuses: tuple[Status, ...]
    """Findings, errors first."""
    robust_weights: FloatArray | None = None
    """Weight of each row in a robust loss, 0 (rejected) to 1; None for least squares."""

    @property
    def usable(self) -> bool:
        """False if any status is an error."""
        # Warnings leave a fit usable: they limit what its numbers mean, while an error says that they mean nothing.
        return all(status.level != "error" for status in self.statuses)

    @property
    def direction(self) -> Direction:
        """Whether smaller or larger metric is better."""
        return self.inputs.direction

    def at_bound(self, label: str) -> str | None:
        """Return "lower" or "upper" if a searched parameter ended at that bound, else None."""
        low, high = self.bounds[label]
        value = self.values[label]
        # Values may have gone through a logarithm and back, so a parameter at its bound does not equal it.
        log = self.searched[label].parameter.log
        at_low, at_high = (1e-6 * abs(end) if log else 1e-9 * (high - low) for end in (low, high))
        if abs(value - low) <= at_low:
            return "lower"
        return "upper" if abs(value - high) <= at_high else None

    def has(self, code: str) -> bool:
        """Whether a status with this code was found."""
        # By its code and not by its sentence, which is for people and may change.
        return any(status.code == code for status in self.statuses)

    @cached_property
    def searched(self) -> dict[str, Searched]:
        """What each searched number stands for, by its label in `values`, in the order of `free`."""
        # Made anew from what was given, because a result keeps no problem; bounds that the caller replaced are in
        # `bounds`.
        parameters = [parameter for parameter in self.law.parameters if parameter.name not in self.inputs.fixed]
        return {number.label: number for number in searched_numbers(parameters, self.inputs.vary, self.inputs.design)}

    @cached_property
    def constants(self) -> dict[str, dict[str, float]]:
        """Coefficients by group as the law's `formula` has them, in units of the sizes themselves; empty where the law
        has no such formula, or a parameter of it varies by level."""
        if self.inputs.vary:
            return {}
        names = [item.name for item in self.law.coefficients]
        theta = {name: np.asarray(value) for name, value in self.values.items()}
        by_group = {
            key: self.law.constants(theta, [values[name] for name in names])
            for key, values in self.coefficients.items()
        }
        return {key: {n: float(v) for n, v in values.items()} for key, values in by_group.items() if values}

    def level_map(self, levels: Mapping[str, Sequence[object]]) -> LevelMap:
        """Return which of the fitted numbers some rows take.

        Args:
            levels: Level of each row by covariate; the reference level where one is missing.
        """
        return map_levels(self.law.parameters, self.inputs.vary, self.inputs.design, levels)

    def _value(self, label: str) -> FloatArray:
        return np.array([self.values[label]])

    def group_key(self, group: object = None, budget: float | None = None, k_c: float | None = None) -> str:
        """Return the key into `coefficients` of a group (None: the only one) and, for laws fitted per budget, of a
        budget and of the connectivity where the fit has several."""
        # The key is built from the same parts in the same order as `compile_fit` builds it, since it is what
        # coefficients are stored under.
        parts = [] if self.inputs.groups is None else [f"{self.inputs.groups}={group}"]
        if self.law.coefficients_per == "budget":
            parts.append(f"budget={self._fitted_budget(budget)!r}")
            levels = self.inputs.design.k_c_levels
            if levels.size > 1:
                if k_c is None:
                    raise TheoryError(f"k_c: needed, the law {self.law.name} is fitted per k_c: {levels.tolist()}")
                parts.append(f"k_c={float(k_c)!r}")
        # The same words as in `compile_fit`, which named the groups.
        key = ", ".join(parts) or "all"
        if key not in self.coefficients:
            raise TheoryError(f"group: {key!r} was not in the fit. Valid: {', '.join(self.coefficients)}")
        return key

    def _fitted_budget(self, budget: float | None) -> float:
        fitted = np.unique(self.inputs.design.budgets)
        if budget is None:
            # With one budget there is nothing to confuse it with.
            if fitted.size == 1:
                return float(fitted[0])
            raise TheoryError(f"budget: needed, the law {self.law.name} is fitted per budget: {fitted.tolist()}")
        # Realised counts scatter around a budget, so the budget asked for need not be one of the levels exactly.
        nearest = float(fitted[np.argmin(np.abs(np.log(fitted / budget)))])
        # In the logarithm, since budgets are compared as ratios everywhere.
        if abs(np.log(nearest / budget)) > BUDGET_TOLERANCE:
            raise TheoryError(
                f"budget: {budget:g} was not in the fit and the law {self.law.name} cannot extrapolate; "
                f"fitted: {fitted.tolist()}"
            )
        return nearest

    def coefficient_keys(self, design: Design, group: object = None) -> list[str]:
        """Return the key into `coefficients` of each row.

        Args:
            design: Rows; groups are looked up in its covariate unless `group` is given.
            group: One group for all rows.
        """
        rows = len(design)
        column = self.inputs.groups
        # A group that is given holds for all rows; otherwise every row brings its own.
        if group is None and column is not None:
            if column not in design.covariates:
                raise TheoryError(
                    f"group: needed, the fit has one set of coefficients for each {column}: "
                    f"{', '.join(self.coefficients)}"
                )
            groups = design.covariates[column].tolist()
        else:
            groups = [group] * rows
        budgets = design.budgets.tolist() if self.law.coefficients_per == "budget" else [None] * rows
        k_c = [None] * rows if design.k_c is None else design.k_c.tolist()
        places = list(zip(groups, budgets, k_c, strict=True))
        keys = {place: self.group_key(*place) for place in dict.fromkeys(places)}  # a few levels, many rows
        return [keys[place] for place in places]

    def coefficients_for(self, design: Design, group: object = None) -> list[FloatArray]:
        """Return the coefficients of each row, in the law's order: a list of [rows] arrays."""
        keys = self.coefficient_keys(design, group)
        return [np.array([self.coefficients[key][item.name] for key in keys]) for item in self.law.coefficients]

    def predict(self, design: Design, *, group: object = None) -> FloatArray:
        """Evaluate the fitted law: the mean metric of each row, [rows].

        Args:
            design: Where; needs the covariates of `groups` and `vary` that are to differ from the reference.
            group: Metric group for all rows, where the design has no such covariate.
        """
        theta = self.level_map(levels_of(design)).theta(self._value)
        return self.law.predict(theta, self.coefficients_for(design, group), design)

    def curve(
        self,
        *,
        group: object = None,
        levels: Mapping[str, object] | None = None,
        budget: float | None = None,
        k_c: float | None = None,
    ) -> Curve:
        """Return the law with its numbers for one group and one level of each varying parameter: what `allocation` and
        others work on.

        Args:
            group: Metric group; needed if the fit has several.
            levels: Level by covariate for varying parameters; default: reference levels.
            budget: Needed for laws that are fitted per budget.
            k_c: Needed for such laws where the fit has several connectivities.
        """
        # Levels that are not named are the reference ones, so that a curve always has one number for each parameter.
        theta = self.level_map(one_row(levels)).theta(self._value)
        coefficients = self.coefficients[self.group_key(group, budget, k_c)]
        values = [coefficients[item.name] for item in self.law.coefficients]
        return Curve(law=self.law, theta=theta, coefficients=values, direction=self.direction)

    @property
    def residuals(self) -> FloatArray:
        """Metric minus prediction, [rows]."""
        return self.inputs.metric - self.predict(self.inputs.design)

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as JSON values, numbers unrounded; the rows themselves stay where they came from."""
        inputs = self.inputs
        return {
            # Readers of stored fits can tell by this number whether they know the keys.
            "format": 1,
            "law": {"name": self.law.name, "options": self.law.options, "label": self.law.label},
            # A list of names and no `asdict`, which would copy the rows and the law's private fields as well.
            **{name: getattr(self, name) for name in _PLAIN},
            "free": list(self.free),
            "bounds": {name: list(pair) for name, pair in self.bounds.items()},
            "starts": vars(self.starts),
            "statuses": [vars(status) for status in self.statuses],
            "usable": self.usable,
            "settings": {
                **{name: getattr(inputs, name) for name in ("direction", "loss", "starts", "seed")},
                **({} if inputs.huber_threshold is None else {"huber_threshold": inputs.huber_threshold}),
                "fixed": dict(inputs.fixed),
                "priors": {name: vars(prior) for name, prior in inputs.priors.items()},
                "vary": dict(inputs.vary),
            },
        }


_PLAIN = (
    "values",
    "coefficients",
    "constants",
    "derived",
    "n",
    "p",
    "rss",
    "rmse",
    "pearson_r",
    "aicc",
    "noise_sd",
    "pure_error_sd",
    "pure_error_df",
    "condition",
)
