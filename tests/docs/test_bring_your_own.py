"""The page's examples run as they are written: each file is made, planned, trained and read again."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from analysis.cli import cli
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection
from sweeper.launch.launch import launch
from sweeper.plan.grid import load_grid
from tests.sweeper.inline import LanesHere

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "bring_your_own.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
FILES = {match[1]: text for _, text in BLOCKS if (match := re.match(r"# (\S+\.(?:py|yaml))\n", text))}
GRIDS = [name for name in FILES if name.endswith(".yaml")]
METRICS = {
    "arrays.yaml": ("accuracy", "max", [4]),
    "table.yaml": ("mse", "min", [4]),
    "recall.yaml": ("accuracy", "max", [4]),
    "cells.yaml": ("bpc", "min", [2, 2, 2, 2, 2]),
}
"""Metric and direction of each grid, and how many rows each of its groups has."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("page")
    for name, text in FILES.items():
        (path / name).write_text(text)
    for name in FILES:
        if name.startswith("make_"):
            subprocess.run([sys.executable, name], cwd=path, check=True)
    return path


def test_examples_have_at_most_twenty_lines():
    lines = {name: [line for line in text.splitlines()[1:] if line.strip()] for name, text in FILES.items()}
    assert {name: len(code) for name, code in lines.items() if len(code) > 20} == {}


def test_every_example_is_run():
    assert {name for name in FILES if name.endswith(".yaml")} == set(METRICS)
    assert {language for language, text in BLOCKS if text not in FILES.values()} == {"toml", "sh"}


@pytest.mark.parametrize("grid", GRIDS)
def test_a_grid_of_the_page_trains_and_its_rows_are_a_data_set(grid, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ELM_DATA_DIR", os.fspath(tmp_path / "data"))
    results = str(tmp_path / "results")
    assert launch(load_grid(grid), results, LanesHere(), Console(quiet=True)).exit_code == 0
    groups, (metric, direction, rows) = datasets(read_sweep(results), Selection()), METRICS[grid]
    assert [len(data.rows) for data in groups] == rows
    for data in groups:
        assert (data.metric, data.direction) == (metric, direction)
        assert data.rows["value"].notna().all()


def test_a_cell_of_the_page_stands_beside_others_on_one_axis(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    results = str(tmp_path / "results")
    assert launch(load_grid("cells.yaml"), results, LanesHere(), Console(quiet=True)).exit_code == 0
    found = CliRunner().invoke(cli, ["compare", results, "-o", str(tmp_path / "compare.html")])
    assert found.exit_code == 0, (found.output, found.exception)
    for name in ("my_cell.py:Leaky@", "gru", "lru", "min_gru"):
        assert name in found.output


def test_the_published_points_are_imported_and_fitted(folder, monkeypatch):
    monkeypatch.chdir(folder)
    shutil.copy(ROOT / "theory" / "published" / "chinchilla_points.csv", folder)
    (script,) = [text for language, text in BLOCKS if language == "sh"]
    for line in script.replace("\\\n", " ").splitlines():
        name, *arguments = shlex.split(line)
        assert name == "analysis"
        found = CliRunner().invoke(cli, arguments)
        assert found.exit_code == 0, (found.output, found.exception)
    (group,) = json.loads(Path("results/chinchilla/fit.json").read_text())["groups"]
    assert (group["label"], group["data"]["rows"]) == ("chinchilla", 240)
    assert group["law"]["constants"]["all"]["E"] == pytest.approx(1.82, abs=0.01)
    evidence = group["evidence"]
    intervals = {row["quantity"]: row for row in evidence["parameters"]}
    # the public refit, of the logarithm of the loss (see `theory.reference.chinchilla`)
    for name, value in {"a": 0.348, "b": 0.366, "E": 1.817, "A": 482.0, "B": 2085.4}.items():
        assert intervals[name]["low"] < value < intervals[name]["high"], name
    assert evidence["compute"]["n"]["estimate"] == pytest.approx(0.52, abs=0.005)
    (split,) = [row for row in evidence["compute"]["splits"] if row["compute"] == 1e21]
    assert split["ratio"]["estimate"] == pytest.approx(20, abs=1)
    report = Path("results/chinchilla/fit.html").read_text(encoding="utf-8")
    assert "metric = E + A N^-a + B D^-b" in report
    assert "Best split of compute: N* ~ C^0.522" in report
    assert "Best split of training compute" in Path("results/chinchilla/dashboard.html").read_text(encoding="utf-8")
