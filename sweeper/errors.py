"""Errors meant for people: one line that names place, value and valid choices; and how they reach the shell."""

import io
import sys
import traceback
from typing import NoReturn

import click

from cluster.errors import CodeError, SettingError, UserError, joined
from model.architecture import BudgetError
from model.config import ConfigError
from sweeper.extras import missing
from tasks.errors import DataError, TaskError
from theory.errors import TheoryError

FOR_PEOPLE = (UserError, CodeError, ConfigError, BudgetError, TaskError, DataError, TheoryError)
"""Every error that a person can mend. Anything else that reaches the command line is a fault of this program."""
TRIALS_FAILED, STOPPED, TRY_AGAIN, INTERRUPTED = 3, 4, 75, 130
"""Exit codes of a launch that ended although trials failed, that stopped by itself before its end, that was ended by
what may pass (EX_TEMPFAIL of sysexits.h), and that a person or signal ended (128 + SIGINT, as shells count)."""
FAULT = 70
"""Exit code of a fault of this program, so that a script can tell it from a mistake (EX_SOFTWARE of sysexits.h)."""


class SweeperError(UserError):
    """Something about a sweep that the user can mend."""


class GridError(SweeperError, SettingError):
    """The grid file cannot be read or asks for something impossible."""


class StoreError(SweeperError):
    """The results directory cannot be read or written as asked."""


class StorageError(StoreError):
    """The storage refused what it is asked for every day: it is full, read-only or gone."""


OUTAGE = "the storage does not answer"
"""Words by which the reason of an outage is known wherever it is passed on as text."""


class OutageError(StorageError):
    """Object storage did not answer for minutes; the same command goes on when it does."""

    exit_code = TRY_AGAIN


class ExecutorFailedError(SweeperError):
    """What runs the trials failed as a whole, such as a cluster whose head is lost."""

    exit_code = TRY_AGAIN


class DamageError(StoreError):
    """A stored file is not what was written.

    Args:
        path: the file.
        why: what shows it.
    """

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: damaged ({why}). `sweeper verify` says what it held and how to go on without it.")
        self.path, self.why = path, why


def warn_of_damage(error: DamageError) -> None:
    """Say on stderr that a command goes on without a file."""
    click.echo(f"Warning: left out: {joined(error)}", err=True)


def run_command(command: click.Command) -> NoReturn:
    """Run a click command and leave with its exit code.

    Errors for people become one line on stderr and exit code 1 (usage errors: 2); with --debug the traceback is shown.
    What stdout or stderr cannot show in its encoding is replaced, so that no letter of a path ends a command half-way.
    A fault of ours is never shown as a mistake of the user: it keeps its traceback, with the request to report it,
    and ends with exit code `FAULT`.
    """
    for stream in (sys.stdout, sys.stderr):
        # Other streams, such as those of tests and notebooks, take care of their letters themselves.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        # Not standalone, where click would turn errors into exit codes by rules of its own.
        code = command.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    # click turns Ctrl-C into its own `Abort` where it notices it first.
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:  # the border to the person: nothing leaves as a bare traceback without advice
        line = _advice(error)
        # Read off the words themselves: the error may come before click has read its options.
        if line is not None and "--debug" in sys.argv:
            raise
        if line is not None:
            click.echo(f"Error: {line}", err=True)
            sys.exit(getattr(error, "exit_code", 1))
        traceback.print_exc()
        click.echo(
            "This is a fault of the program, not of your input. Please report it with the lines above.", err=True
        )
        sys.exit(FAULT)


def _advice(error: Exception) -> str | None:
    """What the person can mend, in one line; None for a fault of ours."""
    # An error number means that the operating system refused: disk full, no permission, no such file.
    if isinstance(error, FOR_PEOPLE) or (isinstance(error, OSError) and error.errno is not None):
        return joined(error)
    return missing(error)
