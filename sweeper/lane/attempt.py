"""One attempt at a trial, or at several in one go: whatever happens to it becomes rows."""

import time
import traceback as traceback_module
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import torch

from sweeper.lane.record import Outcome, attempt_record, curve_records, trial_record
from sweeper.lane.trainer import JointTrainer, Trainer, TrialContext, train_assignment
from sweeper.queue.failures import SPLIT
from sweeper.queue.messages import Assignment, Report
from sweeper.store.schema import (
    DIVERGED,
    FAILED,
    FINISHED,
    OUT_OF_MEMORY,
    PRUNED,
    TIMED_OUT,
    AttemptRecord,
    CurveRecord,
    TrialRecord,
)
from sweeper.training.outcomes import Diverged, Pruned, Stopped, TimedOut
from sweeper.training.progress import TrialProgress
from sweeper.training.training import peak_memory_bytes


class TrialRows(NamedTuple):
    """All rows of one attempt."""

    trial: TrialRecord
    """Its final row."""
    curves: list[CurveRecord]
    """Its evaluations."""
    attempt: AttemptRecord
    """Its row in the history."""


class RowSink(Protocol):
    """Where the rows of trials that end go."""

    def add(self, rows: TrialRows) -> None:
        """Take the rows of a trial that ended."""

    def report(self, reports: Iterable[Report]) -> None:
        """Take reports of trials that have no rows."""


def run_trial(
    assignment: Assignment, lane: str, code_version: str, context: TrialContext, trainer: Trainer = train_assignment
) -> TrialRows:
    """Run one trial and turn whatever happens to it into rows.

    Raises:
        Stopped: `context.on_step` stopped the trial; it has no rows and is run anew later.
    """
    progress, spent = TrialProgress(), _Spent(1)
    try:
        trainer(assignment, progress, context)
    except Stopped:
        raise
    except Exception as error:  # the border of a trial: one that raises becomes a row and must not stop the others
        # A variable of this frame, which its traceback holds, would keep the trial's memory until a collection.
        outcome = spent.outcome(error, lane, code_version, progress.device)
    else:
        outcome = spent.outcome(None, lane, code_version, progress.device)
    return trial_rows(assignment, progress, outcome)


def run_group(
    group: Sequence[Assignment],
    lane: str,
    code_version: str,
    contexts: Sequence[TrialContext],
    trainer: JointTrainer,
    sink: RowSink,
) -> None:
    """Run trials in one go; each gets its rows when it ends.

    A failure of the group as a whole, such as a lack of memory, is blamed on no trial: those that have not ended are
    reported as split and come again one by one.

    Raises:
        Stopped: the trials were stopped; those that have no rows are run anew later.
    """
    progresses, spent = [TrialProgress() for _ in group], _Spent(len(group))
    # By place, as trainers report ends: only those that have not ended are blamed or split below.
    left = dict(enumerate(group))

    def on_end(place: int, error: Exception | None) -> None:
        outcome = spent.outcome(error, lane, code_version, progresses[place].device)
        sink.add(trial_rows(left.pop(place), progresses[place], outcome))

    try:
        trainer.jointly(group, progresses, contexts, on_end)
    except Stopped:
        raise
    except TimedOut as error:
        # The limit is one for the group as a whole, so whoever has not ended by now is over it. A copy, since `on_end`
        # takes out of `left`.
        for place in list(left):
            on_end(place, error)
    except Exception as error:  # the border of the group, as in `run_trial`
        # No traceback and no rows: it cannot be told whose fault it was, and the trials are about to show it one by
        # one.
        reason = f"{len(group)} trials in one go: {one_line(error)}"
        share = spent.share_s()
        sink.report(
            Report(trial_id=a.trial_id, status=SPLIT, reason=reason, metric=None, wall_s=share) for a in left.values()
        )


def trial_rows(assignment: Assignment, progress: TrialProgress, outcome: Outcome) -> TrialRows:
    """All rows of one attempt."""
    return TrialRows(
        trial_record(assignment, outcome, progress),
        curve_records(assignment, progress.evaluations),
        attempt_record(assignment, outcome),
    )


class _Spent:
    """Measures the time from now on and shares it evenly among trials that run in one go."""

    def __init__(self, together: int) -> None:
        self._together = self._running = together
        self._started_at = datetime.now(UTC)
        self._marks = time.perf_counter(), time.process_time()
        self._shares = 0.0, 0.0

    def share_s(self) -> float:
        """Wall seconds of each trial that still runs."""
        marks = time.perf_counter(), time.process_time()
        # The time since the last mark is divided among those that ran in it. A trial that ends early takes no part in
        # what comes after, so the shares of a group add up to what the group took.
        wall, cpu = (
            share + (now - mark) / self._running
            for share, now, mark in zip(self._shares, marks, self._marks, strict=True)
        )
        self._marks, self._shares = marks, (wall, cpu)
        return wall

    def outcome(self, error: Exception | None, lane: str, code_version: str, device: str | None) -> Outcome:
        """How one of the trials ended, now."""
        # Before the count goes down: the trial that ends has run in the time up to now.
        share_s = self.share_s()
        self._running -= 1
        status, reason, trace = _class_of(error)
        return Outcome(
            status=status,
            reason=reason,
            traceback=trace,
            started_at=self._started_at,
            ended_at=datetime.now(UTC),
            lane=lane,
            code_version=code_version,
            cpu_s=self._shares[1],
            peak_memory_bytes=peak_memory_bytes(device),
            # A trial by itself is timed by its start and end, loading of the data included.
            share_s=share_s if self._together > 1 else None,
            trained_with=self._together - 1,
        )


def _class_of(error: Exception | None) -> tuple[str, str | None, str | None]:
    """Status and reason of an attempt that ended so; the traceback as well where the error was not foreseen."""
    if error is None:
        return FINISHED, None, None
    if isinstance(error, Diverged):
        return DIVERGED, str(error), None
    if isinstance(error, Pruned):
        return PRUNED, str(error), None
    if isinstance(error, TimedOut):
        return TIMED_OUT, str(error), None
    status = OUT_OF_MEMORY if is_out_of_memory(error) else FAILED
    # The endings above are results of the settings, and their sentence says all. What is left is a fault of the program
    # or the machine, which cannot be found without the traceback.
    return status, one_line(error), "".join(traceback_module.format_exception(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out; torch's CPU allocator says so in a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def one_line(error: BaseException) -> str:
    """Class and message of an error, in one line of at most 500 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500]
