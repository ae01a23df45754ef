"""Looks at the data of a task that is not ours before the first trial trains on them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cluster import code
from tasks.base import TaskSpec
from tasks.batch import SPLITS, Batch
from tasks.errors import DataError, TaskError
from tasks.loaders import load_task

_MEMBERS = ("spec", "data_name", "data_sha256", "train_batch", "eval_batches")
_BATCH = 2


def check_task(name: str, options: Mapping[str, object], *, length: int, where: str = "task") -> None:
    """Load a task and look at a batch of every split.

    Args:
        name: full name of the task.
        options: its options.
        length: time steps of a sequence.
        where: path of the task in the grid file, for messages.

    Raises:
        TaskError: what `load` returns lacks members, or its batches are not what the spec says.
        DataError: missing or damaged data, or an empty split.
    """
    wanted = code.reference(name)
    try:
        task: Any = load_task(name, options, where=where)
        lacking = [member for member in _MEMBERS if not hasattr(task, member)]
        if lacking:
            raise TaskError(f"{where}: what load of {name} returns lacks {', '.join(lacking)}; see tasks.batch.Task")
        batches: dict[str, Batch] = {"train": task.train_batch(0, seed=0, batch_size=_BATCH, length=length)}
        for split in SPLITS:
            evaluated = task.eval_batches(split, batch_size=_BATCH, length=length, max_batches=1)
            first = next(iter(evaluated), None)
            if first is None:
                raise DataError(f"{where}: {name} has nothing in its {split} split")
            batches[f"{split} (evaluated)"] = first
    except (TaskError, DataError):
        raise
    except Exception as error:
        if wanted is None:
            raise
        raise TaskError(f"{where}: {wanted.name}: {code.described(error, wanted.path)}") from error
    for part, batch in batches.items():
        _check_batch(batch, task.spec, length, f"{where}: {name}: {part}")


def _check_batch(batch: Batch, spec: TaskSpec, length: int, place: str) -> None:
    every = (_BATCH, length) if spec.loss_on == "every_step" else (_BATCH,)
    x_shape = (_BATCH, length) if spec.input_kind == "ids" else (_BATCH, length, spec.n_in)
    x_type = {"ids": torch.int64, "spikes": torch.uint8, "real": torch.float32}[spec.input_kind]
    _check_tensor(batch.x, x_shape, x_type, f"{place}: x")
    classes = spec.loss == "cross_entropy"
    y_type = torch.int64 if classes else torch.float32
    _check_tensor(batch.y, every if classes else (*every, spec.n_out), y_type, f"{place}: y")
    if batch.weight is not None:
        _check_tensor(batch.weight, every, torch.float32, f"{place}: weight")
    if spec.input_kind == "ids":
        _check_range(batch.x, spec.n_in, f"{place}: x", "n_in")
    if classes:
        _check_range(batch.y, spec.n_out, f"{place}: y", "n_out")


def _check_tensor(value: object, shape: tuple[int, ...], dtype: torch.dtype, place: str) -> None:
    if not isinstance(value, Tensor):
        raise TaskError(f"{place} is {type(value).__name__}, not a torch.Tensor")
    if tuple(value.shape) != shape or value.dtype != dtype:
        raise TaskError(f"{place} is {value.dtype} {tuple(value.shape)}; the spec asks for {dtype} {shape}")
    if value.is_floating_point() and not value.isfinite().all():
        raise DataError(f"{place} holds values that are not finite")


def _check_range(value: Tensor, end: int, place: str, name: str) -> None:
    if value.min() < 0 or value.max() >= end:
        raise DataError(f"{place} holds {int(value.min())} to {int(value.max())}; spec.{name} allows 0 to {end - 1}")
