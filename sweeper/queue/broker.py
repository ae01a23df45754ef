"""The queue that feeds lanes. Plain Python: the same broker serves Ray lanes and local processes.

A lane pulls assignments, trains them, writes their rows to the store and only then reports them, so a trial that the
broker counts as done is on disk. What a dead lane held goes back to the queue; `sweeper.queue.failures` says how often.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from sweeper.queue.failures import AGAIN, AGAIN_ALONE, AGAIN_SINGLE, END, GIVE_UP, MAX_LOSSES, FailurePolicy
from sweeper.queue.messages import Assignment, Event, LateFinish, Need, Pull, Report, Snapshot
from sweeper.queue.start import LOADING, TRAINING
from sweeper.queue.tally import Tally
from sweeper.store.schema import FAILED, FINISHED, LOST, PREEMPTED, QUARANTINED

PULL_SECONDS = 3.0
"""Lanes pull about this much work at once, so that very short trials do not wait for the broker (a pull takes
milliseconds, so that it costs a thousandth); more would be lost with a lane that dies."""
PULL_LIMIT = 256
"""Most trials in one pull, however short they are: what a dead lane held is run anew (assumption)."""
IDLE_S = 60.0
"""Where nodes cost money, a lane with nothing to do leaves after this long, so that its node can be given back."""
LEFT_S = 10.0
"""A lane that has not called for this long is not counted as running, and once the sweep is being stopped not waited
for; where its host is known to be lost it is given up."""
HOST_LOOK_S = 2.0
"""Pause between two questions whether the hosts of such lanes are lost."""
LANE_SILENCE_S = 60.0
"""A lane that has not called for this long counts as dead. Lanes report from a thread of their own every few seconds,
which a step that holds Python's lock, or a host that swaps, may delay by tens of seconds."""
STALL_S = 10.0
"""Lanes and launcher ask every few seconds; after a pause this long it was the broker that did not run."""


@dataclass
class _Lane:
    """What the broker knows of a lane."""

    incarnation: str
    """Its process: a lane that is started anew keeps its name and holds nothing."""
    host: str
    """Machine it runs on."""
    seen: float
    """Monotonic seconds of its last call."""
    held: dict[str, Assignment] = field(default_factory=dict)
    """What was handed to it and has not been reported."""
    running: str | None = None
    """The held trial that it runs now."""
    progress: float = 0.0
    """Done share of that trial."""
    idle_since: float | None = None
    """Monotonic seconds since which its pulls have brought nothing; None while it has work."""

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
        host_is_lost: Callable[[str], bool] = lambda host: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = deque(assignments)
        self._policy = policy or FailurePolicy()
        self._tally = Tally(assignments, direction)
        self._idle_leave = idle_leave
        self._host_is_lost = host_is_lost
        self._clock = clock
        self._last_asked = clock()
        self._hosts_asked_at = float("-inf")
        self._refused: set[str] = set()
        self._lanes: dict[str, _Lane] = {}
        self._events: list[Event | LateFinish] = []
        self._never_joint: set[int | None] = set()
        self._draining = self._stopping = False
        self._stopped_because: str | None = None
        self._warnings: dict[str, None] = {}
        self._starts: dict[str, list[tuple[str, float]]] = {}
        self._first_start: tuple[tuple[str, float], ...] = ()

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
        # What it runs from now on is said by its next heartbeat.
        state.running, state.progress = None, 0.0
        self._reap()
        if self._draining:
            return Pull(assignments=(), wait=False)
        taken = self._take(state)
        state.held.update({a.trial_id: a for a in taken})
        # What others hold comes back to the queue when they fail or die, so a lane without work stays for that long.
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
        held: dict[str, Assignment] = {}
        if state is not None and state.incarnation == incarnation:
            held = self._lanes.pop(lane).held
            self._starts.pop(lane, None)
        for report in reports:  # what is stored is stored, also by a lane that was given up
            self._ended(report, held.pop(report.trial_id, None), lane)
        # A group is broken up when it comes back: `_take_group` may give its trials other neighbours.
        left = [replace(a, joint=()) for a in held.values() if not self._tally.has_ended(a.trial_id)]
        self._queue.extendleft(reversed(left))  # ahead of the rest, in their old order

    def fail(self, lane: str, incarnation: str, reason: str) -> None:
        """Stop the sweep for a reason that no other lane would escape, such as a full disk; blames no trial."""
        self.leave(lane, incarnation)
        # The first lane's reason is kept; the others meet the same obstacle a moment later.
        self._stopped_because = self._stopped_because or f"{reason} The same command goes on once that is mended."
        self._draining = True

    def die(self, lane: str, incarnation: str, reason: str) -> None:
        """Take the last word of a lane that dies of a fault; what it held is queued again.

        Args:
            lane: name of the lane.
            incarnation: its process.
            reason: what it dies of, in one line.
        """
        state = self._lanes.get(lane)
        if state is not None and state.incarnation == incarnation:
            self._requeue(lane, self._lanes.pop(lane), reason=f"its lane died ({reason})")

    def warn(self, text: str) -> None:
        """Take a lane's warning for the launcher's console; the same text from several lanes is shown once."""
        # A dictionary without values: it keeps each text once, and in the order in which they came.
        self._warnings[text] = None

    def refuse(self, lane: str, host: str, reason: str) -> None:
        """Note that a lane cannot work where it was put; no further one is put there.

        Args:
            lane: name of the lane, which ends.
            host: machine that does not fit.
            reason: why, in a sentence for the launcher's console.
        """
        self._starts.pop(lane, None)
        self._refused.add(host)
        self.warn(reason)

    def phase(self, lane: str, phase: str) -> None:
        """Note what a lane is at before its first step, or that it trains (`sweeper.queue.start`)."""
        now = self._clock()
        if phase == LOADING:  # a lane that is started again begins anew
            self._starts.pop(lane, None)
        if phase != TRAINING:
            self._starts.setdefault(lane, []).append((phase, now))
            return
        marks = [*self._starts.pop(lane, []), ("", now)]
        lasted = [(name, until - begun) for (name, begun), (_, until) in pairwise(marks)]
        self._first_start = self._first_start or (*lasted, (TRAINING, 0.0))

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
        self._starts.pop(lane, None)
        if lane in self._lanes:
            self._requeue(lane, self._lanes.pop(lane))

    def drain(self) -> None:
        """Hand out nothing more; lanes end after their present trial."""
        self._draining = True

    def stop(self) -> None:
        """Hand out nothing more and let lanes save and leave their present trials."""
        self._draining = self._stopping = True

    def take_events(self) -> list[Event | LateFinish]:
        """Events since the last call, for the launcher to write down."""
        events, self._events = self._events, []
        return events

    def is_done(self) -> bool:
        """Whether every trial has ended or was given up."""
        return self._tally.all_ended

    def need(self) -> Need:
        """What is left to do; a lane that holds trials but was silent for several heartbeats has left."""
        self._reap()
        # Shorter than the silence after which a lane is given up: at the end of a sweep nothing is lost by not waiting,
        # since trials that are not reported are run anew.
        recent = self._now() - LEFT_S
        holding = sum(bool(lane.held) and lane.seen > recent for lane in self._lanes.values())
        closed = self._draining or self.is_done()
        lanes = holding if closed else holding + len(self._queue)
        return Need(lanes=lanes, closed=closed, over=closed and holding == 0, refused=frozenset(self._refused))

    def snapshot(self) -> Snapshot:
        """The queue at this moment."""
        self._reap()
        tally, recent = self._tally, self._last_asked - LEFT_S
        running = [(s.held[trial_id], s.progress) for s in self._lanes.values() for trial_id in s.running_ids]
        silent = {trial_id for s in self._lanes.values() if s.seen < recent for trial_id in s.running_ids}
        in_hand = [
            sum(a.work * (1 - s.progress * (trial_id in s.running_ids)) for trial_id, a in s.held.items())
            for s in self._lanes.values()
        ]
        return Snapshot(
            total=tally.total,
            statuses=dict(tally.statuses),
            running=tuple(a.trial_id for a, _ in running if a.trial_id not in silent),
            silent=len(silent),
            queued=len(self._queue),
            work_total=tally.work_total,
            # Sums of rounded numbers may end a little below zero, which would be no time left.
            work_left=max(0.0, tally.work_total - tally.work_done - sum(a.work * share for a, share in running)),
            busy_s=tally.busy_s,
            best=tally.best,
            reasons=dict(tally.reasons),
            lanes=len(self._lanes),
            stopped_because=self._stopped_because,
            warnings=tuple(self._warnings),
            draining=self._draining,
            longest_left=max(in_hand, default=0.0),
            starting=dict(Counter(phases[-1][0] for phases in self._starts.values())),
            first_start=self._first_start,
        )

    def _now(self) -> float:
        """The time. A pause in which the broker itself did not run, such as Ctrl-Z, is no silence of the lanes."""
        now = self._clock()
        # Moving the marks instead of the limit, so that a lane that had been silent before the pause does not begin
        # anew.
        pause, self._last_asked = now - self._last_asked, now
        if pause > STALL_S:
            for state in self._lanes.values():
                state.seen += pause
        return now

    def _seen(self, lane: str, incarnation: str, host: str) -> _Lane:
        now = self._now()
        state = self._lanes.get(lane)
        if state is None or state.incarnation != incarnation:
            if state is not None:  # a name has one process at a time, so the one before is dead
                self._requeue(lane, state)
            state = self._lanes[lane] = _Lane(incarnation=incarnation, host=host, seen=now)
        state.seen = now
        return state

    def _take(self, state: _Lane) -> tuple[Assignment, ...]:
        """The next trials for a lane; one that is to run alone waits for the host's other lanes, and they for it."""
        neighbours = [
            a for s in self._lanes.values() if s is not state and s.host == state.host for a in s.held.values()
        ]
        if not self._queue or any(a.alone for a in neighbours):
            return ()
        if self._queue[0].alone:  # nobody overtakes it, or a host that is always busy would never run it
            return () if neighbours else (self._queue.popleft(),)
        if self._queue[0].single:  # what the lane ran before is to be reported first, or it would share the blame
            return () if state.held else (self._queue.popleft(),)
        # Size before taking: it is a share of the queue, which gets shorter with each group taken.
        taken: list[Assignment] = []
        size = self._pull_size()
        while self._queue and len(taken) < size and not (self._queue[0].alone or self._queue[0].single):
            taken += self._take_group()
        return tuple(taken)

    def _take_group(self) -> list[Assignment]:
        """The next trial with the neighbours that it is trained in one go with; no more than a lane's fair share."""
        group = [self._queue.popleft()]
        # Rounded up, and with the one already taken counted: a group must not be so large that another lane goes
        # without.
        key, fair = group[0].joint_key, -(-(len(self._queue) + 1) // max(1, len(self._lanes)))
        if key is None or key in self._never_joint:
            return group
        # Only neighbours are looked at, so that a pull takes the same time whatever the length of the queue.
        while self._queue and len(group) < min(group[0].joint_most, fair):
            following = self._queue[0]
            if following.joint_key != key or following.alone or following.single:
                break
            group.append(self._queue.popleft())
        joint = tuple(a.trial_id for a in group) if len(group) > 1 else ()
        return [replace(a, joint=joint) for a in group]

    def _ended(self, report: Report, assignment: Assignment | None, lane: str) -> None:
        """Count an attempt that ended; `assignment` is None where the lane was given up and holds the trial no more."""
        finished = report.status == FINISHED
        if self._tally.has_ended(report.trial_id):  # two lanes ran it, since one of them was thought dead
            if finished != self._tally.has_finished(report.trial_id):
                self._events.append(LateFinish(trial_id=report.trial_id))
            return
        if assignment is None:
            # Only a finish is believed while another lane holds the trial: a failure of the earlier attempt says
            # nothing about the one that runs.
            assignment = self._take_back(report.trial_id, also_held=finished)
            if assignment is None:  # another lane holds it and may still finish it: that attempt is the later one
                return
            if finished and self._policy.has_failed(report.trial_id):  # in a later attempt, heard of before this one
                self._events.append(LateFinish(trial_id=report.trial_id))
        self._tally.take(report)
        self._follow(assignment, report.status, report.reason or "", lane)

    def _take_back(self, trial_id: str, *, also_held: bool) -> Assignment | None:
        """The assignment of a trial that a lane given up has ended: out of the queue, or as another lane holds it.

        The other lane goes on with it: stopping it would cost its process, and its numbers are the same.
        """
        queued = next((a for a in self._queue if a.trial_id == trial_id), None)
        if queued is not None:
            self._queue.remove(queued)
            return queued
        if not also_held:
            return None
        return next((lane.held[trial_id] for lane in self._lanes.values() if trial_id in lane.held), None)

    def _follow(self, assignment: Assignment, status: str, reason: str, lane: str) -> None:
        """Do what the policy says after an attempt."""
        verdict = self._policy.after(assignment.trial_id, assignment.configuration, status, reason)
        if verdict in (AGAIN, AGAIN_ALONE):
            # Once alone, always alone: it ran out of memory beside others before its lane died.
            alone = assignment.alone or verdict == AGAIN_ALONE
            # At the end of the queue, so that what was wrong for a moment has time to pass and the trials that have not
            # been tried yet are not kept waiting by one that fails.
            self._queue.append(replace(assignment, attempt=assignment.attempt + 1, alone=alone, joint=()))
        elif verdict == AGAIN_SINGLE:
            # In this launch no trials of such a shape are joined any more: what broke one group (memory, say) breaks
            # the next one too.
            self._never_joint.add(assignment.joint_key)
            # First, so that what failed as a group is known trial by trial before more of the shape is handed out.
            self._queue.appendleft(replace(assignment, single=True, joint=()))
        elif verdict == GIVE_UP:
            self._tally.end(assignment, FAILED)
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
            self._tally.end(assignment, status)
        if self._policy.is_quarantined(assignment.configuration):
            self._quarantine(assignment.configuration, lane)
        poison = self._policy.poisoned()
        if poison is not None:
            self._stopped_because = self._stopped_because or f"{poison}. `sweeper retry` runs them again."
            self._draining = True

    def _quarantine(self, configuration: str, lane: str) -> None:
        """End the queued replicates of a configuration that fails again and again."""
        # Replicates that other lanes run now are left to end: their lanes could not be told without losing the process.
        for assignment in [a for a in self._queue if a.configuration == configuration]:
            self._queue.remove(assignment)
            self._tally.end(assignment, QUARANTINED)
            self._events.append(
                Event(
                    assignment=assignment,
                    lane=lane,
                    attempt_status=None,
                    final_status=QUARANTINED,
                    reason="not run: other replicates of this configuration failed",
                )
            )

    def _pull_size(self) -> int:
        # Until a trial has ended nobody knows how long they take, and a guess that is too high leaves other lanes
        # without work.
        if self._tally.mean_s is None:
            return 1
        # Against a division by zero alone; PULL_LIMIT binds long before a trial takes a tenth of a millisecond.
        mean_s = max(self._tally.mean_s, 1e-4)
        # Half of an equal share, so that the last trials are spread over all lanes instead of waiting in one's hands.
        fair = max(1, len(self._queue) // (2 * max(1, len(self._lanes))))
        return max(1, min(PULL_LIMIT, fair, int(PULL_SECONDS / mean_s)))

    def _reap(self) -> None:
        """Give up lanes that fell silent; when a whole host did, it was lost and its trials are not to blame."""
        now = self._now()
        lost = self._lost_hosts(now)
        silent = {name: s for name, s in self._lanes.items() if s.host in lost or now - s.seen > LANE_SILENCE_S}
        alive_hosts = {s.host for name, s in self._lanes.items() if name not in silent}
        sizes = Counter(s.host for s in silent.values())
        for name, state in silent.items():
            # Should it come back, it is a new lane to the broker, and what it reports then is weighed in `_ended`.
            del self._lanes[name]
            # A single lane's silence may be its trial's doing; that of all of a host's lanes at once is the host's.
            host_lost = state.host not in alive_hosts and sizes[state.host] > 1
            self._requeue(name, state, host_lost=host_lost or state.host in lost)

    def _lost_hosts(self, now: float) -> set[str]:
        """Hosts known to be lost of which no lane has called lately."""
        quiet = {s.host for s in self._lanes.values() if now - s.seen > LEFT_S}
        if not quiet or now - self._hosts_asked_at < HOST_LOOK_S:  # lanes call often, and the answer costs
            return set()
        self._hosts_asked_at = now
        heard = {s.host for s in self._lanes.values() if now - s.seen <= LEFT_S}
        return {host for host in quiet - heard if self._host_is_lost(host)}

    def _requeue(self, lane: str, state: _Lane, *, host_lost: bool = False, reason: str = "its lane died") -> None:
        """Queue again what a dead lane held.

        With several trials in hand it cannot be told which of them ran last, so none is blamed: each is handed out by
        itself from now on, and one that kills its lane again is known.
        """
        held = [a for a in state.held.values() if not self._tally.has_ended(a.trial_id)]
        if self._draining:  # what ends a launch may end its lanes too; a trial that kills lanes is known in the next
            self._queue.extendleft(replace(a, joint=()) for a in reversed(held))
            return
        if len(held) > 1:
            # A group may be what killed the lane, by its memory for instance, so its shape is not joined again either.
            self._never_joint.update(a.joint_key for a in held if a.joint)
            self._queue.extendleft(replace(a, single=True, joint=()) for a in reversed(held))
            return
        for assignment in held:
            host_lost = host_lost or self._host_is_lost(state.host)
            status, why = (PREEMPTED, "its host was lost") if host_lost else (LOST, reason)
            # The lane is dead and writes nothing: the launcher records the attempt.
            self._tally.attempt(status, why)
            self._events.append(
                Event(assignment=assignment, lane=lane, attempt_status=status, final_status=None, reason=why)
            )
            self._follow(assignment, status, why, lane)
