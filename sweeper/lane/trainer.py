"""What a lane runs for an assignment: the interface of trainers, and the real training."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from model.backends.native.build import kernel
from model.backends.native.compiler import NativeUnavailable
from model.registry import architecture_of
from sweeper.plan.trial import TrialSpec
from sweeper.queue.messages import Assignment
from sweeper.queue.start import BUILDING, OPENING
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.joint import JointTrial, OnEnd, train_jointly
from sweeper.training.progress import TrialProgress
from sweeper.training.training import train_trial
from tasks.errors import DataError, TaskError
from tasks.loaders import load_task


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


@runtime_checkable
class PreparingTrainer(Protocol):
    """A trainer that has something to do before the first trial of its kind, which is not that trial's time."""

    def prepare(self, spec: TrialSpec, device: str, at: Callable[[str], None]) -> None:
        """Do it; what goes wrong is left to the trial, which meets it again. `at` is told of each part that begins."""


class _Training:
    """The real trainer: `train_trial` for one trial, `train_jointly` for several in one go."""

    def __init__(self) -> None:
        self._prepared: set[str] = set()

    def prepare(self, spec: TrialSpec, device: str, at: Callable[[str], None]) -> None:
        """Build the kernel and lay out the data, where this has not been done yet."""
        kind = repr((spec.architecture, spec.training.dtype, spec.task, sorted(spec.task_options.items()), device))
        if kind in self._prepared:
            return
        self._prepared.add(kind)
        if architecture_of(spec.model).native and device == "cpu":
            at(BUILDING)
            with suppress(NativeUnavailable):
                kernel(getattr(torch, spec.training.dtype))
        at(OPENING)
        with suppress(DataError, TaskError, OSError, ModuleNotFoundError):
            load_task(spec.task, spec.task_options)

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
