"""Compiles kernel/ once per machine and source, with the system's C++ compiler, into a cache directory."""

import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from model.backends.native.abi import AbiError, Kernel

_SOURCES = Path(__file__).parent / "kernel"
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
          "-fPIC", "-shared", "-pthread", "-Wno-psabi")  # fmt: skip
_REALS = {torch.float32: "float", torch.float64: "double"}
_BUILD_SECONDS = 600
"""longest wait for the compiler, or for another process that is compiling"""
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
        if not path.exists():
            _build(compiler, dtype, path)
        return Kernel(path)
    except Timeout as error:
        raise NativeUnavailable(f"another process has held {error.lock_file} for {_BUILD_SECONDS} s") from error
    except (OSError, AbiError) as error:
        raise NativeUnavailable(f"{path}: {error}") from error


def cache_directory() -> Path:
    """Directory of compiled kernels: ELM_SWEEPER_CACHE where it is set, else the user's cache directory."""
    chosen = os.environ.get("ELM_SWEEPER_CACHE")
    return (Path(chosen) if chosen else user_cache_path("elm-sweeper")) / "kernels"


def _compiler() -> str:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    found = [path for path in map(shutil.which, names) if path]
    if not found:
        raise NativeUnavailable(f"no C++ compiler found (looked for {', '.join(names)})")
    return found[0]


def _key(compiler: str, dtype: torch.dtype) -> str:
    """Hash everything the binary depends on: source, compiler, flags, precision and the processor's abilities."""
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    digest.update("\0".join([compiler, version, *_FLAGS, _REALS[dtype], _processor()]).encode())
    return digest.hexdigest()[:20]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.machine() + platform.processor()
    wanted = ("flags", "Features", "model name", "CPU part")
    lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
    return platform.machine() + "".join(line for line in lines if line.startswith(wanted))


def _build(compiler: str, dtype: torch.dtype, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=_BUILD_SECONDS):
        if path.exists():
            return
        _log.info("compiling the native kernel into %s, once per machine", path)
        with tempfile.TemporaryDirectory(dir=path.parent) as directory:
            made = Path(directory) / path.name
            command = [compiler, *_FLAGS, f"-DREAL={_REALS[dtype]}", str(_SOURCES / "elm_layer.cpp"), "-o", str(made)]
            _compile(command)
            made.replace(path)


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NativeUnavailable(f"{command[0]} took more than {_BUILD_SECONDS} s") from error
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise NativeUnavailable(f"{command[0]} failed with status {done.returncode}: {complaints[0]}")
