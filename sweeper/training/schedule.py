"""What changes along a training: optimiser, learning rate, probability of a reset."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from sweeper.plan.trial import TrainingConfig


def make_optimizer(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], training: TrainingConfig
) -> torch.optim.Optimizer:
    """The optimiser of a training config: Adam (fused) or Adamax, with torch's default moments."""
    if training.optimizer == "adam":
        # One kernel for the whole step; torch has no fused Adamax.
        return torch.optim.Adam(parameters, lr=training.learning_rate, fused=True)
    return torch.optim.Adamax(parameters, lr=training.learning_rate)


def learning_rate_at(step: int, training: TrainingConfig) -> float:
    """Learning rate of the optimiser step that follows `step` steps: linear warm-up, then cosine to 0 or constant."""
    warmup = training.warmup_steps
    if step < warmup:
        # `step + 1`, or the first step would have a rate of 0 and be lost.
        return training.learning_rate * (step + 1) / warmup
    if training.schedule == "constant":
        return training.learning_rate
    # A warm-up as long as training leaves nothing to divide by; the step is then never past it.
    share = (step - warmup) / max(1, training.steps - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def reset_probability(step: int, training: TrainingConfig) -> float:
    """Probability that a row's carried state is reset before a segment: half a cosine (arXiv 2605.12049, Enwik8)."""
    share = min(1.0, step / training.reset_steps)
    return training.reset_end + (training.reset_start - training.reset_end) * 0.5 * (1 + math.cos(math.pi * share))
