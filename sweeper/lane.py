"""A lane: a long-lived process that pulls trials, trains them and writes their rows. Knows no executor.

Rows are written before a trial is reported to the broker, so what the broker counts as done is on disk.
"""

import resource
import socket
import threading
import time
import traceback as traceback_module
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import torch

from sweeper.broker import Assignment, Pull, Report
from sweeper.checkpoint import Checkpoints
from sweeper.errors import SweeperError
from sweeper.gpu import GpuMemory
from sweeper.progress import TrialProgress
from sweeper.record import Outcome, attempt_record, curve_records, trial_record
from sweeper.schema import DIVERGED, FAILED, FINISHED, OUT_OF_MEMORY, TIMED_OUT, AttemptRecord, CurveRecord, TrialRecord
from sweeper.store import ResultsStore
from sweeper.training import Diverged, Stopped, peak_memory_bytes, train_trial

HEARTBEAT_S = 2.0
WAIT_S = 0.5
FLUSH_S = 0.5
"""Pause between two writes, so that very short trials share files."""


class BrokerGoneError(Exception):
    """The launcher that owns the broker is dead or unreachable: the lane ends; its trial is run anew later."""


class TimedOut(SweeperError):
    """The trial took longer than it was allowed."""


class BrokerClient(Protocol):
    """The broker as a lane sees it."""

    def pull(self, lane: str, incarnation: str, host: str, reports: Sequence[Report] = ()) -> Pull:
        """See `Broker.pull`. Raises `BrokerGoneError`."""

    def heartbeat(self, lane: str, incarnation: str, host: str, trial_id: str | None, progress: float) -> bool:
        """See `Broker.heartbeat`. Raises `BrokerGoneError`."""

    def leave(self, lane: str, incarnation: str, reports: Sequence[Report] = ()) -> None:
        """See `Broker.leave`. Raises `BrokerGoneError`."""


class Trainer(Protocol):
    """What a lane runs for one assignment; replaced in tests by trials of a known law."""

    def __call__(self, assignment: Assignment, progress: TrialProgress, context: "TrialContext") -> None:
        """Fill `progress`; raise to fail."""


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """What a lane offers to the trial it runs."""

    on_step: Callable[[int], bool]
    """To be called with the number of steps done; False means: save and stop."""
    device: str
    """torch device."""
    checkpoints: Checkpoints
    """Where a long trial saves itself."""


@dataclass(frozen=True, kw_only=True)
class LaneConfig:
    """What every lane of a launch needs to know."""

    store_uri: str
    """Where rows go; absolute."""
    lane_prefix: str
    """Lanes are named `<prefix>-0`, `<prefix>-1`, ...; unique per launch, so that two launches never write one file."""
    code_version: str
    """Recorded in every row."""
    device: str = "cpu"
    """torch device of the trials."""
    threads: int = 1
    """torch threads of one trial."""
    checkpoint_s: float = 300.0
    """Seconds between two checkpoints of a trial; shorter trials have none."""
    trial_limit_s: float | None = None
    """Wall time after which a trial is ended as `timed_out`."""
    memory_bytes: int | None = None
    """Memory that all lanes of a host may use together; each lane gets its share, a trial that runs alone the whole."""
    lanes: int = 1
    """Lanes of a host, which share its memory."""
    trial_bytes: int = 0
    """Memory that the largest trial is expected to need; lanes are packed on GPUs by it."""


def train_assignment(assignment: Assignment, progress: TrialProgress, context: TrialContext) -> None:
    """The real trainer: `sweeper.training.train_trial`."""
    train_trial(
        assignment.spec,
        progress=progress,
        on_step=context.on_step,
        device=context.device,
        checkpoints=context.checkpoints,
    )


def run_lane(broker: BrokerClient, name: str, config: LaneConfig, trainer: Trainer = train_assignment) -> int:
    """Pull and run trials until the broker has no more.

    Args:
        broker: where trials come from.
        name: this lane.
        config: shared by all lanes.
        trainer: what to do with an assignment.

    Returns:
        Number of trials run.

    Raises:
        StoreError: rows cannot be written; what was written stays.
    """
    torch.set_num_threads(config.threads)
    store = ResultsStore.create(config.store_uri)
    identity = (name, uuid.uuid4().hex, socket.gethostname())
    ran, memory = 0, GpuMemory(config.device)
    with _Writer(store, name) as writer, _Pulse(broker, identity, config.trial_limit_s) as pulse:
        try:
            while True:
                if not memory.is_back():
                    writer.flush()
                    broker.leave(*identity[:2], writer.take_reports())
                    return ran  # whoever started this process replaces it
                pulled = broker.pull(*identity, writer.take_reports())
                if not pulled.assignments:
                    writer.flush()  # its reports may be all that the broker waits for
                    reports = writer.take_reports()
                    pulled = broker.pull(*identity, reports) if reports else pulled
                if not pulled.assignments and not pulled.wait:
                    return ran
                if not pulled.assignments:
                    time.sleep(WAIT_S)
                for assignment in pulled.assignments:
                    pulse.begin(assignment)
                    context = TrialContext(
                        on_step=pulse.on_step,
                        device=config.device,
                        checkpoints=Checkpoints(store, assignment.trial_id, config.checkpoint_s),
                    )
                    limit_memory(config, alone=assignment.alone)
                    writer.add(*run_trial(assignment, name, config.code_version, context, trainer))
                    ran += 1
        except Stopped:
            writer.flush()
            with suppress(BrokerGoneError):
                broker.leave(*identity[:2], writer.take_reports())
            return ran
        except BrokerGoneError:
            writer.flush()
            return ran


def run_trial(
    assignment: Assignment, lane: str, code_version: str, context: TrialContext, trainer: Trainer = train_assignment
) -> tuple[TrialRecord, list[CurveRecord], AttemptRecord]:
    """Run one trial and turn whatever happens to it into rows.

    Raises:
        Stopped: `context.on_step` stopped the trial; it has no rows and is run anew later.
    """
    progress = TrialProgress()
    started_at, cpu_began = datetime.now(UTC), time.process_time()
    status, reason, trace = FINISHED, None, None
    try:
        trainer(assignment, progress, context)
    except Stopped:
        raise
    except Diverged as error:
        status, reason = DIVERGED, str(error)
    except TimedOut as error:
        status, reason = TIMED_OUT, str(error)
    except Exception as error:  # the border of a trial: one that raises becomes a row and must not stop the others
        status = OUT_OF_MEMORY if is_out_of_memory(error) else FAILED
        reason, trace = _one_line(error), traceback_module.format_exc()
    outcome = Outcome(
        status=status,
        reason=reason,
        traceback=trace,
        started_at=started_at,
        ended_at=datetime.now(UTC),
        lane=lane,
        code_version=code_version,
        cpu_s=time.process_time() - cpu_began,
        peak_memory_bytes=peak_memory_bytes(progress.device),
    )
    return (
        trial_record(assignment, outcome, progress),
        curve_records(assignment, progress.evaluations),
        attempt_record(assignment, outcome),
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out; torch's CPU allocator says so in a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def limit_memory(config: LaneConfig, *, alone: bool) -> None:
    """Cap this process's data segment, so that a trial that wants too much gets a MemoryError.

    Without it the kernel or Ray's memory monitor would kill a process, and the latter takes the whole Tune run along.
    """
    if config.memory_bytes is None:
        return
    share = config.memory_bytes if alone else config.memory_bytes // config.lanes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = share if hard == resource.RLIM_INFINITY else min(share, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


class _Writer:
    """Writes rows from a thread of its own, so that the next trial starts at once; very short trials share files."""

    def __init__(self, store: ResultsStore, lane: str) -> None:
        self._store, self._lane = store, lane
        self._waiting: list[tuple[TrialRecord, list[CurveRecord], AttemptRecord]] = []
        self._reports: list[Report] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake, self._ended = threading.Event(), False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> "_Writer":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = True
        self._wake.set()
        self._thread.join()

    def add(self, trial: TrialRecord, curves: list[CurveRecord], attempt: AttemptRecord) -> None:
        """Take the rows of a trial that ended; what went wrong with earlier ones is raised here."""
        with self._lock:
            self._waiting.append((trial, curves, attempt))
        self._wake.set()
        if trial.status != FINISHED:  # the broker should know at once, before more of the same are handed out
            self._write()
        self._raise_error()

    def flush(self) -> None:
        """Return when everything taken so far is written."""
        self._write()
        self._raise_error()

    def take_reports(self) -> list[Report]:
        """Reports of the trials whose rows are written."""
        with self._lock:
            reports, self._reports = self._reports, []
        return reports

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait()
            self._wake.clear()
            try:
                self._write()
            except SweeperError as error:  # raised in the lane's own thread
                self._error = error
                return
            time.sleep(0 if self._ended else FLUSH_S)

    def _write(self) -> None:
        """Write what waits; final rows last, since they are what marks a trial as done."""
        with self._writing:
            with self._lock:
                batch, self._waiting = self._waiting, []
            if not batch:
                return
            self._store.write("curves", [curve for _, curves, _ in batch for curve in curves], writer=self._lane)
            self._store.write("attempts", [attempt for _, _, attempt in batch], writer=self._lane)
            self._store.write("trials", [trial for trial, _, _ in batch], writer=self._lane)
            for trial, _, _ in batch:
                self._store.delete_checkpoint(trial.trial_id)
            with self._lock:
                self._reports += [_report(trial) for trial, _, _ in batch]

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _report(trial: TrialRecord) -> Report:
    return Report(
        trial_id=trial.trial_id,
        status=trial.status,
        reason=trial.reason,
        metric=trial.final_valid_metric,
        wall_s=trial.wall_s,
    )


class _Pulse:
    """Sends heartbeats from a thread of its own, so that a long step is not taken for a dead lane."""

    def __init__(self, broker: BrokerClient, identity: tuple[str, str, str], limit_s: float | None) -> None:
        self._broker, self._identity, self._limit_s = broker, identity, limit_s
        self._began = time.monotonic()
        self._assignment: Assignment | None = None
        self._step = 0
        self._leave = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "_Pulse":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, assignment: Assignment) -> None:
        self._assignment, self._step, self._began = assignment, 0, time.monotonic()

    def on_step(self, step: int) -> bool:
        self._step = step
        if self._limit_s is not None and time.monotonic() - self._began > self._limit_s:
            raise TimedOut(f"over its time limit of {self._limit_s:g} s after {step} steps")
        return not self._leave

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            assignment = self._assignment
            if assignment is not None:
                share = min(1.0, self._step / assignment.spec.training.steps)
                try:
                    self._leave = not self._broker.heartbeat(*self._identity, assignment.trial_id, share)
                except BrokerGoneError:
                    self._leave = True
                    return


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500]
