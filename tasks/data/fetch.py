"""Downloads: resumed where they stopped, checked by size and hash, and moved into place only when right."""

import contextlib
import gzip
import hashlib
import http.client
import json
import lzma
import pkgutil
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from tasks.base import DataSet, RemoteFile
from tasks.data import debian
from tasks.data.cache import data_directory, explained, write_atomically
from tasks.errors import DataError

Progress = Callable[[str, int, int | None], None]
"""Called with a file name, the bytes so far and the bytes in all, if known."""
_BLOCK = 1 << 20
"""Bytes read at a time, and reported to the progress bar."""
_TIMEOUT_SECONDS = 30
"""Silence after which a connection counts as broken (assumption)."""
_ATTEMPTS = 3
"""Tries at one mirror before the next (assumption)."""


class _Incomplete(Exception):
    """The connection ended before the file did."""


def folder_of(data_set: DataSet, cache_dir: str | Path | None = None) -> Path:
    """Return the folder of a data set's files, which need not exist."""
    # Apart from what is generated or converted, which can be made again without a network.
    return data_directory(cache_dir) / "real" / data_set.name


def is_present(data_set: DataSet, cache_dir: str | Path | None = None) -> bool:
    """Tell whether every file is in place and unchanged since its hash was checked."""
    folder = folder_of(data_set, cache_dir)
    return all(_is_checked(folder / file.unpacked, file) for file in data_set.files)


def fetch(data_set: DataSet, *, cache_dir: str | Path | None = None, progress: Progress | None = None) -> Path:
    """Make sure that a data set's files are in place; of many processes that ask at once, one downloads.

    Files that a person put into the folder, packed or unpacked, are checked and used instead of a download.

    Args:
        data_set: one with files to download.
        cache_dir: data directory; None for the default one.
        progress: told about every block.

    Returns:
        The folder with the unpacked files.

    Raises:
        DataError: offline, wrong hash, no space; the message names the manual steps.
    """
    folder = folder_of(data_set, cache_dir)
    # Said before anything is made on disk.
    if data_set.kind == "manual":
        raise DataError(f"{data_set.name}: cannot be fetched by a program; {data_set.steps}")
    if is_present(data_set, cache_dir):
        return folder
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    try:
        # asked again under the lock: whoever held it before may have brought the files
        for file in data_set.files:
            if not _is_checked(folder / file.unpacked, file):
                _bring(data_set, file, folder, progress)
    finally:
        lock.release()
    return folder


def digest_of(path: Path, like: str) -> str:
    """Return a file's digest in the same form ("sha256:..." or "md5:...") as `like`."""
    algorithm = like.split(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def note_of(path: Path) -> Path:
    """Return the path of the note that says when `path` was last found right."""
    return path.with_name(f".{path.name}.checked")


def _identity(path: Path, file: RemoteFile) -> str:
    # the expected digest too: a newer version of this software may ask for another file under the same name
    stat = path.stat()
    return json.dumps([stat.st_size, stat.st_mtime_ns, file.unpacked_digest])


def _is_checked(path: Path, file: RemoteFile) -> bool:
    note = note_of(path)
    return path.is_file() and note.is_file() and note.read_text(errors="replace") == _identity(path, file)


def _bring(data_set: DataSet, file: RemoteFile, folder: Path, progress: Progress | None) -> None:
    """Put one file into place: the unpacked one or the packed one that is already there, else a download."""
    target, packed = folder / file.unpacked, folder / file.name
    if not target.exists():
        if not packed.exists():
            _download(data_set, file, packed, progress)
        _check(packed, file.digest)
        if file.packing != "none":
            _unpack(packed, target, file)
            # The unpacked file is checked by a hash of its own, so the packed one is not needed again.
            packed.unlink()
    _check(target, file.unpacked_digest)
    with write_atomically(note_of(target)) as note:
        note.write(_identity(target, file).encode())


def _check(path: Path, expected: str) -> None:
    # The algorithm is that of the published digest: for some data sets the authors state nothing but MD5.
    digest = digest_of(path, expected)
    if digest != expected:
        raise DataError(f"{path}: damaged ({digest}, expected {expected}); delete it and fetch again")


def _unpack(packed: Path, target: Path, file: RemoteFile) -> None:
    try:
        with write_atomically(target) as out:
            if file.packing == "deb":
                with debian.opened(packed) as archive:
                    out.writelines(pkgutil.resolve_name(file.extract)(archive))
            else:
                with _opened(packed, file) as source:
                    shutil.copyfileobj(source, out, _BLOCK)
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{packed}: cannot be unpacked ({error}); delete it and fetch again") from error


@contextlib.contextmanager
def _opened(packed: Path, file: RemoteFile) -> Iterator[BinaryIO]:
    if file.packing == "gzip":
        with gzip.open(packed) as plain:
            yield plain  # type: ignore[misc]
    else:
        with zipfile.ZipFile(packed) as archive, archive.open(file.unpacked) as member:
            yield member  # type: ignore[misc]


def _download(data_set: DataSet, file: RemoteFile, packed: Path, progress: Progress | None) -> None:
    """Download one file from the first mirror that gives the right bytes, or by apt-get."""
    # A partial file has a name of its own, so that nothing takes it for the whole.
    part, failures = packed.with_name(f"{packed.name}.part"), []
    if file.package:
        try:
            debian.download(file.package, part)
        except DataError as error:
            failures.append(str(error))
        else:
            part.replace(packed)
            return
    for url in file.urls:
        try:
            _receive_all(url, part, file, progress)
            _check(part, file.digest)
        except (DataError, _Incomplete, urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
            # wrong bytes are of no use; too few are continued, also by the next mirror
            if isinstance(error, DataError):
                part.unlink(missing_ok=True)
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
        else:
            part.replace(packed)
            return
    raise DataError(
        f"{data_set.name}: could not download {file.name} ({'; '.join(failures)}); when offline, download it "
        f"elsewhere, put it into {packed.parent} and run 'sweeper data fetch {data_set.name}'"
    )


def _receive_all(url: str, part: Path, file: RemoteFile, progress: Progress | None) -> None:
    """Receive a file, going on where a broken connection stopped."""
    for attempt in range(_ATTEMPTS):
        try:
            return _receive(url, part, file, progress)
        except (_Incomplete, TimeoutError, ConnectionError, http.client.HTTPException):
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(attempt)  # at once after the first break, then a second later
    return None


def _receive(url: str, part: Path, file: RemoteFile, progress: Progress | None) -> None:
    """Append to the partial file until the server's or the declared size is reached."""
    # The size on disk says how far the last attempt came, also one of an earlier process.
    have = part.stat().st_size if part.exists() else 0
    if file.size is not None and have >= file.size:  # whole and yet not accepted: start anew
        have = 0
    headers = {"User-Agent": "elm-sweeper"} | ({"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as answer:
        # a server that does not know ranges sends everything from the start
        have = have if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        announced = answer.headers.get("Content-Length")
        total = file.size or (have + int(announced) if announced else None)
        # Appended where the server goes on, written anew where it began from the start.
        with explained(part), part.open("ab" if have else "wb") as out:
            while block := answer.read(_BLOCK):
                out.write(block)
                have += len(block)
                if progress:
                    progress(file.name, have, total)
    # A connection may end early without an error; without a known size the hash decides.
    if total is not None and have < total:
        raise _Incomplete(f"ended after {have} of {total} bytes")
