"""What a node says of itself. Standard library, and our own packages, which are shipped."""

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("ray", "torch")
"""Distributions whose versions must agree on all nodes."""


def node_facts(*folders: str) -> dict[str, Any]:
    """Versions, hardware, clock and free disk of the machine this runs on.

    Args:
        folders: local paths whose free space is asked for.

    Returns:
        `host`, `python`, one entry per name of `PACKAGES` (None where it is not installed), `cpus`, `gpus` (list of
        name and memory in MiB), `clock` (seconds since 1970), `free_bytes` by folder.
    """
    return {
        "host": socket.gethostname(),
        **versions(),
        "cpus": len(os.sched_getaffinity(0)),
        "gpus": gpus(),
        "clock": time.time(),
        "free_bytes": {folder: shutil.disk_usage(folder).free for folder in folders if os.path.isdir(folder)},
        "interpreter": sys.executable,
    }


def versions() -> dict[str, str | None]:
    """Versions of `python` and of each name of `PACKAGES`; None where it is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def gpus() -> list[tuple[str, int]]:
    """Name and memory (MiB) of each GPU that the driver shows; empty where there is no nvidia-smi."""
    # Not by torch, which takes seconds to load and would hold a context on the GPU.
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = (line.rsplit(",", 1) for line in listed.splitlines() if "," in line)
    # nvidia-smi writes `[N/A]` for memory that a device does not report.
    return [(name.strip(), int(memory)) for name, memory in rows if memory.strip().isdigit()]


def leave_mark(folder: str, mark: str, expected: str, patience_s: float) -> str | None:
    """Write a file into a shared folder and look for somebody else's.

    Args:
        folder: path or URI.
        mark: name of the file to write.
        expected: name of the file that must be there.
        patience_s: seconds to wait for it, since network file systems show new files late.

    Returns:
        What is wrong, or None.
    """
    try:
        if "://" in folder:
            return _leave_object(folder, mark, expected)
        if not os.path.isdir(folder):
            return "it does not exist there"
        with open(os.path.join(folder, mark), "w", encoding="ascii") as file:
            file.write("written to check that this folder is shared\n")
            file.flush()
            os.fsync(file.fileno())  # to the server, or another node would wait for what lies in this one's cache
        deadline = time.monotonic() + patience_s
        while not os.path.exists(os.path.join(folder, expected)):
            if time.monotonic() > deadline:
                return "it is another folder there: the launcher's file does not appear in it"
            time.sleep(0.2)
    except OSError as error:
        return f"it cannot be written there ({error.strerror or error})"
    return None


def _leave_object(uri: str, mark: str, expected: str) -> str | None:
    # In here, because nodes are asked before it is known what is installed there.
    from pyarrow import fs

    from cluster.storage import open_location

    filesystem, root = open_location(uri)
    with filesystem.open_output_stream(f"{root}/{mark}") as stream:
        stream.write(b"written to check that this location is shared\n")
    # Without waiting: object stores show an object to everybody as soon as it is written.
    if filesystem.get_file_info(f"{root}/{expected}").type != fs.FileType.File:
        return "it is another place there: the launcher's object does not appear in it"
    return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
