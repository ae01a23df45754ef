"""Our own packages are imported at the top of a file, unless a start-up time or an extra pays for doing it later."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("sweeper", "model", "tasks", "theory", "analysis", "cluster")
LATER = {
    # read whenever a command starts, `--help` included; see test_importing_a_command_line_loads_nothing_heavy
    "sweeper/cli.py",
    "sweeper/cli_options.py",
    "sweeper/commands/grids.py",
    "sweeper/commands/runs.py",
    "sweeper/commands/stores.py",
    "analysis/cli.py",
    "analysis/cli_options.py",
    "cluster/attach/probe.py",
    "cluster/doctor/doctor.py",
    "cluster/jobs/jobs.py",
    "tasks/cli.py",
    # the faces for Python, whose import is that of every command too
    "analysis/__init__.py",
    "analysis/python.py",
    "sweeper/__init__.py",
    "sweeper/python.py",
    # read by `sweeper plan`; see test_describing_loads_neither_torch_nor_numpy
    "tasks/text/spec.py",
    "tasks/own/spec.py",
    "tasks/neuron/spec.py",
    "tasks/sequences/spec.py",
    "tasks/spikes/spec.py",
    # what needs an extra that others do without
    "sweeper/search/choose.py",
    # torch and Ray, which take seconds to load and which the other executor, or a plain launch, does without
    "sweeper/executors/processes.py",
    "sweeper/executors/ray_tune.py",
    "sweeper/launch/data_check.py",
    "sweeper/launch/launch.py",
    "sweeper/launch/preflight.py",
    "sweeper/launch/search_loop.py",
    # torch and scipy's statistics, which one command of the analysis needs
    "analysis/activity/collect.py",
}


def late_imports(file: Path) -> list[int]:
    """Lines on which a function imports one of our packages."""
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    imports = (node for function in functions for node in ast.walk(function))
    lines = set()
    for node in imports:
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if any(name.split(".")[0] in PACKAGES for name in names):
            lines.add(node.lineno)
    return sorted(lines)


def test_only_these_files_import_later():
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    names = {file: str(file.relative_to(ROOT)) for file in files}
    late = {name: lines for file, name in names.items() if name not in LATER and (lines := late_imports(file))}
    assert late == {}


@pytest.mark.parametrize("package", ["sweeper", "analysis"])
def test_a_package_runs_as_a_module(package: str):
    command = [sys.executable, "-m", package, "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert printed.startswith(f"Usage: python -m {package} ")
