"""What this process may use of the machine: a container's limits count, where psutil and os see the whole host.

Limits of control groups are read from their files, version 1 and 2 (Linux kernel documentation, admin-guide/cgroup-v1
and cgroup-v2): the tightest of the process's own group and of all groups above it that are visible holds.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NO_LIMIT = 1 << 60
"""Version 1 writes "no limit" as the largest page-aligned number, about 2^63; nothing real comes near 2^60 bytes."""


class Share(NamedTuple):
    """What this process may use."""

    cpus: float
    """Processor cores, by affinity and quota; may be a fraction."""
    total_bytes: int
    """Memory: of the machine, or of the tightest group."""
    available_bytes: int
    """Of it, what is free or can be freed by dropping file caches."""

    @property
    def workers(self) -> int:
        """Processes that can compute at a time, at least 1."""
        return max(1, int(self.cpus))


def machine_share(proc: Path = Path("/proc/self")) -> Share:
    """Read affinity, memory and the limits of control groups.

    Args:
        proc: folder of the process in the proc file system.
    """
    import psutil  # 15 ms that the start of a command line need not pay

    memory = psutil.virtual_memory()
    # By affinity and not by `cpu_count`, which counts cores that batch systems have given to others.
    cpus, total, available = float(len(os.sched_getaffinity(0))), int(memory.total), int(memory.available)
    # A group may promise more than the one above it has, so each is looked at and the tightest holds.
    for folder in _groups(proc):
        if (quota := _cpu_quota(folder)) is not None:
            cpus = min(cpus, quota)
        if (limit := _memory_limit(folder)) is not None:
            total = min(total, limit)
            available = min(available, max(0, limit - _used(folder)))
    return Share(cpus, total, available)


def _groups(proc: Path) -> Iterator[Path]:
    """Folders of the process's control groups and of those above them, as far as they are mounted here."""
    try:
        memberships = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    except OSError:  # no Linux, or a proc file system that hides itself: then nothing is known of limits
        return
    for fields in mounts:
        # Fields 4 and 5 are the mounted folder and its place; the type and the options follow after a lone dash.
        dash = fields.index("-")
        root, place, kind, options = fields[3], Path(fields[4]), fields[dash + 1], fields[-1].split(",")
        for number, controllers, path in memberships:
            unified = kind == "cgroup2" and number == "0"
            if unified or (kind == "cgroup" and controllers and set(controllers.split(",")) <= set(options)):
                yield from _upwards(place, root, path)


def _upwards(place: Path, root: str, path: str) -> Iterator[Path]:
    # Inside a container the path can be the host's, while the mount shows the container's own group only.
    inside = os.path.relpath(path, root) if Path(path).is_relative_to(root) else "."
    folder = place / inside if (place / inside).is_dir() else place
    while True:
        yield folder
        if folder == place:
            return
        folder = folder.parent


def _memory_limit(folder: Path) -> int | None:
    """Bytes that the group may use, None where there is no limit."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        value = _number(folder / name)
        if value is not None and value < _NO_LIMIT:
            return value
    return None


def _used(folder: Path) -> int:
    """Bytes in use that cannot be freed: without the pages of files that were not touched lately."""
    # Version 2 first; each version's file is missing under the other.
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
    try:
        lines = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        idle = int(lines.get("total_inactive_file", lines.get("inactive_file", 0)))
    except (OSError, ValueError):
        idle = 0
    return max(0, used - idle)


def _cpu_quota(folder: Path) -> float | None:
    """Cores' worth of time that the group may use, None where there is no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota, period = (str(_number(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such files
        return None
    return cores if cores > 0 else None  # version 1 writes -1 for no limit


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None
