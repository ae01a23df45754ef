"""Declared options of a task: defaults, checks and error messages, with the standard library alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cluster.errors import choices_hint
from tasks.errors import TaskError

# The types that YAML and JSON both keep: an option goes through either on its way to a trial.
OptionValue: TypeAlias = str | int | float | bool

MOST_EXAMPLES = 10_000_000
"""Most examples of a split that is generated: their hashes alone, which tell leaks, take 80 MB."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option that a grid file may give to a task."""

    name: str
    """Key in the grid file."""
    default: OptionValue
    """Value when the key is missing; its type is the type that is asked for."""
    required: bool = False
    """Whether the key must be given, so that the default only says the type."""
    many: bool = False
    """Whether a list of texts is taken too; it is read as one text with commas between."""
    help: str
    """One line for the documentation and for `describe`."""
    choices: tuple[OptionValue, ...] = ()
    """All valid values; empty when the range below decides."""
    names: tuple[str, ...] = ()
    """Texts with a meaning of their own, of an option whose other values are paths."""
    minimum: float | None = None
    """Smallest valid number, inclusive."""
    maximum: float | None = None
    """Largest valid number, inclusive."""

    def check(self, value: object, where: str) -> OptionValue:
        """Return `value` in the option's type.

        Args:
            value: what the grid file holds.
            where: path of the key, for the message.

        Raises:
            TaskError: wrong type, not among the choices or out of range.
        """
        if self.choices:
            # Python takes True for 1, so that `true` would pass for a choice of 1 unless the types are compared as well
            if value not in self.choices or isinstance(value, bool) != isinstance(self.default, bool):
                raise TaskError(f"{where}: {value!r} is not valid{choices_hint(value, self.choices)}")
            return type(self.default)(value)
        if self.many and isinstance(value, list):
            value = _joined(value, where)
        if type(self.default) is int and isinstance(value, float) and value.is_integer():
            value = int(value)  # YAML reads 10.0 as a fraction
        types = (int, float) if isinstance(self.default, float) else type(self.default)
        if not isinstance(value, types) or (isinstance(value, bool) and not isinstance(self.default, bool)):
            raise TaskError(f"{where}: {value!r} is not valid; give {_kind(self.default)}")
        if isinstance(value, int | float):
            self._check_range(value, where)
        elif not value:
            raise TaskError(f"{where}: is empty; give {_kind(self.default)}")
        return type(self.default)(value)

    def _check_range(self, value: float, where: str) -> None:
        low, high = self.minimum, self.maximum
        # `not >=` and not `<`: every comparison with NaN is false, so that NaN is refused
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"from {low} to {high}" if high is not None else f"of at least {low}"
            raise TaskError(f"{where}: {value!r} is not valid; give {_kind(self.default)} {bounds}")


def _joined(values: list[object], where: str) -> str:
    if not values or not all(isinstance(value, str) and value.strip() and "," not in value for value in values):
        raise TaskError(f"{where}: {values!r} is not valid; give texts without commas")
    return ", ".join(str(value).strip() for value in values)


def _kind(default: OptionValue) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(default)]


def resolve_options(
    options: Mapping[str, object], declared: Sequence[Option], *, task: str, where: str
) -> dict[str, OptionValue]:
    """Check options against what the task declares and fill in the defaults.

    Args:
        options: options as read from the grid file.
        declared: options that the task knows.
        task: the task's name, for the message.
        where: path of the task in the grid file, for the message.

    Returns:
        Every declared option with its value, in the order of declaration.

    Raises:
        TaskError: unknown key, invalid value, or a key that must be given and is not.
    """
    by_name = {option.name: option for option in declared}
    # Unknown keys first, because a misspelt key also leaves its option at the default, which nobody would notice.
    for key in options:
        if key not in by_name:
            raise TaskError(f"{where}.{key}: task {task!r} has no such option{choices_hint(key, by_name)}")
    for name, option in by_name.items():
        if option.required and name not in options:
            raise TaskError(f"{where}.{name}: task {task!r} needs it: {option.help}")
    # In the order of declaration, so that equal options give equal text, whatever the order in the grid file.
    return {
        name: option.check(options[name], f"{where}.{name}") if name in options else option.default
        for name, option in by_name.items()
    }
