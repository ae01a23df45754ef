"""Hashes data sets anew, installed and downloaded ones."""

from collections.abc import Callable
from pathlib import Path

from tasks.data.fetch import digest_of, folder_of, note_of
from tasks.data.registry import DataSet, RemoteFile
from tasks.errors import DataError
from tasks.sequences.images import read_digits
from tasks.spikes.recordings import check_embedded_recordings
from tasks.text.corpus import check_packed_corpus

_EMBEDDED_CHECKS: dict[str, Callable[[], object]] = {
    "enwiki-mini": check_packed_corpus,
    "shd-mini": check_embedded_recordings,
    "sdigits": read_digits,
}


def problems(data_set: DataSet, cache_dir: str | Path | None = None) -> list[str]:
    """Returns one line for every file that is missing or wrong; empty when all is well."""
    if data_set.kind == "embedded":
        try:
            _EMBEDDED_CHECKS[data_set.name]()
        except DataError as error:
            return [str(error)]
        return []
    folder = folder_of(data_set, cache_dir)
    return [line for file in data_set.files if (line := _file_problem(folder / file.unpacked, file))]


def _file_problem(path: Path, file: RemoteFile) -> str | None:
    if not path.is_file():
        return f"{path}: missing"
    found = digest_of(path, file.unpacked_digest)
    if found == file.unpacked_digest:
        return None
    note_of(path).unlink(missing_ok=True)
    return f"{path}: damaged ({found}, expected {file.unpacked_digest}); delete it and fetch again"
