"""The core runs alone, and a command that needs more says so in one line with the command that installs it."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from benchmarks.synthetic import Design, write_sweep
from sweeper.extras import _EXTRAS, missing
from sweeper.store.store import ResultsStore

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTION = {"sklearn": "scikit-learn"}
NO_COMMAND_NEEDS = {"all", "dev", "docs"}
OUTSIDE_THE_CORE = sorted(_EXTRAS)

TEXT = "task: {name: text, alphabet: letters}"
GRID = """
name: light
TASK
budgets: [3000, 4000]
model: {d_m: [1, 2, 4], d_tree: 4, d_branch: 4}
training: {steps: 5}
"""


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", line)[0] for line in requirements}


def grid_in(folder: Path, *, task: str = TEXT, more: str = "") -> Path:
    path = folder / "light.yaml"
    path.write_text(GRID.replace("TASK", task) + more)
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """3 budgets x 4 d_m x 2 seeds: enough for a law."""
    path = tmp_path_factory.mktemp("light") / "results"
    write_sweep(path, Design(d_m=(2, 5, 12, 40)))
    return path


def test_the_table_of_packages_is_that_of_pyproject():
    extras = {name: names_of(lines) for name, lines in PROJECT["optional-dependencies"].items()}
    told = {(package.extra, DISTRIBUTION.get(module, module)) for module, package in _EXTRAS.items()}
    assert told == {(name, one) for name, ones in extras.items() if name not in NO_COMMAND_NEEDS for one in ones}
    assert not names_of(PROJECT["dependencies"]) & {name for _, name in told}
    every = re.search(r"\[(.*)\]", PROJECT["optional-dependencies"]["all"][0])
    assert set(every[1].split(",")) == set(extras) - NO_COMMAND_NEEDS


def test_every_requirement_has_its_version_pinned():
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().split()}
    asked = names_of([*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())])
    assert {name.lower() for name in asked} - pinned == {"elm-sweeper"}


@pytest.mark.parametrize("hidden", [("torch", "ray"), OUTSIDE_THE_CORE], ids=["without torch and ray", "core only"])
def test_the_light_face_runs(without, hidden, results, tmp_path):
    plan = without(hidden, "sweeper.cli", "plan", grid_in(tmp_path))
    assert plan.returncode == 0, plan.stderr
    assert "6 trials to run." in plan.stdout
    ResultsStore.create(tmp_path / "begun").save_grid("light", grid_in(tmp_path).read_text())
    status = without(hidden, "sweeper.cli", "status", tmp_path / "begun")
    assert status.returncode == 0, status.stderr
    assert "6 missing" in status.stdout
    report, page = tmp_path / "fit.json", tmp_path / "page.html"
    fit = without(hidden, "analysis.cli", "fit-theory", results, "--quick", "-o", report)
    assert fit.returncode == 0, fit.stderr
    assert report.exists()
    dashboard = without(hidden, "analysis.cli", "dashboard", results, "-o", page)
    assert dashboard.returncode == 0, dashboard.stderr
    assert page.exists()


def test_formulas_count_without_torch_and_cells_say_that_they_do_not(without, tmp_path):
    blocks = "".join(f"  - {{architecture: {name}}}\n" for name in ("lstm", "chrono_lstm", "gru", "snn"))
    (tmp_path / "formulas.yaml").write_text(f"{TEXT}\nbudgets: [3000]\nblocks:\n{blocks}")
    plan = without(("torch", "ray"), "sweeper.cli", "plan", tmp_path / "formulas.yaml")
    assert "4 trials to run." in plan.stdout, plan.stderr
    assert "recurrences" in without(("torch", "ray"), "sweeper.cli", "grids").stdout  # lists it, and counts nothing
    plan = without(("torch", "ray"), "sweeper.cli", "plan", "recurrences")
    assert plan.returncode == 1
    assert plan.stderr.count("\n") == 1
    assert plan.stderr.startswith("Error: counting cells, training or reading training data needs torch")


OPTUNA = "search: {kind: optuna, trials: 4}\n"
DIGITS = "task: {name: images}"


@pytest.mark.parametrize(
    ("hidden", "changes", "options", "line"),
    [
        ("torch", {}, (), "training data needs torch, which is not installed: pip install 'elm-sweeper[train]'"),
        ("ray", {}, (), "pip install 'elm-sweeper[cluster]' (on this machine `--executor processes` does without)"),
        ("ray", {}, ("--cluster", "127.0.0.1:6379"), "running by Ray needs ray, which is not installed: pip install"),
        ("optuna", {"more": OPTUNA}, ("--executor", "processes"), "pip install 'elm-sweeper[search]'"),
        ("gensim", {}, ("--executor", "processes"), "pip install 'elm-sweeper[data]' (`data:` takes any text file)"),
        ("sklearn", {"task": DIGITS}, ("--executor", "processes"), "pip install 'elm-sweeper[data]'"),
    ],
    ids=["torch", "ray", "cluster", "optuna", "text", "digits"],
)
def test_launching_without_a_package_is_one_line(without, hidden, changes, options, line, tmp_path, monkeypatch):
    monkeypatch.setenv("ELM_DATA_DIR", str(tmp_path / "data"))  # in which nothing is unpacked yet
    done = without([hidden], "sweeper.cli", "launch", grid_in(tmp_path, **changes), "-r", tmp_path / "r", *options)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    assert f"needs {hidden}, which is not installed" in done.stderr
    assert line in done.stderr


def test_making_spikes_of_sound_without_numba_is_one_line(without, tmp_path):
    done = without(["numba"], "tasks.make.speech", "convert", tmp_path, tmp_path / "x.npz")
    assert done.returncode == 1
    assert done.stderr == "Error: the cochlea: numba is not installed; pip install 'elm-sweeper[speech]' brings it\n"


def test_what_belongs_to_no_extra_is_no_advice():
    assert missing(ModuleNotFoundError("No module named 'nowhere'", name="nowhere")) is None
    assert missing(ImportError("cannot import name 'x' from 'torch'", name="torch")) is None
