"""The one checker of YAML files: readers that turn a value into a checked setting, or say what is wrong and where.

Profiles and grids are read by it. It stands in this package because `sweeper` may import from here; options of tasks
are checked by `tasks.options`, since `tasks` knows no other package.
"""

import contextlib
import math
import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

import yaml

from cluster.errors import SettingError, unknown_name

Reader = Callable[[object, str], Any]
"""Takes a value and its place in the file; returns the setting or raises `SettingError`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
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


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice instead of keeping the last silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> object:
    """Read a YAML document.

    Raises:
        SettingError: it is not YAML, or a mapping has a key twice.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise SettingError(f"not valid YAML: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def raised_as(kind: type[SettingError]) -> Iterator[None]:
    """Give the errors of the readers inside the block the class that the file's own reader promises."""
    try:
        yield
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
        raise SettingError(f"{place}: expected a mapping of settings, got {value!r}")
    return value


def number(value: object, place: str) -> float:
    """A finite number; YAML 1.1 reads 1e-3 as text, which is put right here."""
    try:
        read = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        read = math.nan
    if isinstance(value, bool) or not math.isfinite(read):
        raise SettingError(f"{place}: expected a number, got {value!r}")
    return read


def setting(read: Reader, default: Any = MISSING) -> Any:
    """A dataclass field that a profile file may set.

    Args:
        read: checks and converts the value.
        default: used where the file has no such key; without one the key is required.
    """
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
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SettingError(f"{place}: expected one line of text, got {value!r}")
    line = str(value)
    if not line or not line.isprintable():
        raise SettingError(f"{place}: expected one line of printable text, got {line!r}")
    return line


def name(value: object, place: str) -> str:
    """A name of letters, digits, `-`, `_` and `.` that does not begin with a dash."""
    line = text(value, place)
    if not _NAME.fullmatch(line):
        raise SettingError(f"{place}: {line!r} may hold letters, digits, '-', '_' and '.' only")
    return line


def matching(pattern: str, what: str) -> Reader:
    """Text of a given form."""

    def read(value: object, place: str) -> str:
        line = text(value, place)
        if not re.fullmatch(pattern, line):
            raise SettingError(f"{place}: expected {what}, got {line!r}")
        return line

    return read


def absolute_path(value: object, place: str) -> str:
    """An absolute path without `..`."""
    line = text(value, place)
    if not line.startswith("/") or ".." in line.split("/"):
        raise SettingError(f"{place}: expected an absolute path without '..', got {line!r}")
    return line.rstrip("/") or "/"


def path_or_uri(value: object, place: str) -> str:
    """An absolute path, or a URI such as ``s3://bucket/sweeps``."""
    line = text(value, place)
    if re.match(r"[a-z][a-z0-9+.-]*://[^/]", line):
        if ".." in line.split("/"):
            raise SettingError(f"{place}: expected a URI without '..', got {line!r}")
        return line.rstrip("/")
    if not line.startswith("/"):
        raise SettingError(f"{place}: expected an absolute path or a URI such as s3://bucket/sweeps, got {line!r}")
    return absolute_path(line, place)


def whole(least: int | None, most: int | None = None) -> Reader:
    """A whole number within bounds; 1e6 and 1000000.0 are whole numbers too."""

    def read(value: object, place: str) -> int:
        # An integer is taken as it is: beyond 2^53 a detour through a fraction would change it.
        whole_number = value if isinstance(value, int) and not isinstance(value, bool) else _whole_of(value)
        below = whole_number is not None and least is not None and whole_number < least
        above = whole_number is not None and most is not None and whole_number > most
        if whole_number is None or below or above:
            limit = f" from {least} to {most}" if most is not None else "" if least is None else f" of at least {least}"
            raise SettingError(f"{place}: expected a whole number{limit}, got {value!r}")
        return whole_number

    return read


def _whole_of(value: object) -> int | None:
    try:
        read = number(value, "")
    except SettingError:
        return None
    return int(read) if read.is_integer() else None


def flag(value: object, place: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise SettingError(f"{place}: expected true or false, got {value!r}")
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
        if not isinstance(value, list) or len(value) < least:
            raise SettingError(f"{place}: expected a list of at least {least} item(s), got {value!r}")
        return tuple(reader(item, f"{place}[{i}]") for i, item in enumerate(value))

    return read


def mapping_of(key_pattern: str, reader: Reader) -> Reader:
    """A mapping whose keys have a given form."""

    def read(value: object, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise SettingError(f"{place}: expected a mapping, got {value!r}")
        for key in value:
            if not isinstance(key, str) or not re.fullmatch(key_pattern, key):
                raise SettingError(f"{place}: {key!r} is not a valid key here")
        return {key: reader(item, f"{place}.{key}") for key, item in value.items()}

    return read


environment = mapping_of(_VARIABLE.pattern, text)
"""Environment variables."""


def seconds(value: object, place: str) -> int:
    """A time span: ``24:00:00``, ``1-12:00:00``, ``90m``, ``24h``, ``2d``; as seconds.

    YAML 1.1 reads an unquoted ``24:00:00`` as the base-60 number 86400, which is taken as the seconds it is.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        span = value
    else:
        line = text(value, place)
        if match := _SPAN.fullmatch(line):
            days, first, second, third = match.groups()
            hours, minutes, rest = (first, second, third) if third is not None else ("0", first, second)
            span = int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(rest)
        elif (match := re.fullmatch(r"(\d+) *([a-z]+)", line)) and match[2] in _SPAN_UNITS:
            span = int(match[1]) * _SPAN_UNITS[match[2]]
        else:
            raise SettingError(f"{place}: expected a time span such as 24:00:00, 90m or 2d, got {line!r}")
    if span <= 0:
        raise SettingError(f"{place}: expected a time span above zero, got {value!r}")
    return span


def mebibytes(value: object, place: str) -> int:
    """An amount of memory such as ``64G`` or ``64Gi``, as MiB; units are powers of 1024, as Slurm has them."""
    match = re.fullmatch(r"(\d+) *([A-Za-z]+)", str(value))
    if not match or match[2].upper() not in _MEMORY_UNITS or int(match[1]) == 0:
        raise SettingError(f"{place}: expected an amount of memory such as 64G, got {value!r}")
    return int(match[1]) * _MEMORY_UNITS[match[2].upper()]
