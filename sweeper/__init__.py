"""Grids, plans, trials, the results store and the orchestration of sweeps."""

from typing import Any

_FOR_PYTHON = ("launch_grid", "plan_grid")


def __getattr__(name: str) -> Any:
    # Only on demand: commands import this package too, and their start must load nothing that they do not use.
    if name in _FOR_PYTHON:
        from sweeper import python

        return getattr(python, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(_FOR_PYTHON)}")
