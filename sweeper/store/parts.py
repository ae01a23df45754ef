"""Part files of a table: how rows are packed into one, read from one, and which of several rows of one thing counts.

A part's name ends in the hash of its bytes, ``<writer>-<unique>.<hash>.parquet``, and a reader takes no row of a part
whose bytes have another. Checksums of pages, which Parquet offers, guard the values but neither page headers nor the
footer, where a flipped bit can move or retype a column; they are written too, for readers that do not know the name.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sweeper.errors import DamageError, StoreError
from sweeper.store.patient import OutageOSError, PatientFileSystem
from sweeper.store.schema import FINISHED, KEYS, SCHEMA_VERSION, SCHEMAS, VERSION_KEY

RANKING: dict[str, tuple[str, ...]] = {
    table: tuple(dict.fromkeys([*key, "attempt", *(["status"] if table == "trials" else [])]))
    for table, key in KEYS.items()
}
"""The columns that `counting` looks at, by table."""
OTHER_BYTES = "its bytes are not those that were written"
"""What is said of a file whose hash does not hold."""
_ENDING = ".parquet"
_HASH_DIGITS = 16
"""Hexadecimal digits of the SHA-256 in a name: 64 bits leave no accident a chance and keep the name readable."""
_GROUP_ROWS = 2_000
"""Rows of a row group; what merging part files holds in memory at a time."""


def counting(ranking: pa.Table, table: str) -> npt.NDArray[np.bool_]:
    """Which rows of a table count.

    Of a trial the row of its highest attempt counts; where two lanes made the same attempt (one was thought dead, or
    is of another launch) the one that finished. Its curve is that of the highest attempt that has one. Of equals the
    first counts: they hold the same numbers.

    Args:
        ranking: the columns `RANKING` of the table, in the order of its parts.
        table: `trials`, `curves` or `attempts`.
    """
    keep = np.ones(ranking.num_rows, dtype=np.bool_)
    if ranking.num_rows == 0:
        return keep
    ids, attempt = _codes(ranking["trial_id"]), ranking["attempt"].to_numpy().astype(np.int64)
    # Every attempt is a row of the history in its own right.
    if table != "attempts":
        finished = np.asarray(ranking["status"]) == FINISHED if table == "trials" else np.int64(0)
        # One number orders first by attempt and then by whether it finished.
        rank = 2 * attempt + finished
        best = np.zeros(ids.max() + 1, dtype=np.int64)
        # `at`, because ids repeat: an assignment by index would keep the last of them instead of the largest.
        np.maximum.at(best, ids, rank)
        keep = rank == best[ids]
    key = ids
    for name in KEYS[table][1:]:
        codes = attempt if name == "attempt" else _codes(ranking[name])
        # Digits of a number with mixed bases: equal keys mean equal values in all columns. Tables that fit into memory
        # are far from overflowing 64 bits.
        key = key * (codes.max() + 1) + codes
    kept = np.flatnonzero(keep)
    # `unique` gives the first place of each key, and parts are listed by name: every reader drops the same rows.
    _, first = np.unique(key[kept], return_index=True)
    keep[:] = False
    keep[kept[first]] = True
    return keep


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part file whose bytes are those that were written."""

    path: str
    """Where it was read from."""
    file: pq.ParquetFile
    """Its content, in memory."""

    def groups(self, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """The rows, a row group at a time.

        Args:
            columns: names to return; all when None.

        Raises:
            DamageError: they cannot be decoded.
            StoreError: the part is of another table.
        """
        table = SCHEMAS[self.path.rsplit("/", 2)[1]]
        schema = pa.schema([table.field(name) for name in (table.names if columns is None else columns)])
        for group in range(self.file.num_row_groups):
            try:
                rows = self.file.read_row_group(group, columns, use_threads=False).replace_schema_metadata(None)
                if not is_sealed(self.path):  # nothing but its own consistency vouches for what it holds
                    rows.validate(full=True)
            except _UNREADABLE as error:
                raise DamageError(self.path, str(error)) from error
            yield rows if rows.schema == schema else _as_now(rows, schema, self.path)

    def whole(self) -> pa.Table:
        """Everything it holds, as it was written.

        Raises:
            DamageError: it cannot be decoded.
        """
        try:
            rows: pa.Table = self.file.read(use_threads=False).replace_schema_metadata(None)
            rows.validate(full=True)
        except _UNREADABLE as error:
            raise DamageError(self.path, str(error)) from error
        return rows


_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, OverflowError)
"""What pyarrow raises for bytes that are no Parquet file, or one with a flipped bit (measured: every byte of one)."""


def open_part(filesystem: pafs.FileSystem | PatientFileSystem, path: str) -> Part:
    """Read a part file and check its hash.

    Raises:
        FileNotFoundError: there is no such file (any more).
        DamageError: its bytes are not those that were written, or are no Parquet file.
        StoreError: it has another schema version.
    """
    try:
        with filesystem.open_input_stream(path) as stream:
            # All of it and once: the bytes that are decoded are the very ones that were checked.
            payload = stream.read_buffer()
    # The reader takes this one for a merge that was quicker, not for damage.
    except (FileNotFoundError, OutageOSError):
        raise
    except OSError as error:
        raise DamageError(path, error.strerror or str(error)) from error
    if is_sealed(path) and sealed("", payload) != path[path.rindex(".", 0, -len(_ENDING)) :]:
        raise DamageError(path, OTHER_BYTES)
    try:
        file = pq.ParquetFile(pa.BufferReader(payload), page_checksum_verification=True)
        metadata = file.schema_arrow.metadata or {}
        version = metadata.get(VERSION_KEY, b"none").decode()
    except _UNREADABLE as error:
        raise DamageError(path, f"not a readable Parquet file, {error}") from error
    if version != str(SCHEMA_VERSION):
        raise StoreError(version_message(path, version))
    return Part(path=path, file=file)


def sealed(stem: str, payload: pa.Buffer) -> str:
    """The name of a part file: a stem with the hash of its bytes."""
    return f"{stem}.{hashlib.sha256(payload).hexdigest()[:_HASH_DIGITS]}{_ENDING}"


def is_sealed(path: str) -> bool:
    """Whether a part's name holds the hash of its bytes; parts of earlier versions have none."""
    return re.search(rf"\.[0-9a-f]{{{_HASH_DIGITS}}}{re.escape(_ENDING)}$", path) is not None


def packed(schema: pa.Schema, groups: Iterable[pa.Table]) -> pa.Buffer:
    """Rows as the bytes of one Parquet file; they are taken and packed a row group at a time.

    Args:
        schema: that of their table.
        groups: the rows, in order.
    """
    sink = pa.BufferOutputStream()
    # In memory first: the hash of all bytes goes into the name under which they are written.
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        for rows in _in_lots(groups):
            writer.write_table(rows.replace_schema_metadata(schema.metadata), row_group_size=_GROUP_ROWS)
    return sink.getvalue()


def _in_lots(groups: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small tables joined until they make a row group."""
    # Each row group has headers and dictionaries of its own, so that groups of a few rows make files large and slow.
    waiting: list[pa.Table] = []
    for rows in groups:
        waiting.append(rows)
        if sum(part.num_rows for part in waiting) >= _GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Small whole numbers that tell a column's values apart."""
    values = column.combine_chunks().dictionary_encode().indices
    codes: npt.NDArray[np.int64] = values.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _as_now(rows: pa.Table, schema: pa.Schema, path: str) -> pa.Table:
    """Columns in today's order and types; nullable ones that a file was written without are filled with nulls."""
    for field in schema:
        if field.name not in rows.schema.names and field.nullable:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    if set(rows.schema.names) != set(schema.names):
        table = path.rsplit("/", 2)[1]
        raise StoreError(f"{path}: its columns are not those of {table} in schema version {SCHEMA_VERSION}.")
    # By name and not by position: columns may have been put into another order since the file was written.
    return rows.select(schema.names).cast(schema)


def version_message(path: str, version: object) -> str:
    """What is said of files of another schema version."""
    return (
        f"{path}: written with schema version {version}, this program reads version {SCHEMA_VERSION}. "
        "Use another results directory, or the program version that wrote this one."
    )
