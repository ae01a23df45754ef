"""Finds the compiled kernel: one that came with the wheel, else compiled once per machine and source into a cache."""

import functools
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from model.backends.native.abi import AbiError, Kernel
from model.backends.native.compiler import (
    BUILD_SECONDS,
    NativeUnavailable,
    compile_library,
    find_compiler,
    intact,
    note_of,
    source_hash,
)
from model.backends.native.prebuilt import prebuilt

_REALS = {torch.float32: "float", torch.float64: "double"}
_OWNERS = (0,)
"""users besides oneself whose files are run: root could change anything anyway"""
_log = logging.getLogger(__name__)


@functools.cache
def kernel(dtype: torch.dtype) -> Kernel:
    """Return the compiled layer of a precision: the wheel's, else the cache's, compiling it where that lacks it.

    Raises:
        NativeUnavailable: there is no compiler, it failed, or the cache directory cannot be written.
    """
    # No compiler on this machine could make it much faster (benchmarks/model), and all nodes of a level compute alike.
    if (brought := prebuilt(_REALS[dtype])) is not None:
        try:
            return Kernel(brought)
        except (OSError, AbiError) as error:  # such as a C library that is older than the one it was linked with
            _log.info("%s does not load here (%s): compiling", brought, error)
    compiler = find_compiler()
    path = cache_directory() / f"elm_layer-{_key(compiler, dtype)}.so"
    try:
        # Only for this user: whoever can write here can have code run.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _keep_others_out(path.parent)
        if not intact(path):
            _build(compiler, dtype, path)
        _keep_others_out(path)
        return Kernel(path)
    except Timeout as error:
        raise NativeUnavailable(f"another process has held {error.lock_file} for {BUILD_SECONDS} s") from error
    except (OSError, AbiError) as error:
        raise NativeUnavailable(f"{path}: {error}") from error


def cache_directory() -> Path:
    """Directory of compiled kernels, one per user: below ELM_SWEEPER_CACHE where it is set, else the user's cache.

    Several people may share ELM_SWEEPER_CACHE; nobody should run a library that another one has put there.
    """
    override = os.environ.get("ELM_SWEEPER_CACHE")
    return (Path(override) if override else user_cache_path("elm-sweeper")) / f"kernels-{os.getuid()}"


def _keep_others_out(path: Path) -> None:
    """Refuse a file or folder that somebody else could have put there, and take back rights to write that we gave.

    Raises:
        NativeUnavailable: it belongs to another user.
    """
    status = path.stat()
    if status.st_uid not in (os.getuid(), *_OWNERS):
        raise NativeUnavailable(f"{path} belongs to user {status.st_uid}; what others compiled is not run")
    if not status.st_mode & 0o022:
        return
    if status.st_uid != os.getuid():
        raise NativeUnavailable(f"{path} may be written by other users; what others compiled is not run")
    # A umask of 002 is usual where every user has a group of their own, so that this is no reason to refuse.
    path.chmod(stat.S_IMODE(status.st_mode) & ~0o022)


def _key(compiler: list[str], dtype: torch.dtype) -> str:
    """Hash everything the binary depends on: source, compiler, flags, precision and the processor's abilities."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    # The compiler's version as well: another one may lay out or round something differently.
    parts = (source_hash(), *compiler, version, _REALS[dtype], _processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.machine() + platform.processor()
    # -march=native means this very processor; a cache directory may be shared by unlike machines
    keys = ("flags", "Features", "model name", "CPU part")
    lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
    return platform.machine() + "".join(line for line in lines if line.startswith(keys))


def _build(compiler: list[str], dtype: torch.dtype, path: Path) -> None:
    with FileLock(path.with_suffix(".lock"), timeout=BUILD_SECONDS):
        if intact(path):  # another process compiled it while this one waited
            return
        damaged = path.exists()
        _log.log(
            logging.WARNING if damaged else logging.INFO,
            "%s %s",
            "compiling the native kernel anew, the file is damaged:" if damaged else "compiling the native kernel into",
            path,
        )
        for leftover in path.parent.glob(f"{path.stem}-building-*"):  # by a process that was killed; we hold the lock
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}-building-") as directory:
            library = Path(directory) / path.name
            compile_library(compiler, "native", _REALS[dtype], library)
            library.replace(path)
            note_of(library).replace(note_of(path))  # last: until it is there, the library does not count as whole
