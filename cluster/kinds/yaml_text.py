"""YAML with comments: a safe dump cannot write any, and files that are shown to people need them."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml


def commented_yaml(value: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Write a mapping as YAML, with comments above chosen keys.

    Args:
        value: mappings, sequences, text, numbers, booleans and None.
        comments: comment by path, such as ``spec.template.spec.containers.0.resources``; may span lines.

    Returns:
        The text, which safe YAML reads back as `value`.
    """
    unused = set(comments)
    lines = _lines(value, comments, "", unused)
    # A comment on a key that was renamed would vanish from the file unnoticed.
    assert not unused, f"comments on keys that are not there: {sorted(unused)}"
    return "\n".join(lines) + "\n"


def _lines(value: Any, comments: Mapping[str, str], path: str, unused: set[str]) -> list[str]:
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            here = f"{path}.{key}" if path else str(key)
            unused.discard(here)
            lines += [f"# {line}".rstrip() for line in comments.get(here, "").splitlines()]
            lines += _entry(f"{_scalar(key)}:", item, comments, here, unused)
        return lines
    for index, item in enumerate(value):
        here = f"{path}.{index}"
        unused.discard(here)
        lines += [f"# {line}".rstrip() for line in comments.get(here, "").splitlines()]
        nested = _lines(item, comments, here, unused) if _is_block(item) else _text(item)
        lines += [f"- {nested[0]}", *(f"  {line}".rstrip() for line in nested[1:])]
    return lines


def _entry(head: str, item: Any, comments: Mapping[str, str], path: str, unused: set[str]) -> list[str]:
    if _is_block(item):
        return [head, *(f"  {line}".rstrip() for line in _lines(item, comments, path, unused))]
    first, *rest = _text(item)
    return [f"{head} {first}", *(f"  {line}".rstrip() for line in rest)]


def _is_block(item: Any) -> bool:
    return isinstance(item, Mapping | Sequence) and not isinstance(item, str) and len(item) > 0


def _text(item: Any) -> list[str]:
    """A scalar or an empty collection; text of several lines as a literal block where YAML allows it."""
    if isinstance(item, str) and "\n" in item and _literal(item):
        keep = "" if item.endswith("\n") else "-"
        return [f"|{keep}", *item.removesuffix("\n").split("\n")]
    return [_scalar(item)]


def _literal(item: str) -> bool:
    lines = item.removesuffix("\n").split("\n")
    # A literal block keeps no trailing blanks, cannot begin with one, and holds printable text only.
    plain = all(line == line.rstrip() and (not line or line.isprintable()) for line in lines)
    return plain and bool(lines[0]) and not lines[0].startswith(" ") and bool(lines[-1])


def _scalar(item: Any) -> str:
    quoted = '"' if isinstance(item, str) and not item.isprintable() else None  # only these hold line breaks as escapes
    # PyYAML decides what needs quotes, such as `no` or `1e3`, which YAML would read as something else than text. The
    # width keeps it from breaking lines.
    text = yaml.safe_dump(item, default_flow_style=True, default_style=quoted, width=10**9, allow_unicode=True)
    return text.removesuffix("...\n").strip("\n")
