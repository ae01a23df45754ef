"""What `benchmarks.faults` disturbs: a place with a sweep in it, and launches that were started there."""

import os
import resource
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LANES_SERVER = "multiprocessing.forkserver"
"""What the command line of the process that lanes without Ray are forked from holds, and theirs too."""
REST, START, EARLY, RUN = "at rest", "at the start", "while it starts", "while it runs"
"""When a fault comes: before a launch, in the way it is started, in its first seconds, once it has got on."""


@dataclass(kw_only=True)
class Site:
    """Where the sweep takes place."""

    folder: Path
    """Everything below it is ours."""
    grid: Path
    """The grid file."""
    text: str
    """What belongs in the grid file."""
    results: Path
    """The results directory."""
    cache: Path
    """Cache of compiled kernels."""
    clock: Path
    """A library that shifts the wall clock of the process that preloads it."""
    disk: Path | None = None
    """A small disk of our own with the results on it; None where none could be mounted."""

    def mend(self) -> None:
        """What a person does outside of the program: mend the grid, make room, make the disk writable."""
        self.grid.write_text(self.text)
        if self.disk is not None:
            subprocess.run(["mount", "-o", "remount,rw", self.disk], check=True)
            self.ballast.unlink(missing_ok=True)

    @property
    def ballast(self) -> Path:
        """The file that fills the disk."""
        return self.results.parent / "ballast"


@dataclass(kw_only=True)
class Start:
    """How a launch is started."""

    executor: str = "processes"
    """`processes` or `ray`."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables on top of ours."""
    limits: dict[int, int] = field(default_factory=dict)
    """Limits of its processes, by number."""
    output: str = "file"
    """`file`, `full` (a full disk) or `gone` (a reader that goes away)."""

    def limit(self) -> None:
        """Set the limits, in the child."""
        for name, most in self.limits.items():
            resource.setrlimit(name, (most, most))


@dataclass(kw_only=True)
class Launch:
    """A launch that was started."""

    process: subprocess.Popen[bytes]
    """Its launcher, which leads a process group."""
    executor: str
    """`processes` or `ray`."""
    again: Callable[[Start], "Launch"]
    """Starts one more like it."""
    log: Path
    """What it prints, where that goes into a file."""
    sent: set[int] = field(default_factory=set)
    """Signals that were sent to it."""
    early: bool = False
    """Whether it was struck before it listened to signals, so that one may have ended it."""

    def signal(self, number: int, *, group: bool = True) -> None:
        """Send a signal to the whole group or to the launcher alone, where they still run."""
        if self.process.poll() is None:
            self.sent.add(number)
            (os.killpg if group else os.kill)(self.process.pid, number)

    def children(self, pattern: str) -> list[psutil.Process]:
        """Processes below the launcher whose command line holds some words."""
        return processes_below(self.process.pid, pattern)

    def lanes(self) -> list[psutil.Process]:
        """Its lanes."""
        return lanes_below(self.process.pid, self.executor)


def processes_below(pid: int, pattern: str) -> list[psutil.Process]:
    """Processes below another whose command line holds some words, by their numbers."""
    found = []
    try:
        for child in psutil.Process(pid).children(recursive=True):
            try:
                if pattern in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
    except psutil.Error:
        pass
    return sorted(found, key=lambda child: child.pid)


def lanes_below(pid: int, executor: str) -> list[psutil.Process]:
    """The lanes of a launcher, or of all launchers below a process.

    Args:
        pid: the process.
        executor: `processes` or `ray`.
    """
    if executor == "ray":
        return processes_below(pid, "ray::ImplicitFunc")
    of_server = processes_below(pid, LANES_SERVER)
    known = {process.pid for process in of_server}
    return [process for process in of_server if _parent(process) in known]


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of fault."""

    letter: str
    """Its kind in `tests/sweeper/launch/test_faults.py`."""
    name: str
    """What is done, in a few words."""
    when: str
    """`REST`, `START`, `EARLY` or `RUN`."""
    act: Callable[..., bool]
    """Does it: takes the site and the draw, then the `Start` or the `Launch`. False where it cannot be done now."""
    executor: str | None = None
    """The executor it is about; any when None."""
    ends: bool = False
    """Whether the launch ends by it."""
    on_disk: bool = False
    """Whether it takes a disk of our own."""
    slow: bool = False
    """Whether it takes a minute."""
