"""The queue that feeds lanes. Plain Python: the same broker serves Ray lanes and local processes.

A lane pulls assignments, trains them, writes their rows to the store and only then reports them, so a trial that the
broker counts as done is on disk. What a dead lane held goes back to the queue; `sweeper.failures` says how often.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sweeper.failures import AGAIN, AGAIN_ALONE, AGAIN_SINGLE, END, GIVE_UP, MAX_LOSSES, FailurePolicy
from sweeper.schema import FAILED, FINISHED, LOST, PREEMPTED, QUARANTINED
from sweeper.trial import TrialSpec

PULL_SECONDS = 3.0
"""Lanes pull about this much work at once, so that very short trials do not wait for the broker."""
PULL_LIMIT = 256
IDLE_S = 60.0
"""Where nodes cost money, a lane with nothing to do leaves after this long, so that its node can be given back."""
LEFT_S = 10.0
"""Once the sweep is being stopped, a lane not heard of for this long is not waited for."""
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
    configuration: str
    """Hash of the spec without its seed: what replicates share."""
    work: float = 1.0
    """Expected cost in arbitrary units, for the estimate of the time left."""
    alone: bool = False
    """To be run while no other lane of the host runs anything, with the memory of all of them."""
    single: bool = False
    """To be handed out by itself: it was in the hands of a lane that died, or in a group that failed."""
    joint_key: int | None = None
    """Neighbours in the queue with one key may be trained in one go; None for a trial that is trained by itself."""
    joint_most: int = 1
    """The most trials to train in one go with this one, itself included."""
    joint: tuple[str, ...] = ()
    """The trials it is to be trained in one go with, itself included; the broker's choice. Empty: by itself."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a lane says of a trial whose rows are stored."""

    trial_id: str
    """The trial."""
    status: str
    """Status of the attempt."""
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
    """Nothing now, but there may be something later: ask again."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that no lane can write down: the launcher does."""

    assignment: Assignment
    """The trial."""
    lane: str
    """The lane it was on."""
    attempt_status: str | None
    """Status of the attempt that ended, for the history; None where none was made."""
    final_status: str | None
    """Final status, where the trial will not be tried again."""
    reason: str
    """What happened, in one line."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """State of the queue at one moment."""

    total: int
    """Trials of this launch."""
    statuses: dict[str, int]
    """Number of trials done, by final status."""
    running: tuple[str, ...]
    """Trials that lanes run."""
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
    """Number of attempts per reason why they did not finish."""
    lanes: int
    """Lanes heard of lately."""
    stopped_because: str | None
    """Why the broker stopped the sweep by itself."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What is left to do for lanes."""

    lanes: int
    """Lanes that would have something to do: trials queued, and lanes that hold some."""
    closed: bool
    """Nothing more will be handed out."""
    over: bool
    """Nothing is left to do, not even for the lanes there are."""


@dataclass
class _Lane:
    incarnation: str
    host: str
    seen: float
    held: dict[str, Assignment] = field(default_factory=dict)
    running: str | None = None
    progress: float = 0.0
    idle_since: float | None = None

    @property
    def running_ids(self) -> list[str]:
        """The trial it runs, and those that it trains in one go with it."""
        if self.running is None or self.running not in self.held:
            return []
        return [trial_id for trial_id in self.held[self.running].joint or (self.running,) if trial_id in self.held]


class Broker:
    """Hands out assignments, each to one lane at a time, until all have ended or were given up."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        *,
        direction: str = "min",
        idle_leave: bool = False,
        policy: FailurePolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = deque(assignments)
        self._policy = policy or FailurePolicy()
        self._total = len(assignments)
        self._all_work = sum(a.work for a in assignments)
        self._direction = direction
        self._idle_leave = idle_leave
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._events: list[Event] = []
        self._done: set[str] = set()
        self._statuses: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._work_done = 0.0
        self._busy_s = 0.0
        self._best: tuple[str, float] | None = None
        self._never_joint: set[int | None] = set()
        self._draining = self._stopping = False
        self._stopped_because: str | None = None

    def pull(self, lane: str, incarnation: str, host: str, reports: Sequence[Report] = ()) -> Pull:
        """Take a lane's reports and hand it new trials.

        Args:
            lane: name of the lane.
            incarnation: changes when the lane's process is started anew; what its predecessor held is queued again.
            host: machine the lane runs on.
            reports: attempts that ended and whose rows are stored.
        """
        state = self._seen(lane, incarnation, host)
        for report in reports:
            assignment = state.held.pop(report.trial_id, None)
            self._ended(report, assignment, lane)
        state.running, state.progress = None, 0.0
        self._reap()
        if self._draining:
            return Pull(assignments=(), wait=False)
        taken = self._take(state)
        state.held.update({a.trial_id: a for a in taken})
        others_hold = any(other.held for name, other in self._lanes.items() if name != lane)
        wait = not taken and (others_hold or bool(self._queue))
        return Pull(assignments=taken, wait=wait and not self._superfluous(state, bool(taken)))

    def _superfluous(self, state: _Lane, busy: bool) -> bool:
        """Whether a lane has had nothing to do for so long that its node should be free to go."""
        if busy or self._queue:
            state.idle_since = None
            return False
        if state.idle_since is None:
            state.idle_since = self._clock()
        return self._idle_leave and self._clock() - state.idle_since > IDLE_S

    def leave(self, lane: str, incarnation: str, reports: Sequence[Report] = ()) -> None:
        """Take a lane's last reports and put back, blaming nothing, what it held and will not run.

        Args:
            lane: name of the lane.
            incarnation: its process.
            reports: attempts that ended and whose rows are stored.
        """
        state = self._lanes.get(lane)
        if state is None or state.incarnation != incarnation:
            return
        for report in reports:
            self._ended(report, state.held.pop(report.trial_id, None), lane)
        del self._lanes[lane]
        self._queue.extendleft(a for a in reversed(state.held.values()) if a.trial_id not in self._done)

    def fail(self, lane: str, incarnation: str, reason: str) -> None:
        """Stop the sweep for a reason that no other lane would escape, such as a full disk; blames no trial."""
        self.leave(lane, incarnation)
        self._stopped_because = self._stopped_because or f"{reason} The same command goes on once that is mended."
        self._draining = True

    def heartbeat(self, lane: str, incarnation: str, host: str, trial_id: str | None, progress: float) -> bool:
        """Note that a lane lives.

        Args:
            lane: name of the lane.
            incarnation: its process.
            host: machine the lane runs on.
            trial_id: the trial it is running, or the first of those that it trains in one go.
            progress: done share of that trial, 0 to 1.

        Returns:
            Whether to go on with the present trial; if not, it is to be saved and left.
        """
        state = self._seen(lane, incarnation, host)
        state.running, state.progress = trial_id, progress
        return not self._stopping

    def lane_died(self, lane: str) -> None:
        """Queue again what a lane held whose process is known to be dead."""
        if lane in self._lanes:
            self._requeue(lane, self._lanes.pop(lane), LOST)

    def drain(self) -> None:
        """Hand out nothing more; lanes end after their present trial."""
        self._draining = True

    def stop(self) -> None:
        """Hand out nothing more and let lanes save and leave their present trials."""
        self._draining = self._stopping = True

    def take_events(self) -> list[Event]:
        """Events since the last call, for the launcher to write down."""
        events, self._events = self._events, []
        return events

    def is_done(self) -> bool:
        """Whether every trial has ended or was given up."""
        return len(self._done) == self._total

    def need(self) -> Need:
        """What is left to do; a lane that holds trials but was silent for several heartbeats has left."""
        self._reap()
        recent = self._clock() - LEFT_S
        holding = sum(bool(lane.held) and lane.seen > recent for lane in self._lanes.values())
        closed = self._draining or self.is_done()
        lanes = holding if closed else holding + len(self._queue)
        return Need(lanes=lanes, closed=closed, over=closed and holding == 0)

    def snapshot(self) -> Snapshot:
        """The queue at this moment."""
        self._reap()
        running = [(s.held[trial_id], s.progress) for s in self._lanes.values() for trial_id in s.running_ids]
        return Snapshot(
            total=self._total,
            statuses=dict(self._statuses),
            running=tuple(assignment.trial_id for assignment, _ in running),
            queued=len(self._queue),
            work_total=self._all_work,
            work_left=max(0.0, self._all_work - self._work_done - sum(a.work * share for a, share in running)),
            busy_s=self._busy_s,
            best=self._best,
            reasons=dict(self._reasons),
            lanes=len(self._lanes),
            stopped_because=self._stopped_because,
        )

    def _seen(self, lane: str, incarnation: str, host: str) -> _Lane:
        state = self._lanes.get(lane)
        if state is None or state.incarnation != incarnation:
            if state is not None:
                self._requeue(lane, state, LOST)
            state = self._lanes[lane] = _Lane(incarnation=incarnation, host=host, seen=0.0)
        state.seen = self._clock()
        return state

    def _take(self, state: _Lane) -> tuple[Assignment, ...]:
        """The next trials for a lane; one that is to run alone waits for the host's other lanes, and they for it."""
        neighbours = [
            a for s in self._lanes.values() if s is not state and s.host == state.host for a in s.held.values()
        ]
        if not self._queue or any(a.alone for a in neighbours):
            return ()
        if self._queue[0].alone:
            return () if neighbours else (self._queue.popleft(),)
        if self._queue[0].single:  # what the lane ran before is to be reported first, or it would share the blame
            return () if state.held else (self._queue.popleft(),)
        taken: list[Assignment] = []
        size = self._pull_size()
        while self._queue and len(taken) < size and not (self._queue[0].alone or self._queue[0].single):
            taken += self._take_group()
        return tuple(taken)

    def _take_group(self) -> list[Assignment]:
        """The next trial with the neighbours that it is trained in one go with; no more than a lane's fair share."""
        group = [self._queue.popleft()]
        key, fair = group[0].joint_key, -(-(len(self._queue) + 1) // max(1, len(self._lanes)))
        if key is None or key in self._never_joint:
            return group
        while self._queue and len(group) < min(group[0].joint_most, fair):
            following = self._queue[0]
            if following.joint_key != key or following.alone or following.single:
                break
            group.append(self._queue.popleft())
        joint = tuple(a.trial_id for a in group) if len(group) > 1 else ()
        return [replace(a, joint=joint) for a in group]

    def _ended(self, report: Report, assignment: Assignment | None, lane: str) -> None:
        if report.trial_id in self._done:  # a lane thought dead came back; its rows are the same
            return
        if assignment is None:  # the same, while the trial is queued or held elsewhere
            assignment = next((a for a in self._queue if a.trial_id == report.trial_id), None)
            if assignment is None:
                return
            self._queue.remove(assignment)
        self._busy_s += report.wall_s
        if report.reason:
            self._reasons[f"{report.status}: {report.reason}"] += 1
        self._follow(assignment, report.status, report.reason or "", lane)
        if report.status == FINISHED and report.metric is not None:
            self._note_best(report.trial_id, report.metric)

    def _follow(self, assignment: Assignment, status: str, reason: str, lane: str) -> None:
        """Do what the policy says after an attempt."""
        verdict = self._policy.after(assignment.trial_id, assignment.configuration, status, reason)
        if verdict in (AGAIN, AGAIN_ALONE):
            again = replace(assignment, attempt=assignment.attempt + 1, alone=verdict == AGAIN_ALONE, joint=())
            self._queue.append(again)
        elif verdict == AGAIN_SINGLE:
            self._never_joint.add(assignment.joint_key)
            self._queue.appendleft(replace(assignment, single=True, joint=()))
        elif verdict == GIVE_UP:
            self._end(assignment, FAILED)
            self._events.append(
                Event(
                    assignment=assignment,
                    lane=lane,
                    attempt_status=None,
                    final_status=FAILED,
                    reason=f"{reason} {MAX_LOSSES} times",
                )
            )
        elif verdict == END:
            self._end(assignment, status)
        if self._policy.is_quarantined(assignment.configuration):
            self._quarantine(assignment.configuration, lane)
        poison = self._policy.poisoned()
        if poison is not None:
            self._stopped_because = self._stopped_because or f"{poison}. `sweeper retry` runs them again."
            self._draining = True

    def _quarantine(self, configuration: str, lane: str) -> None:
        """End the queued replicates of a configuration that fails again and again."""
        for assignment in [a for a in self._queue if a.configuration == configuration]:
            self._queue.remove(assignment)
            self._end(assignment, QUARANTINED)
            self._events.append(
                Event(
                    assignment=assignment,
                    lane=lane,
                    attempt_status=None,
                    final_status=QUARANTINED,
                    reason="not run: other replicates of this configuration failed",
                )
            )

    def _end(self, assignment: Assignment, status: str) -> None:
        self._done.add(assignment.trial_id)
        self._statuses[status] += 1
        self._work_done += assignment.work

    def _note_best(self, trial_id: str, metric: float) -> None:
        if self._best is None or (metric != self._best[1] and (metric < self._best[1]) == (self._direction == "min")):
            self._best = (trial_id, metric)

    def _pull_size(self) -> int:
        done = sum(self._statuses.values())
        if done == 0:
            return 1
        mean_s = max(self._busy_s / done, 1e-4)
        fair = max(1, len(self._queue) // (2 * max(1, len(self._lanes))))
        return max(1, min(PULL_LIMIT, fair, int(PULL_SECONDS / mean_s)))

    def _reap(self) -> None:
        """Give up lanes that fell silent; when a whole host did, it was lost and its trials are not to blame."""
        now = self._clock()
        silent = {name: s for name, s in self._lanes.items() if now - s.seen > LANE_SILENCE_S}
        alive_hosts = {s.host for name, s in self._lanes.items() if name not in silent}
        sizes = Counter(s.host for s in silent.values())
        for name, state in silent.items():
            del self._lanes[name]
            host_lost = state.host not in alive_hosts and sizes[state.host] > 1
            self._requeue(name, state, PREEMPTED if host_lost else LOST)

    def _requeue(self, lane: str, state: _Lane, status: str) -> None:
        """Queue again what a dead lane held.

        With several trials in hand it cannot be told which of them ran last, so none is blamed: each is handed out by
        itself from now on, and one that kills its lane again is known.
        """
        held = [a for a in state.held.values() if a.trial_id not in self._done]
        if len(held) > 1:
            self._never_joint.update(a.joint_key for a in held if a.joint)
            self._queue.extendleft(replace(a, single=True, joint=()) for a in reversed(held))
            return
        for assignment in held:
            reason = "its host was lost" if status == PREEMPTED else "its lane died"
            self._reasons[f"{status}: {reason}"] += 1
            self._events.append(
                Event(assignment=assignment, lane=lane, attempt_status=status, final_status=None, reason=reason)
            )
            self._follow(assignment, status, reason, lane)
