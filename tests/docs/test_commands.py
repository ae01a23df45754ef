"""Every command of the README and of the pages below docs/ runs here, on tiny networks, or says why it does not.

A block of commands is ``sh``. It runs in the order of its page, in one folder per page, with lanes in this process and
the training of `SHORT`; an HTML comment ``<!-- not run: reason -->`` in front of it leaves it out.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import sweeper.launch.launch as launching
from analysis.cli import cli as analysis
from sweeper.cli import cli as sweeper
from sweeper.plan.grid import parse_grid
from tests.sweeper.inline import LanesHere

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
}
PROGRAMS: dict[str, click.Group] = {"sweeper": sweeper, "analysis": analysis}
BLOCK = re.compile(r"^(?:<!-- not run: (?P<reason>.+?) -->\n\n?)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
LANGUAGES = {"sh", "text", "yaml", "python", "toml"}
SPAN = re.compile(r"(?<!`)`((?:sweeper|analysis) [a-z][^`]*)`(?!`)")
RUN_ELSEWHERE = {"docs/bring_your_own.md", "docs/python.md"}
"""Pages whose blocks have tests of their own beside this one."""
SHORT = {"steps": 4, "batch_size": 4, "length": 16, "warmup_steps": 2, "eval_every": 2, "eval_batches": 1}
SHORT |= {"final_eval_batches": 1, "reset_steps": 4}
SMALL = [4000, 6000, 9000]


def blocks(page: str) -> list[re.Match[str]]:
    return list(BLOCK.finditer(PAGES[page]))


def commands(text: str) -> list[str]:
    """The commands of a block, without lines that are comments alone."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    assert {block["language"] for block in blocks(page)} <= LANGUAGES
    assert PAGES[page].count("\n```") == 2 * len(blocks(page))


RUN = [page for page in PAGES if page not in RUN_ELSEWHERE]


def test_there_are_commands_that_run():
    ran = [block for page in RUN for block in blocks(page) if block["language"] == "sh" and block["reason"] is None]
    assert len(ran) >= 4


@pytest.mark.parametrize("page", [page for page in RUN if any(block["language"] == "sh" for block in blocks(page))])
def test_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launch = launching.launch
    monkeypatch.setattr(
        launching,
        "launch",
        lambda grid, results, _, console, **rest: launch(grid, results, LanesHere(), console, **rest),
    )
    # Told apart by what they are, so that a page needs no marks: a grid goes into the file that its first line names.
    for block in blocks(page):
        if block["language"] == "yaml" and (name := re.match(r"# (\S+\.yaml)\n", block["text"])):
            write_grid(Path(name[1]), yaml.safe_load(block["text"]))
        if block["language"] == "sh" and block["reason"] is None:
            for line in commands(block["text"]):
                run(line)


def write_grid(path: Path, shown: dict) -> None:
    """The grid of a page with smaller networks and tiny training; one that a command drafted is what the page shows."""
    if path.exists():
        drafted = yaml.safe_load(path.read_text(encoding="utf-8"))
        # These follow from the machine and its lanes.
        for key in ("budgets", "seeds", "training"):
            assert type(drafted.pop(key)) is type(shown[key])
        assert drafted == {key: value for key, value in shown.items() if key in drafted}
        assert set(shown) - set(drafted) == {"budgets", "seeds", "training"}
    path.write_text(yaml.safe_dump({**shown, "budgets": SMALL, "training": SHORT}))


def run(line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    if program in PROGRAMS:
        # Intervals and held-out fits have tests of their own, and take most of the time.
        quick = ["--quick"] if arguments[0] == "fit-theory" else []
        result = CliRunner().invoke(PROGRAMS[program], [*arguments, *quick])
        assert result.exit_code == 0, (line, result.output, result.exception)
    else:
        assert program == "python", f"{line}: this test cannot run it; say why by a comment `not run`"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(line, shell=True, check=True, env={**os.environ, "PATH": path})


@pytest.mark.parametrize("page", RUN)
def test_a_grid_of_a_page_is_understood(page):
    for block in blocks(page):
        if block["language"] == "yaml":
            parse_grid(block["text"])


HELP = {page: (ROOT / "docs/reference" / page).read_text(encoding="utf-8") for page in ("commands.md",)}


@pytest.mark.parametrize(("page", "text"), {**PAGES, **HELP}.items(), ids=lambda value: value[:30])
def test_examples_keep_each_sweep_in_a_folder_of_its_own_below_results(page, text):
    assert re.findall(r"^.*(?:-r|analysis [a-z-]+) (?:results|run)(?=[ `\n]).*$", text, re.M) == []


MENTIONED = sorted({(page, span) for page, text in PAGES.items() for span in SPAN.findall(text)})


@pytest.mark.parametrize(("page", "line"), MENTIONED, ids=lambda value: value)
def test_a_command_that_is_mentioned_is_understood(page, line):
    program, name, *arguments = shlex.split(line.replace("...", "x"))
    group: click.Command = PROGRAMS[program]
    context = click.Context(group)
    while isinstance(group, click.Group):
        command = group.get_command(context, name)
        assert command is not None, f"{page}: {line}"
        group, context = command, click.Context(command)
        if isinstance(group, click.Group) and arguments:
            name, *arguments = arguments
        elif isinstance(group, click.Group):
            return
    if arguments:
        group.make_context(name, arguments)  # parses, runs nothing
