"""The one exception that the package raises for its users."""

from collections.abc import Iterable
from difflib import get_close_matches


class TheoryError(ValueError):
    """Wrong input; the message names the argument, its value, and the valid choices or the data that would help."""


def unknown(argument: str, value: object, choices: Iterable[str]) -> TheoryError:
    """Build the error for a name that is not among the choices, with the nearest one where one is close.

    In the words of `cluster.errors.unknown_name`, which this package may not import; a test compares them.

    >>> str(unknown("floor", "non", ["none", "max"]))
    "floor: 'non' is not known; did you mean 'none'? Valid: none, max"
    """
    names = list(choices)
    near = get_close_matches(str(value), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return TheoryError(f"{argument}: {value!r} is not known{hint} Valid: {', '.join(names) or 'none'}")
