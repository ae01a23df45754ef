"""What cluster/README.md tells people to write and type: its profiles load and make jobs, its commands exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from analysis.cli import cli as analysis
from cluster.jobs.submit import dry_run
from cluster.profiles.profile import KINDS, kind_of, parse_profile
from sweeper.cli import cli as sweeper

TEXT = (Path(__file__).parents[2] / "cluster" / "README.md").read_text()
BLOCKS = dict(re.findall(r"```yaml\n(kind: (\S+)\n.*?)```", TEXT, re.DOTALL))
COMMANDS = re.findall(r"^(?:\w+=\S+ )*((?:sweeper|analysis) [^#\n`]+)", TEXT, re.MULTILINE)


def test_there_is_a_profile_of_every_kind():
    assert set(BLOCKS.values()) == set(KINDS)


@pytest.mark.parametrize("text", BLOCKS, ids=BLOCKS.values())
def test_a_profile_loads_and_makes_a_job(text, job_of):
    profile = parse_profile(text, default_name="mine")
    assert kind_of(profile) == BLOCKS[text]
    file = dry_run(profile, job_of(profile))
    assert "--device cuda" in file or BLOCKS[text] == "ray-up"
    assert "sweeper.cli" in file or BLOCKS[text] == "ray-up"


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_understood(line):
    program, name, *arguments = shlex.split(line.replace("...", "x"))
    group = {"sweeper": sweeper, "analysis": analysis}[program]
    assert isinstance(group, click.Group)
    command = group.get_command(click.Context(group), name)
    assert command is not None, line
    command.make_context(name, arguments)  # parses, runs nothing


def test_the_commands_were_found():
    assert len(COMMANDS) > 15
