"""From a task's name and options to its batches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tasks.base import TaskSpec
from tasks.batch import Batch, Split, Task
from tasks.neuron.neuronio import NeuronioTask
from tasks.options import OptionValue
from tasks.sequences.images import load_images
from tasks.sequences.listops import load_listops
from tasks.sequences.pathfinder import load_pathfinder
from tasks.spec import canonical_options, task_spec
from tasks.spikes.shd import load_shd, load_shd_adding
from tasks.text.text import TextTask


class _Loader(Protocol):
    def __call__(
        self, spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
    ) -> Task: ...


_LOADERS: dict[str, _Loader] = {
    "text": TextTask,
    "shd": load_shd,
    "shd_adding": load_shd_adding,
    "images": load_images,
    "listops": load_listops,
    "pathfinder": load_pathfinder,
    "neuronio": NeuronioTask,
}
__all__ = ["Batch", "Split", "Task", "load_task"]


def load_task(
    name: str, options: Mapping[str, object], *, cache_dir: str | Path | None = None, where: str = "task"
) -> Task:
    """Loads a task. Large data are memory-mapped, so that the trials of one machine share them.

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
    return _LOADERS[name](spec, canonical_options(name, options, where=where), cache_dir=cache_dir, where=where)
