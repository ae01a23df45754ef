"""Runs `ray start ... --block` out of reach of the signals that end a job: `python -m cluster.attach.node ARGUMENT...`.

Slurm, and others, tell every process of a job at once to end. Ray would obey within a second and take the running
trials with it before they are saved. So Ray is born deaf to those signals; the launcher, which gets them too, has the
trials saved, and only then the job's shell ends Ray: by USR1.

A node that joins another one's cluster also looks after its head. When a machine is lost without a goodbye, Ray's
connections to it stay open for many minutes (no end in five was seen), and nobody would queue the job again meanwhile.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

import psutil

DEAF_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""Signals that reach every process of a job; USR1 among them, which srun passes on to every process of its step."""
HEAD_IS_GONE = 7
"""Exit code of a node whose head does not answer any more; none of Ray's."""
_LOOK_S = 20.0
"""Pause between two looks at the head."""
_ANSWER_S = 5.0
"""Seconds in which it must answer (assumption)."""
_MISSES = 3
"""Looks in a row without an answer after which it counts as gone: a switch may take half a minute to come back."""


def main(
    arguments: Sequence[str],
    *,
    look_s: float = _LOOK_S,
    command: Sequence[str] = ("-m", "ray.scripts.scripts", "start"),
) -> int:
    """Run Ray until it ends, its head has gone or this process gets USR1.

    Args:
        arguments: of `ray start`; with `--address=HOST:PORT` that head is looked after.
        look_s: seconds between two looks at it.
        command: what the interpreter runs.

    Returns:
        Ray's exit code, 0 where it was told to end, or `HEAD_IS_GONE`.
    """
    # Held back, not ignored: a program may put a handler of its own in the place of ignoring, and Ray's parts do.
    signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)
    # A session of its own, by which all that belongs to it is known: Ray gives each of its workers a group of its own.
    ray = subprocess.Popen([sys.executable, *command, *arguments], start_new_session=True)
    signal.signal(signal.SIGUSR1, _ends(ray.pid))
    # What has come since the beginning is handled now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR1,))
    head = next((a.removeprefix("--address=") for a in arguments if a.startswith("--address=")), None)
    try:
        ended = _ended(ray, head, look_s)
        # Also where Ray has ended by itself, as it does when its head goes in the open.
        return ended if ended == 0 or head is None or answers(head) else HEAD_IS_GONE
    finally:
        _kill(ray.pid)  # what Ray itself left behind, such as workers of a raylet that crashed


def _ended(ray: subprocess.Popen[bytes], head: str | None, look_s: float) -> int:
    """Ray's exit code; `HEAD_IS_GONE` while it still runs."""
    misses = 0
    while True:
        try:
            return ray.wait(timeout=look_s)
        except subprocess.TimeoutExpired:
            misses = 0 if head is None or answers(head) else misses + 1
        if misses == _MISSES:
            return HEAD_IS_GONE


def answers(address: str) -> bool:
    """Whether something listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


def _ends(leader: int) -> Callable[[int, FrameType | None], None]:
    def end(number: int, frame: FrameType | None) -> None:
        _kill(leader)
        sys.exit(0)

    return end


def _kill(leader: int) -> None:
    """Kill a session, and return when it is gone."""
    while members := [member for member in psutil.process_iter() if _is_of(member, leader)]:  # one may start another
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        time.sleep(0.02)


def _is_of(member: psutil.Process, leader: int) -> bool:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        return os.getsid(member.pid) == leader and member.status() != psutil.STATUS_ZOMBIE
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
