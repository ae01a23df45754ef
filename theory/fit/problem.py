"""One fit as a function of its searched parameters only: residuals and exact Jacobian, for many parameter vectors at
once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from theory.data.design import Design, IntArray
from theory.fit.levels import LevelMap, Searched
from theory.fit.varpro import projected_slope, solve_linear
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
        return np.asarray(np.einsum("am,am->a", self.residual, self.residual), dtype=np.float64)


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

    @property
    def lower(self) -> FloatArray:
        """Lower bounds in search coordinates, [p]."""
        return np.array([number.parameter.to_search(number.parameter.lower) for number in self.free])

    @property
    def upper(self) -> FloatArray:
        """Upper bounds in search coordinates, [p]."""
        return np.array([number.parameter.to_search(number.parameter.upper) for number in self.free])

    @property
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
        metric, root = self._data(self.metric, sets), np.sqrt(self._data(self.weights, sets))
        # What has no coefficient is taken off the data before the linear solution.
        target = metric if terms.base is None else metric - terms.base
        parts, slopes = self._columns(terms.columns, shape), self._slopes(terms.gradient, shape) if jacobian else []
        groups = int(self.groups.max()) + 1
        residual = np.empty(shape)
        jac = np.empty((len(x), len(self.free) if jacobian else 0, shape[1]))
        coefficients = np.empty((len(x), groups, len(parts)))
        # Groups share no coefficients, so each is a linear problem of its own rows: cheaper than one with zeros for the
        # rest, and exactly the same.
        for group in range(groups):
            # A slice makes views where an index array would copy every array of the largest and commonest case, a
            # single group.
            member: slice | npt.NDArray[np.int64] = slice(None) if groups == 1 else np.flatnonzero(self.groups == group)
            weight = root[:, member]
            columns = (
                np.stack([part[:, member] * weight for part in parts], axis=1)
                if parts
                else np.empty((len(x), 0, weight.shape[1]))
            )
            linear = solve_linear(columns, np.broadcast_to(target, shape)[:, member] * weight, self.signs)
            residual[:, member] = linear.residual
            coefficients[:, group] = linear.coefficients
            for j, by_column in enumerate(slopes):
                jac[:, j, member] = projected_slope(
                    linear, {k: slope[:, member] * weight for k, slope in by_column.items()}
                )
        return self._penalised(x, sets, Evaluation(residual, jac, coefficients), jacobian)

    def _data(self, values: FloatArray, sets: IntArray) -> FloatArray:
        return values[None, :] if values.ndim == 1 else values[sets]

    def _columns(self, columns: tuple[FloatArray, ...], shape: tuple[int, int]) -> list[FloatArray]:
        return [np.broadcast_to(column, shape) for column in columns]

    def _slopes(
        self, gradient: Mapping[tuple[str, int], FloatArray], shape: tuple[int, int]
    ) -> list[dict[int, FloatArray]]:
        """Derivative of each column with respect to each searched number, in the order of `free`."""
        slopes = []
        for number, mask, reference in self._applies:
            by_column: dict[int, FloatArray] = {}
            for (name, column), slope in gradient.items():
                if name == number.parameter.name:
                    # A level's number moves the rows of its level only; as the reference (below) it moves those of all
                    # levels.
                    part = slope if mask is None else slope * mask
                elif name == number.parameter.name + REFERENCE and reference:
                    part = slope
                else:
                    continue
                by_column[column] = by_column.get(column, 0.0) + np.broadcast_to(part, shape)
            slopes.append(by_column)
        return slopes

    @cached_property
    def _applies(self) -> list[tuple[Searched, FloatArray | None, bool]]:
        """Each searched number with its rows and whether it is a reference: asked for at every step of a search."""
        return [(number, self.levels.mask(number), self.levels.is_reference(number)) for number in self.free]

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
        parts, slopes = self._columns(terms.columns, shape), self._slopes(terms.gradient, shape)
        root = np.sqrt(self._data(self.weights, np.arange(len(x), dtype=np.int64)))
        rows: list[FloatArray] = []
        by_row = coefficients[:, self.groups]  # [A, rows, q]
        for by_column in slopes:
            row = np.zeros(shape)
            for k, slope in by_column.items():
                # Here the coefficients stay where they are, unlike in `evaluate`, where they follow the searched
                # parameters.
                # The column -1 is the law's base, which has no coefficient.
                row = row + (slope if k < 0 else by_row[:, :, k] * slope)
            rows.append(row * root)
        for group in range(coefficients.shape[1]):
            member = (self.groups == group).astype(np.float64)
            rows += [part * member * root for part in parts]
        return np.stack(rows, axis=1)

    def with_data(self, metric: FloatArray | None = None, weights: FloatArray | None = None) -> "Problem":
        """Return the same problem on other data (one row per data set)."""
        # A copy shares all arrays but the replaced ones, so thousands of data sets cost only their own rows.
        return replace(
            self,
            metric=self.metric if metric is None else metric,
            weights=self.weights if weights is None else weights,
        )
