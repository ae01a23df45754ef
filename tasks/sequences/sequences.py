"""Tasks of whole sequences of one length, with a label or values for each, or for each of its steps."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.base import TaskSpec
from tasks.batch import Batch, Split
from tasks.errors import DataError, TaskError

Numbers: TypeAlias = npt.NDArray[np.int64]
Sampler: TypeAlias = Callable[[int, int, int], Numbers]
"""From step, seed and batch size to the numbers of the examples, [B]."""


class Examples(Protocol):
    """A numbered set of sequences."""

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return the input of the numbered examples, [B, T] or [B, T, n_in]."""

    def targets(self, numbers: Numbers) -> npt.NDArray[Any]:
        """Return the targets of the numbered examples: classes, int64 [B] or [B, T], or values as `Batch.y` says."""


@runtime_checkable
class Weighted(Protocol):
    """Examples that do not all count alike."""

    def weights(self, numbers: Numbers) -> Tensor | None:
        """Return the weights of the numbered examples, [B, T] or [B]; None where all are 1."""


class SplitData(NamedTuple):
    """A split: examples and the fixed order in which evaluation reads them."""

    examples: Examples
    """Where the sequences come from."""
    order: Numbers
    """Numbers of the examples."""


class SequenceTask:
    """Classification or regression of whole sequences of one length.

    Training draws with `sampler`; evaluation reads a split in order and fills the last batch up with weight 0.
    """

    def __init__(
        self,
        spec: TaskSpec,
        data_sha256: str,
        splits: Mapping[Split, SplitData],
        *,
        where: str,
        sampler: Sampler | None = None,
    ) -> None:
        # An empty split would fail much later, as a division by its size.
        for split, data in splits.items():
            if not len(data.order):
                raise DataError(f"{where}.data: {spec.data_name} has nothing in its {split} split")
        self._splits = splits
        self._sampler = sampler or functools.partial(shuffled, splits["train"].order)
        self.data_name, self.data_sha256 = spec.data_name, data_sha256
        self.spec = spec
        # A baseline that only the data can tell is that of the test split, on which results are reported.
        if spec.baseline is None and spec.loss == "cross_entropy" and spec.metric == "accuracy":
            self.spec = dataclasses.replace(spec, baseline=self.majority("test"))

    def majority(self, split: Split) -> float:
        """Return the accuracy of always naming the most frequent class of a split."""
        data = self._splits[split]
        counts = np.bincount(data.examples.targets(data.order).reshape(-1))
        return float(counts.max() / counts.sum())

    def train_batch(self, step: int, *, seed: int, batch_size: int, length: int) -> Batch:
        """Return the training batch of `step`: x and y as the spec says."""
        self._check(length)
        numbers = self._sampler(step, seed, batch_size)
        return self._batch(self._splits["train"].examples, numbers, None)

    def eval_batches(self, split: Split, *, batch_size: int, length: int, max_batches: int | None) -> Iterator[Batch]:
        """Yield a split in fixed order."""
        self._check(length)
        examples, order = self._splits[split]
        for start in range(0, len(order), batch_size)[:max_batches]:
            numbers = order[start : start + batch_size]
            # filled up rather than shortened: a batch of another shape would be another recording on a GPU
            missing = batch_size - len(numbers)
            present = torch.cat([torch.ones(len(numbers)), torch.zeros(missing)]) if missing else None
            yield self._batch(examples, np.pad(numbers, (0, missing), mode="edge"), present)

    def _batch(self, examples: Examples, numbers: Numbers, present: Tensor | None) -> Batch:
        weight = examples.weights(numbers) if isinstance(examples, Weighted) else None
        if present is not None:
            if self.spec.loss_on == "every_step":
                present = present[:, None].expand(-1, self.spec.length)
            weight = present.contiguous() if weight is None else weight * present
        return Batch(examples.inputs(numbers), torch.from_numpy(examples.targets(numbers)), weight, True)

    def _check(self, length: int) -> None:
        # Sequences are classified as a whole, so they can be neither cut nor continued.
        if length != self.spec.length:
            raise TaskError(
                f"{self.spec.name}: length {length} is not possible; the sequences of {self.data_name} have "
                f"{self.spec.length} steps with these options"
            )


def shuffled(pool: Numbers, step: int, seed: int, batch_size: int) -> Numbers:
    """Return the numbers of `step` when `pool` is read in a new random order every epoch, batch after batch."""
    # batches go on across the ends of epochs, so that every one is full and every example is read equally often
    # From the step alone, so that a resumed run goes on in the middle of an epoch.
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // len(pool)
    orders = {int(epoch): _permutation(len(pool), seed, int(epoch)) for epoch in np.unique(epochs)}
    return pool[[orders[int(epoch)][position % len(pool)] for epoch, position in zip(epochs, positions, strict=True)]]


# kept, for all steps of an epoch read one permutation; several, for seeds that train together
@functools.lru_cache(maxsize=8)
def _permutation(n: int, seed: int, epoch: int) -> Numbers:
    return np.random.default_rng([seed, epoch]).permutation(n)


def with_replacement(n: int, step: int, seed: int, batch_size: int) -> Numbers:
    """Return the numbers of `step` when every example is drawn from range(n) anew."""
    # Seed and step make the batch, so that no state of a generator has to be saved.
    return np.random.default_rng([seed, step]).integers(n, size=batch_size)
