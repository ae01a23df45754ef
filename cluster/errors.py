"""Errors meant for people: one line that names the place, the value and what would be right.

They stand here because every package but `theory` may import from `cluster`. `model` and `tasks` raise classes of their
own beside `CodeError`, `theory` none but its own; `sweeper.errors.FOR_PEOPLE` lists all.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """Something that a person can mend; the command line prints it as one line and exits with code 1.

    It is no ValueError: those are raised by numpy, pandas and torch as well, for faults that are ours.
    """


class SettingError(UserError):
    """A value of a YAML file that is not understood or not possible; the message names the key's path."""


class CodeError(ValueError):
    """A file or a class of a person's own is missing, cannot be run, or does not follow its interface."""


class ClusterError(UserError):
    """Something about a cluster that the user can mend."""


class ProfileError(ClusterError, SettingError):
    """A profile that cannot be read, or asks for something impossible."""


class ConnectError(ClusterError):
    """No connection to a Ray cluster: unreachable, refused, or of other versions."""


class SubmitError(ClusterError):
    """A job could not be submitted, stopped or looked up."""


class ScenarioError(ClusterError):
    """A simulation was asked for in a way that is not understood."""


def unknown_name(place: str, name: object, valid: Iterable[str]) -> str:
    """Say that `name` is not one of `valid`, with the nearest valid name when one is close.

    Args:
        place: where it stands, such as ``profile.kind``.
        name: the value there.
        valid: every name that would have been accepted.
    """
    return f"{place}: {name!r} is not known{choices_hint(name, sorted(valid))}"


def choices_hint(value: object, choices: Iterable[object]) -> str:
    """End a sentence about a value that is none of the valid ones: with the one that is close to it, and with all.

    Args:
        value: what the user wrote.
        choices: everything that would have been accepted.

    >>> choices_hint("leters", ["bytes", "letters"]), choices_hint("x", ["bytes"])
    ("; did you mean 'letters'? Valid: bytes, letters", '. Valid: bytes')
    """
    names = [str(choice) for choice in choices]
    near = get_close_matches(str(value), names, n=1)
    return f"{f'; did you mean {near[0]!r}?' if near else '.'} Valid: {', '.join(names) or 'none'}"


def path_hint(path: Path, suits: Callable[[Path], bool] = Path.is_file, names: Iterable[str] = ()) -> str:
    """End a sentence about a path that is not there: with the one that is, where a single name in it is misspelt.

    Args:
        path: what the user wrote.
        suits: whether a path would have been accepted.
        names: words that would have been accepted in the place of a path.

    Returns:
        Such as ``; did you mean 'results/mine'?``; empty where nothing that suits has a name that is close.
    """
    there = next((folder for folder in path.parents if folder.is_dir()), path)
    first, *rest = path.relative_to(there).parts or ("",)
    try:
        beside = [entry.name for entry in there.iterdir()]
    except OSError:  # a folder that cannot be read, or a file, tells no names
        return ""
    near = [other for name in get_close_matches(first, beside) if suits(other := there.joinpath(name, *rest))]
    meant = [*get_close_matches(str(path), names, n=1), *map(str, near)]
    return f"; did you mean {meant[0]!r}?" if meant else ""


@contextmanager
def code_errors_as(kind: type[ValueError]) -> Iterator[None]:
    """Raise a `CodeError` as the error of the package that asked for the class."""
    try:
        yield
    except CodeError as error:
        raise kind(str(error)) from error


def joined(error: BaseException) -> str:
    """Text of an error on one line."""
    # Some errors, such as a bare `MemoryError`, have no text; their name is then all there is to say.
    return printable(" ".join(str(error).split())) or type(error).__name__


def printable(text: str) -> str:
    """A text for a terminal: control characters, escape sequences and turns of direction are written out."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
