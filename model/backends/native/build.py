"""Compiles kernel/ once per machine and source, with the system's C++ compiler, into a cache directory."""

import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from model.backends.native.abi import AbiError, Kernel

_SOURCES = Path(__file__).parent / "kernel"
# Fused multiply-adds are wanted, and comparisons may become selects (no traps, no errno). Not -ffast-math: it assumes
# that there is no NaN, and a trial that diverges must show it.
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
          "-fPIC", "-shared", "-pthread", "-Wno-psabi")  # fmt: skip
_REALS = {torch.float32: "float", torch.float64: "double"}
_BUILD_SECONDS = 600
"""longest wait for the compiler, or for another process that is compiling (assumption)"""
_OWNERS = (0,)
"""users besides oneself whose files are run: root could change anything anyway"""
_log = logging.getLogger(__name__)


class NativeUnavailable(RuntimeError):
    """The native kernel cannot be had here; the message says why."""


@functools.cache
def kernel(dtype: torch.dtype) -> Kernel:
    """Return the compiled layer of a precision, compiling it where the cache lacks it.

    Raises:
        NativeUnavailable: there is no compiler, it failed, or the cache directory cannot be written.
    """
    compiler = _compiler()
    path = cache_directory() / f"elm_layer-{_key(compiler, dtype)}.so"
    try:
        # Only for this user: whoever can write here can have code run.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _keep_others_out(path.parent)
        if not _intact(path):
            _build(compiler, dtype, path)
        _keep_others_out(path)
        return Kernel(path)
    except Timeout as error:
        raise NativeUnavailable(f"another process has held {error.lock_file} for {_BUILD_SECONDS} s") from error
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


def _intact(path: Path) -> bool:
    """Whether a library is the one that was compiled: a file cut short by a full disk would crash whoever loads it."""
    note = path.with_suffix(".sha256")
    try:
        return note.read_text(errors="replace") == hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return False


def _compiler() -> list[str]:
    """The compiler as a command: CXX may hold a launcher or options, as in `ccache g++`."""
    override = os.environ.get("CXX")
    try:
        commands = [shlex.split(override)] if override else [["c++"], ["g++"], ["clang++"]]
    except ValueError as error:
        raise NativeUnavailable(f"CXX: {override!r} is not a command ({error})") from error
    for command in commands:
        if command and (program := shutil.which(command[0])):
            return [program, *command[1:]]
    raise NativeUnavailable(f"no C++ compiler found (looked for {', '.join(shlex.join(part) for part in commands)})")


def _key(compiler: list[str], dtype: torch.dtype) -> str:
    """Hash everything the binary depends on: source, compiler, flags, precision and the processor's abilities."""
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.iterdir()):
        # The sources themselves and no version number, which one could forget to raise.
        digest.update(source.name.encode() + source.read_bytes())
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    # The compiler's version as well: another one may lay out or round something differently.
    digest.update("\0".join([*compiler, version, *_FLAGS, _REALS[dtype], _processor()]).encode())
    return digest.hexdigest()[:20]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.machine() + platform.processor()
    # -march=native means this very processor; a cache directory may be shared by unlike machines
    keys = ("flags", "Features", "model name", "CPU part")
    lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
    return platform.machine() + "".join(line for line in lines if line.startswith(keys))


def _build(compiler: list[str], dtype: torch.dtype, path: Path) -> None:
    with FileLock(path.with_suffix(".lock"), timeout=_BUILD_SECONDS):
        if _intact(path):  # another process compiled it while this one waited
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
            command = [
                *compiler,
                *_FLAGS,
                f"-DREAL={_REALS[dtype]}",
                str(_SOURCES / "elm_layer.cpp"),
                "-o",
                str(library),
            ]
            _compile(command)
            note = library.with_suffix(".sha256")
            note.write_text(hashlib.sha256(library.read_bytes()).hexdigest())
            library.replace(path)
            note.replace(path.with_suffix(".sha256"))  # last: until it is there, the library does not count as whole


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NativeUnavailable(f"{command[0]} took more than {_BUILD_SECONDS} s") from error
    if done.returncode:
        # The first line that speaks of an error: a compiler's first lines are often warnings or the list of includes.
        complaints = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise NativeUnavailable(f"{command[0]} failed with status {done.returncode}: {complaints[0]}")
