"""From a task's name and options to its batches."""

import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tasks.base import TaskSpec
from tasks.batch import Batch, Split, Task
from tasks.options import OptionValue
from tasks.spec import canonical_options, task_entry, task_spec

__all__ = ["Batch", "Split", "Task", "load_task"]


class Loader(Protocol):
    """What an `Entry` names as its loader."""

    def __call__(
        self, spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
    ) -> Task:
        """Load the task that `spec` describes from checked options; arguments as for `load_task`."""


def load_task(
    name: str, options: Mapping[str, object], *, cache_dir: str | Path | None = None, where: str = "task"
) -> Task:
    """Load a task. Large data are memory-mapped, so that the trials of one machine share them.

    Args:
        name: task name.
        options: options as given in the grid file.
        cache_dir: data directory; None for $ELM_DATA_DIR or the user's cache directory.
        where: path of the task in the grid file, for messages.

    Raises:
        TaskError: unknown task, unknown option or invalid value.
        DataError: missing or damaged data.
    """
    spec = task_spec(name, options, where=where, cache_dir=cache_dir)
    # imported now and not above: a trial needs one task, and some bring packages that others do without
    load: Loader = pkgutil.resolve_name(task_entry(name).loader)
    return load(spec, canonical_options(name, options, where=where), cache_dir=cache_dir, where=where)
