"""One fit as a function of its searched parameters only: residuals and exact Jacobian, for many parameter vectors at
once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from theory.data.design import Design, IntArray
from theory.fit.levels import LevelMap, Searched
from theory.fit.varpro import projected_slopes, solve_linear
from theory.laws.base import REFERENCE, Law
from theory.types import FloatArray


class Evaluation(NamedTuple):
    """A problem at A parameter vectors."""

    residual: FloatArray
    """Weighted prediction minus data, penalties at the end: [A, m]."""
    jacobian: FloatArray
    """[A, p, m]; empty when it was not asked for."""
    coefficients: FloatArray
    """[A, groups, q]"""

    @property
    def cost(self) -> FloatArray:
        """Sum of squares, [A]."""
        return np.asarray(np.vecdot(self.residual, self.residual))


class Penalty(Protocol):
    """Extra residuals that depend on the searched parameters alone."""

    def __call__(self, x: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return values [A, k] and their Jacobian [A, p, k] at x [A, p]; `rows` says which of the problem's data sets
        each belongs to."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Data, law and searched parameters, compiled for evaluation. `metric` and `weights` may hold one row per data set
    (bootstrap draws)."""

    law: Law
    design: Design
    metric: FloatArray
    """[rows] or [sets, rows]"""
    weights: FloatArray
    """[rows] or [sets, rows]; 0 leaves a row out."""
    groups: IntArray
    """Which set of coefficients each row uses, numbered from 0."""
    free: tuple[Searched, ...]
    """Searched numbers, in the order of the search coordinates."""
    levels: LevelMap
    """Which of them each row uses."""
    fixed: Mapping[str, float]
    """Parameters that are not searched."""
    sign: float = 1.0
    """1 for a metric to be minimised, -1 to be maximised."""
    penalties: Sequence[Penalty] = ()

    @cached_property
    def lower(self) -> FloatArray:
        """Lower bounds in search coordinates, [p]."""
        return np.array([number.parameter.to_search(number.parameter.lower) for number in self.free])

    @cached_property
    def upper(self) -> FloatArray:
        """Upper bounds in search coordinates, [p]."""
        return np.array([number.parameter.to_search(number.parameter.upper) for number in self.free])

    @cached_property
    def signs(self) -> FloatArray:
        """Required sign of each coefficient, [q]."""
        return self.sign * np.array([coefficient.sign for coefficient in self.law.coefficients], dtype=np.float64)

    def theta(self, x: FloatArray) -> dict[str, FloatArray]:
        """Search coordinates [A, p] to parameters by name, [A, 1] or (varying by row) [A, rows], with reference
        levels."""
        # The last axis has length one and stands for the rows, with which it broadcasts.
        columns = {number.label: number.parameter.to_natural(x[:, j : j + 1]) for j, number in enumerate(self.free)}
        columns |= {name: np.full((1, 1), value) for name, value in self.fixed.items()}
        return self.levels.theta(columns.__getitem__)

    def evaluate(self, x: FloatArray, rows: IntArray | None = None, *, jacobian: bool = True) -> Evaluation:
        """Evaluate residuals, Jacobian and coefficients.

        Args:
            x: Search coordinates, [A, p].
            rows: Data set of each vector where there are several; default 0..A-1.
            jacobian: Whether to evaluate the Jacobian.
        """
        # Which data set a vector belongs to matters only where there are several.
        sets = np.arange(len(x), dtype=np.int64) if rows is None else rows
        terms = self.law.terms(self.theta(x), self.design, gradient=jacobian)
        shape = (len(x), len(self.design))
        # Residuals and columns are multiplied by the root of the weight, so that everything below is unweighted least
        # squares.
        metric, root = self._data(self.metric, sets), self._data(self._root, sets)
        # What has no coefficient is taken off the data before the linear solution.
        target = np.broadcast_to((metric if terms.base is None else metric - terms.base) * root, shape)
        columns = self._columns(terms.columns, shape)
        columns *= root[:, None]
        slopes = self._slopes(terms.gradient, shape) if jacobian else {}
        for slope in slopes.values():
            slope *= root[:, None]
        if len(self._members) == 1:  # the largest and commonest case, which then copies no rows
            linear = solve_linear(columns, target, self.signs)
            residual, coefficients = linear.residual, linear.coefficients[:, None]
            jac = projected_slopes(linear, slopes) if slopes else self._flat(shape, jacobian)
            return self._penalised(x, sets, Evaluation(residual, jac, coefficients), jacobian)
        residual, jac = np.empty(shape), self._flat(shape, jacobian)
        coefficients = np.empty((len(x), len(self._members), len(terms.columns)))
        # Groups share no coefficients, so each is a linear problem of its own rows: cheaper than one with zeros for the
        # rest, and exactly the same.
        for group, member in enumerate(self._members):
            linear = solve_linear(columns[:, :, member], target[:, member], self.signs)
            residual[:, member] = linear.residual
            coefficients[:, group] = linear.coefficients
            if slopes:
                jac[:, :, member] = projected_slopes(linear, {k: slope[:, :, member] for k, slope in slopes.items()})
        return self._penalised(x, sets, Evaluation(residual, jac, coefficients), jacobian)

    def _flat(self, shape: tuple[int, int], jacobian: bool) -> FloatArray:
        """The Jacobian of a law on which its searched parameters have no effect, or that has none."""
        return np.zeros((shape[0], len(self.free) if jacobian else 0, shape[1]))

    def _data(self, values: FloatArray, sets: IntArray) -> FloatArray:
        return values[None, :] if values.ndim == 1 else values[sets]

    @cached_property
    def _root(self) -> FloatArray:
        """Roots of the weights; this and the next are asked for at every step of a search."""
        return np.sqrt(self.weights)

    @cached_property
    def _members(self) -> list[IntArray]:
        """The rows of each group."""
        return [np.flatnonzero(self.groups == group) for group in range(int(self.groups.max()) + 1)]

    def _columns(self, columns: tuple[FloatArray, ...], shape: tuple[int, int]) -> FloatArray:
        """All columns of the law, [A, q, rows]."""
        whole = np.empty((shape[0], len(columns), shape[1]))
        for k, column in enumerate(columns):
            whole[:, k] = column
        return whole

    def _slopes(self, gradient: Mapping[tuple[str, int], FloatArray], shape: tuple[int, int]) -> dict[int, FloatArray]:
        """Derivatives of each column with respect to the searched numbers, [A, p, rows] by column."""
        slopes: dict[int, FloatArray] = {}
        for (name, column), slope in gradient.items():
            for j, mask in self._applies.get(name, ()):
                if column not in slopes:
                    slopes[column] = np.zeros((shape[0], len(self.free), shape[1]))
                slopes[column][:, j] += slope if mask is None else slope * mask
        return slopes

    @cached_property
    def _applies(self) -> dict[str, list[tuple[int, FloatArray | None]]]:
        """Which searched numbers, and on which rows, each name of a law's gradient belongs to."""
        applies: dict[str, list[tuple[int, FloatArray | None]]] = {}
        for j, number in enumerate(self.free):
            name = number.parameter.name
            # A level's number moves the rows of its level only; as the reference it moves those of all levels.
            applies.setdefault(name, []).append((j, self.levels.mask(number)))
            if self.levels.is_reference(number):
                applies.setdefault(name + REFERENCE, []).append((j, None))
        return applies

    def _penalised(self, x: FloatArray, sets: IntArray, plain: Evaluation, jacobian: bool) -> Evaluation:
        if not self.penalties:
            return plain
        values, slopes = zip(*(penalty(x, sets) for penalty in self.penalties), strict=True)
        # Penalties are more rows of the same least-squares problem, so the solver needs to know nothing of them.
        residual = np.concatenate([plain.residual, *values], axis=1)
        jac = np.concatenate([plain.jacobian, *slopes], axis=2) if jacobian else plain.jacobian
        return Evaluation(residual, jac, plain.coefficients)

    def predict(self, x: FloatArray, coefficients: FloatArray) -> FloatArray:
        """Evaluate the metric at x [A, p] with coefficients [A, groups, q]: [A, rows]."""
        # Predictions come with given coefficients, so nothing is solved and no derivative is needed.
        terms = self.law.terms(self.theta(x), self.design, gradient=False)
        shape = (len(x), len(self.design))
        metric = np.zeros(shape) if terms.base is None else np.broadcast_to(terms.base, shape).copy()
        by_row = coefficients[:, self.groups]
        for k, column in enumerate(terms.columns):
            metric += by_row[:, :, k] * column
        return metric

    def full_jacobian(self, x: FloatArray, coefficients: FloatArray) -> FloatArray:
        """Derivative of the weighted prediction in searched parameters and coefficients together: [A, p + groups q,
        rows].

        Args:
            x: Search coordinates, [A, p].
            coefficients: [A, groups, q].
        """
        terms = self.law.terms(self.theta(x), self.design)
        shape = (len(x), len(self.design))
        root = self._data(self._root, np.arange(len(x), dtype=np.int64))[:, None]
        columns = self._columns(terms.columns, shape) * root
        searched = np.zeros((len(x), len(self.free), shape[1]))
        by_row = coefficients[:, self.groups]  # [A, rows, q]
        for k, slope in self._slopes(terms.gradient, shape).items():
            # Here the coefficients stay where they are, unlike in `evaluate`, where they follow the searched
            # parameters. The column -1 is the law's base, which has no coefficient.
            searched += slope if k < 0 else by_row[:, None, :, k] * slope
        members = [columns * (self.groups == group) for group in range(coefficients.shape[1])]
        return np.concatenate([searched * root, *members], axis=1)

    def with_data(self, metric: FloatArray | None = None, weights: FloatArray | None = None) -> "Problem":
        """Return the same problem on other data (one row per data set)."""
        # A copy shares all arrays but the replaced ones, so thousands of data sets cost only their own rows.
        return replace(
            self,
            metric=self.metric if metric is None else metric,
            weights=self.weights if weights is None else weights,
        )
