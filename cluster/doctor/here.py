"""The part of `sweeper doctor` that looks at this machine."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from cluster.attach import probe
from cluster.attach.machine import machine_share
from cluster.doctor.finding import Finding, disk, error, ok, warning
from cluster.errors import joined
from cluster.kinds.job import installed_version
from cluster.storage import TRAILER, round_trip

_SHM_BYTES = 256 * 1024**2
"""Room in shared memory for Ray's object store of 200 MiB and a little; Docker gives a container 64 MiB."""
_EXTRAS = {"ray": "cluster", "torch": "train"}
"""What installs the packages of `probe.PACKAGES`."""


def local_findings() -> Iterator[Finding]:
    """What can be said of this machine alone."""
    versions = {name: installed_version(name) for name in probe.PACKAGES}
    listed = ", ".join(
        f"{name} {version}" for name, version in {"python": platform.python_version(), **versions}.items()
    )
    missing = [name for name, version in versions.items() if version == "missing"]
    if missing:
        yield error("versions", listed, f"pip install 'elm-sweeper[{','.join(_EXTRAS[name] for name in missing)}]'")
    else:
        yield ok("versions", listed)
    gpus = ", ".join(f"{name} ({memory} MiB)" for name, memory in probe.gpus()) or "no GPU"
    share = machine_share()
    yield ok("hardware", f"{share.cpus:g} cores, {share.total_bytes / 2**30:.3g} GiB, {gpus}")
    # /tmp, because Ray writes its logs and what it spills there.
    yield disk("/tmp", shutil.disk_usage("/tmp").free)
    yield from _shared_memory()
    yield from _other_rays()
    yield from _environment()


def _shared_memory() -> Iterator[Finding]:
    if os.path.isdir("/dev/shm") and (free := shutil.disk_usage("/dev/shm").free) < _SHM_BYTES:
        observation = f"{free / 2**20:.0f} MiB free at /dev/shm"
        yield warning(
            "shared memory", observation, "in a container, start it with --shm-size=1g; Ray falls back to slow disk"
        )


def _other_rays() -> Iterator[Finding]:
    """Ray heads on this machine: a sweep never joins them, but they take memory and ports."""
    me = psutil.Process().username()
    for process in psutil.process_iter(["name", "username", "pid"]):
        # The head's control service: every head has one, and workers have none.
        if process.info["name"] == "gcs_server":
            owner = process.info["username"]
            observation = f"a Ray head of {owner} runs here as process {process.info['pid']}"
            remedy = "not joined unless --cluster names it"
            yield warning(
                "other Ray", observation, f"{remedy}; {'end it if it is a leftover' if owner == me else 'not yours'}"
            )


def _environment() -> Iterator[Finding]:
    # It may be left over from an earlier session, and then `--cluster` alone goes to a cluster that has long ended.
    if address := os.environ.get("RAY_ADDRESS"):
        yield warning(
            "environment", f"RAY_ADDRESS={address}", "`--cluster` alone attaches there; unset it if that is over"
        )
    if (path := os.environ.get("RAY_AUTH_TOKEN_PATH")) and not Path(path).is_file():
        yield error("token", f"RAY_AUTH_TOKEN_PATH={path} is no file", "point it at the file with the cluster's token")


def results_findings(results: str | None) -> Iterator[Finding]:
    """Whether a results directory can be written from here."""
    if results is None:
        return
    if "://" in results:
        yield object_storage(results)
        return
    folder = Path(results).absolute()
    # The folder need not be there yet; the nearest one that is decides whether it can be made.
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        yield error(
            "results", f"{existing} is not writable for {psutil.Process().username()}", "choose another --results"
        )
    else:
        yield ok("results", f"{folder} is writable from here")
        yield disk(str(existing), shutil.disk_usage(existing).free)


def object_storage(uri: str) -> Finding:
    """Whether an object can be written, read back as it was, and deleted."""
    payload = b"written to check that this location can be used\n"
    try:
        content = round_trip(uri, payload)
    # pyarrow's own errors are ValueErrors.
    except (OSError, ValueError) as problem:
        remedy = "check the address, the credentials (AWS_ACCESS_KEY_ID, ...) and, for MinIO or Ceph, the endpoint"
        return error("results", f"{uri}: {joined(problem)[:300]}", remedy)
    if content == payload:
        return ok("results", f"{uri}: an object was written, read back and deleted from here")
    if TRAILER in content:
        observation = f"{uri}: the server stores the checksum that clients send behind an object as part of it"
        return error("results", observation, "set AWS_REQUEST_CHECKSUM_CALCULATION=when_required, here and in `env`")
    return error("results", f"{uri}: an object was read back otherwise than it was written", "use other storage")
