"""What a person reads of a running launch."""

import io
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from sweeper.queue import monitor as monitor_module
from sweeper.queue.messages import Snapshot
from sweeper.queue.monitor import Monitor, Pace, eta, progress_line
from sweeper.queue.stop_requests import LEAVE, StopRequests


def snapshot(done: int) -> Snapshot:
    return Snapshot(
        total=100, statuses={"finished": done}, running=(), queued=100 - done, work_total=100.0, lanes=1,
        work_left=100.0 - done, busy_s=0.0, best=("0123456789abcdef", 2.5), reasons={}, stopped_because=None,
    )  # fmt: skip


def test_the_time_left_is_a_range_that_narrows():
    assert eta(snapshot(0), None, 0.3) == "about 2 min"  # as forecast
    assert eta(snapshot(0), None, 0.3, slowdown=3.0) == "about 5 min"
    assert eta(snapshot(50), 120.0) == "1 h 40 min"
    assert eta(snapshot(4), 150.0, 0.3) == "3 h 07 min to 5 h 09 min"
    assert eta(snapshot(50), 120.0, 0.3) == "91 min to 1 h 50 min"
    assert eta(snapshot(100), 60.0, 0.3) == "now"
    line = progress_line(snapshot(50), 6000.0, 0.3, metric="bpc", pace=120.0)
    assert line == "50/100 trials · 0 running · 0.5/min · ETA 91 min to 1 h 50 min · best valid bpc 2.5 (01234567)"
    assert " · 0 running · 2 not heard of · " in progress_line(replace(snapshot(50), silent=2), 6000.0)


def test_a_drained_queue_ends_when_the_last_lane_has_run_what_it_holds():
    """Two lanes did 50 s of work in 25 s; the one with more in hand has 30 s of it, so 30 s are left and not 25."""
    drained = replace(snapshot(50), draining=True, lanes=2, running=("a", "b"), longest_left=30.0)
    assert " · running trials end in 30 s · " in progress_line(drained, 25.0, pace=0.5)
    assert eta(replace(drained, longest_left=0.0), 0.5) == "now"


def test_the_pace_is_that_of_late():
    """A second of work takes a second, then three because the machine falls busy; the start is no part."""
    pace = Pace(0.0)
    assert pace.seconds_per_work is None
    pace.look(30.0, 0.0, training=True)
    for second in range(1, 601):
        pace.look(30.0 + second, float(second), training=True)
    assert pace.seconds_per_work == pytest.approx(1.0)
    for second in range(1, 601):
        pace.look(630.0 + second, 600.0 + second / 3, training=True)
    assert pace.seconds_per_work == pytest.approx(3.0)


def test_a_pace_without_news_is_that_of_the_whole_time():
    pace = Pace(0.0)
    pace.look(10.0, 5.0, training=False)
    pace.look(100.0, 5.0, training=False)
    assert pace.seconds_per_work == pytest.approx(20.0)


def test_the_pace_is_that_of_the_present_round(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(monitor_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    monitor = Monitor(console, StopRequests(console), on_event=lambda event: None)
    handle = SimpleNamespace(snapshot=lambda: snapshot(50), take_events=list)
    with monitor.watching(handle):
        clock.now += 6000.0
    with monitor.watching(handle):
        clock.now += 60.0
    assert monitor.error is None
    assert "ETA 60 s" in printed.getvalue().splitlines()[-1]


def test_requests_are_passed_on_while_storage_keeps_an_event_waiting():
    console = Console(file=io.StringIO())
    requests, waits, stopped = StopRequests(console), threading.Event(), threading.Event()
    answers, written = threading.Event(), []

    def write(event) -> None:
        waits.set()
        answers.wait()
        written.append(event)

    monitor = Monitor(console, requests, on_event=write)
    events = ["lost", "lost too"]
    handle = SimpleNamespace(
        snapshot=lambda: snapshot(50), stop=stopped.set, take_events=lambda: [events.pop(0)] if events else []
    )
    with monitor.watching(handle):
        assert waits.wait(60)
        requests.level = LEAVE
        heard = stopped.wait(30)
        answers.set()
    assert heard, "the broker has not been told while the event waited"
    assert written == ["lost", "lost too"], "what waited is written before the launch goes on"


def test_an_event_that_cannot_be_written_down_ends_the_watching():
    console, drained = Console(file=io.StringIO()), threading.Event()

    def write(event) -> None:
        raise OSError("disk full")

    monitor = Monitor(console, StopRequests(console), on_event=write)
    handle = SimpleNamespace(snapshot=lambda: snapshot(50), drain=drained.set, take_events=lambda: ["lost"])
    with monitor.watching(handle):
        assert drained.wait(60)
    assert str(monitor.error) == "disk full"
