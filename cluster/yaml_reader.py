"""YAML files: read by the rules of YAML 1.2, after a look at their size and shape; and written so that they read back.

PyYAML follows YAML 1.1, to which `no` and `on` are truth values, `1:30` is the number 90, `1e-3` a text and `017` the
number 15. Here only `true` and `false` are truth values, and a number is what Python or C would take for one. Beyond
YAML 1.2, digits of a number may be grouped by `_`, as budgets usually are.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from cluster.errors import SettingError
from cluster.limits import LIMITS, allowed, check_limit

_TAG = "tag:yaml.org,2002:"
# Binary data, sets and ordered mappings, which safe YAML would make too, are nothing that a setting can be.
_SCALARS = frozenset(f"{_TAG}{kind}" for kind in ("str", "int", "float", "bool", "null"))
_LONGEST_INTEGER = 40
"""Characters of an integer; Python itself takes quadratic time for long ones and refuses the longest."""
_FORMS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
)
"""What plain scalars stand for (YAML 1.2.2, section 10.3.2), and the characters that each form begins with. Merge keys
are of YAML 1.1; they are known here only to be refused by name."""
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml: five times as fast (measured)
    """Reads YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # as PyYAML declares it


class _Dumper(yaml.SafeDumper):
    """Puts into quotes what a reader of either version of YAML would not take for text."""


for _kind, _form, _first in _FORMS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"(?:{_form})\Z"), _first)
_Loader.add_constructor(f"{_TAG}int", lambda _, node: _whole(node.value))
_Loader.add_constructor(f"{_TAG}float", lambda _, node: _fraction(node.value))


def _whole(written: str) -> int:
    return int(written, 0) if written[:2] in ("0o", "0x") else int(written)


def _fraction(written: str) -> float:
    # YAML writes `.inf` and `.nan`, Python `inf` and `nan`.
    return float(written.lower().replace(".inf", "inf").replace(".nan", "nan"))


def write_yaml(content: object, *, flow: bool | None = False) -> str:
    """A document that `read_yaml` reads back, and a reader of YAML 1.1 too.

    Args:
        content: plain containers and scalars.
        flow: whether containers are written in braces; None: the innermost ones.
    """
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=flow, width=150)
    return text


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
    # Octal to YAML 1.1, decimal to YAML 1.2, and as often a code whose zeros matter.
    if node.tag == f"{_TAG}int" and _LEADING_ZERO.fullmatch(node.value):
        raise SettingError(
            f"{label}: {node.value} (line {_line(node.start_mark)}) begins with a zero: leave it out of a "
            "number, or put a text into quotes"
        )
    try:
        loader.construct_object(node)
    except ValueError as error:  # a tag that was written out beside a text: `!!int abc`
        raise SettingError(f"{label}: {node.value!r} (line {_line(node.start_mark)}): {error}") from error


def _line(mark: Any) -> int:
    return int(mark.line) + 1
