"""What a lane runs for an assignment: the interface of trainers, and the real training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from sweeper.queue.messages import Assignment
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.joint import JointTrial, OnEnd, train_jointly
from sweeper.training.progress import TrialProgress
from sweeper.training.training import train_trial


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """What a lane offers to the trial it runs."""

    on_step: Callable[[int], bool]
    """To be called with the number of steps done; False means: save and stop."""
    device: str
    """torch device."""
    checkpoints: Checkpoints
    """Where a long trial saves itself."""


class Trainer(Protocol):
    """What a lane runs for one assignment; replaced in tests by trials of a known law."""

    def __call__(self, assignment: Assignment, progress: TrialProgress, context: TrialContext) -> None:
        """Fill `progress`; raise to fail."""


@runtime_checkable
class JointTrainer(Protocol):
    """A trainer that can also run several assignments in one go; others get them one after the other."""

    def jointly(
        self,
        assignments: Sequence[Assignment],
        progresses: Sequence[TrialProgress],
        contexts: Sequence[TrialContext],
        on_end: OnEnd,
    ) -> None:
        """Fill each `progress` and call `on_end` for each; raise where all that have not ended fail."""


class _Training:
    """The real trainer: `train_trial` for one trial, `train_jointly` for several in one go."""

    def __call__(self, assignment: Assignment, progress: TrialProgress, context: TrialContext) -> None:
        train_trial(
            assignment.spec,
            progress=progress,
            on_step=context.on_step,
            device=context.device,
            checkpoints=context.checkpoints,
        )

    def jointly(
        self,
        assignments: Sequence[Assignment],
        progresses: Sequence[TrialProgress],
        contexts: Sequence[TrialContext],
        on_end: OnEnd,
    ) -> None:
        trials = [
            JointTrial(spec=assignment.spec, progress=progress, checkpoints=context.checkpoints)
            for assignment, progress, context in zip(assignments, progresses, contexts, strict=True)
        ]
        # One lane made all contexts, with one heartbeat and one device: the first stands for them.
        train_jointly(trials, on_end=on_end, on_step=contexts[0].on_step, device=contexts[0].device)


train_assignment = _Training()
