"""Pieces of HTML and JSON that pages are made of."""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np

Cell = str | float | int | None


def none(value: Any) -> Cell:
    """Missing numbers as None, whole numbers as int, text as it is."""
    if isinstance(value, str) or value is None:
        return value
    number = float(value)
    # NaN is the only number that differs from itself; JSON has none.
    if number != number:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


_TYPES = {"f": "f8", "i": "i4", "u": "u4"}


def content_security_policy(*scripts: str, live: bool) -> str:
    """Allow these very scripts and nothing from elsewhere; a served page may ask its own server."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    connect = "'self'" if live else "'none'"
    rest = "style-src 'unsafe-inline'; img-src data: blob:"
    return f"default-src 'none'; script-src {hashes}; {rest}; connect-src {connect}"


def to_json(value: Any) -> str:
    """Write JSON that may stand inside a script element: arrays packed, missing numbers null, no ``<``."""
    options: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False, "default": _packed}
    try:
        text = json.dumps(value, allow_nan=False, **options)
    except ValueError:  # missing numbers are rare, and only they make the slow walk necessary
        text = json.dumps(_with_nulls(value), allow_nan=False, **options)
    # A text such as </script> would end the element that holds the JSON. JSON allows both separators inside of texts,
    # but scripts ended a line there before ECMAScript 2019.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _packed(value: Any) -> Any:
    """An array as base64 of its bytes (Plotly reads it as it is), a single number as itself."""
    if isinstance(value, np.ndarray):
        kind = _TYPES[value.dtype.kind]
        packed = np.ascontiguousarray(value, dtype=f"<{kind}")
        array = {"dtype": kind, "bdata": base64.b64encode(packed.tobytes()).decode()}
        return array if value.ndim == 1 else array | {"shape": ",".join(str(size) for size in value.shape)}
    if isinstance(value, np.generic):
        return _with_nulls(value.item())
    raise TypeError(f"{type(value).__name__} is not JSON")


def _with_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_nulls(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_nulls(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def asset(name: str) -> str:
    """Text of a file that ships with the page."""
    return (resources.files("analysis") / "assets" / name).read_text(encoding="utf-8")
