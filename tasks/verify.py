"""Hashes data sets anew, installed and downloaded ones."""

import pkgutil
from pathlib import Path

from tasks.base import DataSet, RemoteFile
from tasks.data.fetch import digest_of, folder_of, note_of
from tasks.errors import DataError


def problems(data_set: DataSet, cache_dir: str | Path | None = None) -> list[str]:
    """Return one line for every file that is missing or wrong; empty when all is well."""
    if data_set.check:
        try:
            pkgutil.resolve_name(data_set.check)()
        except DataError as error:
            return [str(error)]
        return []
    folder = folder_of(data_set, cache_dir)
    return [line for file in data_set.files if (line := _file_problem(folder / file.unpacked, file))]


def _file_problem(path: Path, file: RemoteFile) -> str | None:
    if not path.is_file():
        return f"{path}: missing"
    digest = digest_of(path, file.unpacked_digest)
    if digest == file.unpacked_digest:
        return None
    # Without the note the file counts as unchecked, so that no later start trusts it.
    note_of(path).unlink(missing_ok=True)
    return f"{path}: damaged ({digest}, expected {file.unpacked_digest}); delete it and fetch again"
