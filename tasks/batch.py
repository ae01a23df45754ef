"""The one interface between data and training: batches and the task that makes them."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from torch import Tensor

from tasks.base import SPLITS, Split, TaskSpec

__all__ = ["SPLITS", "Batch", "Split", "Task"]


class Batch(NamedTuple):
    """Input and target of one step. B sequences, T time steps."""

    # Spike counts stay bytes until they are on the device: as the network's numbers they would be four times as large.
    x: Tensor
    """ids: int64 [B, T]; spikes: uint8 counts [B, T, n_in]; real: float32 [B, T, n_in]."""
    y: Tensor
    """Cross entropy: int64 [B, T] (every step) or [B] (last step). Other losses: float32 with a last axis of n_out."""
    weight: Tensor | None
    """float32 [B, T] (every step) or [B] (last step): 0 marks padding and burn-in; None means 1 everywhere."""
    starts_fresh: bool
    """Whether the state must be zero before this batch; else it continues from the batch before."""
    original_bytes: float | None = None
    """Bytes of the source text that the weighted targets stand for (text only)."""


class Task(Protocol):
    """A loaded task. Batches are pure functions of the arguments, so that resuming needs no iterator state."""

    @property
    def spec(self) -> TaskSpec:
        """What the task asks of a network."""

    @property
    def data_name(self) -> str:
        """Name of the data set for the results."""

    @property
    def data_sha256(self) -> str:
        """SHA-256 of the source data."""

    def train_batch(self, step: int, *, seed: int, batch_size: int, length: int) -> Batch:
        """Return the training batch of `step`, the same for the same arguments on every machine."""

    def eval_batches(self, split: Split, *, batch_size: int, length: int, max_batches: int | None) -> Iterator[Batch]:
        """Yield a split in fixed order; with carried state, consecutive batches continue each other."""
