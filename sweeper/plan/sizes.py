"""Sizes of a grid's points: which of them a budget leaves open, and the configuration that fills it."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from cluster.errors import CodeError
from model.architecture import Architecture, BudgetError, Counts, Size
from model.budget import counts
from model.config import ConfigError, ModelConfig
from sweeper.errors import GridError
from sweeper.plan.grid import Block
from tasks.base import TaskSpec


def size_to_solve(block: Block, place: str) -> Size | None:
    """Which size follows from the budget; None where all are given."""
    try:
        sizes, must_give = block.definition.sizes(), block.definition.must_give
    except CodeError as error:
        raise GridError(f"{place}{error}") from error
    for name, what in must_give.items():
        if name not in block.model:
            raise GridError(f"{place}model.{name}: {what} must be given")
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
    try:
        values = settings_of(block, task, point, solved)
        if solved is None or budget is None:
            return block.definition.configure(values)
        size = _solve(block.definition, tuple(values.items()), solved.field, budget)
        return block.definition.configure({**values, solved.field: size})
    except CodeError as error:
        raise GridError(f"{place}{error}") from error
    except ConfigError as error:
        # A setting that no configuration may have is a fault of the grid; a budget that is too small is one of this
        # point only, and the other points still run.
        raise GridError(f"{place}model.{error}") from error
    except BudgetError as error:
        assert solved is not None, "nothing else is bounded by a budget"
        smallest = counts_of(block.definition.configure({**values, solved.field: 1}))
        fewer = (
            "; alphabet: letters has fewer"
            if block.task == "text" and block.task_options.get("alphabet", "bytes") == "bytes"
            else ""
        )
        return f"{error}, of which {smallest.readout_params} are the read-out of {task.n_out} outputs{fewer}"


def settings_of(block: Block, task: TaskSpec, point: Mapping[str, Any], solved: Size | None) -> dict[str, Any]:
    """The settings of one point but the size that is solved, with those that stand for its targets."""
    definition = block.definition
    targets = {size.target: size for size in definition.sizes() if size.target is not None}
    values = {"n_in": task.n_in, "n_out": task.n_out}
    values |= {name: value for name, value in point.items() if name not in targets}
    # The last size first: a search for a k_e builds whole configurations, which need the d_branch of a k_c.
    for target in reversed(targets):
        if target in point:
            # The solver varies its one field of a configuration that must be valid as it stands: the smallest size
            # always is.
            open_size = {} if solved is None else {solved.field: 1}
            values[targets[target].field] = definition.nearest({**values, **open_size}, targets[target], point[target])
    return values


def points_of(
    block: Block, task: TaskSpec, points: list[dict[str, Any]], place: str
) -> Iterator[tuple[Mapping[str, Any], str | None, int | None, Any]]:
    """Every point of a block with its configuration, as `sweeper.plan.recorded.record` takes them."""
    solved = size_to_solve(block, place)
    for budget in block.budgets or (None,):
        for point in points:
            values = settings_of(block, task, point, solved)
            size = None if solved is None else solved.field
            yield values, size, budget, build(block, task, point, budget, solved, place)


@lru_cache(maxsize=100_000)
def _solve(definition: Architecture, values: tuple[tuple[str, Any], ...], name: str, budget: int) -> int:
    # Points that differ in training settings alone ask for the same solution.
    return definition.solve(dict(values), name, budget)


@lru_cache(maxsize=100_000)
def counts_of(config: ModelConfig) -> Counts:
    """Parameter counts; replicates share them."""
    return counts(config)
