"""Task options that vary: each combination of their values is a task of its own, and a block of the plan."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cluster.limits import check_limit
from sweeper.errors import GridError
from sweeper.plan.descriptions import Description
from tasks.errors import TaskError
from tasks.spec import task_options

Lists = Mapping[str, Sequence[Any]]


class TaskCase(NamedTuple):
    """One combination of values."""

    options: Mapping[str, Any]
    """The value of each option that varies."""
    pinned: Mapping[str, Any]
    """Values of the settings of model and training that advance together with them."""


def lists_of(written: object, place: str) -> Lists:
    """Return the options that a grid file gives a list.

    Args:
        written: the task as the grid file gives it.
        place: its path in the grid file, for messages.

    Raises:
        GridError: a list is empty.
    """
    options = written if isinstance(written, dict) else {}
    lists = {str(key): value for key, value in options.items() if isinstance(value, list)}
    for key, values in lists.items():
        if not values:
            raise GridError(f"{place}.{key}: an empty list leaves nothing to run")
    return lists


def varied_by_class(lists: Lists, name: str, place: str) -> Lists:
    """Return the options that vary, as the task's class says: not those of which a list is one value.

    Args:
        lists: the options that have a list.
        name: full name of the task.
        place: path of the task in the grid file, for messages.

    Raises:
        GridError: the task cannot be asked.
    """
    try:
        # A key that the task does not know is refused with its list where the options are checked.
        single = {option.name for option in task_options(name, where=place) if not option.many}
    except TaskError as error:
        raise GridError(str(error)) from error
    return {key: values for key, values in lists.items() if key in single}


def varied_as_described(lists: Lists, described: Sequence[Description]) -> Lists:
    """Return the options that vary, as a launch found it: a list that it has kept whole is one value.

    Args:
        lists: the options that have a list.
        described: what the launch wrote about tasks of this name.
    """
    kept = [entry.task for entry in described if isinstance(entry.task, dict)]
    return {key: values for key, values in lists.items() if all(task.get(key) != values for task in kept)}


def task_cases(
    varied: Lists, axes: Mapping[str, Sequence[Any]], zipped: Sequence[tuple[str, ...]], place: str
) -> Iterator[TaskCase]:
    """Yield every combination of the options that vary.

    Args:
        varied: values of each option.
        axes: values of the settings of model and training; `zip` means these where an option has the same name.
        zipped: groups that advance together; those without options are left to the block.
        place: path of the task in the grid file, for messages.

    Raises:
        GridError: there are more combinations than points that a grid may have.
    """
    options = [name for name in varied if name not in axes]
    groups = [group for group in zipped if not set(group).isdisjoint(options)]
    columns = {**varied, **axes}
    factors = [
        [[(name in options, name, columns[name][i]) for name in group] for i in range(len(columns[group[0]]))]
        for group in groups
    ]
    joined = {name for group in groups for name in group if name in options}
    # By their text, because 1 equals true, and because not every value that a person may write can be hashed.
    factors += [
        [[(True, name, value)] for value in {repr(v): v for v in values}.values()]
        for name, values in varied.items()
        if name not in joined
    ]
    check_limit("points", math.prod(map(len, factors)), f"{place}: combinations of options")
    for choice in itertools.product(*factors):
        picks = [pick for part in choice for pick in part]
        yield TaskCase(
            options={name: value for of_task, name, value in picks if of_task},
            pinned={name: value for of_task, name, value in picks if not of_task},
        )


def rest_of(zipped: Sequence[tuple[str, ...]], varied: Lists, axes: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return the groups that hold no option, which the block's own settings form."""
    return tuple(group for group in zipped if all(name in axes for name in group) or not set(group) & set(varied))
