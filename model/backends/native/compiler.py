"""How the sources in kernel/ become a library. Standard library only: a wheel is built where torch is not installed."""

import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path(__file__).parent / "kernel"
# Fused multiply-adds are wanted, and comparisons may become selects (no traps, no errno). Not -ffast-math: it assumes
# that there is no NaN, and a trial that diverges must show it.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared",
         "-pthread", "-Wno-psabi")  # fmt: skip
REALS = ("float", "double")
"""C++ types that a library can compute in, one library each."""
BUILD_SECONDS = 600
"""longest wait for the compiler, or for another process that is compiling (assumption)"""


class NativeUnavailable(RuntimeError):
    """The native kernel cannot be had here; the message says why."""


def find_compiler() -> list[str]:
    """Return the compiler as a command: CXX may hold a launcher or options, as in `ccache g++`.

    Raises:
        NativeUnavailable: there is none.
    """
    override = os.environ.get("CXX")
    try:
        commands = [shlex.split(override)] if override else [["c++"], ["g++"], ["clang++"]]
    except ValueError as error:
        raise NativeUnavailable(f"CXX: {override!r} is not a command ({error})") from error
    for command in commands:
        if command and (program := shutil.which(command[0])):
            return [program, *command[1:]]
    raise NativeUnavailable(f"no C++ compiler found (looked for {', '.join(shlex.join(part) for part in commands)})")


def source_hash() -> str:
    """Return the hash of the sources and of how they are compiled."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        # The sources themselves and no version number, which one could forget to raise.
        digest.update(source.name.encode() + source.read_bytes())
    digest.update("\0".join(FLAGS).encode())
    return digest.hexdigest()[:20]


def compile_library(compiler: Sequence[str], march: str, real: str, path: Path) -> None:
    """Compile the sources into a library, and put its hash beside it.

    Args:
        compiler: the command.
        march: the processors that it may run on, as the compiler calls them; `native` is this very one.
        real: one of `REALS`.
        path: of the library; its folder exists.

    Raises:
        NativeUnavailable: the compiler failed.
    """
    command = [*compiler, *FLAGS, f"-march={march}", f"-DREAL={real}", str(SOURCES / "elm_layer.cpp"), "-o", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NativeUnavailable(f"{command[0]} took more than {BUILD_SECONDS} s") from error
    if done.returncode:
        # The first line that speaks of an error: a compiler's first lines are often warnings or the list of includes.
        complaints = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise NativeUnavailable(f"{command[0]} failed with status {done.returncode}: {complaints[0]}")
    note_of(path).write_text(hashlib.sha256(path.read_bytes()).hexdigest())


def note_of(path: Path) -> Path:
    """Return where the hash of a library lies."""
    return path.with_suffix(".sha256")


def intact(path: Path) -> bool:
    """Whether a library is the one that was compiled: a file cut short by a full disk would crash whoever loads it."""
    try:
        return note_of(path).read_text(errors="replace") == hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return False
