"""What a person sees of a running launch: one live line, and what Ctrl-C does."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweeper.broker import Loss, Snapshot
from sweeper.schema import FINISHED

POLL_S = 0.5
PLAIN_LINE_S = 15.0
"""Seconds between progress lines where the output is not a terminal."""


class BrokerHandle(Protocol):
    """The broker as the launcher sees it."""

    def snapshot(self) -> Snapshot:
        """See `Broker.snapshot`."""

    def drain(self) -> None:
        """See `Broker.drain`."""

    def take_losses(self) -> list[Loss]:
        """See `Broker.take_losses`."""


class Monitor:
    """Polls the broker from a thread while the executor runs; draws the line, records losses, passes on Ctrl-C."""

    def __init__(self, console: Console, on_loss: Callable[[Loss], None]) -> None:
        self._console = console
        self._on_loss = on_loss
        self._interrupts = 0
        self._ended = threading.Event()
        self._began = time.monotonic()
        self.last: Snapshot | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the user asked to stop."""
        return self._interrupts > 0

    @contextmanager
    def watching(self, handle: BrokerHandle) -> Iterator[None]:
        """Watch one broker; the first Ctrl-C drains it, the second raises KeyboardInterrupt."""
        self._ended.clear()
        thread = threading.Thread(target=self._watch, args=(handle,), name="monitor", daemon=True)
        in_main = threading.current_thread() is threading.main_thread()
        previous = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)} if in_main else {}
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if number == signal.SIGTERM or self._interrupts > 1:
            raise KeyboardInterrupt
        self._console.print(
            "Stopping: the running trials are finished and stored. Ctrl-C again stops at once; both can be resumed.",
            soft_wrap=True,
        )

    def _watch(self, handle: BrokerHandle) -> None:
        drained, printed = False, time.monotonic()
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            while True:
                ended = self._ended.wait(POLL_S)
                if self.interrupted and not drained:
                    handle.drain()
                    drained = True
                for loss in handle.take_losses():
                    self._on_loss(loss)
                self.last = handle.snapshot()
                line = progress_line(self.last, time.monotonic() - self._began)
                if self._console.is_terminal:
                    live.update(Text(line, no_wrap=True, overflow="ellipsis"))
                elif ended or time.monotonic() - printed > PLAIN_LINE_S:
                    self._console.print(line, highlight=False, soft_wrap=True)
                    printed = time.monotonic()
                if ended:
                    return


def progress_line(snapshot: Snapshot, elapsed_s: float) -> str:
    """One line: done, running, failures by kind, rate, time left and the best trial so far."""
    done = sum(snapshot.statuses.values())
    parts = [f"{done}/{snapshot.total} trials", f"{snapshot.running} running"]
    parts += [f"{count} {status}" for status, count in sorted(snapshot.statuses.items()) if status != FINISHED]
    if done and elapsed_s > 0:
        parts.append(f"{60 * done / elapsed_s:.1f}/min")
    parts.append(f"ETA {eta(snapshot, elapsed_s)}")
    if snapshot.best is not None:
        parts.append(f"best {snapshot.best[1]:.4g}")
    return " · ".join(parts)


def eta(snapshot: Snapshot, elapsed_s: float) -> str:
    """Time left at the pace so far; `...` until there is one."""
    work_done = snapshot.work_total - snapshot.work_left
    if snapshot.work_left <= 0:
        return "now"
    if work_done <= 0.002 * snapshot.work_total:
        return "..."
    return duration(elapsed_s * snapshot.work_left / work_done)


def duration(seconds: float) -> str:
    """A time span for people, such as `2 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
