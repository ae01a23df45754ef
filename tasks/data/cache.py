"""The cache directory: atomic writes, locks between processes and hashes that are computed once."""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import platformdirs
from filelock import FileLock

from tasks.errors import DataError

ENVIRONMENT_VARIABLE = "ELM_DATA_DIR"
QUICK_BYTES = 1 << 28
"""A file up to this size is read and hashed in passing: half a second at 500 MB/s (assumption)."""
# By identity of the file: a process opens the same data for every one of its trials.
_known_hashes: dict[str, str] = {}
_log = logging.getLogger(__name__)


def data_directory(override: str | Path | None = None) -> Path:
    """Return the directory for data sets: `override`, else $ELM_DATA_DIR, else the user's cache directory.

    Raises:
        DataError: this user has no home directory, and nothing else is set.
    """
    configured = override or os.environ.get(ENVIRONMENT_VARIABLE)
    try:
        # Both the option and the variable may begin with a tilde, which a shell does not expand in every place.
        return Path(configured or platformdirs.user_cache_dir("elm-sweeper", appauthor=False)).expanduser()
    except RuntimeError as error:
        raise DataError(f"no home directory ({error}); set {ENVIRONMENT_VARIABLE} or HOME") from error


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a DataError that names `path` and the way out.

    Raises:
        DataError: no permission, no space or any other failure of the file system.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"{path}: cannot write ({reason}); free some space or set {ENVIRONMENT_VARIABLE} to another directory"
        ) from error


@contextlib.contextmanager
def write_atomically(target: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `target` that replaces it when the block ends without an exception.

    Raises:
        DataError: the directory or the file cannot be written.
    """
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # in the same folder, since a rename is atomic within one file system only
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        # The descriptor that mkstemp opened is used on, so that nobody can put another file in its place.
        with explained(target), os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a crash could leave the new name on an empty file
        with explained(target):
            os.replace(temporary, target)
    finally:
        # Also after an error and after Ctrl-C, which would otherwise leave half a file behind.
        Path(temporary).unlink(missing_ok=True)


def build_once(target: Path, build: Callable[[], None]) -> Path:
    """Run `build` unless `target` exists; of many processes that ask at once, one builds and the others wait.

    Args:
        target: file that `build` creates atomically and last.
        build: creates `target`.

    Returns:
        `target`.

    Raises:
        DataError: the directory cannot be written.
    """
    if not target.exists():
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            # A lock of the operating system and no file that means "busy": it is released when its holder dies.
            lock = FileLock(target.with_name(f".{target.name}.lock"))
            # Without a time limit: whoever holds the lock is doing the work that this process waits for.
            lock.acquire()
        try:
            if not target.exists():  # whoever held the lock may have built it
                build()
        finally:
            lock.release()
    return target


def build_verified(target: Path, build: Callable[[], None]) -> None:
    """Run `build` unless `target` stands in the cache whole; a damaged one is made anew, once, with a warning.

    The hash that was noted when the file was made is compared once per process, so that neither a disk that was full
    nor a flipped bit trains a network on something else than its rows say.

    Args:
        target: large file that `build` creates atomically, beside any smaller ones.
        build: creates `target`.

    Raises:
        DataError: the directory cannot be written, or the file differs from its hash right after it was made.
    """
    note = target.with_name(f"{target.name}.sha256")

    def build_and_note() -> None:
        build()
        with write_atomically(note) as file:
            file.write(sha256_of(target).encode())

    for attempt in range(2):
        build_once(note, build_and_note)
        # The file itself is hashed and not only looked for: a disk that was full leaves files of the right name.
        if target.is_file() and sha256_of(target) == note.read_text(errors="replace"):
            return
        if attempt == 0:
            # A warning and no error: what is made from other files can be made again.
            _log.warning("%s: damaged, making it anew", target)
            note.unlink(missing_ok=True)
    raise DataError(f"{target}: damaged right after it was made; is the disk in order?")


def identity_of(path: Path) -> str:
    """Name a file as it is now: another one under the same name, even of equal size and time, has another identity.

    The time of change (ctime) cannot be set by a program, as the time of modification can; the inode tells a file that
    replaced another within the clock's resolution.
    """
    stat = path.stat()
    return f"{path.absolute()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}|{stat.st_ino}"


def noted_sha256(path: Path, directory: Path) -> str:
    """Return the SHA-256 of a file; a note under `directory` spares other processes the reading.

    Args:
        path: the file.
        directory: data directory.
    """
    note = _hash_note(path, directory)

    def build() -> None:
        with write_atomically(note) as file:
            file.write(sealed(sha256_of(path)))

    return read_note(note, build, _read_sha256)


def _read_sha256(note: Any) -> str:
    if not isinstance(note, str) or len(bytes.fromhex(note)) != hashlib.sha256().digest_size:
        raise ValueError("no SHA-256")
    return note


def quick_sha256(path: Path, directory: Path) -> str | None:
    """Return the SHA-256 of a file where it is noted or the file is small; None where it would take long to read."""
    quick = path.stat().st_size <= QUICK_BYTES or _hash_note(path, directory).is_file()
    return noted_sha256(path, directory) if quick else None


def _hash_note(path: Path, directory: Path) -> Path:
    # 24 hexadecimal digits, 96 bits, are enough to tell files apart and keep the names short
    return directory / "hashes" / f"{hashlib.sha256(identity_of(path).encode()).hexdigest()[:24]}.json"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, computed once per process while the file stays the same."""
    identity = identity_of(path)
    # Hashing reads the whole file, which for the largest takes seconds, and a process loads it for each of its trials.
    if identity not in _known_hashes:
        with path.open("rb") as file:
            _known_hashes[identity] = hashlib.file_digest(file, "sha256").hexdigest()
    return _known_hashes[identity]


T = TypeVar("T")


def sealed(content: Any) -> bytes:
    """Return a note for `read_note`: JSON beside the SHA-256 of it, so that no flipped bit becomes another number."""
    return json.dumps({"content": content, "seal": _seal(content)}).encode()


def _seal(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _unsealed(note: Any) -> Any:
    if not isinstance(note, dict) or "seal" not in note:  # of an earlier version, as far as its reader accepts it
        return note
    if _seal(note["content"]) != note["seal"]:
        raise ValueError("it is not what was written")
    return note["content"]


def read_note(note: Path, build: Callable[[], None], read: Callable[[Any], T]) -> T:
    """Read a small JSON file of the cache; it is made where it is missing, and made anew, once, where it is damaged.

    Args:
        note: file that `build` creates atomically.
        build: creates `note`, with what `sealed` returns.
        read: takes what the JSON holds and returns what is asked for; KeyError, TypeError and ValueError mean that it
            is damaged.

    Raises:
        DataError: the directory cannot be written, or the note is damaged and cannot be replaced.
    """
    for attempt in range(2):
        build_once(note, build)
        try:
            return read(_unsealed(json.loads(note.read_text(encoding="utf-8"))))
        # A RecursionError comes from `json.loads` at brackets nested thousands deep.
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            if attempt:
                raise DataError(f"{note}: damaged right after it was made ({error}); is the disk in order?") from error
            _log.warning("%s: damaged, making it anew", note)
            with explained(note):
                note.unlink(missing_ok=True)
    raise AssertionError("the second attempt returns or raises")
