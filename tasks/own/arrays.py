"""The task `arrays`: batches of a person's own sequences; and `arrays_task`, for arrays that another task makes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.base import TaskSpec
from tasks.batch import Split
from tasks.data.cache import data_directory
from tasks.data.leaks import Hashes, sequence_hashes, sequence_leaks, warn_of_leaks
from tasks.options import OptionValue
from tasks.own.array_files import Array, SplitArrays, described, sha256_of_arrays, weights_of
from tasks.sequences.sequences import Numbers, SequenceTask, SplitData

_TYPES = {"ids": np.int64, "spikes": np.uint8, "real": np.float32}


class ArrayExamples:
    """The sequences of one split.

    Where the last step alone has a target, shorter sequences are padded in front, so that they end at the last step;
    where every step has one they stay where they are, and their padding has weight 0.
    """

    def __init__(self, arrays: SplitArrays, spec: TaskSpec) -> None:
        self._arrays, self._spec = arrays, spec

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return the input of the numbered sequences, [B, T] or [B, T, n_in]."""
        x = np.asarray(self._arrays.x[numbers]).astype(_TYPES[self._spec.input_kind], copy=True)
        if self._spec.input_kind == "real" and x.ndim == 2:
            x = x[..., None]
        if self._arrays.length is not None and self._spec.loss_on == "last_step":
            # The symbol of padding is the last one, which no sequence has; elsewhere padding is silence.
            padding = self._spec.n_in - 1 if self._spec.input_kind == "ids" else 0
            for row, length in zip(x, np.asarray(self._arrays.length[numbers]).tolist(), strict=True):
                row[len(row) - length :] = row[:length].copy()
                row[: len(row) - length] = padding
        return torch.from_numpy(x)

    def targets(self, numbers: Numbers) -> Array:
        """Return the targets of the numbered sequences: int64 labels, or float32 with a last axis of outputs."""
        y = np.asarray(self._arrays.y[numbers])
        if self._spec.loss == "cross_entropy":
            return y.astype(np.int64)
        axes = 2 if self._spec.loss_on == "every_step" else 1
        return y.astype(np.float32).reshape(*y.shape[:axes], self._spec.n_out)

    def weights(self, numbers: Numbers) -> Tensor | None:
        """Return the weights of the numbered sequences, [B, T] or [B]; None where all are 1."""
        every = self._spec.loss_on == "every_step"
        if self._arrays.weight is None and not (every and self._arrays.length is not None):
            return None
        return torch.from_numpy(weights_of(self._arrays, numbers, every_step=every))

    def hashes(self) -> Hashes:
        """Return a hash of every sequence, uint64 [n]."""
        return sequence_hashes(self._arrays.x)


def load_arrays(
    spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
) -> SequenceTask:
    """Load the task `arrays`."""
    directory = data_directory(cache_dir)
    sha256 = sha256_of_arrays(str(options["data"]), directory, where)
    parts = described(options, where).splits
    splits = {split: ArrayExamples(part, spec) for split, part in parts.items()}
    sizes = {split: len(part.x) for split, part in parts.items()}
    _warn(spec, sha256, directory, splits)
    return _task(spec, sha256, splits, sizes, where)


def _warn(spec: TaskSpec, sha256: str, directory: Path, splits: Mapping[Any, ArrayExamples]) -> None:
    """Say which share of validation and test stands in training too."""
    warn_of_leaks(
        spec.data_name,
        f"{sha256[:24]}-arrays",
        directory,
        lambda: sequence_leaks({split: examples.hashes() for split, examples in splits.items()}, "sequences"),
    )


def arrays_task(
    spec: TaskSpec,
    *,
    train: tuple[Array, Array],
    valid: tuple[Array, Array],
    test: tuple[Array, Array],
    where: str = "task",
) -> SequenceTask:
    """Make a task of arrays, for the `load` of a task of one's own.

    Args:
        spec: what the task asks of a network.
        train: x and y of the training split, n sequences of `spec.length` steps. x: ids [n, T], spikes or values
            [n, T, n_in]. y: labels [n] or [n, T], or values [n, n_out] or [n, T, n_out], as the loss and `loss_on` ask.
        valid: of the validation split.
        test: of the test split.
        where: path of the task in the grid file, for messages.

    Raises:
        DataError: a split is empty.
    """
    given: dict[Split, tuple[Array, Array]] = {"train": train, "valid": valid, "test": test}
    digest = hashlib.sha256()
    for array in (array for pair in given.values() for array in pair):
        digest.update(np.ascontiguousarray(array).tobytes())
    splits = {split: ArrayExamples(SplitArrays(x, y, None, None), spec) for split, (x, y) in given.items()}
    _warn(spec, digest.hexdigest(), data_directory(), splits)
    return _task(spec, digest.hexdigest(), splits, {split: len(x) for split, (x, _) in given.items()}, where)


def _task(
    spec: TaskSpec, sha256: str, splits: Mapping[Any, ArrayExamples], sizes: Mapping[Any, int], where: str
) -> SequenceTask:
    data = {split: SplitData(examples, np.arange(sizes[split])) for split, examples in splits.items()}
    return SequenceTask(spec, sha256, data, where=where)
