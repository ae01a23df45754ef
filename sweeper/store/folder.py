"""A folder on a disk or in object storage: files that are seen whole or not at all, and errors that say what to do."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa
import pyarrow.fs as pafs

from cluster.storage import open_location
from sweeper.errors import OUTAGE, OutageError, StorageError, StoreError
from sweeper.store.patient import PATIENCE_S, OutageOSError, PatientFileSystem

_LONGEST_TEXT = 16 * 1024**2
"""Bytes of a text file: the state of a launch with 100,000 lanes has 2 MB, and grids end at one (`cluster.limits`)."""


class Folder:
    """Reads and writes files by their names below a root.

    Args:
        filesystem: a disk, or object storage.
        root: path of the folder there.
        uri: what people call it.
    """

    def __init__(self, filesystem: pafs.FileSystem | PatientFileSystem, root: str, uri: str) -> None:
        self._fs = filesystem
        self._root = root.rstrip("/")
        self.uri = uri

    def be_patient(self, hurries: Callable[[], bool] = lambda: False) -> None:
        """From now on wait for object storage that does not answer, for minutes: for launches, not for looks.

        Args:
            hurries: whether this process was told to leave, by which minutes become seconds.
        """
        if isinstance(self._fs, PatientFileSystem):
            self._fs.patience_s, self._fs.hurries = PATIENCE_S, hurries

    def write_text(self, name: str, text: str) -> None:
        """Replace a small text file below the root."""
        with self._storage_errors(f"write {name}"):
            self._create_folder(name.rpartition("/")[0])
            self._write_bytes(name, text.encode())

    def texts(self, folder: str, ending: str) -> dict[str, str]:
        """Contents of the text files of a folder below the root, by name without the ending."""
        texts = {}
        for info in self._listed(folder, ending):
            try:
                with self._fs.open_input_stream(info.path) as stream:
                    # One byte more than is allowed shows that the file is longer, however long it is, and memory stays
                    # bounded.
                    content = stream.read(_LONGEST_TEXT + 1)
                # Before it is decoded: the cut may split a letter, and a long file would be called unreadable.
                if len(content) > _LONGEST_TEXT:
                    raise StoreError(f"{info.path}: longer than {_LONGEST_TEXT:,} bytes. Move it away to go on.")
                texts[info.base_name.removesuffix(ending)] = content.decode()
            except FileNotFoundError:  # its writer removed it after we listed it
                continue
            except UnicodeDecodeError as error:
                raise StoreError(f"{info.path}: not readable as text ({error}).") from error
        return texts

    def names(self, folder: str, ending: str) -> list[str]:
        """Names, without the ending, of the files of a folder below the root."""
        return sorted(str(info.base_name).removesuffix(ending) for info in self._listed(folder, ending))

    def last_change(self, folder: str, ending: str) -> int | None:
        """When the newest file of a folder below the root was written, ns since 1970 by the storage's clock; None where
        there is no file.
        """
        return max((int(info.mtime_ns or 0) for info in self._listed(folder, ending)), default=None)

    def delete_text(self, name: str) -> None:
        """Remove a file below the root, where there is one."""
        with self._storage_errors(f"remove {name}"):
            if self._exists(name):
                self._delete(f"{self._root}/{name}")

    def age_s(self, name: str) -> float | None:
        """Seconds since a file below the root was written, by the storage's own clock, whatever clocks its writer and
        this machine have; None where that cannot be asked: no such file, or nothing can be written there.
        """
        # A file written now is dated by the same clock as the one in question, and only that makes their difference an
        # age. The dot hides it from listings.
        probe = f"{self._root}/{name.rpartition('/')[0]}/.clock-{unique()}"
        try:
            with self._fs.open_output_stream(probe) as stream:
                stream.write(b"now")
            now, then = (info.mtime_ns for info in self._fs.get_file_info([probe, f"{self._root}/{name}"]))
            self._fs.delete_file(probe)
        except OSError:
            return None
        return None if now is None or then is None else (now - then) / 1e9

    def identity(self) -> str:
        """What tells this folder from a copy of it, as long as this machine runs."""
        if self.local_path() is None:
            return self.uri
        with self._storage_errors("look at the folder"):
            numbers = os.stat(self._root)
        # The path alone would be the same where a copy was moved to the old place.
        return f"{numbers.st_dev}:{numbers.st_ino}"

    def local_path(self) -> str | None:
        """Absolute path of the root on this machine, or None for object storage."""
        return self._root if isinstance(self._fs, pafs.LocalFileSystem) else None

    def _write_bytes(self, name: str, payload: bytes | pa.Buffer) -> None:
        """Write a file so that it is seen whole or not at all."""
        path = f"{self._root}/{name}"
        if not isinstance(self._fs, pafs.LocalFileSystem):  # object stores show an object only when it is complete
            with self._fs.open_output_stream(path) as stream:
                stream.write(payload)
            return
        folder, base = path.rsplit("/", 1)
        # In the same folder, since a rename is atomic within one file system only; the dot hides it from readers.
        temporary = f"{folder}/.{base}.{unique()}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())  # before the rename: after a power cut the name must not stand for no bytes
            os.replace(temporary, path)
        except OSError:
            if os.path.exists(temporary):
                # A part of a file is of no use, and takes room on a disk that may be full.
                os.unlink(temporary)
            raise

    def _create_folder(self, name: str) -> None:
        """Make a folder of the root; a root that somebody has deleted in the middle is not made anew."""
        self._fs.create_dir(f"{self._root}/{name}", recursive=False)

    def _listed(self, folder: str, ending: str) -> list[pafs.FileInfo]:
        """The files of a folder below the root with an ending, by name.

        Raises:
            StoreError: one is no regular file; to read a pipe or a device would wait for ever.
        """
        with self._storage_errors(f"list {folder}"):
            infos = self._fs.get_file_info(pafs.FileSelector(f"{self._root}/{folder}", allow_not_found=True))
        # Names with a dot are files that are still being written, or were when their writer was killed.
        infos = [info for info in infos if info.base_name.endswith(ending) and not info.base_name.startswith(".")]
        for info in infos:
            if info.type == pafs.FileType.NotFound:  # deleted while the folder was listed
                continue
            if info.type != pafs.FileType.File:
                raise StoreError(f"{info.path}: not a regular file. Move it away to go on.")
        return sorted(infos, key=lambda info: str(info.path))

    def _delete(self, path: str) -> None:
        with (
            self._storage_errors(f"remove {base_name(path)}"),
            suppress(FileNotFoundError),
        ):  # somebody else was here first
            self._fs.delete_file(path)

    def _exists(self, name: str) -> bool:
        # A pipe or a device under that name would be waited for without end, so it counts as absent.
        return bool(self._fs.get_file_info(f"{self._root}/{name}").type == pafs.FileType.File)

    @contextmanager
    def _storage_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OutageOSError as error:
            raise OutageError(f"{self.uri}: cannot {doing}, {OUTAGE}: {error}. What is stored is safe.") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(f"{self.uri}: cannot {doing}: {reason}. Nothing already stored was touched.") from error


def resolve(uri: str | os.PathLike[str]) -> tuple[pafs.FileSystem | PatientFileSystem, str, str]:
    """File system, path there, and name for people of a local path or a pyarrow filesystem URI.

    Raises:
        StoreError: nothing here can open it.
    """
    text = os.fspath(uri)
    if "://" in text:
        try:
            filesystem, root = open_location(text)
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{text}: not a results location this installation can open ({error}).") from error
        return PatientFileSystem(filesystem, 0.0), root, text
    # Absolute, since lanes under Ray run in folders of their own.
    return pafs.LocalFileSystem(), os.path.abspath(text), text


def base_name(path: str) -> str:
    """Name of a file without its folders."""
    return path.rsplit("/", 1)[1]


def unique() -> str:
    """Part of a name that no other writer takes."""
    # Drawn and not counted: writers on many hosts name files without asking each other.
    return uuid.uuid4().hex[:16]
