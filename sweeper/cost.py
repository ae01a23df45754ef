"""What a trial is expected to cost, before anything ran: relative work from its configuration."""

from model.budget import counts
from sweeper.trial import TrialSpec

_STEP_OVERHEAD = 4_000_000
"""Multiplications that take as long as the fixed cost of one time step (assumption; calibration replaces it)."""


def relative_work(spec: TrialSpec) -> float:
    """Expected training cost in arbitrary units that are comparable within a sweep.

    Each time step costs a fixed overhead plus, per sequence, three multiplications per trainable parameter (forward and
    the two products of the backward pass).
    """
    training = spec.training
    per_time_step = _STEP_OVERHEAD + 3.0 * counts(spec.model).trainable_params * training.batch_size
    return training.steps * training.length * per_time_step
