"""Tells which process wrote something without comparing clocks: by the kernel's boot, the process and its start.

A process number alone is given again, and a start time moves with the clock. The kernel's boot id, the namespace of the
number and the start in ticks since boot (proc_pid_stat(5), field 22) do neither.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process of one machine, as long as that runs."""

    boot: str
    """The kernel's boot id."""
    namespace: str
    """Namespace in which `pid` is counted, such as ``pid:[4026531836]``."""
    pid: int
    """Process number there."""
    start: int
    """Clock ticks from boot to its start."""

    def is_alive(self) -> bool | None:
        """Whether it runs; None where it cannot be seen from here (another machine, container or proc file system)."""
        here = own_identity()
        if here is None or (here.boot, here.namespace) != (self.boot, self.namespace):
            return None
        # The number alone is no proof: once a process has ended, the kernel gives its number to another.
        return _start(self.pid) == self.start


def own_identity() -> ProcessIdentity | None:
    """The identity of this process; None where no proc file system shows it."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(_PROC / "self/ns/pid")
        # Where /proc was mounted for another namespace, the numbers in it are none that this process knows.
        if os.readlink(_PROC / "self") != str(os.getpid()):
            return None
    except OSError:
        return None
    start = _start(os.getpid())
    return None if start is None else ProcessIdentity(boot=boot, namespace=namespace, pid=os.getpid(), start=start)


def _start(pid: int) -> int | None:
    """Start of a process in ticks since boot; None where it is dead, or a zombie that nobody has waited for."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may hold spaces and parentheses itself; the state is field 3 and follows it.
    fields = text[text.rindex(")") + 1 :].split()
    # Number and name, fields 1 and 2, are cut off, so field 22 stands at place 19. A zombie has ended; its entry waits
    # for its parent alone.
    return None if fields[0] in "ZX" else int(fields[19])
