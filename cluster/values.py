"""The one checker of YAML files: readers that turn a value into a checked setting, or say what is wrong and where.

Profiles and grids are read by it. It stands in this package because `sweeper` may import from here; options of tasks
are checked by `tasks.options`, since `tasks` knows no other package.
"""

import contextlib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cluster.errors import SettingError, UserError, unknown_name
from cluster.limits import LIMITS, allowed, check_limit, shown

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


_TAG = "tag:yaml.org,2002:"
# Binary data, sets and ordered mappings, which safe YAML would make too, are nothing that a setting can be.
_SCALARS = frozenset(f"{_TAG}{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp"))
_LONGEST_INTEGER = 40
"""Characters of an integer; Python itself takes quadratic time for long ones and refuses the longest."""
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where PyYAML was built with it: about five times as fast (measured)."""


def read_text_file(path: Path) -> str:
    """Read a small text file: no more than the limit of a YAML file and a byte, whatever stands under the name.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not UTF-8.
        SettingError: it is too long.
    """
    with path.open("rb") as file:
        # A byte more than is allowed: the name may stand for a device that never ends, and the size of a pipe is not
        # known.
        content = file.read(int(LIMITS["file"].most) + 1)
    if len(content) > LIMITS["file"].most:
        raise SettingError(f"the file is too long; {LIMITS['file'].quantity}: {allowed('file')}")
    return content.decode("utf-8")


def read_yaml(text: str) -> object:
    """Read a YAML document, after a look at its size and shape.

    Raises:
        SettingError: it is not YAML, exceeds a limit, or has a mapping with a key twice or a key that is no text.
    """
    # Before anything is parsed: time and memory of a parser grow with the text.
    check_limit("file", len(text), "the file's length")
    # Disposed of in any case: libyaml's parser holds memory that Python does not collect.
    loader = None
    try:
        _check_depth(text)
        loader = _Loader(text)
        document = loader.get_single_node()
        if document is None:
            return None
        _check_node(document, "", 1, {}, loader)
        return loader.construct_document(document)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingError(f"not valid YAML: {' '.join(str(error).split())}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_depth(text: str) -> None:
    """Follow the nesting without building anything: the parsers recurse, and libyaml's ends the whole process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            check_limit("depth", depth, f"line {_line(event.start_mark)}: levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_node(node: yaml.Node, place: str, depth: int, known: dict[int, tuple[int, int]], loader: Any) -> int:
    """Check a node and those below it.

    Args:
        node: of the document's graph; a node with several aliases is one node.
        place: path of the node.
        depth: its level, from 1.
        known: values below and levels below of nodes that were checked already, by id: their aliases count again, but
            are not walked again.
        loader: knows what plain scalars stand for.

    Returns:
        The number of values below the node, itself included, with aliases written out.
    """
    label = place or "the file"
    values, below = known.get(id(node), (0, 0))
    check_limit("depth", depth + below, f"{label}: levels")
    if values:
        return values
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, label, loader)
        values, children = 1, []
    elif isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        values, children = 1, [(child, f"{place}[{i}]") for i, child in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        values, children = 1 + len(node.value), _checked_keys(node, place)
    else:
        raise SettingError(f"{label}: the tag {node.tag!r} (line {_line(node.start_mark)}) is not allowed here")
    for child, child_place in children:
        values += _check_node(child, child_place, depth + 1, known, loader)
        below = max(below, 1 + known[id(child)][1])
        check_limit("values", values, f"{label}: values")
    # By identity: PyYAML gives each alias the very node of its anchor, so that nested aliases are counted without being
    # walked, which would take exponential time.
    known[id(node)] = values, below
    return values


def _checked_keys(node: yaml.MappingNode, place: str) -> list[tuple[yaml.Node, str]]:
    """The values of a mapping with their places; its keys are texts, each of them once."""
    children: dict[str, yaml.Node] = {}
    for key, value in node.value:
        line = _line(key.start_mark)
        if key.tag == f"{_TAG}merge":
            raise SettingError(
                f"{place or 'the file'}: merge keys (`<<`, line {line}) are not read; write the settings out, or give "
                "what all blocks share at the top of the file"
            )
        if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_TAG}str":
            written = f"{key.value!r} " if isinstance(key, yaml.ScalarNode) else ""
            raise SettingError(
                f"{place or 'the file'}: the key {written}(line {line}) is no text to YAML; put it into quotes"
            )
        check_limit("text", len(key.value), f"{place or 'the file'}: a key's length")
        # PyYAML takes the last of several equal keys without saying so.
        if key.value in children:
            raise SettingError(f"{place or 'the file'}: the key {key.value!r} is given twice (line {line})")
        children[key.value] = value
    return [(value, f"{place}.{key}" if place else key) for key, value in children.items()]


def _check_scalar(node: yaml.ScalarNode, label: str, loader: Any) -> None:
    check_limit("text", len(node.value), f"{label}: the length")
    # A tag that was written out may not fit its text: `!!int abc`.
    plain = loader.resolve(yaml.ScalarNode, node.value, (True, False))
    if node.tag not in _SCALARS or node.tag not in (plain, f"{_TAG}str"):
        raise SettingError(f"{label}: the tag {node.tag!r} (line {_line(node.start_mark)}) does not fit {node.value!r}")
    if node.tag == f"{_TAG}int" and len(node.value) > _LONGEST_INTEGER:
        limit = f"{LIMITS['whole'].quantity}: {allowed('whole')}"
        raise SettingError(f"{label}: {node.value[:20]}... has {len(node.value)} digits; {limit}")
    try:
        loader.construct_object(node)
    except ValueError as error:  # a date such as 2001-13-45
        raise SettingError(f"{label}: {node.value!r} (line {_line(node.start_mark)}): {error}") from error


def _line(mark: Any) -> int:
    return int(mark.line) + 1


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
    """A finite number; YAML 1.1 reads 1e-3 as text, which is put right here."""
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
    # Numbers are taken as text: a partition or a version may be called `2024`. True and False are integers to Python,
    # but were no name to the person.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
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

    YAML 1.1 reads an unquoted ``24:00:00`` as the base-60 number 86400, which is taken as the seconds it is.
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
