"""Errors meant for people: one line that names the place, the value and the valid choices."""

from collections.abc import Iterable
from difflib import get_close_matches


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
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{what}: {name!r} is not known{hint} Valid: {', '.join(choices)}"
