"""Running the commands as if packages were not installed."""

import subprocess
import sys
from collections.abc import Collection

import pytest

# Importing a hidden package, or looking for it, goes as if it were not there.
HIDE = """
import runpy, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
runpy.run_module("{module}", run_name="__main__", alter_sys=True)
"""


def run_without(hidden: Collection[str], module: str, *arguments: object, **options) -> subprocess.CompletedProcess:
    """Run a module, such as `sweeper.cli`, in a process in which some packages are hidden."""
    code = HIDE.format(hidden=sorted(hidden), module=module)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **options)


@pytest.fixture
def without():
    return run_without
