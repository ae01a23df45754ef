"""grid.yaml: what a sweep asks for, read with safe YAML and checked key by key.

A grid is a list of blocks; each block is a full product of its axes. Top-level keys are the defaults of every block.
Any setting, `budgets` included, may be one value, a list of values, or a range
``{from: 2, to: 64, count: 6, spacing: log}``; the learning rate may also be a rule (`sweeper.plan.rate_rule`).
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cluster.errors import CodeError, SettingError, path_hint
from cluster.limits import check_limit, shown
from cluster.values import (
    check_keys,
    mapping,
    number,
    one_of,
    raised_as,
    text,
)
from cluster.yaml_reader import read_text_file, read_yaml
from model.architecture import DECIDED_BY_TASK, Architecture
from model.config import ConfigError
from model.registry import DEFAULT, architecture, shared_settings
from model.registry import full_name as architecture_name
from sweeper.errors import GridError
from sweeper.plan.axes import TARGETS, distinct, read_axes, read_budgets, read_seeds, read_zipped
from sweeper.plan.descriptions import DEFAULTS, DESCRIBED, Description, read_descriptions
from sweeper.plan.recipes import MEASURED, PAPER, PRESETS
from sweeper.plan.recorded import RECORDED, Recorded, joined, read_recorded
from sweeper.plan.search_section import Range, SearchSettings, read_search
from sweeper.plan.task_axes import Lists, lists_of, rest_of, task_cases, varied_as_described, varied_by_class
from sweeper.plan.trial import TrainingConfig, field_types
from tasks.base import TaskSpec
from tasks.errors import TaskError
from tasks.spec import full_name

GRID_KEYS = (
    "name", "task", "architecture", "budgets", "model", "training", "seeds", "zip", "limits", "search", "blocks",
)  # fmt: skip
PRESET = "preset"
"""Key of `training` beside those of `TrainingConfig`."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One full product of axes; a task whose options vary makes a block for each of their combinations."""

    task: str
    """Full name of the task (`tasks.spec.full_name`)."""
    place: str = ""
    """Its path in the grid file, such as `blocks[1].`; empty where the file has no blocks."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """The task's options."""
    description: TaskSpec | None = None
    """What the task is, where the grid was kept with it (`sweeper.plan.descriptions`); None: to be asked for."""
    written_task: object = None
    """The task as the grid file gives it."""
    architecture: str = DEFAULT
    """Full name of the architecture (`model.registry.full_name`)."""
    recorded: Recorded | None = None
    """What its sizes and counts are, where the grid was kept with them (`sweeper.plan.recorded`)."""
    written_architecture: str = DEFAULT
    """The architecture as the grid file gives it."""
    budgets: tuple[int, ...] = ()
    """Parameter budgets P; empty where every size is given."""
    model: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Values per model setting, `k_e` and `k_c` included."""
    training: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Values per training setting."""
    preset: str = PAPER
    """What trains where `training` gives no value: one of `sweeper.plan.recipes.PRESETS`."""
    seeds: tuple[int, ...] = (0,)
    """Replicates."""
    zipped: tuple[tuple[str, ...], ...] = ()
    """Groups of settings that advance together instead of forming a product."""
    limits: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Lowest and highest allowed value per size; points outside are listed as excluded."""

    @property
    def definition(self) -> Architecture:
        """What the architecture is: as it was recorded, or as its class says."""
        return self.recorded or architecture(self.architecture)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A whole grid file."""

    name: str
    """Name of the sweep; the file's stem unless `name` is given."""
    blocks: tuple[Block, ...]
    """Parts of the design, in order."""
    text: str
    """The file as it was read, kept with the results."""
    search: SearchSettings | None = None
    """How trials are chosen; None runs the product."""


SHIPPED = Path(__file__).parents[1] / "grids"
"""Grid files that come with the package."""


def shipped_grids() -> list[str]:
    """Names of the grids that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def _is_grid(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") and path.is_file()


def load_grid(path: str | os.PathLike[str]) -> Grid:
    """Read and check a grid file, or a shipped grid by its name.

    Args:
        path: the file; where there is none and it is a bare word, the name of one of `shipped_grids`.

    Raises:
        GridError: the file is missing, not YAML, or holds a key or value that is not understood; the message names the
            key's path in the file, the value and the valid choices.
    """
    file = Path(path)
    # A file of one's own goes first: whoever copies a grid to edit it and keeps its name means the copy.
    if str(path) in shipped_grids() and not file.exists():
        file = SHIPPED / f"{path}.yaml"
    try:
        return parse_grid(read_text_file(file), default_name=file.stem, folder=file.parent)
    except FileNotFoundError:
        named = f". Shipped grids: {', '.join(shipped_grids())}" if file.name == str(path) and not file.suffix else ""
        raise GridError(f"{file}: no such grid file{path_hint(file, _is_grid, shipped_grids()) or named}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise GridError(f"{file}: cannot be read: {error}") from error
    except SettingError as error:
        raise GridError(f"{file}: {error}") from error


def parse_grid(text: str, *, default_name: str = "sweep", folder: str | os.PathLike[str] | None = None) -> Grid:
    """Check the text of a grid file; see `load_grid`.

    Args:
        text: the grid.
        default_name: name of the sweep, unless the grid has one.
        folder: where the grid's file lies; the files of tasks are looked for there first, then in the working
            directory. None for a text that comes from a results directory, with what its tasks were.
    """
    folders = [Path.cwd()] if folder is None else [Path(folder).absolute(), Path.cwd()]
    with raised_as(GridError):
        return _grid(read_yaml(text), text, default_name, folders, stored=folder is None)


def _grid(content: object, source: str, default_name: str, folders: list[Path], *, stored: bool) -> Grid:
    if not isinstance(content, dict):
        raise GridError(f"expected a mapping of settings with at least `task`, got {type(content).__name__}")
    # Believed only where the grid comes from a results directory: whoever launches a file means the tasks of today.
    described = read_descriptions(content.get(DESCRIBED, [])) if stored else ()
    recorded = read_recorded(content.get(RECORDED, [])) if stored else ()
    # Grids that were stored without it were launched when the published settings were the defaults.
    preset = content.get(DEFAULTS, PAPER if stored else MEASURED)
    one_of(*PRESETS)(preset, DEFAULTS)
    content = {key: value for key, value in content.items() if key not in (DESCRIBED, RECORDED, DEFAULTS)}
    check_keys("", content, GRID_KEYS)
    name = content.get("name", default_name)
    if not isinstance(name, str):
        raise GridError(f"name: expected a text, got {shown(name)}; put it into quotes if it is the name")
    name = text(name, "name")
    check_limit("name", len(name.encode()), f"name: {shown(name)}: its length")
    # The grid is kept as `grids/<name>.yaml`, where a name with a dot in front would not be listed.
    if any(c in name for c in "/\\") or name.startswith("."):
        raise GridError(f"name: {name!r} cannot be a file name")
    shared = {key: value for key, value in content.items() if key not in ("name", "blocks", "search")}
    # A file without `blocks` is one block that adds nothing to the top level.
    parts = content.get("blocks", [{}])
    if not isinstance(parts, list) or not parts:
        raise GridError("blocks: expected a list with at least one block of settings")
    places = [f"blocks[{i}]." if "blocks" in content else "" for i in range(len(parts))]
    blocks = tuple(
        block
        for part, place in zip(parts, places, strict=True)
        for block in _blocks(*_parted(part, recorded, stored), shared, place, folders, described, preset)
    )
    search = read_search(content["search"]) if "search" in content else None
    if search is None or not search.adaptive:
        _refuse_open_ranges(blocks)
    check_limit(
        "points", sum(map(_size, blocks)), "blocks: the points of all blocks" if len(blocks) > 1 else "the grid: points"
    )
    return Grid(name=name, blocks=blocks, text=source, search=search)


def _size(block: Block) -> int:
    """Points of a block, from the lengths of its axes alone: before there is a list of them."""
    axes = {name: len(values) for name, values in {**block.model, **block.training}.items()}
    for group in block.zipped:  # they advance together, and count once
        for name in group[1:]:
            axes.pop(name, None)
    return max(1, len(block.budgets)) * len(block.seeds) * math.prod(axes.values())


def _refuse_open_ranges(blocks: tuple[Block, ...]) -> None:
    for block in blocks:
        for section, axes in (("model", block.model), ("training", block.training)):
            for name, values in axes.items():
                if any(isinstance(value, Range) for value in values):
                    raise GridError(
                        f"{section}.{name}.count: a range needs the number `count`; without it only a search of kind "
                        "random, optuna or theory can choose"
                    )


def _parted(part: object, recorded: tuple[Recorded, ...], stored: bool) -> tuple[object, tuple[Recorded, ...]]:
    """A block without what a launch recorded in it, and that, before what it recorded for the whole grid."""
    if not stored or not isinstance(part, dict) or RECORDED not in part:
        return part, recorded
    rest = {key: value for key, value in part.items() if key != RECORDED}
    return rest, (*read_recorded(part[RECORDED]), *recorded)


def _blocks(
    part: object,
    recorded: tuple[Recorded, ...],
    shared: Mapping[str, Any],
    place: str,
    folders: list[Path],
    described: tuple[Description, ...],
    preset: str,
) -> Iterator[Block]:
    """A part of the file: a block for each combination of its task's options."""
    if not isinstance(part, dict):
        raise GridError(f"{place[:-1]}: expected a mapping of settings, got {shown(part)}")
    valid = tuple(key for key in GRID_KEYS if key not in ("name", "blocks", "search"))
    check_keys(place, part, valid)
    # Merged before anything is read, so that every message names the place in the block where the setting takes effect.
    merged = {key: _merge(shared.get(key), part[key]) if key in part else shared[key] for key in {**shared, **part}}
    of_class = str(merged.get("architecture", DEFAULT))
    kept = joined(entry for entry in recorded if entry.written == of_class)
    full = kept.name if kept else _architecture(of_class, f"{place}architecture", folders)
    try:
        model = _model_axes(kept or architecture(full), of_class, merged.get("model", {}), f"{place}model")
    except CodeError as error:
        raise GridError(f"{place}{error}") from error
    preset, settings = _preset(merged.get("training", {}), preset, f"{place}training")
    if isinstance(settings.get("record"), list):
        # of all things in a list, this one's are no values to be tried one after the other
        settings["record"] = ", ".join(dict.fromkeys(map(str, settings["record"]))) or "none"
    training = read_axes(field_types(TrainingConfig), settings, f"{place}training")
    if len(training.get("save", ())) > 1:
        # Both would have one id, since the setting changes no number of a trial.
        raise GridError(f"{place}training.save: give one value; trials do not differ by whether their weights are kept")
    # Before repeated values are dropped, because settings that advance together need their values place by place.
    written = merged.get("task")
    axes, varied = {**model, **training}, _varied(written, f"{place}task", folders, described)
    zipped = read_zipped(merged.get("zip", []), {**varied, **axes}, f"{place}zip")
    model, training = distinct(model, zipped), distinct(training, zipped)
    common = Block(
        task="",
        place=place,
        architecture=full,
        recorded=kept,
        written_architecture=of_class,
        budgets=read_budgets(merged.get("budgets"), f"{place}budgets"),
        preset=preset,
        seeds=read_seeds(merged.get("seeds", 1), f"{place}seeds"),
        limits=_limits(merged.get("limits", {}), f"{place}limits"),
        zipped=rest_of(zipped, varied, axes),
    )
    for case in task_cases(varied, axes, zipped, f"{place}task"):
        one = {**written, **case.options} if isinstance(written, dict) else written
        known = next((entry for entry in described if entry.task == one), None)
        task, options = (known.name, known.options) if known else _task(one, f"{place}task", folders)
        yield replace(
            common,
            task=task,
            task_options=options,
            description=known.spec if known else None,
            written_task=one,
            model=_pinned(model, case.pinned),
            training=_pinned(training, case.pinned),
        )


def _varied(written: object, place: str, folders: list[Path], described: tuple[Description, ...]) -> Lists:
    """The options of a task that have several values."""
    lists = lists_of(written, place)
    if not lists:
        return {}
    # What a launch wrote goes first: the file of a task is not run to read rows that came with it.
    name = written.get("name") if isinstance(written, dict) else None
    same = [entry for entry in described if isinstance(entry.task, dict) and entry.task.get("name") == name]
    return (
        varied_as_described(lists, same) if same else varied_by_class(lists, _task(written, place, folders)[0], place)
    )


def _pinned(axes: Mapping[str, tuple[Any, ...]], values: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {name: (values[name],) if name in values else column for name, column in axes.items()}


def _preset(value: object, otherwise: str, place: str) -> tuple[str, dict[str, Any]]:
    """The preset of a `training` section, and the settings beside it."""
    settings = dict(mapping(value, place))
    preset = settings.pop(PRESET, otherwise)
    return one_of(*PRESETS)(preset, f"{place}.{PRESET}"), settings


def _merge(shared: object, of_block: object) -> object:
    """A block's mapping extends the shared one key by key; anything else replaces it."""
    return {**shared, **of_block} if isinstance(shared, dict) and isinstance(of_block, dict) else of_block


def _task(value: object, place: str, folders: list[Path]) -> tuple[str, dict[str, Any]]:
    if isinstance(value, str):
        name, options = value, {}
    elif isinstance(value, dict) and isinstance(value.get("name"), str):
        name = value["name"]
        options = {key: option for key, option in value.items() if key != "name"}
    else:
        raise GridError(
            f"{place}: expected a task name, or a mapping with `name` and the task's options, got {shown(value)}"
        )
    for key, option in options.items():
        # To Python, True and False are integers too.
        if isinstance(option, int | float) and not isinstance(option, bool):
            check_limit("whole" if isinstance(option, int) else "number", option, f"{place}.{key}")
    try:
        return full_name(name, folders, where=place), options
    except TaskError as error:
        raise GridError(str(error)) from error


def _architecture(name: str, place: str, folders: list[Path]) -> str:
    try:
        return architecture_name(name, folders, where=place)
    except ConfigError as error:
        raise GridError(str(error)) from error


def _model_axes(definition: Architecture, written: str, value: object, place: str) -> dict[str, tuple[Any, ...]]:
    if not mapping(value, place):
        return {}  # without a look at the class, so that a grid that names one can be listed without torch
    types = {**definition.settings()}
    # A target, such as k_e, is a whole number that stands for a setting.
    types |= {size.target: int for size in definition.sizes() if size.target is not None}
    of_any_architecture = {*shared_settings(), *DECIDED_BY_TASK, *TARGETS}
    for name in mapping(value, place):
        # A setting of another architecture is refused with the reason; any other unknown key gets the nearest name
        # (`read_axes`).
        if name in of_any_architecture.difference(types):
            why = "the task decides it" if name in DECIDED_BY_TASK else f"architecture {written!r} has none"
            raise GridError(f"{place}.{name}: {why}. Valid: {', '.join(sorted(types))}")
    return read_axes(types, value, place)


def _limits(value: object, place: str) -> dict[str, tuple[float | None, float | None]]:
    valid = ("n_rec", "d_m", "d_branch", "d_tree", "k_e", "k_c", "trainable_params", "recurrent_params")
    settings = mapping(value, place)
    check_keys(f"{place}.", settings, valid)
    limits = {}
    for name, pair in settings.items():
        if not isinstance(pair, list) or len(pair) != 2:
            raise GridError(f"{place}.{name}: expected [lowest, highest] with null for no limit, got {shown(pair)}")
        low, high = (None if end is None else _end(end, f"{place}.{name}[{i}]") for i, end in enumerate(pair))
        if low is not None and high is not None and low > high:
            raise GridError(f"{place}.{name}: {pair!r} leaves nothing to run: the lowest value is above the highest")
        limits[name] = (low, high)
    return limits


def _end(value: object, place: str) -> float:
    """An end of a limit; whole numbers stay whole, as sizes are."""
    read = number(value, place)
    return int(read) if read.is_integer() else read
