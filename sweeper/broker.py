"""The queue that feeds lanes. Plain Python: the same broker serves Ray lanes and local processes.

A lane pulls assignments, trains them, writes their rows to the store and only then reports them, so a trial that the
broker counts as done is on disk. What a dead lane held goes back to the queue; a trial that kills its lane again and
again is given up.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sweeper.schema import FAILED, FINISHED
from sweeper.trial import TrialSpec

MAX_LOSSES = 3
"""A trial whose lane died this often is given up: it, not the machine, is the likely cause."""
PULL_SECONDS = 1.0
"""Lanes pull about this much work at once, so that very short trials do not wait for the broker."""
PULL_LIMIT = 64
LANE_SILENCE_S = 60.0
"""A lane not heard of for this long counts as dead. Lanes report from a thread of their own every few seconds."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One trial handed to a lane."""

    trial_id: str
    """The trial."""
    spec: TrialSpec
    """What to train."""
    sweep: str
    """Name of the grid that asked for it."""
    budget: int | None
    """Parameter budget that was asked for."""
    attempt: int
    """Number of this attempt, from 1."""
    work: float = 1.0
    """Expected cost in arbitrary units, for the estimate of the time left."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a lane says of a trial whose rows are stored."""

    trial_id: str
    """The trial."""
    status: str
    """Final status."""
    reason: str | None
    """Why it did not finish."""
    metric: float | None
    """Final validation metric, for the progress line."""
    wall_s: float
    """Wall time, seconds."""


@dataclass(frozen=True, kw_only=True)
class Pull:
    """The broker's answer to a lane."""

    assignments: tuple[Assignment, ...]
    """Trials to run now, in order."""
    wait: bool
    """Nothing now, but trials held by other lanes may come back: ask again."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A trial whose lane died with it."""

    assignment: Assignment
    """What the lane was running."""
    lane: str
    """The lane that died."""
    given_up: bool
    """Whether the trial will not be tried again."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """State of the queue at one moment."""

    total: int
    """Trials of this launch."""
    statuses: dict[str, int]
    """Number of trials done, by status."""
    running: int
    """Trials held by lanes."""
    queued: int
    """Trials waiting."""
    work_total: float
    """Work of all trials."""
    work_left: float
    """Work of the trials waiting or running, less the reported progress of the running ones."""
    busy_s: float
    """Wall seconds that lanes spent on trials done."""
    best: tuple[str, float] | None
    """Trial and final validation metric of the best trial so far."""
    reasons: dict[str, int]
    """Number of trials per reason why they did not finish."""
    lanes: int
    """Lanes heard of lately."""


@dataclass
class _Lane:
    incarnation: str
    seen: float
    held: dict[str, Assignment] = field(default_factory=dict)
    running: str | None = None
    progress: float = 0.0


class Broker:
    """Hands out assignments, each to one lane at a time, until all are reported or given up."""

    def __init__(
        self, assignments: Sequence[Assignment], *, direction: str = "min", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = deque(assignments)
        self._total = len(assignments)
        self._all_work = sum(a.work for a in assignments)
        self._direction = direction
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._losses: list[Loss] = []
        self._lost_times: Counter[str] = Counter()
        self._done: set[str] = set()
        self._work = {a.trial_id: a.work for a in assignments}
        self._statuses: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._work_done = 0.0
        self._busy_s = 0.0
        self._best: tuple[str, float] | None = None
        self._draining = False

    def pull(self, lane: str, incarnation: str, reports: Sequence[Report] = ()) -> Pull:
        """Take a lane's reports and hand it new trials.

        Args:
            lane: name of the lane.
            incarnation: changes when the lane's process is started anew; what its predecessor held is queued again.
            reports: trials whose rows are stored.
        """
        state = self._seen(lane, incarnation)
        for report in reports:
            state.held.pop(report.trial_id, None)
            self._finish(report)
        state.running, state.progress = None, 0.0
        self._reap()
        if self._draining:
            return Pull(assignments=(), wait=False)
        taken = tuple(self._queue.popleft() for _ in range(min(self._pull_size(), len(self._queue))))
        state.held.update({a.trial_id: a for a in taken})
        others_hold = any(other.held for name, other in self._lanes.items() if name != lane)
        return Pull(assignments=taken, wait=not taken and others_hold)

    def heartbeat(self, lane: str, incarnation: str, trial_id: str | None, progress: float) -> bool:
        """Note that a lane lives.

        Args:
            lane: name of the lane.
            incarnation: its process.
            trial_id: the trial it is running.
            progress: done share of that trial, 0 to 1.

        Returns:
            Whether the lane is to go on after its present trial.
        """
        state = self._seen(lane, incarnation)
        state.running, state.progress = trial_id, progress
        return not self._draining

    def lane_died(self, lane: str) -> None:
        """Queue again what a lane held whose process is known to be dead."""
        if lane in self._lanes:
            self._requeue(lane, self._lanes.pop(lane))

    def drain(self) -> None:
        """Hand out nothing more; lanes end after their present trial."""
        self._draining = True

    def take_losses(self) -> list[Loss]:
        """Losses since the last call, for the launcher to record."""
        losses, self._losses = self._losses, []
        return losses

    def is_done(self) -> bool:
        """Whether every trial is reported or given up."""
        return len(self._done) == self._total

    def remaining(self) -> list[Assignment]:
        """Assignments not done, held ones included: what a new executor would have to run."""
        held = [a for state in self._lanes.values() for a in state.held.values()]
        return held + list(self._queue)

    def snapshot(self) -> Snapshot:
        """The queue at this moment."""
        self._reap()
        partial = sum(s.held[s.running].work * s.progress for s in self._lanes.values() if s.running in s.held)
        return Snapshot(
            total=self._total,
            statuses=dict(self._statuses),
            running=sum(len(s.held) for s in self._lanes.values()),
            queued=len(self._queue),
            work_total=self._all_work,
            work_left=max(0.0, self._all_work - self._work_done - partial),
            busy_s=self._busy_s,
            best=self._best,
            reasons=dict(self._reasons),
            lanes=len(self._lanes),
        )

    def _seen(self, lane: str, incarnation: str) -> _Lane:
        state = self._lanes.get(lane)
        if state is None or state.incarnation != incarnation:
            if state is not None:
                self._requeue(lane, state)
            state = self._lanes[lane] = _Lane(incarnation=incarnation, seen=0.0)
        state.seen = self._clock()
        return state

    def _finish(self, report: Report) -> None:
        if report.trial_id in self._done:  # a lane thought dead came back; its rows are the same
            return
        self._done.add(report.trial_id)
        self._queue = (
            deque(a for a in self._queue if a.trial_id != report.trial_id) if self._lost_times else self._queue
        )
        self._statuses[report.status] += 1
        self._work_done += self._work[report.trial_id]
        self._busy_s += report.wall_s
        if report.reason:
            self._reasons[f"{report.status}: {report.reason}"] += 1
        better = report.metric is not None and (
            self._best is None or (report.metric < self._best[1]) == (self._direction == "min")
        )
        if report.status == FINISHED and report.metric is not None and better:
            self._best = (report.trial_id, report.metric)

    def _pull_size(self) -> int:
        done = sum(self._statuses.values())
        if done == 0:
            return 1
        mean_s = max(self._busy_s / done, 1e-3)
        fair = max(1, len(self._queue) // (2 * max(1, len(self._lanes))))
        return max(1, min(PULL_LIMIT, fair, int(PULL_SECONDS / mean_s)))

    def _reap(self) -> None:
        now = self._clock()
        for lane, state in list(self._lanes.items()):
            if now - state.seen > LANE_SILENCE_S:
                del self._lanes[lane]
                self._requeue(lane, state)

    def _requeue(self, lane: str, state: _Lane) -> None:
        """Only the trial that ran is a loss; the others were merely waiting in the lane."""
        running = state.running if state.running in state.held else next(iter(state.held), None)
        for assignment in state.held.values():
            if assignment.trial_id in self._done:
                continue
            if assignment.trial_id != running:
                self._queue.appendleft(assignment)
                continue
            self._lost_times[assignment.trial_id] += 1
            given_up = self._lost_times[assignment.trial_id] >= MAX_LOSSES
            self._losses.append(Loss(assignment=assignment, lane=lane, given_up=given_up))
            if given_up:
                self._done.add(assignment.trial_id)
                self._statuses[FAILED] += 1
                self._reasons[f"{FAILED}: its lane died {MAX_LOSSES} times"] += 1
                self._work_done += assignment.work
            else:
                self._queue.append(replace(assignment, attempt=assignment.attempt + 1))
