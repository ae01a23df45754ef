"""From a task's name and options to its batches."""

from collections.abc import Mapping
from pathlib import Path

from tasks.base import Place
from tasks.batch import Batch, Split, Task
from tasks.spec import canonical_options, task_definition, task_spec

__all__ = ["Batch", "Split", "Task", "load_task"]


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
    loaded: Task = task_definition(name, where=where).load(
        spec, canonical_options(name, options, where=where), Place(where, cache_dir)
    )
    return loaded
