"""Training losses and evaluation metrics of all tasks."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from tasks.batch import Batch
from tasks.spec import TaskSpec


def training_loss(spec: TaskSpec, logits: Tensor, batch: Batch, *, label_smoothing: float = 0.0) -> Tensor:
    """Returns the weighted mean loss of a batch in nats.

    Args:
        spec: the task.
        logits: network output, [B, T, n_out].
        batch: the targets; its weight masks padding and burn-in.
        label_smoothing: share of the target probability that is spread evenly over all classes.

    Returns:
        Scalar tensor, differentiable with respect to `logits`.
    """
    losses, weight = _losses(spec, logits, batch, label_smoothing)
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()


def _losses(spec: TaskSpec, logits: Tensor, batch: Batch, label_smoothing: float) -> tuple[Tensor, Tensor | None]:
    """Returns the loss of every target, [B, T] or [B], and its weight."""
    scores, target = _scores(spec, logits), batch.y.to(logits.device)
    losses = functional.cross_entropy(
        scores.flatten(0, -2), target.flatten(), reduction="none", label_smoothing=label_smoothing
    ).view(target.shape)
    return losses, None if batch.weight is None else batch.weight.to(losses.device)


def _scores(spec: TaskSpec, logits: Tensor) -> Tensor:
    return logits[:, -1] if spec.loss_on == "last_step" else logits


class MetricAccumulator:
    """Sums a split's metrics over batches, weighting every target alike."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._loss = self._correct = self._weight = 0.0
        self._original_bytes = 0.0

    @torch.no_grad()
    def update(self, logits: Tensor, batch: Batch) -> None:
        """Adds one batch; `logits` are [B, T, n_out]."""
        losses, weight = _losses(self._spec, logits, batch, 0.0)
        weight = torch.ones_like(losses) if weight is None else weight
        correct = _scores(self._spec, logits).argmax(-1) == batch.y.to(logits.device)
        self._loss += float((losses * weight).sum(dtype=torch.float64))
        self._correct += float((correct * weight).sum(dtype=torch.float64))
        self._weight += float(weight.sum(dtype=torch.float64))
        self._original_bytes += batch.original_bytes or 0.0

    def result(self) -> dict[str, float]:
        """Returns "loss" in nats, "accuracy" and, for text, "bpc" and "bits_per_original_byte".

        Raises:
            ValueError: no target was given.
        """
        if self._weight == 0:
            raise ValueError(f"{self._spec.name}: no targets to evaluate; the split is empty or max_batches is 0")
        result = {"loss": self._loss / self._weight, "accuracy": self._correct / self._weight}
        if self._spec.metric == "bpc":
            result["bpc"] = result["loss"] / math.log(2)
            result["bits_per_original_byte"] = self._loss / math.log(2) / self._original_bytes
        return result
