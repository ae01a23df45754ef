"""A discrete-event simulation of a sweep on a cluster that need not exist: time, load of the lanes and price.

Lanes take trials in order; a lane is free again when its trial and the overhead are over. A node that is lost takes the
running trials of its lanes with it: they are queued again, less what their last checkpoint holds, and the lanes come
back with the replacement. The time limit of a job does the same to all nodes at once, but running trials save first.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.errors import ScenarioError
from cluster.simulate.scenario import Scenario

_LANE, _TRIAL = 0, 1
_EVENTS_AT_ONCE = 4_000_000
"""Trials times repetitions simulated in all; above, fewer repetitions, since large sweeps average out by themselves."""
_MOST_LOSSES = 1_000
"""A trial lost this often never ends: it is longer than the time between losses and has no checkpoint in between."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One simulated sweep."""

    makespan_s: float
    """Seconds from the submission to the last trial's end."""
    utilisation: float
    """Share of the lanes' time that went into work that was kept."""
    overhead: float
    """Share that went into starting lanes and into the overhead per trial."""
    lost: float
    """Share that went into work lost with nodes, and into lanes that were down."""
    idle: float
    """Share in which lanes had nothing to do, at the start and at the end."""
    node_hours: float
    """Node hours paid for."""
    losses: int
    """Trials that lost their lane."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What repeated simulations say."""

    scenario: Scenario
    """What was simulated."""
    trials: int
    """Number of trials."""
    work_s: float
    """Expected seconds of all trials together."""
    makespan_s: tuple[float, float, float]
    """10%, 50% and 90% quantile of the makespan, seconds."""
    money: tuple[float, float, float]
    """10%, 50% and 90% quantile of the price."""
    runs: tuple[Run, ...]
    """The simulations."""

    def mean(self, name: str) -> float:
        """Mean of a number of `Run` over the simulations."""
        return float(np.mean([getattr(run, name) for run in self.runs]))


def forecast(
    durations_s: Sequence[float] | NDArray[np.float64], scenario: Scenario, *, seed: int = 0, repetitions: int = 20
) -> Forecast:
    """Simulate a sweep again and again, with durations and losses drawn anew.

    Args:
        durations_s: expected duration of each trial, seconds, in the order in which trials are handed out; [trials].
        scenario: the cluster.
        seed: of all random draws.
        repetitions: simulations; fewer above 200,000 trials, never less than 3.

    Raises:
        ScenarioError: no trials, a duration that is no time, or a trial that can never end.
    """
    expected = np.asarray(durations_s, dtype=np.float64)
    if expected.ndim != 1 or expected.size == 0 or not np.all(np.isfinite(expected)) or np.any(expected < 0):
        raise ScenarioError("simulate: expected at least one trial, each with a duration of zero seconds or more")
    # Where nothing is drawn, every repetition is the same.
    fixed = scenario.error == scenario.bias == scenario.preempt == 0
    # Three at least, or the quantiles of the forecast would be those of one draw.
    times = 1 if fixed else max(3, min(repetitions, _EVENTS_AT_ONCE // expected.size))
    # A generator for each repetition, so that a number of repetitions changes none of the earlier ones.
    runs = tuple(_draw(expected, scenario, np.random.default_rng([seed, i])) for i in range(times))
    return Forecast(
        scenario=scenario,
        trials=expected.size,
        work_s=float(expected.sum()),
        makespan_s=_quantiles([run.makespan_s for run in runs]),
        money=_quantiles([run.node_hours * scenario.price for run in runs]),
        runs=runs,
    )


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist()
    return low, middle, high


def _draw(expected: NDArray[np.float64], scenario: Scenario, generator: np.random.Generator) -> Run:
    """One simulation; the noise has mean 1, so that it makes trials uneven and not longer."""
    # The mean of a lognormal variable is exp(mu + sigma^2 / 2), so mu = -sigma^2 / 2 makes it 1.
    noise = generator.normal(-0.5 * scenario.error**2, scenario.error, expected.size)
    factor = generator.normal(-0.5 * scenario.bias**2, scenario.bias)
    return simulate(expected * np.exp(noise + factor), scenario, generator)


def simulate(
    durations_s: NDArray[np.float64],
    scenario: Scenario,
    generator: np.random.Generator,
    *,
    ready_s: Sequence[float] | None = None,
) -> Run:
    """Simulate one sweep with known durations.

    Args:
        durations_s: duration of each trial, seconds, in order; [trials].
        scenario: the cluster; its `error` and `bias` are not used.
        generator: draws the times at which nodes are lost.
        ready_s: when each lane is ready for its first trial, seconds; all at once after the start-up when None.
    """
    if ready_s is None:
        ready_s = [scenario.start + scenario.lane_start] * scenario.lanes
    return _Simulation(durations_s, scenario, generator, ready_s).run()


class _Outages:
    """When a node is down: losses at random, and the time limit of the job; drawn as far as they are asked for."""

    def __init__(self, scenario: Scenario, generator: np.random.Generator) -> None:
        self._scenario, self._generator = scenario, generator
        self._mean = 3600.0 / scenario.preempt if scenario.preempt else float("inf")
        self._limit = scenario.limit
        self.down: list[float] = []
        self.up: list[float] = []
        self.saved: list[bool] = []
        self._next_loss = self._wait(scenario.start)

    def _wait(self, since: float) -> float:
        return since + float(self._generator.exponential(self._mean)) if self._mean < float("inf") else float("inf")

    def at(self, number: int) -> float:
        """When the node goes down for the `number`-th time, from 0."""
        while len(self.down) <= number:
            down, scenario = min(self._next_loss, self._limit), self._scenario
            up = down + scenario.recover
            self.saved.append(self._limit <= self._next_loss)  # a time limit gives notice, a lost node does not
            if self._limit <= up:  # at the limit or, for a node that is down just then, through it
                up = self._limit + scenario.requeue + scenario.start
                self._limit += scenario.requeue + scenario.limit
            self.down.append(down)
            self.up.append(up)
            # Drawn anew from the moment when the node is back, because losses have no memory (an exponential wait).
            self._next_loss = self._wait(up)
        return self.down[number]


class _Simulation:
    """State of one simulation; a heap of events, each a lane that is free or a trial that is queued again."""

    def __init__(
        self,
        durations_s: NDArray[np.float64],
        scenario: Scenario,
        generator: np.random.Generator,
        ready_s: Sequence[float],
    ) -> None:
        self._scenario = scenario
        self._left: list[float] = durations_s.tolist()
        self._queue = deque(range(len(self._left)))
        # By node and not by lane, because lanes of one node go down together.
        self._outages = [_Outages(scenario, generator) for _ in range(scenario.nodes)]
        self._epoch = [0] * scenario.lanes  # how often each lane has gone down with its node
        self._lost_times: dict[int, int] = {}
        self._overhead = scenario.lane_start * scenario.lanes
        self._lost = 0.0
        self._down: list[tuple[float, float]] = []
        self._last_end = [0.0] * scenario.nodes
        # Events of one time come in the order of their kinds: lanes that are free take trials before lost ones return.
        self._events: list[tuple[float, int, int]] = [(ready, _LANE, lane) for lane, ready in enumerate(ready_s)]
        heapq.heapify(self._events)
        self._idle: list[int] = []
        self._work = float(durations_s.sum())

    def run(self) -> Run:
        """Play all events."""
        # Where no lane can be lost, trials never come back to the queue and one heap of lanes is all there is.
        if self._scenario.preempt == 0 and self._scenario.limit == float("inf"):
            return self._undisturbed()
        while self._events:
            now, kind, index = heapq.heappop(self._events)
            if kind == _TRIAL:
                self._queue.append(index)
                self._wake(now)
                continue
            self._lane_free(now, index)
        return self._summary()

    def _wake(self, now: float) -> None:
        """Let one of the lanes that found the queue empty look again."""
        if self._idle:
            heapq.heappush(self._events, (now, _LANE, self._idle.pop()))

    def _undisturbed(self) -> Run:
        """Nothing is lost: each trial goes to the lane that is free first."""
        heap = [(ready, lane) for ready, _, lane in self._events]
        ends, overhead = [0.0] * len(heap), self._scenario.overhead
        for duration in self._left:
            begin, lane = heap[0]
            ends[lane] = begin + overhead + duration
            heapq.heapreplace(heap, (ends[lane], lane))
        per_node = self._scenario.lanes_per_node
        self._last_end = [max(ends[i : i + per_node]) for i in range(0, len(ends), per_node)]
        self._overhead += overhead * len(self._left)
        return self._summary()

    def _lane_free(self, now: float, lane: int) -> None:
        outages = self._outages[lane // self._scenario.lanes_per_node]
        epoch = self._epoch[lane]
        if outages.at(epoch) <= now:  # it was idle, and its node went down meanwhile
            self._come_back(outages, lane, epoch)
            # It may have been woken for a trial, which another idle lane takes instead.
            if self._queue:
                self._wake(now)
            return
        if not self._queue:
            self._idle.append(lane)
            return
        trial = self._queue.popleft()
        end = now + self._scenario.overhead + self._left[trial]
        down = outages.at(epoch)
        if end <= down:
            self._overhead += self._scenario.overhead
            # The latest of the node's lanes: one that began a long trial earlier may end after this one.
            node = lane // self._scenario.lanes_per_node
            self._last_end[node] = max(self._last_end[node], end)
            heapq.heappush(self._events, (end, _LANE, lane))
            return
        self._lose(trial, now, down, saved=outages.saved[epoch])
        self._come_back(outages, lane, epoch)

    def _lose(self, trial: int, began: float, down: float, *, saved: bool) -> None:
        """Queue a trial again, less what is saved of it."""
        worked = max(0.0, down - began - self._scenario.overhead)
        # Without notice the work since the last whole checkpoint interval is gone.
        kept = worked if saved else worked // self._scenario.checkpoint * self._scenario.checkpoint
        # Rounding may make a trial that was saved at its very end seem to have worked longer than it takes.
        kept = min(kept, self._left[trial])
        self._left[trial] -= kept
        self._lost += worked - kept
        self._overhead += min(self._scenario.overhead, down - began)
        times = self._lost_times[trial] = self._lost_times.get(trial, 0) + 1
        if times > _MOST_LOSSES:
            raise ScenarioError(
                f"simulate: a trial with {self._left[trial]:.0f} s to go was lost {times} times: it is longer than the "
                f"time between losses; checkpoint more often than every {self._scenario.checkpoint:.0f} s"
            )
        # Queued when the node goes, not now: until then no other lane can know that the trial is lost.
        heapq.heappush(self._events, (down, _TRIAL, trial))

    def _come_back(self, outages: _Outages, lane: int, epoch: int) -> None:
        back = outages.up[epoch] + self._scenario.lane_start
        self._epoch[lane] = epoch + 1
        self._down.append((outages.down[epoch], back))
        heapq.heappush(self._events, (back, _LANE, lane))

    def _summary(self) -> Run:
        scenario = self._scenario
        makespan = max(self._last_end)
        total = makespan * scenario.lanes
        # A node that is given back is paid for until its last trial; one that is not, until the sweep ends.
        paid = sum(self._last_end) if scenario.scale_down else makespan * scenario.nodes
        # Cut at the end of the sweep: a lane that is down after it is missed by nobody.
        down = sum(max(0.0, min(back, makespan) - gone) for gone, back in self._down)
        useful, overhead, lost = (part / total for part in (self._work, self._overhead, self._lost + down))
        return Run(
            makespan_s=makespan,
            utilisation=useful,
            overhead=overhead,
            lost=lost,
            # What is left over, so that the shares add up to one; rounding may take it below zero.
            idle=max(0.0, 1.0 - useful - overhead - lost),
            node_hours=paid / 3600.0,
            losses=sum(self._lost_times.values()),
        )
