"""Training losses and evaluation metrics of all tasks."""

import math
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tasks.base import TaskSpec
from tasks.batch import Batch
from tasks.errors import TaskError
from tasks.packages import package

MV_PER_UNIT = 10.0
"""Voltage targets are in tens of mV."""


def training_loss(spec: TaskSpec, logits: Tensor, batch: Batch, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the weighted mean loss of a batch.

    Cross entropy is in nats; the squared error (mse) and the binary cross entropy (bce, nats) are means over the
    outputs. Spikes and voltage count one half each, as published for NeuronIO: the spike loss is the binary cross
    entropy of output 0, the voltage loss the squared error of output 1 in the units of the target (tens of mV).

    Args:
        spec: the task.
        logits: network output, [B, T, n_out].
        batch: the targets; its weight masks padding and burn-in.
        label_smoothing: share of the target probability that is spread evenly over all classes.

    Returns:
        Scalar tensor, differentiable with respect to `logits`.

    Raises:
        TaskError: label smoothing for a task without classes.
    """
    losses = _losses(spec, logits, batch, label_smoothing)
    if batch.weight is None:
        return losses.mean()
    weight = batch.weight.to(losses.device)
    # by the weights there are and not by the size of the batch: padding must not make a loss smaller
    return (losses * weight).sum() / weight.sum()


class SequenceResults(NamedTuple):
    """What a network made of each sequence of a batch."""

    targets_B: Tensor
    """targets that count: the sum of their weights"""
    loss_B: Tensor
    """mean loss of the targets, as in training without label smoothing"""
    correct_B: Tensor | None
    """share of the targets of which the most probable class is the right one; None without classes"""
    target_B: Tensor | None
    """the class, where each sequence has a single one"""
    predicted_B: Tensor | None
    """the most probable class, where each sequence has a single one"""


@torch.no_grad()
def sequence_results(spec: TaskSpec, logits: Tensor, batch: Batch) -> SequenceResults:
    """Return loss and hits of each sequence, [B], in double precision and main memory.

    Args:
        spec: the task.
        logits: network output, [B, T, n_out].
        batch: the targets; where the weights of a sequence are all 0 its loss is NaN.
    """
    losses = _losses(spec, logits, batch, 0.0).double().cpu()
    weight = torch.ones_like(losses) if batch.weight is None else batch.weight.double().cpu()
    targets_B = weight.flatten(1).sum(1) if weight.dim() > 1 else weight

    def mean(values: Tensor) -> Tensor:
        summed = values * weight
        return (summed.flatten(1).sum(1) if summed.dim() > 1 else summed) / targets_B

    if spec.loss != "cross_entropy":
        return SequenceResults(targets_B, mean(losses), None, None, None)
    predicted, target = _scores(spec, logits).argmax(-1).cpu(), batch.y.cpu()
    single = spec.loss_on == "last_step"
    correct_B = mean((predicted == target).double())
    return SequenceResults(
        targets_B, mean(losses), correct_B, target if single else None, predicted if single else None
    )


def _losses(spec: TaskSpec, logits: Tensor, batch: Batch, label_smoothing: float) -> Tensor:
    """Return the loss of every target, [B, T] or [B]."""
    if spec.loss == "cross_entropy":
        return _cross_entropy(spec, logits, batch, label_smoothing)
    if label_smoothing:
        raise TaskError(f"{spec.name}: label_smoothing must be 0, not {label_smoothing}; the task has no classes")
    return _loss_without_classes(spec, logits, batch)


def _cross_entropy(spec: TaskSpec, logits: Tensor, batch: Batch, label_smoothing: float) -> Tensor:
    """Return the loss of every target, [B, T] or [B]."""
    scores, target = _scores(spec, logits), batch.y.to(logits.device)
    # Unreduced, because padding is weighted out by the caller.
    return functional.cross_entropy(
        scores.flatten(0, -2), target.flatten(), reduction="none", label_smoothing=label_smoothing
    ).view(target.shape)


def _loss_without_classes(spec: TaskSpec, logits: Tensor, batch: Batch) -> Tensor:
    """Return the mean over the outputs of every target, [B, T] or [B]."""
    if spec.loss == "spikes_and_voltage":
        return _spike_and_voltage_loss(logits, batch)
    scores = _scores(spec, logits)
    target = batch.y.to(scores.device, scores.dtype)
    if spec.loss == "mse":
        return ((scores - target) ** 2).mean(-1)
    return functional.binary_cross_entropy_with_logits(scores, target, reduction="none").mean(-1)


def _spike_and_voltage_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Return the mean of both losses at every time step, [B, T]."""
    target = batch.y.to(logits.device, logits.dtype)
    spikes = functional.binary_cross_entropy_with_logits(logits[..., 0], target[..., 0], reduction="none")
    return (spikes + (logits[..., 1] - target[..., 1]) ** 2) / 2


def _scores(spec: TaskSpec, logits: Tensor) -> Tensor:
    return logits[:, -1] if spec.loss_on == "last_step" else logits


class MetricAccumulator:
    """Sums a split's metrics over batches, weighting every target alike."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._metrics: Metrics = SpikeMetrics() if spec.loss == "spikes_and_voltage" else _OF_LOSS[spec.loss](spec)

    @torch.no_grad()
    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add one batch; `logits` are [B, T, n_out]."""
        self._metrics.update(logits.detach(), batch)

    def result(self) -> dict[str, float]:
        """Return "loss", the spec's metric and further ones.

        Cross entropy: "loss" in nats, "accuracy" and, for text, "bpc" and "bits_per_original_byte".
        Values (mse): "loss" and "mse", both the squared error, "mae" and "r2", means over the outputs; "r2" is NaN
        where an output's target never changes.
        Binary cross entropy: "loss" in nats and "accuracy", the share of right answers of all outputs.
        Spikes and voltage: "loss" as in training, "auc" (NaN without spikes or without pauses), "mae_mv", "rmse_mv" and
        "rmse_aligned_mv", for which the prediction is first brought to the mean and variance of the target, as in
        published results.

        Raises:
            TaskError: no target was given.
        """
        result = self._metrics.result()
        if result is None:
            raise TaskError(f"{self._spec.name}: no targets to evaluate; the split is empty or max_batches is 0")
        return result


class Metrics(Protocol):
    """Sums of what one kind of loss is measured by."""

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add one batch; `logits` are [B, T, n_out]."""

    def result(self) -> dict[str, float] | None:
        """Return the metrics, None without targets."""


class ClassMetrics:
    """Sums of loss and hits of a classification."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._loss = self._correct = self._weight = self._original_bytes = 0.0

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add one batch; `logits` are [B, T, n_out]."""
        # Without smoothing, which would be a loss against other targets than the data's.
        losses = _cross_entropy(self._spec, logits, batch, 0.0)
        weight = torch.ones_like(losses) if batch.weight is None else batch.weight.to(losses.device)
        correct = _scores(self._spec, logits).argmax(-1) == batch.y.to(logits.device)
        # Double precision, because a split has millions of targets: single precision would lose the small addends, and
        # the metric would change with the size of the batches.
        self._loss += float((losses * weight).sum(dtype=torch.float64))
        self._correct += float((correct * weight).sum(dtype=torch.float64))
        self._weight += float(weight.sum(dtype=torch.float64))
        self._original_bytes += batch.original_bytes or 0.0

    def result(self) -> dict[str, float] | None:
        """Return the metrics, None without targets."""
        if self._weight == 0:
            return None
        result = {"loss": self._loss / self._weight, "accuracy": self._correct / self._weight}
        if self._spec.metric == "bpc":
            result["bpc"] = result["loss"] / math.log(2)
            # A text without case and punctuation has fewer characters than bytes, so bits per character of two variants
            # cannot be compared.
            if self._original_bytes:
                result["bits_per_original_byte"] = self._loss / math.log(2) / self._original_bytes
        return result


class ValueMetrics:
    """Sums of the errors of a regression, and of its targets for r2, one per output."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._origin: Tensor | None = None
        self._weight = 0.0
        self._squared, self._absolute, self._first, self._second = torch.zeros(4, spec.n_out, dtype=torch.float64)

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add one batch; `logits` are [B, T, n_out]."""
        scores = _scores(self._spec, logits).double().flatten(0, -2).cpu()
        target = batch.y.double().flatten(0, -2).cpu()
        weight = torch.ones(len(target)) if batch.weight is None else batch.weight.flatten().cpu()
        weight = weight.double()
        if self._origin is None:
            # Squares are summed around one target, since those around 0 would lose a small variance of large values.
            self._origin = target[0].clone()
        error, moved = scores - target, target - self._origin
        self._weight += float(weight.sum())
        self._squared += weight @ error**2
        self._absolute += weight @ error.abs()
        self._first += weight @ moved
        self._second += weight @ moved**2

    def result(self) -> dict[str, float] | None:
        """Return the metrics, None without targets."""
        if self._weight == 0:
            return None
        spread = self._second - self._first**2 / self._weight
        r2 = torch.where(spread > 0, 1 - self._squared / spread, math.nan)
        mse = float(self._squared.mean() / self._weight)
        return {"loss": mse, "mse": mse, "mae": float(self._absolute.mean() / self._weight), "r2": float(r2.mean())}


class AnswerMetrics:
    """Sums of loss and hits of outputs that each answer yes or no."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._loss = self._correct = self._weight = 0.0

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add one batch; `logits` are [B, T, n_out]."""
        losses = _loss_without_classes(self._spec, logits, batch).double()
        weight = torch.ones_like(losses) if batch.weight is None else batch.weight.to(losses)
        right = (_scores(self._spec, logits) > 0) == (batch.y.to(logits.device) > 0.5)
        self._loss += float((losses * weight).sum())
        self._correct += float((right.double().mean(-1) * weight).sum())
        self._weight += float(weight.sum())

    def result(self) -> dict[str, float] | None:
        """Return the metrics, None without targets."""
        if self._weight == 0:
            return None
        return {"loss": self._loss / self._weight, "accuracy": self._correct / self._weight}


class SpikeMetrics:
    """Keeps all predictions of spikes and voltage, since the area under the curve needs their ranks."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._predicted: list[Tensor] = []
        self._targets: list[Tensor] = []

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add one batch; `logits` are [B, T, 2]."""
        # weights are 0 or 1 here, so leaving steps out is weighting them
        counted = slice(None) if batch.weight is None else (batch.weight > 0)
        # To main memory at once: a split's predictions may not fit beside the network on a device.
        self._losses.append(_spike_and_voltage_loss(logits, batch).cpu()[counted].flatten().double())
        self._predicted.append(logits.cpu()[counted].reshape(-1, 2).double())
        self._targets.append(batch.y[counted].reshape(-1, 2).double())

    def result(self) -> dict[str, float] | None:
        """Return the metrics, None without targets."""
        roc_auc_score = package("sklearn.metrics", "the metric auc").roc_auc_score  # slow to import
        # the empty tensor stands for a split without batches, since nothing cannot be concatenated
        targets = torch.cat([*self._targets, torch.zeros(0, 2, dtype=torch.float64)]).numpy()
        if not len(targets):
            return None
        predicted = torch.cat(self._predicted).numpy()
        spikes, voltage, guess = targets[:, 0], targets[:, 1], predicted[:, 1]
        # the area is a share of pairs of one spike and one pause; without either there is none
        both = 0 < spikes.sum() < len(spikes)
        spread = guess.std()  # 0 for a network that answers the same always, which cannot be aligned
        # The published error compares shapes, so a constant offset and a scale of the prediction are taken out first.
        aligned = (guess - guess.mean()) / spread * voltage.std() + voltage.mean() if spread > 0 else guess
        return {
            "loss": float(torch.cat(self._losses).mean()),
            "auc": float(roc_auc_score(spikes, predicted[:, 0])) if both else math.nan,
            "mae_mv": float(np.abs(guess - voltage).mean() * MV_PER_UNIT),
            "rmse_mv": float(np.sqrt(np.mean((guess - voltage) ** 2)) * MV_PER_UNIT),
            "rmse_aligned_mv": float(np.sqrt(np.mean((aligned - voltage) ** 2)) * MV_PER_UNIT),
        }


_OF_LOSS: dict[str, type[ClassMetrics | ValueMetrics | AnswerMetrics]] = {
    "cross_entropy": ClassMetrics,
    "mse": ValueMetrics,
    "bce": AnswerMetrics,
}
