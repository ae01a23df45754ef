"""Between a grid and a search: the space that a grid describes, the history in a store, and chosen trials as a grid.

What a search chose is written as a grid of its own, `NAME-chosen`: blocks of settings that advance together. So status,
resuming and the analysis know nothing of searches, and a launch that was killed runs the rest of its last batch first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cluster.yaml_reader import read_yaml, write_yaml
from sweeper.errors import GridError
from sweeper.plan.axes import TARGETS
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import RUNNABLE, PlanRow, expand, recorded_points
from sweeper.plan.grid import Block, Grid, parse_grid
from sweeper.plan.recorded import RECORDED
from sweeper.plan.search_section import Range
from sweeper.plan.trial import TrialSpec, spec_from_canonical
from sweeper.search.space import Dimension, Observation, Point, Sizes, Space
from sweeper.store.schema import FINISHED
from sweeper.store.store import ResultsStore

SUFFIX = "-chosen"
"""What the grid of chosen trials is called beyond the name of the searched one."""

_COLUMNS = ["trial_id", "status", "task", "architecture", "budget", "direction", "final_valid_metric", "spec"]


@dataclass(frozen=True, kw_only=True)
class GridSpace:
    """The space of a searched grid; rows of points are expanded by the same code as any grid's."""

    grid: Grid
    """The grid."""
    costs: CostModel = field(default_factory=CostModel)
    """What a trial is expected to take."""

    @property
    def block(self) -> Block:
        """The grid's one block."""
        if len(self.grid.blocks) != 1:
            raise GridError(
                "blocks: a search of kind random, optuna or theory takes one block, and one value for each option of "
                "its task; put the others in other files"
            )
        return self.grid.blocks[0]

    @cached_property
    def space(self) -> Space:
        """Dimensions, budgets and seeds.

        Raises:
            GridError: the grid holds something that cannot be searched.
        """
        block = self.block
        if block.zipped:
            raise GridError("zip: settings that advance together cannot be searched; leave `zip` or `search` out")
        # Several targets may round to one size, so that a stored trial could not be told back to its target.
        lossy = [name for name in TARGETS if len(block.model.get(name, ())) > 1 or _is_range(block.model.get(name, ()))]
        if lossy:
            raise GridError(
                f"model.{lossy[0]}: a search varies the size itself; give {'d_m' if lossy[0] == 'k_e' else 'd_branch'}"
            )
        return Space(
            budgets=block.budgets or (None,),
            dimensions=tuple(
                dimension for name, values in self._axes.items() if (dimension := _dimension(name, values))
            ),
            seeds=block.seeds,
            measure=self.measure,
        )

    @cached_property
    def _axes(self) -> dict[str, tuple[Any, ...]]:
        return {**self.block.model, **self.block.training}

    @cached_property
    def _rows(self) -> dict[Point, PlanRow]:
        return {}

    def row(self, point: Point) -> PlanRow:
        """The plan row of a point."""
        # Searchers measure the same point many times (suggestions, history, forecasts), and an expansion solves
        # sizes.
        if point not in self._rows:
            values = point.values
            one = replace(
                self.block,
                budgets=() if point.budget is None else (point.budget,),
                model={name: _only(values, name, old) for name, old in self.block.model.items()},
                training={name: _only(values, name, old) for name, old in self.block.training.items()},
                seeds=(point.seed,),
            )
            # By the code of every grid, so that a point's sizes and id are those that the chosen grid will have.
            (self._rows[point],) = expand(replace(self.grid, blocks=(one,), search=None)).rows
        return self._rows[point]

    def measure(self, point: Point) -> Sizes | str:
        """Sizes and expected seconds of a point, or why it cannot be run."""
        row = self.row(point)
        if row.state != RUNNABLE or row.spec is None or row.counts is None:
            return row.reason or row.state
        model = row.spec.model
        d_m = getattr(model, "d_m", None)
        return Sizes(
            n_rec=float(model.n_rec) if hasattr(model, "n_rec") else 1.0,
            k_e=float(row.counts.k_e),
            k_c=float(row.counts.k_c),
            d_m=None if d_m is None else float(d_m),
            trainable_params=float(row.counts.trainable_params),
            seconds=self.costs.seconds(row.spec),
        )

    def history(self, store: ResultsStore) -> list[Observation]:
        """Every final row of the store that is a point of the space, whichever sweep made it, in the order of ids."""
        block, observations = self.block, []
        rows = store.read("trials", _COLUMNS).to_pylist()
        # The order of the files differs between stores, and the order in which trials start between runs; the same
        # history must give the same proposal.
        for row in sorted(rows, key=lambda row: str(row["trial_id"])):
            if (row["task"], row["architecture"]) != (block.task, block.architecture):
                continue
            point = self._point_of(spec_from_canonical(row["spec"]), row["budget"])
            # The id compares everything else: a trial at the same place with another fixed setting is no point of
            # this space.
            if point is None or self.row(point).spec is None or self.row(point).trial_id != row["trial_id"]:
                continue
            sign = 1.0 if row["direction"] == "min" else -1.0
            value = row["final_valid_metric"] if row["status"] == FINISHED else None
            observations.append(Observation(point, None if value is None else sign * float(value)))
        return observations

    def _point_of(self, spec: TrialSpec, budget: int | None) -> Point | None:
        """Where a trial lies in the space; None outside."""
        # Other sweeps may have written rows of more budgets and seeds into the same directory.
        if budget not in self.space.budgets or spec.seed not in self.space.seeds:
            return None
        values: dict[str, Any] = {}
        for dimension in self.space.dimensions:
            holder = spec.training if dimension.name in self.block.training else spec.model
            values[dimension.name] = getattr(holder, dimension.name)
            if not dimension.holds(values[dimension.name]):
                return None
        return self.space.point(budget, values, spec.seed)

    def header(self, name: str | None = None) -> str:
        """The text of the grid of chosen trials up to its blocks; `name` replaces the grid's with ``-chosen``."""
        content = _plain_grid(self.grid, self.block)
        return _yaml(content if name is None else {**content, "name": name}) + "blocks:\n"

    def blocks_text(self, points: Sequence[Point]) -> str:
        """The blocks of these very points, to be put behind the header or earlier blocks."""
        return _yaml([self._block_of(group) for group in _groups(points)])

    def batches(self, text: str) -> Iterator[list[Point]]:
        """The points of each batch of a chosen grid, in order."""
        # The separators are comments of YAML: the file with all of its batches is an ordinary grid to everybody else.
        head, *parts = text.split("\n# batch ")
        for part in parts:
            _, _, blocks = part.partition("\n")
            plan = expand(parse_grid(f"{head}\n{blocks}", default_name=self.grid.name))
            points = (self._point_of(row.spec, row.budget) for row in plan.rows if row.spec is not None)
            yield [point for point in points if point is not None]

    def _block_of(self, points: Sequence[Point]) -> dict[str, Any]:
        """Points of one budget and one set of seeds as a block."""
        # In order of appearance, which a set would lose and with it the same text for the same batch.
        unique = list(dict.fromkeys(point.settings for point in points))
        seeds = sorted({point.seed for point in points})
        block: dict[str, Any] = {} if points[0].budget is None else {"budgets": [points[0].budget]}
        block["seeds"] = seeds
        names = [dimension.name for dimension in self.space.dimensions]
        columns = {name: [dict(settings)[name] for settings in unique] for name in names}
        for section, axes in (("model", self.block.model), ("training", self.block.training)):
            part = {name: columns[name] for name in names if name in axes}
            if part:
                block[section] = part
        # Without it the values would be crossed, and trials that nobody chose would run.
        if len(names) > 1:
            block["zip"] = [names]
        varied = {name: tuple(columns[name]) for name in names if name in self.block.model}
        chosen = replace(
            self.block,
            budgets=() if points[0].budget is None else (points[0].budget,),
            model={**self.block.model, **varied},
            zipped=(tuple(varied),) if len(varied) > 1 else (),
        )
        if recorded := recorded_points(chosen):
            block[RECORDED] = recorded
        return block


def _yaml(content: object) -> str:
    # Flow style for the innermost lists alone: one line per setting, so that columns can be compared by eye.
    return write_yaml(content, flow=None)


def _groups(points: Sequence[Point]) -> list[list[Point]]:
    """Points of one budget whose settings have the same seeds, in order of appearance."""
    seeds: dict[tuple[int | None, tuple[tuple[str, Any], ...]], list[int]] = {}
    for point in points:
        seeds.setdefault((point.budget, point.settings), []).append(point.seed)
    # A block runs all of its settings with all of its seeds, so only settings with the very same seeds may share one.
    groups: dict[tuple[int | None, tuple[int, ...]], list[Point]] = {}
    for (budget, settings), replicates in seeds.items():
        group = groups.setdefault((budget, tuple(sorted(replicates))), [])
        group += [Point(budget, settings, seed) for seed in sorted(replicates)]
    return list(groups.values())


def _plain_grid(grid: Grid, block: Block) -> dict[str, Any]:
    """The grid's own keys without what is searched."""
    content = read_yaml(grid.text)
    assert isinstance(content, dict), "it was read as a grid"
    (only_block,) = content.get("blocks", [{}])
    merged = {key: value for key, value in content.items() if key != "blocks"}
    # The file gets many blocks of its own, so what the one block fixed becomes common to all of them.
    for key, value in only_block.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    # Each block states these for its own points, and a chosen grid searches no more.
    for key in ("search", "budgets", "seeds", "zip"):
        merged.pop(key, None)
    merged["name"] = grid.name + SUFFIX
    fixed = {name for name, values in {**block.model, **block.training}.items() if _dimension(name, values) is None}
    for section in ("model", "training"):
        if section in merged:
            merged[section] = {name: value for name, value in merged[section].items() if name in fixed}
    return merged


def _dimension(name: str, values: tuple[Any, ...]) -> Dimension | None:
    """A dimension where a setting may take several values."""
    if _is_range(values):
        return Dimension(name=name, range=values[0])
    if len(values) > 1:
        return Dimension(name=name, values=tuple(values))
    return None


def _is_range(values: tuple[Any, ...]) -> bool:
    return len(values) == 1 and isinstance(values[0], Range)


def _only(values: Mapping[str, Any], name: str, old: tuple[Any, ...]) -> tuple[Any, ...]:
    return (values[name],) if name in values else old
