"""The one checker of YAML files: readers that turn a value into a checked setting, or say what is wrong and where.

Profiles and grids are read by it. It stands in this package because `sweeper` may import from here; options of tasks
are checked by `tasks.options`, which needs no YAML: of `cluster`, `tasks` knows a person's own files alone.
"""

import contextlib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

from cluster.errors import SettingError, UserError, unknown_name
from cluster.limits import check_limit, shown

Reader = Callable[[object, str], Any]
"""Takes a value and its place in the file; returns the setting or raises `SettingError`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DIGITS = re.compile(r"[+-]?[0-9]{1,400}")
_SPAN = re.compile(r"(?:(\d+)-)?(\d+):(\d{2})(?::(\d{2}))?")
_SPAN_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_MEMORY_UNITS = {
    "M": 1,
    "MI": 1,
    "MB": 1,
    "G": 1024,
    "GI": 1024,
    "GB": 1024,
    "T": 1024**2,
    "TI": 1024**2,
    "TB": 1024**2,
}

T = TypeVar("T")


@contextlib.contextmanager
def raised_as(kind: type[UserError]) -> Iterator[None]:
    """Give the errors of the readers inside the block the class that the file's own reader promises."""
    try:
        yield
    # A class below the promised one says more and passes as it is.
    except kind:
        raise
    except SettingError as error:
        raise kind(str(error)) from error


def check_keys(place: str, mapping: Mapping[Any, Any], valid: Collection[str]) -> None:
    """Refuse keys that are not known.

    Args:
        place: prefix of the keys in messages, with its dot.
        mapping: of the file.
        valid: keys that are known.

    Raises:
        SettingError: a key is not among them.
    """
    for key in mapping:
        if key not in valid:
            raise SettingError(unknown_name(f"{place}{key}", key, valid))


def mapping(value: object, place: str) -> dict[str, Any]:
    """A mapping of settings."""
    if not isinstance(value, dict):
        raise SettingError(f"{place}: expected a mapping of settings, got {shown(value)}")
    return value


def number(value: object, place: str) -> float:
    """A finite number; a text that is one, as in quotes, is taken for it."""
    try:
        read = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        read = math.nan
    if isinstance(value, bool) or not math.isfinite(read):
        raise SettingError(f"{place}: expected a number, got {shown(value)}")
    check_limit("number", read, place)
    return read


def setting(read: Reader, default: Any = MISSING) -> Any:
    """A dataclass field that a profile file may set.

    Args:
        read: checks and converts the value.
        default: used where the file has no such key; without one the key is required.
    """
    # dataclasses refuse a dictionary as default, which would be one object for all profiles.
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"read": read})
    return field(default=default, metadata={"read": read})


def build(cls: type[T], values: Mapping[str, object], place: str) -> T:
    """Make an instance of a settings dataclass from a mapping, key by key.

    Args:
        cls: a dataclass whose fields are made by `setting`.
        values: the mapping of the file, without its `kind`.
        place: prefix of the keys in messages.

    Raises:
        SettingError: a key is unknown, missing, or has a value that is not understood.
    """
    known: dict[str, Field[Any]] = {f.name: f for f in fields(cls) if "read" in f.metadata}  # type: ignore[arg-type]
    check_keys(place, values, [*known, "kind"])
    read = {key: known[key].metadata["read"](value, f"{place}{key}") for key, value in values.items()}
    for key, f in known.items():
        if key not in read and f.default is MISSING and f.default_factory is MISSING:
            raise SettingError(f"{place}{key}: is missing; {_needs(cls)}")
    return cls(**read)


def _needs(cls: type[Any]) -> str:
    needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING and f.name != "name"]
    return f"required keys: {', '.join(needed)}"


def text(value: object, place: str) -> str:
    """One line of text without control characters."""
    # Whole numbers are taken as text: a partition or a year may be called `2024`. A fraction has lost how it was
    # written (2.60 is 2.6 by now), and True and False are integers to Python, but were no name to the person.
    if isinstance(value, bool | float):
        raise SettingError(f"{place}: expected one line of text, got {shown(value)}; put a name into quotes")
    if not isinstance(value, str | int):
        raise SettingError(f"{place}: expected one line of text, got {shown(value)}")
    line = str(value)
    # A line break or an escape could end a quoted word or a comment of a job file.
    if not line or not line.isprintable():
        raise SettingError(f"{place}: expected one line of printable text, got {shown(line)}")
    return line


def name(value: object, place: str) -> str:
    """A name of letters, digits, `-`, `_` and `.` that does not begin with a dash."""
    line = text(value, place)
    if not _NAME.fullmatch(line):
        raise SettingError(f"{place}: {line!r} may hold letters, digits, '-', '_' and '.' only")
    return line


def matching(pattern: str, form: str) -> Reader:
    """Text of a given form."""

    def read(value: object, place: str) -> str:
        line = text(value, place)
        if not re.fullmatch(pattern, line):
            raise SettingError(f"{place}: expected {form}, got {shown(line)}")
        return line

    return read


def absolute_path(value: object, place: str) -> str:
    """An absolute path without `..`."""
    line = text(value, place)
    # A job runs in another folder, where a relative path is another place; and `..` would lead out of the folder that a
    # check compares with.
    if not line.startswith("/") or ".." in line.split("/"):
        raise SettingError(f"{place}: expected an absolute path without '..', got {shown(line)}")
    return line.rstrip("/") or "/"


def path_or_uri(value: object, place: str) -> str:
    """An absolute path, or a URI such as ``s3://bucket/sweeps``."""
    line = text(value, place)
    if re.match(r"[a-z][a-z0-9+.-]*://[^/]", line):
        if ".." in line.split("/"):
            raise SettingError(f"{place}: expected a URI without '..', got {shown(line)}")
        return line.rstrip("/")
    if not line.startswith("/"):
        raise SettingError(f"{place}: expected an absolute path or a URI such as s3://bucket/sweeps, got {shown(line)}")
    return absolute_path(line, place)


def whole(least: int | None, most: int | None = None) -> Reader:
    """A whole number within bounds; 1e6 and 1000000.0 are whole numbers too."""

    def read(value: object, place: str) -> int:
        whole_number = value if isinstance(value, int) and not isinstance(value, bool) else _whole_of(value)
        below = whole_number is not None and least is not None and whole_number < least
        above = whole_number is not None and most is not None and whole_number > most
        if whole_number is None or below or above:
            limit = f" from {least} to {most}" if most is not None else "" if least is None else f" of at least {least}"
            raise SettingError(f"{place}: expected a whole number{limit}, got {shown(value)}")
        check_limit("whole", whole_number, place)
        return whole_number

    return read


def _whole_of(value: object) -> int | None:
    # A text of digits is taken as it is: beyond 2^53 a detour through a fraction would change it.
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    try:
        read = number(value, "")
    except SettingError:
        return None
    return int(read) if read.is_integer() else None


def whole_within(key: str) -> Callable[[object, str], int]:
    """A whole number within one of `cluster.limits.LIMITS`."""

    def read(value: object, place: str) -> int:
        amount: int = whole(None)(value, place)
        check_limit(key, amount, place)
        return amount

    return read


def flag(value: object, place: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise SettingError(f"{place}: expected true or false, got {shown(value)}")
    return value


def one_of(*choices: str) -> Reader:
    """One of several words."""

    def read(value: object, place: str) -> str:
        if value not in choices:
            raise SettingError(unknown_name(place, value, choices))
        return str(value)

    return read


def optional(reader: Reader) -> Reader:
    """The same, or null."""
    return lambda value, place: None if value is None else reader(value, place)


def list_of(reader: Reader, least: int = 0) -> Reader:
    """A list, read item by item."""

    def read(value: object, place: str) -> tuple[Any, ...]:
        # A single value is no list of one: a text would be taken letter by letter, and the file would mean something
        # else than it says.
        if not isinstance(value, list) or len(value) < least:
            raise SettingError(f"{place}: expected a list of at least {least} item(s), got {shown(value)}")
        return tuple(reader(item, f"{place}[{i}]") for i, item in enumerate(value))

    return read


def mapping_of(key_pattern: str, reader: Reader) -> Reader:
    """A mapping whose keys have a given form."""

    def read(value: object, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise SettingError(f"{place}: expected a mapping, got {shown(value)}")
        for key in value:
            if not isinstance(key, str) or not re.fullmatch(key_pattern, key):
                raise SettingError(f"{place}: {key!r} is not a valid key here")
        return {key: reader(item, f"{place}.{key}") for key, item in value.items()}

    return read


environment = mapping_of(_VARIABLE.pattern, text)
"""Environment variables."""


def seconds(value: object, place: str) -> int:
    """A time span: ``24:00:00``, ``1-12:00:00``, ``90m``, ``24h``, ``2d``; as seconds.

    A whole number is one of seconds.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        span = value
    else:
        line = text(value, place)
        if match := _SPAN.fullmatch(line):
            days, first, second, third = match.groups()
            # As Slurm reads it: of two parts the first are hours where days stand before them, and minutes otherwise.
            if third is None:
                first, second, third = (first, second, "0") if days else ("0", first, second)
            span = int(days or 0) * 86400 + int(first) * 3600 + int(second) * 60 + int(third)
        elif (match := re.fullmatch(r"(\d+) *([a-z]+)", line)) and match[2] in _SPAN_UNITS:
            span = int(match[1]) * _SPAN_UNITS[match[2]]
        else:
            raise SettingError(f"{place}: expected a time span such as 24:00:00, 90m or 2d, got {shown(line)}")
    if span <= 0:
        raise SettingError(f"{place}: expected a time span above zero, got {shown(value)}")
    check_limit("seconds", span, place)
    return span


def mebibytes(value: object, place: str) -> int:
    """An amount of memory such as ``64G`` or ``64Gi``, as MiB; units are powers of 1024, as Slurm has them."""
    # A number without its unit is refused: Slurm means megabytes by it, Kubernetes bytes.
    match = re.fullmatch(r"(\d+) *([A-Za-z]+)", str(value))
    if not match or match[2].upper() not in _MEMORY_UNITS or int(match[1]) == 0:
        raise SettingError(f"{place}: expected an amount of memory such as 64G, got {shown(value)}")
    amount = int(match[1]) * _MEMORY_UNITS[match[2].upper()]
    check_limit("memory", amount, place)
    return amount
