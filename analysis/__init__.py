"""From stored rows to fitted laws, reports and dashboards."""

from typing import Any


def __getattr__(name: str) -> Any:
    # Only on demand: commands import this package too, and their start must load nothing that they do not use.
    if name == "read":
        from analysis.python import read

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers read")
