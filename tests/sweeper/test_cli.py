"""The command line: fast help, and every mistake one clear line with the right exit code."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from analysis.cli import cli as analysis_cli
from sweeper.cli import cli
from sweeper.store.store import ResultsStore


def run(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sweeper.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize("module", ["sweeper.cli", "analysis.cli"])
def test_importing_a_command_line_loads_nothing_heavy(module):
    heavy = ("torch", "ray", "pandas", "scipy", "numpy", "pyarrow", "psutil", "rich", "yaml", "http.client")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module", ["launch.launch", "launch.maintenance", "executors.ray_executor", "executors.processes"]
)
def test_a_launch_that_finds_nothing_to_run_loads_no_torch_and_no_ray(module):
    code = f"import sys, sweeper.{module}; print([m for m in ('torch', 'ray') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_results_are_named_by_an_option_or_by_themselves(tiny_grid, tmp_path):
    ResultsStore.create(tmp_path / "r").save_grid("tiny", tiny_grid.read_text())
    for place in ([tmp_path / "r"], ["-r", tmp_path / "r"], ["--results", tmp_path / "r", tmp_path / "r"]):
        assert "6 missing" in CliRunner().invoke(cli, ["status", *map(str, place)]).output
        assert CliRunner().invoke(cli, ["compact", *map(str, place)]).exit_code == 0
    both = CliRunner().invoke(cli, ["retry", "a", "-r", "b"])
    assert (both.exit_code, "two results directories are named: a and b" in both.output) == (2, True)
    nowhere = run("status", cwd=tmp_path)
    assert nowhere.stderr.startswith("Error: results: not a results directory")


def test_help_teaches(tiny_grid):
    assert "sweeper plan mine.yaml" in run("--help").stdout
    assert "Ctrl-C" in run("launch", "--help").stdout


def test_plan_prints_the_table_and_writes_nothing(tiny_grid, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = run("plan", tiny_grid, cwd=tmp_path)
    assert result.returncode == 0
    assert "6 trials to run." in result.stdout
    same = run("plan", tiny_grid, "-r", "soon", cwd=tmp_path)
    assert (same.returncode, same.stderr) == (0, "soon: no results yet, so everything is to be run.\n")
    # The forecast follows the load of this very moment.
    assert same.stdout.partition("Forecast")[0] == result.stdout.partition("Forecast")[0]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "nowhere.yaml: no such grid file"),
        ("task: [", "not valid YAML"),
        ("task: text\nbudget: 9\n", "budget: 'budget' is not known; did you mean 'budgets'?"),
        (
            "task: {name: text, alphabet: letters}\nbudgets: [50]\nmodel: {d_m: 1, d_tree: 4, d_branch: 4}\n",
            "too small",
        ),
    ],
)
def test_a_bad_grid_is_one_line_and_exit_code_1(text, message, tmp_path):
    path = tmp_path / "nowhere.yaml"
    if text is not None:
        path.write_text(text)
    result = run("launch", path, "--results", tmp_path / "r")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert not (tmp_path / "r").exists()


def test_debug_shows_the_traceback(tmp_path):
    result = run("--debug", "plan", tmp_path / "nowhere.yaml")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_usage_errors_exit_with_2():
    assert run("launch").returncode == 2
    assert run("lunch").returncode == 2


def test_a_results_directory_of_another_version_is_left_alone(tiny_grid, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "store.json").write_text(json.dumps({"schema_version": 99}))
    result = run("launch", tiny_grid, "--results", tmp_path / "r")
    assert result.returncode == 1
    assert "schema version 99" in result.stderr
    assert sorted(p.name for p in (tmp_path / "r").rglob("*.parquet")) == []


def test_a_corrupt_corpus_is_a_reason_in_the_rows_not_a_crash(tiny_grid, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"")
    tiny_grid.write_text(tiny_grid.read_text().replace("alphabet: letters", f"alphabet: letters, data: {corpus}"))
    result = run("launch", tiny_grid, "--results", tmp_path / "r", "--executor", "processes")
    assert result.returncode == 1
    assert str(corpus) in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_a_plan_folds_replicates_and_shows_what_varies(tmp_path):
    grid = tmp_path / "g.yaml"
    grid.write_text(
        "task: {name: text, alphabet: letters}\nbudgets: [4000]\nseeds: [0, 1, 2, 7]\n"
        "model: {d_m: [2, 4], d_tree: 4, d_branch: 4, rho_rec: [0.0, 0.5]}\n"
    )
    done = run("plan", grid)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("4,000")]
    assert len(lines) == 4  # 16 points
    assert {tuple(line[3:5]) for line in lines} == {("2", "0"), ("2", "0.5"), ("4", "0"), ("4", "0.5")}
    assert all("0-2, 7" in " ".join(line) for line in lines)
    assert "16 trials to run." in done.stdout


def test_a_plan_names_what_blocks_set_and_cuts_no_number_at_80_columns(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    grid = tmp_path / "g.yaml"
    grid.write_text(
        "task: {name: text, alphabet: letters}\nbudgets: {from: 100000, to: 400000, count: 3}\nblocks:\n"
        "  - model: {d_m: 4, d_tree: 4, d_branch: 4, rho_rec: 0.5, input_scale: 2}\n    training: {batch_size: 16}\n"
        "  - architecture: lstm\n  - {architecture: lstm, task: {alphabet: bytes}}\n"
    )
    lines = CliRunner().invoke(cli, ["plan", str(grid)]).output.splitlines()
    (header,) = [line.split() for line in lines if "read-out" in line]
    assert {"architecture", "alphabet", "batch_size", "input_scale"} <= set(header)
    rows = [line.split() for line in lines if line.strip().startswith(("100,000", "200,000", "400,000"))]
    assert [row[0] for row in rows] == ["100,000", "200,000", "400,000"] * 3
    assert "…" not in "".join(map("".join, rows))
    assert [[word for word in row if word in ("elm", "lstm", "letters", "bytes")] for row in rows[::3]] == [
        ["letters", "elm"], ["letters", "lstm"], ["bytes", "lstm"]
    ]  # fmt: skip


def all_commands(command, names=()):
    yield names, command
    for name, below in getattr(command, "commands", {}).items():
        yield from all_commands(below, (*names, name))


@pytest.mark.parametrize("program", [cli, analysis_cli], ids=["sweeper", "analysis"])
def test_every_command_takes_debug(program):
    without = [
        names for names, command in all_commands(program) if "--debug" not in str([p.opts for p in command.params])
    ]
    assert without == []


def test_results_stand_with_or_without_their_option(tiny_grid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (["r"], ["-r", "r"]):
        assert "r: no results yet" in CliRunner().invoke(cli, ["plan", str(tiny_grid), *place]).output
        refused = CliRunner().invoke(analysis_cli, ["summary", *place])
        assert "r: not a results directory" in str(refused.exception)
    both = CliRunner().invoke(cli, ["launch", str(tiny_grid), "a", "-r", "b"])
    assert (both.exit_code, "two results directories are named: a and b" in both.output) == (2, True)
    assert "results: not a results" in str(CliRunner().invoke(analysis_cli, ["summary"]).exception)
    for words in (["merge", "a"], ["merge", "-r", "a", "a"]):
        merged = CliRunner().invoke(cli, words)
        assert merged.exit_code == (2 if words == ["merge", "a"] else 1)
