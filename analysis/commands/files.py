"""Where the files of a command go, and how they are written."""

import os
from collections.abc import Callable
from pathlib import Path

from analysis.errors import AnalysisError
from analysis.rows.sweep import Sweep


def path_in_results(sweep: Sweep, name: str) -> Path | None:
    """Path of a file in the results directory itself; None for object storage and published tables."""
    return Path(sweep.folder) / name if sweep.folder else None


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is seen whole or not at all."""
    # The number of the process keeps two commands that write the same file out of each other's half-written text.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def write() -> None:
        try:
            temporary.write_text(text, encoding="utf-8")
            # On one file system a rename happens at once: a reader sees the old file or the new one.
            temporary.replace(path)
        finally:
            # A write that failed half-way leaves nothing behind.
            temporary.unlink(missing_ok=True)

    with_path(path, write)


def with_path(path: Path, write: Callable[[], object]) -> None:
    """Run a writer, turning the system's refusal into one line."""
    try:
        write()
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be written: {error.strerror or error}") from error
