"""Where the results directory is that somebody meant who named a place that is none."""

from pathlib import Path

from cluster.errors import path_hint

MARKER = "store.json"
"""The file that makes a directory a results directory."""
_MOST = 8
"""Directories that are named; more would hide the sentence that they belong to."""


def results_hint(uri: str) -> str:
    """End a sentence about a place that is no results directory: with those that it holds, or one that is near.

    Args:
        uri: what the user wrote; only places on this machine are looked at.

    Returns:
        Such as ``; did you mean 'results/mine'?``; empty where there is none.
    """
    if "://" in uri:
        return ""
    path = Path(uri)
    inside = sorted(str(file.parent) for file in path.glob(f"*/{MARKER}"))
    if len(inside) > 1:
        shown = [*inside[:_MOST], "..."] if len(inside) > _MOST else inside
        return f"; it holds some: {', '.join(shown)}."
    # Sweeps are kept below results/, and the last part of the name is what one remembers.
    below = [str(other) for other in (Path("results") / path,) if _is_store(other)]
    meant = inside or below
    return f"; did you mean {meant[0]!r}?" if meant else path_hint(path, _is_store)


def _is_store(path: Path) -> bool:
    return (path / MARKER).is_file()
