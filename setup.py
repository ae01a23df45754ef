"""Compiles the kernels that a wheel brings along; all else about the package stands in pyproject.toml.

`ELM_SWEEPER_PREBUILD=x86_64 python -m build --wheel` (or `aarch64`, with `CXX` naming a compiler for it) makes a wheel
for that kind of machine. Without it the wheel is pure and its kernel is compiled on first use, as in a checkout.
"""

import os
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))  # setuptools runs this file without its folder on the path

from model.backends.native.compiler import find_compiler  # noqa: E402  # after the path
from model.backends.native.prebuilt import FOLDER, compile_all  # noqa: E402

MACHINE = os.environ.get("ELM_SWEEPER_PREBUILD", "")


class WithKernels(build_py):
    """Puts the libraries beside the module that looks for them."""

    def run(self) -> None:
        """Copy the modules, then compile."""
        super().run()
        if MACHINE and not self.editable_mode:
            for path in compile_all(find_compiler(), MACHINE, Path(self.build_lib) / FOLDER.relative_to(ROOT)):
                print("compiled", path.name)


class ForOneMachine(bdist_wheel):
    """Names the kind of machine and no version of Python, since the libraries are loaded by ctypes."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return what the wheel's file name says it runs on."""
        return ("py3", "none", f"linux_{MACHINE}") if MACHINE else super().get_tag()


class Contents(Distribution):
    """Says whether there are libraries, which go into another folder of a wheel than modules alone."""

    def has_ext_modules(self) -> bool:
        """Whether something is compiled."""
        return bool(MACHINE)


setup(cmdclass={"build_py": WithKernels, "bdist_wheel": ForOneMachine}, distclass=Contents)
