"""A process of its own for Ray, watched by the launcher: Ray's core ends the process it runs in when a part of it dies.

That process leads a session of its own, in which the parts of a Ray on this machine run too. Signals that a terminal,
`timeout`, a batch system or systemd sends are held back there, so that the launcher alone acts on them, and nothing is
left of Ray once the launcher has killed the session. Knows no Ray itself.
"""

import multiprocessing
import os
import pkgutil
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

import psutil

from sweeper.errors import FOR_PEOPLE
from sweeper.executors.executor import ExecutorError
from sweeper.queue.messages import Event, LateFinish, Snapshot
from sweeper.queue.monitor import BrokerHandle, BrokerLostError, Monitor

LAUNCHERS_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that often reach every process of ours; the launcher alone acts."""
_DISCONNECT_S = 20.0
"""Seconds that leaving a cluster may take (assumption); what is still there is killed."""


_PHASES = ("loading Ray", "starting Ray")
"""What the launcher waits for before it has a broker to watch."""
_KILL_S = 10.0
"""Seconds that killed processes may take to go: one that waits for a disk takes its time."""


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Start processes in this block that are born deaf to the launcher's signals; this thread gets its own afterwards.

    Held back, not ignored: a program may put a handler of its own in the place of ignoring, and Ray's parts do.
    """
    # It comes with the first process and, when it has started, lets INT and TERM through again whoever held them back.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LAUNCHERS_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """The work's modules are loaded."""


@dataclass(frozen=True, kw_only=True)
class _Serving:
    """The broker is there and can be asked."""


class Link:
    """The launcher as the process apart sees it.

    Args:
        said: where it hears how the work ends.
        asked: where its questions to the broker come from.
    """

    def __init__(self, said: Connection, asked: Connection) -> None:
        self._said, self._asked = said, asked
        self._lock = threading.Lock()

    @contextmanager
    def serving(self, broker: BrokerHandle) -> Iterator[None]:
        """Let the launcher watch a broker while the block lasts, and until it has looked for the last time."""
        server = threading.Thread(target=self._serve, args=(broker,), name="broker", daemon=True)
        server.start()
        self._say(_Serving())
        yield
        self._say(None)
        server.join()

    def loaded(self) -> None:
        """Say that the modules of the work are loaded."""
        self._say(_Loaded())

    def fail(self, why: str) -> NoReturn:
        """End this process from any thread, whatever the others are waiting for; `why` is told in the launcher."""
        self._say(ExecutorError(why))
        os._exit(1)

    def end(self, error: BaseException | None) -> None:
        """Say how the work ended, once it has nothing to serve."""
        self._say(error)

    def _say(self, message: Any) -> None:
        with self._lock, suppress(OSError):  # the launcher has died, and this process is about to
            self._said.send(message)

    def _serve(self, broker: BrokerHandle) -> None:
        while True:
            try:
                name = self._asked.recv()
            except (EOFError, OSError):  # it has seen enough, or it has died
                return
            try:
                answer = getattr(broker, name)()
            except Exception as error:  # the border of the thread: nobody would ask the broker any more
                self.fail(f"the queue of trials died ({type(error).__name__})")
            with suppress(OSError):
                self._asked.send(answer)


def run_apart(work: str, arguments: tuple[Any, ...], *, monitor: Monitor | None = None, private: bool = False) -> None:
    """Call a function in a process of its own, with a `Link` before its arguments.

    Args:
        work: "module:name" of the function; it may serve a broker to `monitor` by its link.
        arguments: what it gets.
        monitor: watches the broker that the work serves.
        private: whether all that it leaves running was started by it, and can be killed at once.

    Raises:
        ExecutorError: the process died, or a part of Ray that it watches.
        Exception: whatever else the work raises.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks in whatever state
    said, saying = context.Pipe(duplex=False)
    asking, asked = context.Pipe()
    process = context.Process(target=_main, args=(saying, asked, work, arguments), name="ray", daemon=True)
    try:
        with signals_held_back():
            process.start()
        for its_end in (saying, asked):  # a copy here would hide its death
            its_end.close()
        _follow(process, said, _Asking(asking), monitor)
    finally:
        asking.close()
        said.close()
        if process.pid is not None:
            if not private:
                process.join(_DISCONNECT_S)
            _kill(process)


def _follow(process: BaseProcess, said: Connection, handle: "_Asking", monitor: Monitor | None) -> None:
    """Return when the work has ended well."""
    try:
        message = _first_word(said, monitor)
        if isinstance(message, _Serving):
            assert monitor is not None, "a broker is served to who watches it"
            with monitor.watching(handle):
                message = said.recv()
    except EOFError:
        process.join(_DISCONNECT_S)
        raise ExecutorError(f"the process that runs Ray died (exit code {process.exitcode})") from None
    if isinstance(message, BaseException):
        raise message


def _first_word(said: Connection, monitor: Monitor | None) -> Any:
    """What comes after the loading; the start's phases are shown meanwhile."""
    for phase in _PHASES:
        with monitor.start.showing(phase) if monitor is not None else nullcontext():
            message = said.recv()
        if not isinstance(message, _Loaded):
            break
    return message


def _kill(process: BaseProcess) -> None:
    """Kill it and all of its session that is left, and return when it is gone.

    Not by the process group: Ray gives each of its workers a group of its own. All are of one session.
    """
    process.kill()
    deadline = time.monotonic() + _KILL_S
    while (left := list(_session(process.pid))) and time.monotonic() < deadline:  # one may have started another
        for member in left:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        time.sleep(0.02)
    process.join()


def _session(leader: int | None) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _main(saying: Connection, asked: Connection, work: str, arguments: tuple[Any, ...]) -> None:
    os.setsid()
    # Ray prints the last lines of its own logs where a part of it dies; what a person needs is said by the link.
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    threading.Thread(target=_end_after_launcher, name="launcher's death", daemon=True).start()
    link = Link(saying, asked)
    try:
        call = pkgutil.resolve_name(work)
        link.loaded()
        call(link, *arguments)
    except Exception as error:  # the border of the process: raised in the launcher
        if not isinstance(error, (*FOR_PEOPLE, ExecutorError)):
            error.add_note("".join(traceback.format_exception(error)))  # pickling would lose it
        link.end(error)
    else:
        link.end(None)


def _end_after_launcher() -> None:
    """End with the launcher, together with all that was started here: Ray's agents would notice a minute later."""
    launcher = multiprocessing.parent_process()
    assert launcher is not None, "this is a child process"
    launcher.join()
    for member in _session(os.getpid()):
        if member.pid != os.getpid():
            with suppress(psutil.NoSuchProcess):
                member.kill()
    os._exit(1)


class _Asking:
    """The broker as the launcher's monitor sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def snapshot(self) -> Snapshot:
        snapshot: Snapshot = self._ask("snapshot")
        return snapshot

    def drain(self) -> None:
        self._ask("drain")

    def stop(self) -> None:
        self._ask("stop")

    def take_events(self) -> list[Event | LateFinish]:
        events: list[Event | LateFinish] = self._ask("take_events")
        return events

    def _ask(self, name: str) -> Any:
        try:
            self._connection.send(name)
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise BrokerLostError(str(error)) from error
