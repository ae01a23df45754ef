"""A lane: a long-lived process that pulls trials, trains them and writes their rows. Knows no executor.

Rows are written before a trial is reported to the broker, so what the broker counts as done is on disk.
"""

import logging
import os
import resource
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import Protocol

import torch

from cluster.code import register
from cluster.errors import joined
from sweeper.errors import FOR_PEOPLE
from sweeper.lane.attempt import one_line, run_group, run_trial
from sweeper.lane.gpu import GpuMemory
from sweeper.lane.options import HostMemory, LaneConfig
from sweeper.lane.trainer import JointTrainer, PreparingTrainer, Trainer, TrialContext, train_assignment
from sweeper.lane.wear import Wear
from sweeper.lane.writer import RowWriter
from sweeper.queue.messages import Assignment, BrokerGoneError, Pull, Report
from sweeper.queue.start import STEPPING, TRAINING
from sweeper.store.store import ResultsStore
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.outcomes import Stopped, TimedOut

HEARTBEAT_S = 2.0
"""Pause between heartbeats; thirty of them fit into the silence after which the broker gives a lane up."""
WAIT_S = 0.5
"""Pause before a lane with nothing to do asks again: as long as the launcher's own looks at the broker."""


class HeartbeatError(Exception):
    """The thread that tells the broker of this lane died of a fault: soon the lane would be taken for dead."""


class BrokerClient(Protocol):
    """The broker as a lane sees it."""

    def pull(self, lane: str, incarnation: str, host: str, reports: Sequence[Report] = ()) -> Pull:
        """See `Broker.pull`. Raises `BrokerGoneError`."""

    def heartbeat(self, lane: str, incarnation: str, host: str, trial_id: str | None, progress: float) -> bool:
        """See `Broker.heartbeat`. Raises `BrokerGoneError`."""

    def leave(self, lane: str, incarnation: str, reports: Sequence[Report] = ()) -> None:
        """See `Broker.leave`. Raises `BrokerGoneError`."""

    def fail(self, lane: str, incarnation: str, reason: str) -> None:
        """See `Broker.fail`. Raises `BrokerGoneError`."""

    def die(self, lane: str, incarnation: str, reason: str) -> None:
        """See `Broker.die`. Raises `BrokerGoneError`."""

    def warn(self, text: str) -> None:
        """See `Broker.warn`. Raises `BrokerGoneError`."""

    def phase(self, lane: str, phase: str) -> None:
        """See `Broker.phase`. Raises `BrokerGoneError`."""


def run_lane(
    broker: BrokerClient,
    name: str,
    config: LaneConfig,
    trainer: Trainer = train_assignment,
    *,
    host: str | None = None,
) -> int:
    """Pull and run trials until the broker has no more.

    Where rows cannot be written, or anything else outside of a trial needs a person to mend it, the broker is told and
    stops the sweep; what was written stays. So it does where the heartbeat dies, which no other lane would escape. Any
    other fault of ours ends this lane, and the broker is told of which.

    Args:
        broker: where trials come from.
        name: this lane.
        config: shared by all lanes.
        trainer: what to do with an assignment.
        host: what tells this machine from the others; its name when None.

    Returns:
        Number of trials run, 0 where the broker was told to stop.
    """
    # Left to itself torch starts a thread per core, and by default there is a lane per core already.
    torch.set_num_threads(config.options.threads)
    if config.directory is not None:
        with suppress(OSError):  # a node may lack it, which matters only to data of relative paths; their error says so
            os.chdir(config.directory)
    for source in config.sources.values():
        register(source)
    # The name stays when Ray or the launcher starts a lane again; the number drawn here tells the broker that it is a
    # new process, which holds nothing of what its predecessor held.
    identity = (name, uuid.uuid4().hex, host or socket.gethostname())
    try:
        with _warnings_to(broker):
            return _pull_and_run(broker, identity, config, trainer)
    except (*FOR_PEOPLE, HeartbeatError) as error:
        with suppress(BrokerGoneError):
            broker.fail(*identity[:2], joined(error))
        return 0
    except Exception as error:  # the border of a lane: what it dies of is not lost with its process's output
        with suppress(BrokerGoneError):
            broker.die(*identity[:2], one_line(error))
        raise


@contextmanager
def _warnings_to(broker: BrokerClient) -> Iterator[None]:
    """Hand what our packages warn of to the launcher: on Ray nobody sees what a lane prints."""
    relay = _Relay(broker)
    # A module's logger hands its records on to its package's, so three handlers hear all of our modules.
    loggers = [logging.getLogger(name) for name in ("model", "tasks", "sweeper")]
    for logger in loggers:
        logger.addHandler(relay)
    try:
        yield
    finally:
        for logger in loggers:
            # Tests run lanes in their own process, where a handler left behind would go on talking to a broker that has
            # ended.
            logger.removeHandler(relay)


class _Relay(logging.Handler):
    """Sends the texts of warnings to a broker."""

    def __init__(self, broker: BrokerClient) -> None:
        super().__init__(logging.WARNING)
        self._broker = broker

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(BrokerGoneError):  # the launcher has ended: nobody is left to read it
            self._broker.warn(record.getMessage())


def _pull_and_run(broker: BrokerClient, identity: tuple[str, str, str], config: LaneConfig, trainer: Trainer) -> int:
    name, options, store = identity[0], config.options, ResultsStore.open(config.store_uri)
    ran, memory, wear = 0, GpuMemory(options.device), Wear(most_trials=config.recycle_trials)
    with RowWriter(store, name) as writer, _Pulse(broker, identity, options.trial_limit_s) as pulse:
        start = _LaneStart(broker, name)
        store.be_patient(lambda: pulse.leaves)

        def on_step(step: int) -> bool:
            start.at(TRAINING)
            return pulse.on_step(step) and not writer.has_failed  # not hours later, when a long trial has ended

        try:
            # Reports travel with the next pull: a call of their own would double the calls that the broker answers.
            while True:
                # Looked at between trials, while nothing is in hand that a fresh process would have to begin anew.
                if not memory.is_back() or wear.is_out(ran):
                    writer.flush()  # before leaving: what is not reported would be run a second time
                    broker.leave(*identity[:2], writer.take_reports())
                    return ran  # whoever started this process replaces it
                pulled = broker.pull(*identity, writer.take_reports())
                if not pulled.assignments:
                    writer.flush()  # its reports may be all that the broker waits for
                    reports = writer.take_reports()
                    pulled = broker.pull(*identity, reports) if reports else pulled
                # The writer was flushed above, so a lane that ends here has reported everything.
                if not pulled.assignments and not pulled.wait:
                    return ran
                if not pulled.assignments:
                    time.sleep(WAIT_S)
                for group in _groups(pulled.assignments, trainer):
                    pulse.begin(group)  # for the heartbeats, which the broker misses after a minute
                    if isinstance(trainer, PreparingTrainer):
                        trainer.prepare(group[0].spec, options.device, start.at)
                    start.at(STEPPING)
                    pulse.begin(group)  # what is prepared once is no trial's time
                    contexts = [
                        TrialContext(
                            on_step=on_step,
                            device=options.device,
                            checkpoints=Checkpoints(store, assignment.trial_id, options.checkpoint_s),
                        )
                        for assignment in group
                    ]
                    # Set anew each time, since the trial before may have run alone with the memory of all lanes. The
                    # first speaks for its group: a trial that is to run alone is never put into one.
                    limit_memory(config.memory, alone=group[0].alone)
                    if isinstance(trainer, JointTrainer) and len(group) > 1:
                        run_group(group, name, config.code_version, contexts, trainer, writer)
                    else:
                        writer.add(run_trial(group[0], name, config.code_version, contexts[0], trainer))
                    ran += len(group)
                    pulse.check()
        except Stopped:  # its checkpoint is saved; the rest of what was pulled goes back untouched
            writer.flush()
            pulse.check()
            with suppress(BrokerGoneError):
                broker.leave(*identity[:2], writer.take_reports())
            return ran
        except BrokerGoneError:  # nobody is left to report to, but rows on disk spare the next launch these trials
            writer.flush()
            return ran


def _groups(assignments: Sequence[Assignment], trainer: Trainer) -> list[list[Assignment]]:
    """Assignments that are run in one go, in order."""
    if not isinstance(trainer, JointTrainer):
        return [[assignment] for assignment in assignments]
    # The trials of a group follow one another and carry the same tuple of ids. A trial by itself carries an empty one,
    # and two such neighbours would look like a group: there the id takes its place.
    return [list(group) for _, group in groupby(assignments, key=lambda a: a.joint or a.trial_id)]


def limit_memory(memory: HostMemory | None, *, alone: bool) -> None:
    """Cap this process's data segment, so that a trial that wants too much gets a MemoryError.

    Without it the kernel or Ray's memory monitor would kill a process, and the latter takes the whole Tune run along.
    """
    if memory is None:
        return
    # The data segment and not the address space (RLIMIT_AS): the latter counts shared libraries and Ray's shared memory
    # as well, which every lane maps and none takes.
    share = memory.whole_bytes if alone else memory.share_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)  # the hard limit stays, or the share could not grow again
    soft = share if hard == resource.RLIM_INFINITY else min(share, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


class _LaneStart:
    """Tells the broker what this lane is at, until it has taken its first step."""

    def __init__(self, broker: BrokerClient, lane: str) -> None:
        self._broker, self._lane, self._phase = broker, lane, ""

    def at(self, phase: str) -> None:
        if self._phase not in (TRAINING, phase):
            self._phase = phase
            self._broker.phase(self._lane, phase)


class _Pulse:
    """Sends heartbeats from a thread of its own, so that a long step is not taken for a dead lane."""

    def __init__(self, broker: BrokerClient, identity: tuple[str, str, str], limit_s: float | None) -> None:
        self._broker, self._identity, self._limit_s = broker, identity, limit_s
        self._began = time.monotonic()
        self._group: Sequence[Assignment] = ()
        self._step = 0
        self._leave = False
        self._error: Exception | None = None
        self._ended = threading.Event()
        # A daemon: heartbeats must not keep a process alive whose lane has ended by an error.
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "_Pulse":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, group: Sequence[Assignment]) -> None:
        self._group, self._step, self._began = group, 0, time.monotonic()

    def check(self) -> None:
        """Raise what the thread died of.

        Raises:
            HeartbeatError: it did.
        """
        if self._error is not None:
            raise HeartbeatError(f"the heartbeat of {self._identity[0]} died: {one_line(self._error)}") from self._error

    @property
    def leaves(self) -> bool:
        """Whether the trial at hand is to be saved and stopped."""
        return self._leave

    # Flags between the two threads need no lock: each is one assignment, and a value that is a beat old does no harm.
    def on_step(self, step: int) -> bool:
        self._step = step
        # A group takes turns on one core, so that each trial is allowed its time as if it ran by itself.
        if self._limit_s is not None and time.monotonic() - self._began > self._limit_s * len(self._group):
            raise TimedOut(f"over its time limit of {self._limit_s:g} s after {step} steps")
        return not self._leave

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            # A lane that has run nothing yet is known to the broker by its pulls. Between two trials the last one is
            # named still, which the broker ignores as soon as it has its report.
            if self._group:
                # All trials of a group are at the same step, so one of them stands for all.
                first = self._group[0]
                share = min(1.0, self._step / first.spec.training.steps)
                try:
                    self._leave = not self._broker.heartbeat(*self._identity, first.trial_id, share)
                # The trial is stopped at its next step and saves a checkpoint, which the next launch goes on from.
                except BrokerGoneError:
                    self._leave = True
                    return
                except Exception as error:  # the border of the thread: raised in the lane's own, which is to leave now
                    self._error, self._leave = error, True
                    return
