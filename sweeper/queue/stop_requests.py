"""What TERM, HUP and Ctrl-C ask of a launch, at any moment of its life. The launcher alone acts on them.

Such signals often reach the whole process group: a terminal sends Ctrl-C and its own closing to it, so does `timeout`,
which signals the launcher twice. Lanes ignore them, and all of Ray is deaf to them (`sweeper.executors.apart`).
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

GO_ON, DRAIN, LEAVE, KILL = range(4)
"""Nothing was asked; finish the running trials; save and leave them; end at once."""

_ON_REQUEST = {
    DRAIN: "Stopping: the running trials are finished and stored. Ctrl-C again saves and leaves them; both can be "
    "resumed.",
    LEAVE: "Leaving: long trials save a checkpoint first. Ctrl-C again kills; that can be resumed too.",
}


class StopRequests:
    """Listens for signals while a launch lasts.

    The first Ctrl-C asks to drain, the second to leave, the third raises KeyboardInterrupt. TERM and HUP ask to leave
    however often they come, since what sends them often sends several; KILL is there for who cannot wait.

    Args:
        console: where the person is told what was understood.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.level = GO_ON
        self.told_by_machine = False
        """Whether TERM or HUP has come, as from a node that is about to go."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen in this block; in another thread than the main one, which gets no signals, do nothing."""
        # Python runs signal handlers in the main thread alone, and refuses to set one elsewhere.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A signal that is ignored already was meant to be: nohup starts programs with HUP ignored.
        listened_to = [
            s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN
        ]
        previous = {number: signal.signal(number, self._on_signal) for number in listened_to}
        try:
            yield
        finally:
            for number, handler in previous.items():
                # A program that calls `launch` from its own code keeps its own reaction to signals afterwards.
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        before = self.level
        self.told_by_machine |= number != signal.SIGINT
        # Only Ctrl-C counts up, because a person presses it and sees what it does.
        self.level = min(KILL, before + 1) if number == signal.SIGINT else max(LEAVE, before)
        if self.level == KILL and number == signal.SIGINT:
            # Raised where the main thread is just now, so that even a launch that hangs can be ended.
            raise KeyboardInterrupt
        if self.level != before:
            self._console.print(_ON_REQUEST[self.level], soft_wrap=True)
