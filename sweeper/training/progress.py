"""What a trial has to show while it trains: plain numbers, no torch."""

from dataclasses import dataclass, field

RECORDED_COLUMNS = ("gradient_norm", "gradient_norm_max", "task_loss", "penalty")
"""Columns of `curves` that a trial has where its grid asked for them; by these names they stand among an evaluation's
other numbers."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Loss and metric of one split at one step."""

    step: int
    """Optimiser steps done."""
    split: str
    """`train`, `valid` or `test`."""
    loss: float
    """Mean loss: nats, or squared error."""
    metric: float
    """The task's metric."""
    learning_rate: float | None
    """Learning rate at that step; None in the final evaluation."""
    wall_s: float
    """Wall time since the start of the attempt, seconds."""
    others: dict[str, float] = field(default_factory=dict)
    """What else was measured: by the task, such as bits per original byte, or because the grid asked for it."""


@dataclass(kw_only=True)
class TrialProgress:
    """What a trial has to show so far; filled in place, so that a failed trial keeps its curve."""

    evaluations: list[Evaluation] = field(default_factory=list)
    """Curve so far."""
    final: dict[str, Evaluation] = field(default_factory=dict)
    """Final evaluations by split."""
    best: dict[str, Evaluation] = field(default_factory=dict)
    """Evaluations by split at the step of the best validation metric."""
    steps_done: int = 0
    """Optimiser steps carried out."""
    train_s: float = 0.0
    """Wall time of the optimiser steps, seconds."""
    data_name: str | None = None
    """Name of the data that was read."""
    data_sha256: str | None = None
    """SHA-256 of that data."""
    data_facts: str | None = None
    """What else is known of it (`tasks.facts`)."""
    backend: str | None = None
    """Implementation of the network that ran."""
    device: str | None = None
    """Device it ran on."""
