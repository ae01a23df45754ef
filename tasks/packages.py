"""Packages that only some data need: imported where they are needed, and one that is missing is one sentence."""

import importlib
from typing import Any

from tasks.errors import DataError


def package(module: str, needed_by: str, *, extra: str = "data") -> Any:
    """Import a module of a package that need not be installed.

    Args:
        module: import name.
        needed_by: what needs it, which begins the message.
        extra: the extra of this distribution that installs it.

    Raises:
        DataError: it is not installed; gives the command that installs it.
    """
    try:
        # Imported by name at the place of use, so that a missing package stops only what needs it.
        return importlib.import_module(module)
    # error.name may be a package that the module itself needs and lacks: that one is named
    except ModuleNotFoundError as error:
        raise DataError(
            f"{needed_by}: {error.name} is not installed; pip install 'elm-sweeper[{extra}]' brings it"
        ) from error
