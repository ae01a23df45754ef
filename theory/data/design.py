"""The design of a sweep: what was varied, one row per independent run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.errors import TheoryError, unknown
from theory.types import FloatArray

IntArray = npt.NDArray[np.int64]
LabelArray = npt.NDArray[Any]

BUDGET_TOLERANCE = 0.05
"""Assumption: trainable counts within 5 % of each other belong to one budget (the published tables spread by 0.8 and
4.1 %)."""


class Covariates(dict[str, LabelArray]):
    """Further columns by name; one that is missing is named with those that are there."""

    def __missing__(self, name: str) -> LabelArray:
        raise TheoryError(f"the rows have no covariate {name!r}; they have {', '.join(self) or 'none'}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """Sizes of each run, as 1-D arrays of one length; single numbers are repeated.

    >>> design = Design(n_rec=[440, 206], k_e=[6721, 15201], k_c=750)
    >>> len(design), design.params.tolist()
    (2, [3287240.0, 3285906.0])
    """

    n_rec: FloatArray
    """Neurons of the recurrent layer, above 0."""
    k_e: FloatArray
    """Effective complexity: trainable parameters per neuron without its synapses, above 0."""
    k_c: FloatArray | None = None
    """Connectivity: trainable synapses per neuron, at least 0; needed where a law or a cost uses it."""
    trainable_params: FloatArray | None = None
    """Realised trainable parameters of the whole network; without it n_rec (k_e + k_c) stands in."""
    budget: FloatArray | None = None
    """Budget that was asked for; without it, budgets are read off the trainable counts where they are needed."""
    d_m: FloatArray | None = None
    """Memory units per neuron, for reports only."""
    tokens: FloatArray | None = None
    """Sequence elements trained on (steps x batch x length), above 0; needed where a law uses them."""
    covariates: Mapping[str, LabelArray] = field(default_factory=dict)
    """Further columns by name (ablation settings, tasks), used as `groups` and in `vary`."""

    def __post_init__(self) -> None:
        # The longest column says how many rows there are; all others must have as many, or one value for all.
        columns = [(name, value) for name in _SIZES if (value := getattr(self, name)) is not None]
        rows = max([np.size(value) for _, value in columns], default=0)
        for name, value in columns:
            object.__setattr__(self, name, _column(name, value, rows, zero_ok=name == "k_c"))
        covariates = Covariates({name: np.asarray(value) for name, value in self.covariates.items()})
        for name, column in covariates.items():
            if column.shape != (rows,):
                raise TheoryError(
                    f"covariates.{name}: has shape {column.shape}, expected one value for each of {rows} rows"
                )
        # A frozen class fills in its converted columns this way; nothing changes them afterwards.
        object.__setattr__(self, "covariates", covariates)

    def __len__(self) -> int:
        return self.n_rec.size

    @property
    def params(self) -> FloatArray:
        """Realised trainable parameters, or n_rec (k_e + k_c) where they were not given."""
        if self.trainable_params is not None:
            return self.trainable_params
        return self.n_rec * (self.k_e + (0.0 if self.k_c is None else self.k_c))

    @property
    def budgets(self) -> FloatArray:
        """The budget of each row: as asked for, or the group's largest realised count where it was not given."""
        # A budget that was asked for is exact; realised counts only come near it.
        return self.budget if self.budget is not None else infer_budgets(self.params)

    @property
    def k_c_levels(self) -> FloatArray:
        """The values that k_c has among the rows, growing; empty where it was not given."""
        return np.empty(0) if self.k_c is None else np.unique(self.k_c)

    @property
    def connectivity(self) -> FloatArray:
        """k_c, or an error that says who needs it."""
        if self.k_c is None:
            raise TheoryError("k_c: missing; a law with connectivity needs the synapses per neuron of every row")
        return self.k_c

    @property
    def tokens_seen(self) -> FloatArray:
        """The tokens, or an error that says who needs them."""
        if self.tokens is None:
            raise TheoryError("tokens: missing; a law with tokens needs the sequence elements trained on of every row")
        return self.tokens

    def take(self, index: npt.ArrayLike) -> "Design":
        """Return the chosen rows (integer positions or a boolean mask)."""
        rows = np.asarray(index)
        picked: dict[str, Any] = {name: _take(getattr(self, name), rows) for name in _SIZES}
        # Taken through the constructor, so that a selection passes the same checks as any other design.
        return Design(**picked, covariates={name: value[rows] for name, value in self.covariates.items()})

    def labels(self, spec: str | npt.ArrayLike | None, name: str) -> LabelArray:
        """Resolve a column name or an array of labels; None gives one group."""
        if spec is None:
            return np.zeros(len(self), dtype=np.int64)
        if isinstance(spec, str):
            if spec in self.covariates:
                return self.covariates[spec]
            # Budgets are no covariate, but grouping by them is common enough to have a name.
            if spec == "budget":
                return self.budgets
            raise unknown(name, spec, ["budget", *self.covariates])
        array = np.asarray(spec)
        if array.shape != (len(self),):
            raise TheoryError(f"{name}: has shape {array.shape}, expected one label for each of {len(self)} rows")
        return array

    def configurations(self) -> IntArray:
        """Number the configurations: rows that agree in every column (their seeds apart) share a number."""
        # A method in front of the cached property, since refits ask for it thousands of times.
        return self._configurations

    @cached_property
    def _configurations(self) -> IntArray:
        columns: list[LabelArray] = [getattr(self, name) for name in _SIZES if getattr(self, name) is not None]
        return number_rows([*columns, *self.covariates.values()])


_SIZES = ("n_rec", "k_e", "k_c", "trainable_params", "budget", "d_m", "tokens")


def _take(column: FloatArray | None, rows: LabelArray) -> FloatArray | None:
    return None if column is None else column[rows]


def join_designs(designs: Sequence[Design]) -> Design:
    """Put the rows of several designs under each other; columns that one of them lacks, and covariates, are left out.

    >>> one = Design(n_rec=[1.0], k_e=[2.0], k_c=3.0)
    >>> join_designs([one, one]).k_c.tolist()
    [3.0, 3.0]
    """
    columns: dict[str, Any] = {}
    for name in _SIZES:
        parts = [getattr(design, name) for design in designs]
        # A column that one part lacks has no value for its rows; a made-up one would enter fits.
        if all(part is not None for part in parts):
            columns[name] = np.concatenate(parts)
    return Design(**columns)


def number_rows(columns: list[LabelArray]) -> IntArray:
    """Give equal rows of several columns one number, from 0."""
    codes: IntArray = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, inner = np.unique(column, return_inverse=True)
        # Renumbered after every column: the product of all columns' levels could exceed an integer, the number of rows
        # cannot.
        codes = np.unique(codes * values.size + inner.ravel(), return_inverse=True)[1].ravel()
    return codes.astype(np.int64)


def infer_budgets(trainable_params: npt.ArrayLike, *, tolerance: float = BUDGET_TOLERANCE) -> FloatArray:
    """Group realised counts into budgets and name each by its largest count.

    A budget starts at its smallest count and takes all that lie within the tolerance above it, so that dense sweeps do
    not chain into one.

    Args:
        trainable_params: Realised counts, shape [rows].
        tolerance: Relative spread of one budget.

    >>> infer_budgets([3516342, 3489143, 77069, 77310]).tolist()
    [3516342.0, 3516342.0, 77310.0, 77310.0]
    """
    params = np.asarray(trainable_params, dtype=np.float64)
    # Sorted counts: each budget is then a run of neighbours.
    ranked = np.unique(params)
    largest, first = [], 0
    while first < ranked.size:
        stop = int(np.searchsorted(ranked, ranked[first] * (1 + tolerance), side="right"))
        # The largest count, since runs are sized to stay within a budget: it is the closest to what was asked for.
        largest.append(ranked[stop - 1])
        first = stop
    ends = np.array(largest)
    # The first end at or above a count is that of its own budget.
    return np.asarray(ends[np.searchsorted(ends, params)])


def check_metric(metric: npt.ArrayLike, rows: int) -> FloatArray:
    """Return the metric as a float array, or say which rows cannot be used."""
    values = np.asarray(metric, dtype=np.float64)
    if values.shape != (rows,):
        raise TheoryError(f"metric: has shape {values.shape}, expected one value for each of {rows} rows")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise TheoryError(
            f"metric: {bad.size} of {rows} values are not finite, first row {bad[0]} ({values[bad[0]]}); "
            "leave failed and diverged runs out and list them as exclusions"
        )
    return values


def check_weights(weights: npt.ArrayLike | None, rows: int) -> FloatArray:
    """Return weights scaled to mean 1; None gives equal weights."""
    if weights is None:
        return np.ones(rows)
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (rows,) or not np.isfinite(values).all() or (values <= 0).any():
        raise TheoryError(
            f"weights: need one finite value above 0 for each of {rows} rows (1 / variance of the metric)"
        )
    # A common factor of all weights changes no estimate; at mean 1, sums of squares stay in metric units.
    return np.asarray(values / values.mean(), dtype=np.float64)


def _column(name: str, value: npt.ArrayLike, rows: int, *, zero_ok: bool) -> FloatArray:
    array = np.asarray(value, dtype=np.float64)
    # A single number stands for all rows, such as the k_c that a sweep keeps.
    if array.ndim == 0 or array.shape == (1,):
        array = np.full(rows, float(array.ravel()[0]))
    if array.shape != (rows,):
        raise TheoryError(f"{name}: has shape {array.shape}, expected one value for each of {rows} rows")
    # Sizes enter as logarithms and denominators; k_c alone may be 0, where no synapse is trained. Asked as "inside", so
    # that nan is outside.
    inside = ((array >= 0) if zero_ok else (array > 0)) & (array < np.inf)
    if not inside.all():
        row = int(np.argmin(inside))
        need = "at least 0" if zero_ok else "above 0"
        raise TheoryError(f"{name}: row {row} is {array[row]}; sizes must be finite and {need}")
    return array
