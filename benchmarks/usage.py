"""What a benchmark's process tree uses: processor seconds and memory, sampled from a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_SAMPLE_S = 0.2
"""Seconds between two looks, each of which walks the process tree: often enough for trials of seconds (assumption)."""
_WHILE_RUNNING = "monitor"
"""The thread that a launch has while trials run."""


def rss_kb(process: psutil.Process | None = None) -> float:
    """Resident memory of a process, this one when None."""
    return float((process or psutil.Process()).memory_info().rss) / 1024


class MemoryWatch(threading.Thread):
    """Watches this process and the broker's while this one launches a sweep."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_kb = self.broker_kb = 0.0
        self.growth_kb = 0.0
        """What this process grew by while trials ran."""
        self._before: float | None = None  # memory when the trials began: what imports and planning took is left out
        self._ended = threading.Event()

    def run(self) -> None:
        """Look every now and then."""
        while not self._ended.wait(_SAMPLE_S):
            now = rss_kb()
            # A peak between two looks is missed; launches last far longer than one.
            self.peak_kb = max(self.peak_kb, now)
            self.broker_kb = max(self.broker_kb, _broker_kb())
            # The launcher has this thread only while trials run, so its presence marks the phase without a hook in the
            # product.
            if any(thread.name == _WHILE_RUNNING for thread in threading.enumerate()):
                self._before = now if self._before is None else self._before
                self.growth_kb = now - self._before

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()
        self.join()


def _broker_kb() -> float:
    """Resident memory of the broker's actor; 0 where there is none."""
    for process in psutil.Process().children(recursive=True):
        try:
            if "ray::Broker" in " ".join(process.cmdline()):
                return rss_kb(process)
        except psutil.NoSuchProcess:
            continue
    return 0.0


class TreeCpu:
    """Processor seconds of this process and all its descendants, dead ones included up to the last sample."""

    def __init__(self) -> None:
        # by process, kept after its end: what it had used at the last look still counts
        self._seen: dict[int, float] = {}
        # The sampling thread and whoever asks for the sum look at the same table.
        self._lock = threading.Lock()

    def sample(self) -> None:
        """Look at all processes."""
        root = psutil.Process()
        with self._lock:
            for process in [root, *root.children(recursive=True)]:
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                self._seen[process.pid] = times.user + times.system

    def seconds(self) -> float:
        """Processor seconds so far."""
        self.sample()
        return sum(self._seen.values())


@contextmanager
def tree_cpu() -> Iterator[TreeCpu]:
    """Sample the process tree while the body runs."""
    cpu, ended = TreeCpu(), threading.Event()

    def run() -> None:
        while not ended.wait(_SAMPLE_S):
            cpu.sample()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield cpu
    finally:
        ended.set()
        thread.join()
