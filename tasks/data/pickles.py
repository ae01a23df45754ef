"""Reads pickles of other people's data without running code from them."""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from tasks.errors import DataError

# Only what plain containers of numpy arrays and scalars need, under the module names of old and new numpy.
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
    ("__builtin__", "bytes"): lambda: b"",  # protocol 2 writes the data of an empty array like this
} | {
    (f"numpy.{core}.multiarray", name): getattr(np._core.multiarray, name)  # type: ignore[attr-defined]
    for core in ("core", "_core")
    for name in ("_reconstruct", "scalar")
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # A pickle can name any function and have it called while it is read, so everything that is not known to be
        # harmless is refused.
        if (module, name) not in _ALLOWED:
            raise DataError(f"refused: the pickle asks for {module}.{name}; only numpy arrays in containers are read")
        return _ALLOWED[module, name]


def restricted_load(content: bytes, where: str) -> Any:
    """Unpickle containers, numbers, texts and numpy arrays; anything else is refused.

    Args:
        content: the pickle, of Python 2 or 3.
        where: file name, for messages.

    Raises:
        DataError: the pickle asks for anything that could run code, or is damaged.
    """
    try:
        # Python 2 stored the bytes of arrays as text, and latin-1 is the encoding that leaves every byte as it is.
        return _Restricted(io.BytesIO(content), encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: damaged pickle ({error})") from error
