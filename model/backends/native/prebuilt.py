"""Libraries that a wheel brings along, one per level of processors, so that users need no compiler.

`compile_all` makes them while the wheel is built (setup.py); `prebuilt` finds the one that this processor runs. Where
there is none, as in a checkout, the sources are compiled on first use (build.py). Standard library only.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from model.backends.native.compiler import REALS, compile_library, intact, source_hash

FOLDER = Path(__file__).parent / "prebuilt"
"""Where a wheel has them; a checkout has no such folder."""


@dataclass(frozen=True)
class Level:
    """Processors that run one library."""

    march: str
    """as compilers call them"""
    machine: str
    """as `platform.machine` calls them"""
    flags: frozenset[str]
    """what they can do, as Linux lists it in /proc/cpuinfo"""


# The levels of the x86-64 psABI (https://gitlab.com/x86-psABIs/x86-64-ABI, section 3.1.1), by Linux's names: abm holds
# LZCNT, and xsave stands for OSXSAVE, without which Linux would list no AVX.
_V3 = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
LEVELS = (
    Level("x86-64-v4", "x86_64", _V4),
    Level("x86-64-v3", "x86_64", _V3),
    Level("armv8-a", "aarch64", frozenset({"asimd"})),
)
"""The best one that a machine can run comes first."""


def compile_all(compiler: Sequence[str], machine: str, folder: Path) -> list[Path]:
    """Compile the library of every level of one kind of machine, in every precision.

    Args:
        compiler: the command, for that kind of machine.
        machine: as `platform.machine` calls it.
        folder: where the libraries go; made if it is missing.

    Raises:
        NativeUnavailable: the compiler failed.
        ValueError: there is no level of this kind of machine.
    """
    marches = [level.march for level in LEVELS if level.machine == machine]
    if not marches:
        known = ", ".join(sorted({level.machine for level in LEVELS}))
        raise ValueError(f"{machine}: no library is made for such machines, only for {known}")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for march in marches:
        for real in REALS:
            path = folder / _name(march, real)
            compile_library(compiler, march, real, path)
            paths.append(path)
    return paths


def prebuilt(real: str) -> Path | None:
    """Return the best library that came along and runs on this processor, or None.

    Args:
        real: one of `compiler.REALS`.
    """
    paths = (FOLDER / _name(level.march, real) for level in runnable())
    return next((path for path in paths if path.exists() and intact(path)), None)


def runnable() -> list[Level]:
    """Return the levels that this processor runs, the best one first."""
    machine, flags = platform.machine(), _processor_flags()
    return [level for level in LEVELS if level.machine == machine and level.flags <= flags]


def _name(march: str, real: str) -> str:
    # The hash is part of the name, so that a library of other sources is never taken.
    return f"elm_layer-{march}-{real}-{source_hash()}.so"


@cache
def _processor_flags() -> frozenset[str]:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()
