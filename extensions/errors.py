"""What is wrong with a class that is not ours, in one line, and the choices that a person had."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class CodeError(ValueError):
    """A file or a class of a person's own is missing, cannot be run, or does not follow its interface."""


@contextmanager
def raised_as(kind: type[ValueError]) -> Iterator[None]:
    """Raise a `CodeError` as the error of the package that asked for the class."""
    try:
        yield
    except CodeError as error:
        raise kind(str(error)) from error


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
