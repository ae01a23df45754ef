"""Shows a running launch to a person, and passes on to its broker what signals and limits ask of the launch."""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cluster.errors import printable
from sweeper.queue.messages import Event, LateFinish, Snapshot
from sweeper.queue.start import STARTING_LANES, Start
from sweeper.queue.stop_requests import DRAIN, LEAVE, StopRequests
from sweeper.store.schema import FINISHED

POLL_S = 0.5
_QUANTILE_90 = 1.645
"""Normal quantile of a 90 % range."""
PLAIN_LINE_S = 15.0
"""Seconds between progress lines where the output is not a terminal."""


_RECENT_SHARE = 1 / 3
"""Share of the time so far by whose pace the rest is foretold: a machine that falls busy or quiet shows in it, and
single trials hardly do (assumption)."""
_MARKS = 100
"""Points of time that a pace remembers, up to twice as many."""


class Pace:
    """How fast work gets done lately, from what was done at each look.

    Args:
        now: monotonic seconds, when nothing was done yet.
    """

    def __init__(self, now: float) -> None:
        self._marks, self._last = [(now, 0.0)], (now, 0.0)
        self._begun = False

    def look(self, now: float, done: float, *, training: bool) -> None:
        """Note how much is done.

        Args:
            now: monotonic seconds.
            done: work, in forecast seconds of one lane.
            training: whether a lane has begun to train; the time before is no part of the pace.
        """
        if training and not self._begun:
            self._begun, self._marks = True, [(now, done)]
        self._last = (now, done)
        # Spread over the whole time, however long it gets and however often somebody looks.
        if now - self._marks[-1][0] > (now - self._marks[0][0]) / _MARKS:
            self._marks.append(self._last)
        if len(self._marks) > 2 * _MARKS:
            del self._marks[1::2]

    @property
    def seconds_per_work(self) -> float | None:
        """Seconds in which all lanes together did a forecast second of work lately; None where nothing was done."""
        first, (now, done) = self._marks[0], self._last
        since = now - _RECENT_SHARE * (now - first[0])
        lately = [mark for mark in self._marks if mark[0] <= since][-1]
        # From the beginning where nothing was done lately.
        then, before = lately if lately[1] < done else first
        return (now - then) / (done - before) if done > before else None


class BrokerLostError(Exception):
    """The broker has ended with the process it ran in; whoever waits for that process says why."""


class BrokerHandle(Protocol):
    """The broker as the launcher sees it; each call may raise `BrokerLostError`."""

    def snapshot(self) -> Snapshot:
        """See `Broker.snapshot`."""

    def drain(self) -> None:
        """See `Broker.drain`."""

    def stop(self) -> None:
        """See `Broker.stop`."""

    def take_events(self) -> list[Event | LateFinish]:
        """See `Broker.take_events`."""


class Monitor:
    """Polls the broker from a thread while the executor runs: draws the line, records events, passes on requests.

    Args:
        console: where the line goes.
        requests: what signals ask of the launch.
        on_event: writes down what no lane can.
        on_snapshot: called every few seconds with the state of the queue.
        ends_at: monotonic seconds after which nothing more is handed out.
        log_spread: standard deviation of the logarithm of true over expected work of one trial.
        slowdown: by how much work was forecast to take longer than on a quiet machine.
        metric: name of what the best trial is the best in; empty where trials differ in it.
        start: tells of the launch's start; None where nobody is to be told.
        warned: warnings that were printed before the first lane could give them.
    """

    def __init__(
        self,
        console: Console,
        requests: StopRequests,
        on_event: Callable[[Event | LateFinish], None],
        on_snapshot: Callable[[Snapshot], None] = lambda snapshot: None,
        *,
        ends_at: float = math.inf,
        log_spread: float = 0.0,
        slowdown: float = 1.0,
        metric: str = "",
        start: Start | None = None,
        warned: Iterable[str] = (),
    ) -> None:
        self.start = start if start is not None else Start(Console(quiet=True))
        self._metric = metric
        self._console, self._requests = console, requests
        self._on_event, self._on_snapshot, self._ends_at = on_event, on_snapshot, ends_at
        self._log_spread, self._slowdown = log_spread, slowdown
        self._warned = set(warned)
        self._ended = threading.Event()
        self._events: queue.SimpleQueue[Event | LateFinish | None] = queue.SimpleQueue()
        self._pace = Pace(time.monotonic())
        self.busy_s = 0.0
        self.last: Snapshot | None = None
        self.error: BaseException | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the user asked to stop."""
        return self._requests.level >= DRAIN

    @property
    def out_of_time(self) -> bool:
        """Whether the launch has used up the time it was given."""
        return time.monotonic() > self._ends_at

    @property
    def stopped_because(self) -> str | None:
        """Why the last broker stopped the sweep by itself."""
        return None if self.last is None else self.last.stopped_because

    @contextmanager
    def watching(self, handle: BrokerHandle) -> Iterator[None]:
        """Watch one broker while the block lasts; `error` says afterwards what ended the watching before its time."""
        # One monitor serves all rounds of a launch, one broker after the other.
        self._ended.clear()
        self.start.begin(STARTING_LANES)
        # The pace is that of this broker, whose counts begin at zero: earlier rounds of the launch have no part in it.
        began, self._pace = time.monotonic(), Pace(time.monotonic())
        # A daemon, so that a launcher that ends by an error is not kept alive by looks at its broker.
        thread = threading.Thread(target=self._watch, args=(handle, began), name="monitor", daemon=True)
        # By a thread of its own: storage that does not answer is waited for, and signals must not wait with it.
        writer = threading.Thread(target=self._write_events, name="events", daemon=True)
        thread.start()
        writer.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self._events.put(None)
            writer.join()
            # Summed here, because the next round's broker counts from zero.
            self.busy_s += self.last.busy_s if self.last is not None else 0.0

    def _write_events(self) -> None:
        while (event := self._events.get()) is not None:
            if self.error is None:
                try:
                    self._on_event(event)
                except BaseException as error:  # the border of the thread; the launcher raises it
                    self.error = error

    def _watch(self, handle: BrokerHandle, began: float) -> None:
        try:
            self._watch_until_ended(handle, began)
        except BrokerLostError:  # not of this thread's doing, and told by the executor that waits for the process
            return
        except BaseException as error:  # the border of the thread: SystemExit, too, would end it unnoticed
            self.error = error
            # Nobody would obey limits or write down losses from now on: nothing more is run, and the launcher raises it
            while True:
                with suppress(BrokerLostError):
                    handle.drain()
                if self._ended.wait(POLL_S):
                    return

    def _print_warnings(self, snapshot: Snapshot) -> None:
        """Print each warning of the lanes once, however many brokers a launch has."""
        for text in snapshot.warnings:
            if text not in self._warned:
                self._warned.add(text)
                # Without markup: the text may hold names of files and data, and brackets in them are no style.
                self._console.print(f"Warning: {text}", highlight=False, markup=False, soft_wrap=True)

    def _watch_until_ended(self, handle: BrokerHandle, began: float) -> None:
        printed = time.monotonic()
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            while True:
                # Waits first and looks afterwards, also once more after the end: events of the last moments would be
                # lost otherwise.
                ended = self._ended.wait(POLL_S)
                # Asked anew at each look and not once: a broker that is started later in the launch has not heard of it
                # yet.
                if self._requests.level >= LEAVE:
                    handle.stop()
                elif self.interrupted or self.out_of_time:
                    handle.drain()
                self.last = handle.snapshot()
                self._print_warnings(self.last)
                for event in handle.take_events():
                    self._events.put(event)
                if self.error is not None:
                    raise self.error
                self._on_snapshot(self.last)
                if self.last.first_start:
                    self.start.end(self.last.first_start[:-1])
                now, done = time.monotonic(), self.last.work_total - self.last.work_left
                self._pace.look(now, done, training=self.start.over)
                line = progress_line(
                    self.last,
                    now - began,
                    self._log_spread,
                    metric=self._metric,
                    pace=self._pace.seconds_per_work,
                    slowdown=self._slowdown,
                )
                if not self.start.over and not sum(self.last.statuses.values()):
                    line = f"0/{self.last.total} trials · {self.start.line(self.last.starting)}"
                if self._console.is_terminal:
                    # A line that wraps would be drawn below the last one instead of over it, four times a second.
                    live.update(Text(printable(line), no_wrap=True, overflow="ellipsis"))
                # The output may be a file: a line there stays.
                elif ended or time.monotonic() - printed > PLAIN_LINE_S:
                    self._console.print(line, highlight=False, soft_wrap=True)
                    printed = time.monotonic()
                if ended:
                    return


def progress_line(
    snapshot: Snapshot,
    elapsed_s: float,
    log_spread: float = 0.0,
    *,
    metric: str = "",
    pace: float | None = None,
    slowdown: float = 1.0,
) -> str:
    """One line: done, running, failures by kind, rate, time left and the best trial so far."""
    done = sum(snapshot.statuses.values())
    parts = [f"{done}/{snapshot.total} trials", f"{len(snapshot.running)} running"]
    parts += [f"{snapshot.silent} not heard of"] * bool(snapshot.silent)
    parts += [f"{count} {status}" for status, count in sorted(snapshot.statuses.items()) if status != FINISHED]
    if done and elapsed_s > 0:
        parts.append(f"{60 * done / elapsed_s:.1f}/min")
    ends = "running trials end in" if snapshot.draining and snapshot.running else "ETA"
    parts.append(f"{ends} {eta(snapshot, pace, log_spread, slowdown)}")
    if snapshot.best is not None:
        parts.append(f"best {f'valid {metric} ' if metric else ''}{snapshot.best[1]:.4g} ({snapshot.best[0][:8]})")
    return " · ".join(parts)


def eta(snapshot: Snapshot, pace: float | None, log_spread: float = 0.0, slowdown: float = 1.0) -> str:
    """Time left at the pace of late, as a 90 % range; until there is a pace, what was forecast, as `about`.

    The pace takes out what all trials have in common, such as a slow machine; what is left are the errors of single
    trials, averaged over those done and over those left. Where nothing more is handed out, it is the time until the
    last of the lanes has run what it holds.

    Args:
        snapshot: state of the queue.
        pace: `Pace.seconds_per_work`.
        log_spread: standard deviation of the logarithm of true over expected work of one trial.
        slowdown: by how much work was forecast to take longer than on a quiet machine.
    """
    lanes = max(1, snapshot.lanes)
    # Of a drained queue the lane with the most in hand decides, at the pace of one lane.
    work_left = snapshot.longest_left * lanes if snapshot.draining else snapshot.work_left
    work_done = snapshot.work_total - snapshot.work_left
    if work_left <= 0:
        return "now"
    if pace is None or work_done <= 0.002 * snapshot.work_total:
        return f"about {duration(slowdown * work_left / lanes)}"
    done = sum(snapshot.statuses.values())
    left = len(snapshot.running) + snapshot.silent if snapshot.draining else snapshot.total - done
    expected_s = pace * work_left
    # A trial's error is one of its logarithm, so the range is a factor up and down.
    factor = math.exp(_QUANTILE_90 * log_spread * math.sqrt(1 / max(1, done) + 1 / max(1, left)))
    low, high = duration(expected_s / factor), duration(expected_s * factor)
    return low if low == high else f"{low} to {high}"


def duration(seconds: float) -> str:
    """A time span for people, such as `2 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
