"""Errors of this package that a person can act on: one line that names the place, the value and the choices."""

import difflib
from collections.abc import Iterable


class TaskError(ValueError):
    """A task name or a task option is wrong."""


class DataError(ValueError):
    """A data file is missing, damaged or cannot be written."""


def choices_hint(value: object, choices: Iterable[object]) -> str:
    """List the valid choices and, when one is close to `value`, propose it.

    Args:
        value: what the user wrote.
        choices: everything that would have been accepted.

    Returns:
        A clause such as "choose one of bytes, letters; did you mean 'letters'?".
    """
    names = [str(choice) for choice in choices]
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    listed = f"choose one of {', '.join(names)}" if names else "there are none"
    return f"{listed}; did you mean {close[0]!r}?" if close else listed
