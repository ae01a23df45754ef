"""What is summed up between two evaluations: the training split's metrics, and what a grid asked to record."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from sweeper.plan.trial import GRADIENTS, LOSSES


class StepLoss(NamedTuple):
    """What a step makes smaller."""

    task: Tensor
    """loss of the task"""
    mlp: Tensor | float
    """penalty on the MLPs' output, with its weight"""
    activity: Tensor | float
    """penalty on the activity, with its weight"""

    @property
    def total(self) -> Tensor:
        """Their sum."""
        # In this order: in another one, trials would get other last digits than those that are stored.
        return self.task + self.mlp + self.activity


@dataclass
class RunningMean:
    """Mean loss and metric of the training batches since the last evaluation."""

    loss: float = 0.0
    metric: float = 0.0
    count: int = 0
    metric_count: int = 0

    def add(self, result: Mapping[str, float], metric: str) -> None:
        """Add one batch."""
        self.loss += result["loss"]
        self.count += 1
        if math.isfinite(result[metric]):  # the area under a curve is not defined for a batch without spikes
            self.metric += result[metric]
            self.metric_count += 1

    def take(self) -> tuple[float, float]:
        """Return the means and begin anew."""
        means = self.loss / self.count, self.metric / self.metric_count if self.metric_count else math.nan
        self.loss, self.metric, self.count, self.metric_count = 0.0, 0.0, 0, 0
        return means


@dataclass
class RunningRecord:
    """What a grid asked to record (`sweeper.plan.trial.RECORDED`) of the steps since the last evaluation."""

    steps: int = 0
    norm: float = 0.0
    largest_norm: float = 0.0
    task: float = 0.0
    penalty: float = 0.0

    def add(self, loss: StepLoss, norm: float) -> None:
        """Add one step; `norm` is the global norm of its gradient before clipping."""
        self.steps += 1
        self.norm += norm
        self.largest_norm = max(self.largest_norm, norm)
        self.task += _number(loss.task)
        self.penalty += _number(loss.mlp) + _number(loss.activity)

    def take(self, recorded: tuple[str, ...]) -> dict[str, float]:
        """Return those of `progress.RECORDED_COLUMNS` that were asked for and begin anew."""
        values: dict[str, float] = {}
        # None where the grid asked for it after the trial was saved, and an evaluation was due at once.
        if self.steps and GRADIENTS in recorded:
            values |= {"gradient_norm": self.norm / self.steps, "gradient_norm_max": self.largest_norm}
        if self.steps and LOSSES in recorded:
            values |= {"task_loss": self.task / self.steps, "penalty": self.penalty / self.steps}
        self.__init__()  # type: ignore[misc]
        return values


def _number(value: Tensor | float) -> float:
    return value.item() if isinstance(value, Tensor) else value
