"""An option with a value is given once; those that may be repeated, and flags, as often as one likes."""

import click
import pytest
from click.testing import CliRunner

from analysis.cli import cli as analysis
from cluster.command_line import Command, Group
from sweeper.cli import cli as sweeper


@click.group(cls=Group)
@click.option("--root")
def program(root):
    pass


@program.command()
@click.argument("rest", nargs=-1)
@click.option("--where", "-w")
@click.option("--only", multiple=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("-v", "level", count=True)
def show(rest, where, only, as_json, level):
    click.echo(f"{rest} {where} {only} {as_json} {level}")


@pytest.mark.parametrize("arguments", [["-w", "a", "--where", "b"], ["--where=a", "x", "--where=a"]])
def test_a_value_that_is_given_twice_is_refused_and_not_overwritten(arguments):
    result = CliRunner().invoke(program, ["show", *arguments])
    assert result.exit_code == 2
    assert "--where is given 2 times, and one value is taken; give it once." in result.output
    assert "--root is given 2 times" in CliRunner().invoke(program, ["--root", "a", "--root", "b", "show"]).output


def test_what_may_be_repeated_is():
    arguments = ["x", "--only", "a", "--only", "b", "-w", "c", "--json", "--json", "-vv"]
    result = CliRunner().invoke(program, ["show", *arguments])
    assert (result.exit_code, result.output) == (0, "('x',) c ('a', 'b') True 2\n")


@pytest.mark.parametrize("root", [analysis, sweeper])
def test_every_command_with_options_of_one_value_is_of_this_kind(root):
    for name, command in root.commands.items():
        takes_one = [p for p in command.params if isinstance(p, click.Option) and not (p.is_flag or p.multiple)]
        assert isinstance(command, Command) or not takes_one, name
