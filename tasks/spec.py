"""What a task asks of a network, known without loading its data: sizes, loss, metric and baselines."""

from collections.abc import Mapping
from pathlib import Path

import tasks.neuron.spec
import tasks.sequences.spec
import tasks.spikes.spec
import tasks.text.spec
from tasks.base import Entry, Place, TaskSpec
from tasks.errors import TaskError, choices_hint
from tasks.options import Option, OptionValue, resolve_options

ROOMS = (tasks.text.spec.ROOM, tasks.spikes.spec.ROOM, tasks.sequences.spec.ROOM, tasks.neuron.spec.ROOM)
"""Every room of tasks, in the order in which they are listed; the one place that a new room is added to."""
# Tasks of all rooms share one list of names, since a grid file gives a name and no room.
_TASKS: dict[str, Entry] = {name: entry for room in ROOMS for name, entry in room.tasks.items()}


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return tuple(_TASKS)


def task_entry(name: str, *, where: str = "task") -> Entry:
    """Return what a task declares.

    Raises:
        TaskError: no such task.
    """
    # Asked here and nowhere else, so that a misspelt task has one message wherever it is noticed.
    if name not in _TASKS:
        raise TaskError(f"{where}.name: {name!r} is no task; {choices_hint(name, _TASKS)}")
    return _TASKS[name]


def task_options(name: str, *, where: str = "task") -> tuple[Option, ...]:
    """Return the options that a task declares.

    Raises:
        TaskError: no such task.
    """
    return task_entry(name, where=where).options


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
    return _TASKS[name].packages(checked, Place(where, cache_dir))


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
    # The room builds the specification, since only it knows what its options mean.
    return _TASKS[name].build(checked, Place(where, cache_dir))
