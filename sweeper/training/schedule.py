"""What changes along a training: learning rate, probability of a reset."""

import math

from sweeper.plan.trial import TrainingConfig


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
