"""Object storage through its outages: each operation is tried again, with growing pauses, for minutes.

Rows of lanes wait in memory meanwhile (`sweeper.lane.writer`), so that an outage costs no trial.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from cluster.storage import may_pass

PATIENCE_S = 300.0
"""Seconds for which an operation is tried again (assumption: servers are restarted within minutes)."""
HURRIED_S = 10.0
"""The same for a process that was told to leave: schedulers kill it half a minute later (Slurm's KillWait)."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0

T = TypeVar("T")


class OutageOSError(OSError):
    """Object storage did not answer for as long as it was given."""


class PatientFileSystem:
    """The operations of a pyarrow file system that a store uses.

    Args:
        filesystem: object storage.
        patience_s: seconds for which each operation is tried again; 0 tries once.
    """

    def __init__(self, filesystem: pafs.FileSystem, patience_s: float) -> None:
        self._fs, self.patience_s = filesystem, patience_s
        self.hurries: Callable[[], bool] = lambda: False
        """Whether the process was told to leave; looked at during each pause."""

    def impatient(self) -> "PatientFileSystem":
        """The same storage, of which an outage is told at once."""
        return PatientFileSystem(self._fs, 0.0)

    def create_dir(self, path: str, *, recursive: bool = True) -> None:
        """See `pyarrow.fs.FileSystem`."""
        self._persist(lambda: self._fs.create_dir(path, recursive=recursive))

    def get_file_info(self, paths: Any) -> Any:
        """See `pyarrow.fs.FileSystem`."""
        return self._persist(lambda: self._fs.get_file_info(paths))

    def delete_file(self, path: str) -> None:
        """See `pyarrow.fs.FileSystem`."""
        self._persist(lambda: self._fs.delete_file(path))

    def move(self, source: str, target: str) -> None:
        """See `pyarrow.fs.FileSystem`. Tried once: the first of two tries may have moved it."""
        self._fs.move(source, target)

    def open_input_stream(self, path: str) -> "_Reading":
        """See `pyarrow.fs.FileSystem`; each read begins at the start."""
        return _Reading(self, path)

    def open_output_stream(self, path: str) -> "_Writing":
        """See `pyarrow.fs.FileSystem`; what is written is sent at the end of the block."""
        return _Writing(self, path)

    def read(self, path: str, take: Callable[[Any], T]) -> T:
        """What `take` makes of an open file."""

        def once() -> T:
            with self._fs.open_input_stream(path) as stream:
                return take(stream)

        return self._persist(once)

    def write(self, path: str, payload: bytes) -> None:
        """Write a file, which is seen whole or not at all."""

        def once() -> None:
            with self._fs.open_output_stream(path) as stream:
                stream.write(payload)

        self._persist(once)

    def _persist(self, once: Callable[[], T]) -> T:
        began, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while True:
            try:
                return once()
            except OSError as error:
                if not may_pass(error):
                    raise
                most_s, next_s = self.patience_s, pause_s
                if self.hurries():
                    most_s, next_s = min(most_s, HURRIED_S), _FIRST_PAUSE_S
                if time.monotonic() - began + next_s > most_s:
                    raise OutageOSError(str(error)) from error
            resumes = time.monotonic() + pause_s
            while time.monotonic() < resumes:
                time.sleep(_FIRST_PAUSE_S)
                if self.hurries():
                    break
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class _Reading:
    """A file that is opened anew for each read."""

    def __init__(self, filesystem: PatientFileSystem, path: str) -> None:
        self._fs, self._path = filesystem, path

    def __enter__(self) -> "_Reading":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def read(self, most: int | None = None) -> bytes:
        return self._fs.read(self._path, lambda stream: bytes(stream.read(most)))

    def read_buffer(self) -> pa.Buffer:
        return self._fs.read(self._path, lambda stream: stream.read_buffer())


class _Writing:
    """Collects what is written."""

    def __init__(self, filesystem: PatientFileSystem, path: str) -> None:
        self._fs, self._path, self._sink = filesystem, path, bytearray()

    def __enter__(self) -> "_Writing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._fs.write(self._path, bytes(self._sink))

    def write(self, payload: bytes | pa.Buffer) -> None:
        self._sink += memoryview(payload)
