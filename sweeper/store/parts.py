"""Part files of a table: how rows are packed into one, read from one, and which of several rows of one thing counts."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sweeper.errors import StoreError
from sweeper.store.schema import FINISHED, KEYS, REPLACES_KEY, SCHEMA_VERSION, SCHEMAS, VERSION_KEY

RANKING: dict[str, tuple[str, ...]] = {
    table: tuple(dict.fromkeys([*key, "attempt", *(["status"] if table == "trials" else [])]))
    for table, key in KEYS.items()
}
"""The columns that `counting` looks at, by table."""
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
    ids, attempt = _codes(ranking["trial_id"]), ranking["attempt"].to_numpy().astype(np.int64)
    keep = np.ones(len(ids), dtype=np.bool_)
    if len(ids) == 0:
        return keep
    if table != "attempts":
        finished = np.asarray(ranking["status"]) == FINISHED if table == "trials" else np.int64(0)
        rank = 2 * attempt + finished
        best = np.zeros(ids.max() + 1, dtype=np.int64)
        np.maximum.at(best, ids, rank)
        keep = rank == best[ids]
    key = ids
    for name in KEYS[table][1:]:
        codes = attempt if name == "attempt" else _codes(ranking[name])
        key = key * (codes.max() + 1) + codes
    kept = np.flatnonzero(keep)
    _, first = np.unique(key[kept], return_index=True)
    keep[:] = False
    keep[kept[first]] = True
    return keep


def read_groups(filesystem: pafs.FileSystem, path: str, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    """The rows of a part file, a row group at a time.

    Raises:
        FileNotFoundError: there is no such file (any more).
        StoreError: it is not readable, has another schema version, or is of another table.
    """
    table = path.rsplit("/", 2)[1]
    wanted = SCHEMAS[table].names if columns is None else list(columns)
    schema = pa.schema([SCHEMAS[table].field(name) for name in wanted])
    try:
        # What is fetched ahead stays in memory until the file is collected; it pays where each look costs a request
        ahead = not isinstance(filesystem, pafs.LocalFileSystem)
        with pq.ParquetFile(path, filesystem=filesystem, pre_buffer=ahead) as file:
            _check_version(file.schema_arrow.metadata, path)
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns, use_threads=False).replace_schema_metadata(None)
                yield rows if rows.schema == schema else _as_now(rows, schema, path)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise StoreError(f"{path}: not a readable Parquet file ({error}). Move it away to go on.") from error


def replaced_by(filesystem: pafs.FileSystem, path: str) -> set[str]:
    """Names of the part files that a merged file stands for.

    Raises:
        FileNotFoundError, StoreError: as `read_groups`.
    """
    try:
        metadata = pq.read_schema(path, filesystem=filesystem).metadata or {}
    except pa.ArrowException as error:
        raise StoreError(f"{path}: not a readable Parquet file ({error}).") from error
    return set(json.loads(metadata.get(REPLACES_KEY, b"[]")))


def packed(table: str, groups: Iterable[pa.Table], replaces: Iterable[str] = ()) -> pa.Buffer:
    """Rows as the bytes of one part file; they are taken and packed a row group at a time.

    Args:
        table: which table they are of.
        groups: the rows, in order.
        replaces: names of the part files that the new one stands for.
    """
    metadata = {**(SCHEMAS[table].metadata or {})}
    names = sorted(replaces)
    if names:
        metadata[REPLACES_KEY] = json.dumps(names).encode()
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMAS[table].with_metadata(metadata), compression="zstd") as writer:
        for rows in _in_lots(groups):
            writer.write_table(rows.replace_schema_metadata(metadata), row_group_size=_GROUP_ROWS)
    return sink.getvalue()


def _in_lots(groups: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small tables joined until they make a row group."""
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
    return rows.select(schema.names).cast(schema)


def _check_version(metadata: Mapping[bytes, bytes] | None, path: str) -> None:
    version = (metadata or {}).get(VERSION_KEY, b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise StoreError(version_message(path, version))


def version_message(path: str, version: object) -> str:
    """What is said of files of another schema version."""
    return (
        f"{path}: written with schema version {version}, this program reads version {SCHEMA_VERSION}. "
        "Use another results directory, or the program version that wrote this one."
    )
