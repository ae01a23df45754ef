"""Errors meant for people: one line that names the place, the value and the valid choices."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NoReturn

import click

from sweeper.extras import missing


class SweeperError(Exception):
    """Something the user can mend; the command line prints it as one line and exits with code 1."""


class GridError(SweeperError):
    """The grid file cannot be read or asks for something impossible."""


class StoreError(SweeperError):
    """The results directory cannot be read or written as asked."""


def unknown_name(what: str, name: object, valid: Iterable[str]) -> str:
    """Say that `name` is not one of `valid`, with the nearest valid name when one is close.

    Args:
        what: the place, such as ``training.optimizer``.
        name: the value that was given.
        valid: every name that would have been accepted.
    """
    choices = sorted(valid)
    near = get_close_matches(str(name), choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"{what}: {name!r} is not known{hint} Valid: {', '.join(choices)}"


def run_command(command: click.Command) -> NoReturn:
    """Run a click command; errors become one line on stderr and exit code 1 (usage errors: 2).

    With --debug the traceback is shown.
    """
    debug = "--debug" in sys.argv
    try:
        code = command.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except (SweeperError, ValueError, OSError) as error:  # our packages' errors for people are ValueErrors
        if debug:
            raise
        click.echo(f"Error: {_one_line(error)}", err=True)
        sys.exit(1)
    except Exception as error:  # the border to the person: a fault of ours is one line too, with the way to report it
        if debug:
            raise
        advice = missing(error)
        fault = f"Unexpected {type(error).__name__}: {_one_line(error)}. --debug shows where; please report it."
        click.echo(f"Error: {advice}" if advice else fault, err=True)
        sys.exit(1)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
