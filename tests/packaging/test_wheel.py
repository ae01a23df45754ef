"""A wheel holds all rooms with their data, and nothing that stands beside them; it is built and imported here."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("sweeper", "model", "tasks", "theory", "analysis", "cluster")
BESIDE = ("benchmarks", "studies", "tests")
DATA = ("analysis/assets", "model/backends/native/kernel", "sweeper/grids", "theory/published", "tasks/embedded")

# What would be taken along by a pattern that is too wide, such as "sweeper*".
STRAY = ("sweeper_old", "model-copy", "tasks2", "results")

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"

# Prints every module that does not come from the folder given; `__main__` modules would run.
IMPORT_ALL = """
import importlib, pkgutil, sys
where, *packages = sys.argv[1:]
for package in map(importlib.import_module, packages):
    for found in pkgutil.walk_packages(package.__path__, prefix=package.__name__ + "."):
        module = importlib.import_module(found.name)
        if not module.__file__.startswith(where):
            print(found.name, module.__file__)
        print("imported", found.name, file=sys.stderr)
"""


def files_below(folder: Path, *names: str) -> set[str]:
    files = (path for name in names for path in (folder / name).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in files if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """This tree with stray folders beside its packages."""
    source = tmp_path_factory.mktemp("source")
    for name in (*PACKAGES, *BESIDE):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "results", "*.so"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in STRAY:
        (source / name).mkdir()
        (source / name / "__init__.py").write_text("")
    return source


def wheel_of(source: Path, out: Path, **environment: str) -> Path:
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=source,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return out / built.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(source, tmp_path_factory):
    """A wheel of this tree, unpacked."""
    out = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(wheel_of(source, out)) as wheel:
        assert wheel.filename.endswith("-py3-none-any.whl")
        wheel.extractall(out / "unpacked")
    return out / "unpacked"


def test_the_wheel_holds_the_packages_and_nothing_else(installed):
    (about,) = installed.glob("elm_sweeper-*.dist-info")
    assert {path.name for path in installed.iterdir()} == {*PACKAGES, about.name}
    assert files_below(installed, *PACKAGES) == {
        name
        for name in files_below(ROOT, *PACKAGES)
        if name.endswith(".py") or any(name.startswith(f"{folder}/") for folder in DATA)
    }
    assert (about / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "sweeper = sweeper.cli:main" in (about / "entry_points.txt").read_text()


def test_a_wheel_with_kernels_is_for_one_kind_of_machine(source, installed, tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\nfor last; do :; done; echo "$*" > "$last"\n')
    compiler.chmod(0o755)
    # After the pure one, whose files setuptools keeps in `build/`: they must not be missing here.
    path = wheel_of(source, tmp_path, ELM_SWEEPER_PREBUILD="aarch64", CXX=str(compiler))
    assert path.name.endswith("-py3-none-linux_aarch64.whl")
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        libraries = {name for name in names if "/prebuilt/" in name}
        assert names - libraries == files_below(installed, *PACKAGES)
        assert sorted(Path(name).name.rsplit("-", 1)[0] for name in libraries if name.endswith(".so")) == [
            "elm_layer-armv8-a-double",
            "elm_layer-armv8-a-float",
        ]
        assert len(libraries) == 4


@pytest.mark.parametrize("folder", DATA)
def test_the_data_of_the_packages_are_there(installed, folder):
    assert files_below(installed, folder), "the folder is empty, or its name in DATA is old"


def test_a_shipped_grid_is_planned_by_its_name_and_copied(installed, tmp_path):
    def sweeper(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "sweeper", *arguments],
            env={"PYTHONPATH": str(installed), "PATH": "", "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    planned = sweeper("plan", "demo")
    assert planned.returncode == 0, planned.stderr
    assert "15 trials to run" in planned.stdout
    assert "demo" in sweeper("grids").stdout.split()
    assert sweeper("grids", "demo").returncode == 0
    assert (tmp_path / "demo.yaml").read_text() == (ROOT / "sweeper" / "grids" / "demo.yaml").read_text()
    again = sweeper("grids", "demo")
    assert (again.returncode, "demo.yaml is there already" in again.stderr) == (1, True)
    unknown = sweeper("plan", "demmo")
    assert (unknown.returncode, "did you mean 'demo'?" in unknown.stderr) == (1, True)


def test_every_module_of_the_wheel_imports(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(installed), *PACKAGES],
        env={"PYTHONPATH": str(installed), "PATH": "", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    modules = [name for name in files_below(installed, *PACKAGES) if name.endswith(".py")]
    tops = len(PACKAGES)
    assert done.stderr.count("imported ") == len(modules) - tops
