"""What a task asks of a network, known without loading its data: sizes, loss, metric and baselines."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tasks.neuron.spec
import tasks.own.spec
import tasks.sequences.spec
import tasks.spikes.spec
import tasks.text.spec
from cluster import code
from cluster.errors import choices_hint, code_errors_as
from tasks.base import METRICS, Options, Place, Split, TaskDefinition, TaskSpec
from tasks.errors import DataError, TaskError
from tasks.options import Option, OptionValue, resolve_options

ROOMS = (
    tasks.text.spec.ROOM,
    tasks.spikes.spec.ROOM,
    tasks.sequences.spec.ROOM,
    tasks.neuron.spec.ROOM,
    tasks.own.spec.ROOM,
)
"""Every room of tasks, in the order in which they are listed; the one place that a new room is added to."""
# Tasks of all rooms share one list of names, since a grid file gives a name and no room.
_TASKS: dict[str, TaskDefinition] = {name: task for room in ROOMS for name, task in room.tasks.items()}
ENTRY_POINTS = "elm_sweeper.tasks"
"""Group of entry points by which an installed package offers tasks."""
_MUST_HAVE = ("spec", "load")
_MAY_LACK = ("draw_seconds",)


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks that come with this software."""
    return tuple(_TASKS)


def tasks_with_data() -> tuple[str, ...]:
    """Return the names of the tasks that have data of their own, so that they can be trained without a file."""
    return tuple(name for name in _TASKS if not any(option.required for option in task_options(name)))


def task_definition(name: str, *, where: str = "task") -> TaskDefinition:
    """Return the definition of a task: of ours, of an installed package (`ENTRY_POINTS`), or of a file.

    Args:
        name: a name, or "file.py:Class@hash" as `full_name` returns it.
        where: path of the task in the grid file, for messages.

    Raises:
        TaskError: no such task, or a class that does not follow the interface.
    """
    return _TASKS[name] if name in _TASKS else _others_definition(name, where)


@functools.cache
def _others_definition(name: str, where: str) -> TaskDefinition:
    wanted = code.reference(name)
    place = where if wanted is not None else f"{where}.name"
    with code_errors_as(TaskError):
        kind = code.load_named(name, ENTRY_POINTS, "task", _TASKS, place)
    return _made(kind, name if wanted is None else wanted.name, where)


def _made(kind: Any, name: str, where: str) -> TaskDefinition:
    """An instance of a class that is not ours, checked member by member."""
    interface = "tasks.base.TaskDefinition"
    if not isinstance(kind, type):
        raise TaskError(f"{where}: {name} is no class; write a class that inherits from {interface}")
    # Classes that were written before a member was added, and do not inherit, stay valid.
    members = [m for m in vars(TaskDefinition) if not m.startswith("_") and m not in _MAY_LACK]
    missing = [m for m in members if not hasattr(kind, m)]
    missing += [m for m in _MUST_HAVE if getattr(kind, m, None) is getattr(TaskDefinition, m)]
    if missing:
        listed = ", ".join(sorted(missing, key=members.index))
        raise TaskError(f"{where}: class {name} lacks {listed}; see {interface}, from which it may inherit")
    wrong = [m for m in members if m != "options" and not callable(getattr(kind, m))]
    if wrong:
        raise TaskError(f"{where}: class {name}: {', '.join(wrong)} must be a method; see {interface}")
    options = getattr(kind, "options")  # noqa: B009  mypy knows the class only as a type
    if not isinstance(options, tuple) or not all(isinstance(option, Option) for option in options):
        raise TaskError(f"{where}: class {name}: options must be a tuple of tasks.options.Option")
    try:
        made: TaskDefinition = kind()
    except TypeError as error:
        raise TaskError(f"{where}: class {name} cannot be made without arguments ({error})") from error
    return made


def draw_seconds(name: str, options: Mapping[str, object], split: Split) -> float:
    """Return the CPU seconds in which one sequence of a task is drawn; 0 for tasks that do not come with this software.

    Raises:
        TaskError: unknown option or invalid value.
    """
    # Others' code is not run for it: rows are read where their tasks are not.
    return _TASKS[name].draw_seconds(canonical_options(name, options), split) if name in _TASKS else 0.0


def full_name(name: str, folders: Sequence[Path], *, where: str = "task") -> str:
    """Return the name under which plans and rows know a task: that of a file with the file's hash.

    Args:
        name: as in the grid file.
        folders: where the path of a file may begin.
        where: path of the task in the grid file, for messages.

    Raises:
        TaskError: there is no such file, or it is another version than was asked for.
    """
    with code_errors_as(TaskError):
        return code.full_name(name, folders, where)


def needs_description(name: str, options: Mapping[str, object], *, where: str = "task") -> bool:
    """Return whether a task's specification must be kept beside rows: it follows from files or from others' code.

    Raises:
        TaskError: unknown task, unknown option or invalid value.
    """
    return name not in _TASKS or _TASKS[name].reads_files(canonical_options(name, options, where=where))


def task_options(name: str, *, where: str = "task") -> tuple[Option, ...]:
    """Return the options that a task declares.

    Raises:
        TaskError: no such task.
    """
    return task_definition(name, where=where).options


def canonical_options(name: str, options: Mapping[str, object], *, where: str = "task") -> dict[str, OptionValue]:
    """Check a task's options and fill in the defaults, so that equal tasks compare equal.

    Args:
        name: task name.
        options: options as given in the grid file.
        where: path of the task in the grid file, for messages.

    Raises:
        TaskError: unknown task, unknown option or invalid value.
    """
    # Defaults are filled in before anything is compared or hashed: a grid that names a default and one that does not
    # ask for the same trial.
    return resolve_options(options, task_options(name, where=where), task=name, where=where)


def packages_of(
    name: str, options: Mapping[str, object], *, where: str = "task", cache_dir: str | Path | None = None
) -> tuple[str, ...]:
    """Return the import names of the packages that loading a task's data on this machine needs, beside torch.

    Args:
        name: task name.
        options: options as given in the grid file.
        where: path of the task in the grid file, for messages.
        cache_dir: data directory; None for $ELM_DATA_DIR or the user's cache directory.

    Raises:
        TaskError: unknown task, unknown option or invalid value.
    """
    checked = canonical_options(name, options, where=where)
    # Checked first, so that a misspelt option is named and not the package that its default would need.
    return task_definition(name, where=where).packages(checked, Place(where, cache_dir))


def data_sha256(
    name: str, options: Mapping[str, object], *, where: str = "task", cache_dir: str | Path | None = None
) -> str | None:
    """Return the SHA-256 of the data that a task would read now; None where that cannot be told quickly, or at all.

    Args:
        name: task name.
        options: options as given in the grid file.
        where: path of the task in the grid file, for messages.
        cache_dir: data directory; None for $ELM_DATA_DIR or the user's cache directory.
    """
    # Asked of rows that may be a stranger's: code that came with them is not run to read them.
    if code.reference(name) is not None:
        return None
    try:
        checked = canonical_options(name, options, where=where)
        return task_definition(name, where=where).data_sha256(checked, Place(where, cache_dir))
    # Rows may be read where the data are not.
    except (TaskError, DataError, OSError):
        return None


def task_spec(
    name: str, options: Mapping[str, object], *, where: str = "task", cache_dir: str | Path | None = None
) -> TaskSpec:
    """Describe a task without loading its data.

    Embedded and published data sets are described from constants. A user's own text file with `alphabet: bytes` is
    scanned once for its distinct bytes; the result is kept in the cache directory.

    Args:
        name: task name.
        options: options as given in the grid file.
        where: path of the task in the grid file, for messages.
        cache_dir: data directory; None for $ELM_DATA_DIR or the user's cache directory.

    Raises:
        TaskError: unknown task, unknown option or invalid value.
        DataError: the user's file is missing or unusable.
    """
    checked = canonical_options(name, options, where=where)
    spec = _described(task_definition(name, where=where), name, checked, Place(where, cache_dir))
    if name not in _TASKS:
        _check_spec(spec, name, where)
    return spec


def _described(definition: TaskDefinition, name: str, options: Options, place: Place) -> TaskSpec:
    try:
        return definition.spec(options, place)
    except (TaskError, DataError):
        raise
    except Exception as error:
        wanted = code.reference(name)
        if wanted is None:  # ours: a fault of this program, or of an installed package
            raise
        raise TaskError(f"{place.where}: {wanted.name}.spec: {code.described(error, wanted.path)}") from error


def _check_spec(spec: object, name: str, where: str) -> None:
    """Refuse a description that is not ours and that no network or metric can follow."""
    if not isinstance(spec, TaskSpec):
        raise TaskError(f"{where}: spec of {name} returned {type(spec).__name__}, not a tasks.base.TaskSpec")
    for field in ("n_in", "n_out", "length"):
        value = getattr(spec, field)
        if type(value) is not int or value < 1:
            raise TaskError(f"{where}: {name}: spec.{field}: {value!r} is not a whole number of at least 1")
    choices = {"loss": tuple(METRICS), "loss_on": ("every_step", "last_step"), "input_kind": ("ids", "spikes", "real")}
    for field, valid in choices.items():
        if getattr(spec, field) not in valid:
            raise TaskError(
                f"{where}: {name}: spec.{field}: {getattr(spec, field)!r} is not valid"
                f"{choices_hint(getattr(spec, field), valid)}"
            )
    metrics = METRICS[spec.loss]
    if metrics.get(spec.metric) != spec.direction:
        listed = ", ".join(f"{metric} ({direction})" for metric, direction in metrics.items())
        raise TaskError(
            f"{where}: {name}: spec.metric and spec.direction: {spec.metric!r} ({spec.direction}) does not go with "
            f"loss {spec.loss!r}. Valid: {listed}"
        )
