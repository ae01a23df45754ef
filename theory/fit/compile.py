"""From what was given to a fit to the problem that the solver sees: names checked, levels expanded, replicates
merged."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from theory.data.design import Design, IntArray, LabelArray, check_metric, check_weights, number_rows
from theory.errors import TheoryError, unknown
from theory.fit.levels import Searched, map_levels, searched_numbers
from theory.fit.problem import Problem
from theory.fit.result import FitInput
from theory.laws.base import Law
from theory.laws.parameters import Parameter
from theory.types import FloatArray


class Compiled(NamedTuple):
    """A problem and how its rows and groups relate to the given ones."""

    problem: Problem
    group_keys: tuple[str, ...]
    """Name of each set of coefficients."""
    within: float
    """Sum of squares that was lost by merging replicates (scaled like the problem)."""
    scale: float
    """Metric units per unit of the problem's residuals."""
    n: int
    """Number of rows that were given, before merging."""
    p: int
    """Searched parameters and coefficients together."""
    codes: IntArray
    """Row of the problem that each given row went into, [rows given]."""
    weights: FloatArray
    """Weights of the given rows, mean 1."""

    def merge(self, metric: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Merge other metrics of the given rows, [sets, rows given]: means [sets, rows] and the spread lost, [sets],
        both as in `problem`."""
        total = np.bincount(self.codes, weights=self.weights)
        # reduceat sums runs of neighbours along the last axis for all data sets at once, which bincount cannot; it
        # needs the rows of one configuration next to each other.
        order = np.argsort(self.codes, kind="stable")
        first = np.searchsorted(self.codes[order], np.arange(total.size))
        mean = np.add.reduceat(metric[:, order] * self.weights[order], first, axis=1) / total
        within = ((metric - mean[:, self.codes]) ** 2 * self.weights).sum(axis=1)
        return mean, within / self.scale**2


def compile_fit(law: Law, inputs: FitInput, *, merge: bool = True) -> Compiled:
    """Check what was given and build the problem.

    Args:
        law: A bound law.
        inputs: Data and settings.
        merge: Replace replicates by their weighted means (exact for least squares).

    Raises:
        TheoryError: anything that makes the fit meaningless: non-finite metric, constant metric, too few rows, unknown
            names.
    """
    design, rows = inputs.design, len(inputs.design)
    metric, weights = check_metric(inputs.metric, rows), check_weights(inputs.weights, rows)
    # Everything is looked up by name before rows are merged, because an error should speak of the rows that the caller
    # knows.
    group_codes, group_keys = _groups(law, inputs)
    free = _free(law, inputs)
    levels = map_levels(law.parameters, inputs.vary, design, _levels_of(inputs))
    p = len(free) + _determined(law, design, group_codes, len(group_keys))
    _check_size(law, metric, p, inputs.spare)
    # Residuals in units of the metric's spread are of order one, whatever the metric, so that tolerances mean the same.
    scale = float(np.sqrt(np.average((metric - np.average(metric, weights=weights)) ** 2, weights=weights)))
    # The sum of squares splits exactly into that of the means, which the law can change, and the spread within
    # replicates, which it cannot. Rows merge only where they share coefficients and levels.
    merged = _merge(design, metric, weights, [group_codes, *_vary_columns(inputs)]) if merge else None
    codes, run_weights = np.arange(rows), weights
    if merged is not None:
        index, codes, weights, metric, within = merged
        design, group_codes, levels = design.take(index), group_codes[index], levels.take(index)
    else:
        within = 0.0
    problem = Problem(
        law=law,
        design=design,
        metric=metric,
        weights=weights / scale**2,
        groups=group_codes,
        free=free,
        levels=levels,
        fixed=dict(inputs.fixed),
        sign=1.0 if inputs.direction == "min" else -1.0,
    )
    # n stays the number of runs: merging changes the arithmetic, not the degrees of freedom.
    return Compiled(problem, group_keys, within / scale**2, scale, rows, p, codes.astype(np.int64), run_weights)


def _check_size(law: Law, metric: FloatArray, p: int, spare: int) -> None:
    rows = metric.size
    spread = float(metric.max() - metric.min()) if rows else 0.0
    if rows < p + spare:
        raise TheoryError(
            f"{law.label}: {rows} row{'s' * (rows != 1)} cannot support {p} parameters; need at least {p + spare} "
            "(add runs at further budgets and d_m, or fix parameters)"
        )
    # Relative to the size of the metric: a spread at the level of rounding is no variation.
    if spread <= 1e-12 * float(np.abs(metric).max()):
        raise TheoryError(f"metric: constant ({metric[0]:g}) in all {rows} rows; nothing can be fitted to it")


def _groups(law: Law, inputs: FitInput) -> tuple[IntArray, tuple[str, ...]]:
    """Number the sets of coefficients and name them."""
    design = inputs.design
    labels: list[LabelArray] = []
    names: list[str] = []
    if inputs.groups is not None:
        labels.append(design.labels(inputs.groups, "groups"))
        names.append(inputs.groups)
    if law.coefficients_per == "budget":
        labels.append(design.budgets)
        names.append("budget")
        # Networks of another connectivity lie on another line of the budget, which has a shape of its own.
        if design.k_c_levels.size > 1:
            labels.append(design.connectivity)
            names.append("k_c")
    if not labels:
        return np.zeros(len(design), dtype=np.int64), ("all",)
    codes = number_rows(labels)
    first = [int(np.flatnonzero(codes == code)[0]) for code in range(int(codes.max()) + 1)]
    keys = (
        ", ".join(f"{name}={label[row].item()}" for name, label in zip(names, labels, strict=True)) for row in first
    )
    return codes, tuple(keys)


def _determined(law: Law, design: Design, codes: IntArray, groups: int) -> int:
    """Number of coefficients that the rows determine, over all groups, each of which has its own.

    A budget of two sizes leaves one coefficient of its parabola to anything: no parameter that was fitted.
    """
    if law.parameters:  # its columns depend on them, and groups of such a law have many sizes
        return groups * len(law.coefficients)
    columns = law.terms({}, design, gradient=False).columns
    table = np.stack([np.broadcast_to(column, (1, len(design)))[0] for column in columns], axis=1)
    return sum(int(np.linalg.matrix_rank(table[codes == group])) for group in range(groups))


def _free(law: Law, inputs: FitInput) -> tuple[Searched, ...]:
    """List the searched numbers with the bounds that were given, one for each level where a parameter varies."""
    names = [parameter.name for parameter in law.parameters]
    # Every setting that names a parameter is checked here, since a misspelt one would otherwise be silently ignored.
    for setting, by_parameter in (
        ("vary", inputs.vary),
        ("fixed", inputs.fixed),
        ("priors", inputs.priors),
        ("bounds", inputs.bounds),
    ):
        for name in by_parameter:
            if name not in names:
                raise unknown(f"{setting}.{name}", name, names)
    searched: list[Parameter] = []
    for original in law.parameters:
        if original.name in inputs.fixed:
            _check_fixed(original, inputs)
            continue
        low, high = inputs.bounds.get(original.name, (original.lower, original.upper))
        start = None if original.start is None else (max(original.start[0], low), min(original.start[1], high))
        # Bounds that exclude the usual starting range leave their own whole range to start in.
        start = start if start and start[0] < start[1] else None
        searched.append(replace(original, lower=low, upper=high, start=start))
    return tuple(searched_numbers(searched, inputs.vary, inputs.design))


def _levels_of(inputs: FitInput) -> dict[str, list[object]]:
    columns = set(inputs.vary.values())
    return {column: inputs.design.labels(column, "vary").tolist() for column in columns}


def _check_fixed(parameter: Parameter, inputs: FitInput) -> None:
    value = inputs.fixed[parameter.name]
    if parameter.name in inputs.vary:
        raise TheoryError(f"fixed.{parameter.name}: the parameter is in vary too; choose one")
    if not np.isfinite(value) or (parameter.log and value <= 0):
        raise TheoryError(f"fixed.{parameter.name}: {value} is not a finite value{' above 0' if parameter.log else ''}")


def _vary_columns(inputs: FitInput) -> list[LabelArray]:
    return [inputs.design.labels(column, "vary") for column in inputs.vary.values()]


def _merge(
    design: Design, metric: FloatArray, weights: FloatArray, extra: list[LabelArray]
) -> tuple[IntArray, IntArray, FloatArray, FloatArray, float] | None:
    """Rows of one configuration become one row with the weighted mean; the spread around it is returned."""
    # Levels and groups split a configuration further, because their rows have other predictions.
    codes = number_rows([design.configurations(), *extra])
    if int(codes.max()) + 1 == len(design):
        return None
    # The first row stands for its configuration: sizes and levels are equal in all of them.
    index = np.unique(codes, return_index=True)[1]
    total = np.asarray(np.bincount(codes, weights=weights), dtype=np.float64)
    mean = np.asarray(np.bincount(codes, weights=weights * metric) / total, dtype=np.float64)
    return index.astype(np.int64), codes, total, mean, float(np.sum(weights * (metric - mean[codes]) ** 2))
