"""The one exception that the package raises for its users."""

from collections.abc import Iterable


class TheoryError(ValueError):
    """Wrong input; the message names the argument, its value, and the valid choices or the data that would help."""


def unknown(what: str, value: object, choices: Iterable[str]) -> TheoryError:
    """Build the error for a name that is not among the choices.

    >>> str(unknown("floor", "min", ["none", "max"]))
    "floor: unknown value 'min'; choose one of: none, max"
    """
    return TheoryError(f"{what}: unknown value {value!r}; choose one of: {', '.join(choices)}")
