"""From a grid to the list of its trials: sizes solved from the budget, duplicates and infeasible points named.

Knows counts and task facts only; neither data nor torch nor ray is touched.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from cluster.limits import check_limit
from cluster.values import raised_as
from model.architecture import Counts
from model.config import ModelConfig
from model.registry import architecture, architecture_names
from sweeper.errors import GridError
from sweeper.plan.cost import relative_work
from sweeper.plan.descriptions import Description, with_descriptions
from sweeper.plan.grid import Block, Grid
from sweeper.plan.rate_rule import RateRule
from sweeper.plan.recipes import MEASURED, recommended
from sweeper.plan.recorded import record
from sweeper.plan.search_section import Range
from sweeper.plan.sizes import build, counts_of, points_of, size_to_solve
from sweeper.plan.trial import TrainingConfig, TrialSpec
from tasks.base import TaskSpec
from tasks.errors import TaskError
from tasks.spec import canonical_options, needs_description, task_spec

RUNNABLE, DUPLICATE, INFEASIBLE, EXCLUDED = "runnable", "duplicate", "infeasible", "excluded"

_INPUTS = {"ids": "symbols", "spikes": "spikes", "real": "values"}
_CORNERS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRow:
    """One point of the grid and what became of it."""

    state: str
    """`runnable`, `duplicate`, `infeasible` or `excluded`."""
    reason: str | None
    """Why the point is not run."""
    budget: int | None
    """Parameter budget that was asked for."""
    settings: Mapping[str, Any]
    """The point's values as the grid gave them; replicates share them."""
    seed: int
    """Replicate."""
    shared: Mapping[str, Any]
    """Task, its options and architecture, which all points of a block share."""
    spec: TrialSpec | None
    """The trial; None where the sizes have no solution."""
    trial_id: str = ""
    """Id of the trial; empty where the sizes have no solution."""
    counts: Counts | None
    """Achieved parameter counts; None where the sizes have no solution."""
    tier: tuple[int, int] = (0, 0)
    """Replicate, then refinement level: trials of a lower tier run first, so that an interrupted sweep is balanced."""

    @property
    def axes(self) -> dict[str, Any]:
        """The point's values, the seed among them."""
        return {**self.settings, "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A grid's expansion."""

    name: str
    """Name of the sweep."""
    rows: tuple[PlanRow, ...]
    """Every point, in the order of the grid."""
    trials: Mapping[str, PlanRow]
    """The runnable rows by trial_id, in the order of execution."""
    text: str = ""
    """The grid file it was made from."""


def expand(grid: Grid) -> Plan:
    """Expand a grid into its plan; of a range that a search chooses from, the ends and the middle.

    Raises:
        GridError: a block leaves nothing, or too much, to be solved, or a setting is invalid for every point.
    """
    rows: list[PlanRow] = []
    firsts: dict[str, PlanRow] = {}
    for block in grid.blocks:
        for row in _block_rows(block):
            if row.state == RUNNABLE:
                trial_id = row.trial_id
                # Blocks may overlap, and neighbouring targets may round to the same whole sizes: one trial serves all
                # of them.
                first = firsts.setdefault(trial_id, row)
                if first is not row:
                    row = replace(row, state=DUPLICATE, reason=f"same trial as {_asked(first)}{trial_id[:8]}")
            rows.append(row)
    # The longest trials of a tier come first: one that began last would keep a single lane busy while all others
    # wait.
    order = sorted(firsts, key=lambda trial_id: (firsts[trial_id].tier, -_work(firsts[trial_id])))
    trials = {trial_id: firsts[trial_id] for trial_id in order}
    return Plan(name=grid.name, rows=tuple(rows), trials=trials, text=grid.text)


def _corners(axes: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """Axes with the ends and the middle of each range that a search chooses from."""
    return {
        name: tuple(v for value in values for v in (value.levels(_CORNERS) if isinstance(value, Range) else (value,)))
        for name, values in axes.items()
    }


def _block_rows(block: Block) -> Iterator[PlanRow]:
    # A range that a search chooses from has no list of values; its ends and middle show whether the space can be run.
    block = replace(block, model=_corners(block.model), training=_corners(block.training))
    place = block.place
    task, options = _task(block)
    solved = size_to_solve(block, place)
    points = list(_product({**block.model, **block.training}, block.zipped))
    sizes = [{name: value for name, value in point.items() if name in block.model} for point, _ in points]
    budgets = block.budgets or (None,)
    # Solved once for all seeds: the sizes do not depend on them, and solving is the slow part of an expansion.
    configs = {budget: [build(block, task, size, budget, solved, place) for size in sizes] for budget in budgets}
    shared = {"task": block.task, **options, "architecture": block.architecture}
    firsts = [
        _first_row(block, point, built, budget=budget, options=options, task=task, shared=shared)
        for budget in budgets
        for point, built in zip(points, configs[budget], strict=True)
    ]
    for replicate, seed in enumerate(block.seeds):
        for first in firsts:
            # Replicate by replicate, so that a sweep that is cut short has run every point once before any of them
            # twice.
            yield _replicate(first, replicate, seed)


def _first_row(
    block: Block,
    place: tuple[dict[str, Any], int],
    built: ModelConfig | str,
    *,
    budget: int | None,
    options: dict[str, Any],
    task: TaskSpec,
    shared: Mapping[str, Any],
) -> PlanRow:
    """The row of a point's first replicate; the others share its parts."""
    point, level = place
    seed, tier = block.seeds[0], (0, level)
    settings = {name: "by rule" if isinstance(v, RateRule) else v for name, v in point.items()}
    if isinstance(built, str):
        return PlanRow(
            state=INFEASIBLE,
            reason=built,
            budget=budget,
            settings=settings,
            seed=seed,
            shared=shared,
            spec=None,
            counts=None,
            tier=tier,
        )
    # After the sizes: a rule makes the rate from n_rec and d_m.
    trained = {name: _resolved(point[name], built) for name in block.training}
    if block.preset == MEASURED:
        trained_by = recommended(task, block.architecture, built, trained)
    else:
        trained_by = {"length": task.length, **trained}
    training = _training(tuple(trained_by.items()))
    _check_training(training, trained, block.place)
    spec = TrialSpec(
        task=block.task,
        task_options=options,
        architecture=block.architecture,
        model=built,
        training=training,
        seed=seed,
    )
    total = counts_of(built)
    # Listed with its solved sizes and not dropped, so that a person sees what the limits cost.
    reason = _outside(block.limits, built, total)
    return PlanRow(
        state=EXCLUDED if reason else RUNNABLE,
        reason=reason,
        budget=budget,
        settings=settings | trained,
        seed=seed,
        shared=shared,
        spec=spec,
        counts=total,
        tier=tier,
    )


def _replicate(first: PlanRow, replicate: int, seed: int) -> PlanRow:
    """The row of another seed."""
    if first.spec is None:
        return replace(first, seed=seed)
    # The id covers the seed, so that it is taken here for the first replicate too.
    spec = replace(first.spec, seed=seed)
    return replace(first, seed=seed, spec=spec, trial_id=spec.trial_id, tier=_tier(replicate, first.tier[1]))


@cache
def _tier(replicate: int, level: int) -> tuple[int, int]:
    return replicate, level  # one for all trials of a tier


def _resolved(value: Any, config: ModelConfig) -> Any:
    """A training setting of one point: a rule turns into the learning rate of its sizes."""
    return value.rate(config) if isinstance(value, RateRule) else value


# One object for all points with the same settings: a plan of thousands keeps them all, and making one checks it.
@lru_cache(maxsize=10_000)
def _training(settings: tuple[tuple[str, Any], ...]) -> TrainingConfig:
    return TrainingConfig(**dict(settings))


def _check_training(training: TrainingConfig, settings: Mapping[str, Any], where: str) -> None:
    """Refuse settings that are possible one by one and not together; `settings` are those that the grid gave.

    The default warm-up may be longer than training: tiny grids that try something out are shorter. A plan tells of it.
    """
    with raised_as(GridError):
        check_limit("tokens", training.batch_size * training.length, f"{where}training: batch_size x length")
        check_limit("learning_rate", training.learning_rate, f"{where}training.learning_rate")
    warmup = settings.get("warmup_steps", TrainingConfig.warmup_steps)
    if warmup != TrainingConfig.warmup_steps and warmup > training.steps:
        raise GridError(
            f"{where}training.warmup_steps: {training.warmup_steps} is longer than training, which has "
            f"{training.steps} steps: the learning rate would never reach its peak"
        )


def described(grid: Grid) -> Grid:
    """Return the grid with what its tasks and architectures are, where that follows from files or from others' code.

    Architectures that are counted from their torch module are recorded with every point of the grid.

    Raises:
        GridError: a task or its options are unknown.
        DataError: a file that a task follows from is missing or unusable.
    """
    blocks = []
    for block in grid.blocks:
        task, options = _described_task(block)
        if needs_description(block.task, options):
            block = replace(block, description=task, task_options=options)
        blocks.append(block)
    unique: dict[str, Description] = {}
    for block in blocks:
        if block.description is not None:
            entry = Description(
                task=block.written_task, name=block.task, options=block.task_options, spec=block.description
            )
            unique.setdefault(repr(block.written_task), entry)
    recorded = [entry for block in blocks for entry in recorded_points(block)]
    return replace(
        grid,
        blocks=tuple(blocks),
        text=with_descriptions(
            grid.text, list(unique.values()), recorded, measured=any(block.preset == MEASURED for block in blocks)
        ),
    )


def recorded_points(block: Block) -> list[dict[str, Any]]:
    """Return the points of a block with their sizes, where they are counted from a torch module.

    Raises:
        GridError: they cannot be counted.
    """
    if block.definition.light:
        return []
    task, _ = _task(block)
    axes = _corners(block.model)
    zipped = tuple(tuple(name for name in group if name in axes) for group in block.zipped)
    points = [point for point, _ in _product(axes, tuple(group for group in zipped if group))]
    every = points_of(block, task, points, block.place)
    return [record(block.written_architecture, block.architecture, block.definition, every)]


def _described_task(block: Block) -> tuple[TaskSpec, dict[str, Any]]:
    if block.description is not None:
        return block.description, dict(block.task_options)
    try:
        where = f"{block.place}task"
        task = task_spec(block.task, block.task_options, where=where)
        return task, canonical_options(block.task, block.task_options, where=where)
    except TaskError as error:
        raise GridError(str(error)) from error


def _task(block: Block) -> tuple[TaskSpec, dict[str, Any]]:
    task, options = _described_task(block)
    reads = block.definition.reads
    if task.input_kind not in reads:
        others = [name for name in architecture_names() if task.input_kind in architecture(name).reads]
        raise GridError(
            f"{block.place}architecture: {block.architecture!r} reads {' or '.join(_INPUTS[kind] for kind in reads)}, "
            f"and task {task.name!r} gives {_INPUTS[task.input_kind]}. Valid: {', '.join(others)}"
        )
    return task, options


def _product(
    axes: Mapping[str, tuple[Any, ...]], zipped: tuple[tuple[str, ...], ...]
) -> Iterator[tuple[dict[str, Any], int]]:
    """All combinations of the axes with their refinement level; zipped groups advance together."""
    groups = [group for group in zipped if group[0] in axes]
    joined = {name for group in groups for name in group}
    factors: list[list[dict[str, Any]]] = [
        [dict(zip(group, values, strict=True)) for values in zip(*(axes[n] for n in group), strict=True)]
        for group in groups
    ]
    factors += [[{name: value} for value in values] for name, values in axes.items() if name not in joined]
    levels = [refinement_levels(len(factor)) for factor in factors]
    for choice in itertools.product(*(range(len(factor)) for factor in factors)):
        parts = [factor[i] for factor, i in zip(factors, choice, strict=True)]
        # A point is as fine as its finest value: the points of level 0 are then a coarse grid that is complete.
        level = max((ls[i] for ls, i in zip(levels, choice, strict=True)), default=0)
        yield {name: value for part in parts for name, value in part.items()}, level


def refinement_levels(count: int) -> list[int]:
    """Level of each of `count` values of an axis: the ends and the middle first, then the middles of the gaps.

    Example:
        >>> refinement_levels(7)
        [0, 1, 2, 0, 1, 2, 0]
    """
    levels = [0] * count
    # The ends have level 0 already and the first middle joins them: three values are the fewest that can show an
    # optimum between them.
    gaps, level = [(0, count - 1)], 0
    while gaps:
        halves = []
        for low, high in gaps:
            if high - low > 1:
                middle = (low + high) // 2
                levels[middle] = level
                halves += [(low, middle), (middle, high)]
        gaps, level = halves, level + 1
    return levels


def _outside(limits: Mapping[str, tuple[float | None, float | None]], config: ModelConfig, total: Counts) -> str | None:
    for name, (low, high) in limits.items():
        # Counts first, since k_e, k_c and the parameters are achieved ones, and a limit is of what is really built.
        value = getattr(total, name) if hasattr(total, name) else getattr(config, name, None)
        # An architecture that has no such size is not limited by it.
        if value is not None and ((low is not None and value < low) or (high is not None and value > high)):
            ends = ", ".join("null" if end is None else f"{end:g}" for end in (low, high))  # as the grid has them
            return f"{name} = {value} is outside limits.{name} = [{ends}]"
    return None


def _work(row: PlanRow) -> float:
    return relative_work(row.spec) if row.spec is not None else 0.0


def _asked(row: PlanRow) -> str:
    return "" if row.budget is None else f"the one of budget {row.budget:,}: "
