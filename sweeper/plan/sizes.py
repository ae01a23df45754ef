"""Sizes of a grid's points: which of them a budget leaves open, and the configuration that fills it."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from model.budget import BudgetError, Counts, counts, solve_d_branch, solve_d_m, solve_n_rec
from model.config import MODEL_CONFIGS, ConfigError, ModelConfig
from sweeper.errors import GridError
from sweeper.plan.grid import Block
from tasks.base import TaskSpec

_LARGEST_TARGET = 1 << 20
"""The d_m at which the search for a k_e gives up: no network that anybody could train is as large."""


class Size(NamedTuple):
    """One of the three sizes a budget can be solved for."""

    name: str
    """What people call it."""
    settings: tuple[str, ...]
    """Settings that fix it."""
    field: str
    """Field the solver fills in."""
    solve: Callable[[ModelConfig, int], int]


_SIZES = (
    Size("n_rec", ("n_rec",), "n_rec", solve_n_rec),
    Size("k_e", ("d_m", "k_e"), "d_m", solve_d_m),
    Size("k_c", ("d_branch", "k_c"), "d_branch", solve_d_branch),
)
_SIZES_OF = {"elm": _SIZES, "elm_neuron": _SIZES[1:2]}
"""Sizes of the architectures that have more than, or other than, an n_rec."""


def size_to_solve(block: Block, place: str) -> Size | None:
    """Which size follows from the budget; None where all are given."""
    sizes = _SIZES_OF.get(block.architecture, _SIZES[:1])
    # k_c = d_tree x d_branch is solved through d_branch, so d_tree has to be known before.
    if block.architecture == "elm" and "d_tree" not in block.model:
        raise GridError(f"{place}model.d_tree: the number of dendritic branches per neuron must be given")
    for size in sizes:
        both = [name for name in size.settings if name in block.model]
        if len(both) > 1:
            raise GridError(f"{place}model: {' and '.join(both)} both fix {size.name}; give one of them")
    missing = [size for size in sizes if not any(name in block.model for name in size.settings)]
    choices = "; ".join(f"{size.name} by {' or '.join(size.settings)}" for size in sizes)
    if block.budgets and len(missing) != 1:
        names = ", ".join(size.name for size in missing) or "none"
        raise GridError(
            f"{place}budgets: exactly one size must be left out of `model` to be solved from P, but left out: {names}. "
            f"Sizes are given as {choices}"
        )
    if not block.budgets and missing:
        raise GridError(
            f"{place}model: {missing[0].name} is not given (by {' or '.join(missing[0].settings)}) and there is no "
            "`budgets` to solve it from"
        )
    return missing[0] if missing else None


def build(
    block: Block, task: TaskSpec, point: dict[str, Any], budget: int | None, solved: Size | None, place: str
) -> ModelConfig | str:
    """The configuration of one point, or the reason why there is none."""
    fields = {name: value for name, value in point.items() if name not in ("k_e", "k_c")}
    if solved is not None:
        # The solver varies this one field of a configuration that must be valid as it stands: the smallest size
        # always is.
        fields[solved.field] = 1
    try:
        if "k_c" in point:
            # k_c = d_tree x d_branch, of which only whole branches can be had; before d_m, whose search builds whole
            # configurations.
            fields["d_branch"] = max(1, round(point["k_c"] / point["d_tree"]))
        if "k_e" in point:
            fields["d_m"] = _nearest_d_m(block.architecture, {**fields, "d_m": 1}, task, point["k_e"])
        config = MODEL_CONFIGS[block.architecture](n_in=task.n_in, n_out=task.n_out, **fields)
        if solved is None or budget is None:
            return config
        sizes: dict[str, Any] = {solved.field: _solve(solved, config, budget)}
        return replace(config, **sizes)
    except ConfigError as error:
        # A setting that no configuration may have is a fault of the grid; a budget that is too small is one of this
        # point only, and the other points still run.
        raise GridError(f"{place}model.{error}") from error
    except BudgetError as error:
        return str(error)


def _nearest_d_m(architecture: str, fields: dict[str, Any], task: TaskSpec, k_e: int) -> int:
    """The d_m whose k_e is nearest to the one asked for, on a ratio scale; k_e rises with d_m."""
    base = MODEL_CONFIGS[architecture](n_in=task.n_in, n_out=task.n_out, **fields)

    def achieved(d_m: int) -> float:
        sizes: dict[str, Any] = {"d_m": d_m}
        return counts_of(replace(base, **sizes)).k_e

    # Doubling, then halving: k_e is counted, and only known to rise with d_m.
    low, high = 1, 2
    while achieved(high) < k_e and high < _LARGEST_TARGET:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if achieved(middle) < k_e else (low, middle)
    # The two neighbours of the target; on a ratio scale, because budgets and sizes are spaced in ratios.
    return min((low, high), key=lambda d_m: max(achieved(d_m) / k_e, k_e / achieved(d_m)))


@lru_cache(maxsize=100_000)
def _solve(size: Size, config: ModelConfig, budget: int) -> int:
    # Points that differ in training settings alone ask for the same solution.
    return size.solve(config, budget)


@lru_cache(maxsize=100_000)
def counts_of(config: ModelConfig) -> Counts:
    """Parameter counts; replicates share them."""
    return counts(config)
