"""Output that cannot stop the program: a closed pipe, a full disk or a terminal on hold costs lines alone."""

import atexit
import os
import queue
import sys
import threading
from collections.abc import Iterable
from typing import Any, TextIO

_PATIENCE_S = 1.0
"""Time in which a line is usually out; a reader that takes longer is not waited for any more."""
_MOST_WAITING = 1000
"""Pieces of text that wait for a slow reader; what comes on top of them is dropped."""


class BestEffortStream:
    """Stands for a text stream; everything but writing is passed on to it.

    A thread of its own writes, so that whoever prints neither gets the stream's errors nor waits for its reader, not
    even in the handler of a signal.

    Args:
        stream: the stream; it must have a file descriptor.
    """

    def __init__(self, stream: TextIO) -> None:
        # What was printed before goes out first: from now on texts pass the stream's buffer by.
        stream.flush()
        self._stream, self._descriptor = stream, stream.fileno()
        self._texts: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()  # may be used in signal handlers
        self._held_up = self._ended = False
        threading.Thread(target=self._write_all, name="output", daemon=True).start()

    def write(self, text: str) -> int:
        """Take some text."""
        # As text streams do; otherwise the fault would show in the thread, far from whoever caused it.
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        # Dropped and not waited for: a launch must go on while its terminal is stopped by Ctrl-S, and memory stay
        # bounded.
        if text and self._texts.qsize() < _MOST_WAITING:
            self._texts.put(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Take several pieces of text."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Wait until everything is out, unless the reader is slow."""
        # Once a reader was slow, each further wait would cost a second per line; the wait is taken up again when it has
        # caught up.
        if self._ended or (self._held_up and not self._texts.empty()):
            return
        out = threading.Event()  # one per call: a lock that is shared would be waited for in a signal's handler
        self._texts.put(out)
        self._held_up = not out.wait(_PATIENCE_S)

    def end(self) -> None:
        """Write out what is left and wait for nothing more: threads stop when the interpreter ends."""
        self.flush()
        self._ended = True

    def _write_all(self) -> None:
        while True:
            item = self._texts.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            # A terminal that cannot show a letter gets a question mark, and the launch goes on.
            left = item.encode(self._stream.encoding, "replace")
            try:
                # Past the stream's buffer, whose lock would be held while the reader is slow, and asked for at exit.
                while left:
                    left = left[os.write(self._descriptor, left) :]
            except OSError:  # nobody reads it any more, or there is no room for it
                continue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def make_stderr_best_effort() -> None:
    """Let nothing that is told on stderr stop the program."""
    _replace("stderr")


def make_stdout_best_effort() -> None:
    """The same for stdout, in commands whose product is not what they print."""
    _replace("stdout")


def _replace(name: str) -> None:
    """Put such a stream before one of `sys`, where that is a file that is open."""
    stream = getattr(sys, name)
    if stream is not getattr(sys, f"__{name}__"):  # another program shows its own there
        return
    try:
        made = BestEffortStream(stream)
    except (AttributeError, OSError, ValueError):
        return
    # The thread is a daemon, and without this the last lines of a program would be lost at its exit.
    atexit.register(made.end)
    setattr(sys, name, made)
