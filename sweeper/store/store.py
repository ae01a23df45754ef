"""The results directory: append-only Parquet part files per table, written atomically, read as one table.

Layout below the root (a local path or a pyarrow filesystem URI such as ``s3://bucket/sweep``)::

    store.json               schema version; written once
    grids/<name>.yaml        the grids launched into this directory
    code/<hash>.py           files that their tasks are defined in
    trials/*.parquet         final rows, one per trial
    curves/*.parquet         evaluations during training
    attempts/*.parquet       every try
    launches/                logs of launches, and the present state of running ones
    damaged/                 files that `sweeper verify --set-aside` took out
    checkpoints/<id>.pt      last state of long trials that have not ended
    networks/<id>.pt         weights of finished trials whose grid asked for them
    predictions/<id>.parquet test predictions of finished trials whose grid asked for them

Writers only add files; compaction writes one file of what they hold and deletes them afterwards, so that a process
killed at any moment leaves either the old files or both. A row that stands in both counts once, as every row does that
two lanes wrote: no file can hide another.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from sweeper.errors import DamageError, StoreError
from sweeper.store.folder import Folder, base_name, resolve, unique
from sweeper.store.nearby import MARKER, results_hint
from sweeper.store.parts import (
    OTHER_BYTES,
    RANKING,
    Part,
    counting,
    is_sealed,
    open_part,
    packed,
    sealed,
    version_message,
)
from sweeper.store.patient import PatientFileSystem
from sweeper.store.schema import FINISHED, PREDICTIONS, SCHEMA_VERSION, SCHEMAS

Weights = Literal["checkpoints", "networks"]
"""Folders that hold weights: of trials that have not ended, and of finished ones."""
_READ_TRIES = 5
"""Times that a reader begins anew when files are merged while it reads (assumption: merges are minutes apart)."""


class ResultsStore(Folder):
    """Reads and writes one results directory.

    Open it with `ResultsStore.create` (to write) or `ResultsStore.open` (to read); both check the schema version.
    """

    def __init__(
        self,
        filesystem: pafs.FileSystem | PatientFileSystem,
        root: str,
        uri: str,
        on_damage: Callable[[DamageError], None] | None = None,
    ) -> None:
        super().__init__(filesystem, root, uri)
        self._on_damage = on_damage
        # A store is read several times by one command; each damaged file is named once.
        self._damaged: set[str] = set()

    @classmethod
    def create(cls, uri: str | os.PathLike[str]) -> "ResultsStore":
        """Open a results directory for writing, making it where it is missing.

        Raises:
            StoreError: no write permission, or the directory holds another schema version.
        """
        store = cls(*resolve(uri))
        with store._storage_errors("create the results directory"):
            for table in SCHEMAS:
                store._fs.create_dir(f"{store._root}/{table}", recursive=True)
            store._fs.create_dir(f"{store._root}/grids", recursive=True)
            # The marker comes last: a directory that is half made is not taken for a results directory.
            if store._exists(MARKER):
                store._check_marker()
            else:
                store._write_bytes(MARKER, json.dumps({"schema_version": SCHEMA_VERSION}).encode() + b"\n")
        return store

    @classmethod
    def open(
        cls, uri: str | os.PathLike[str], *, on_damage: Callable[[DamageError], None] | None = None
    ) -> "ResultsStore":
        """Open an existing results directory for reading.

        Args:
            uri: a local path or a pyarrow filesystem URI.
            on_damage: called once for each damaged part, which is then left out of what is read. When None the error
                is raised: whoever runs trials or fits a law must not take a part of the rows for all of them.

        Raises:
            StoreError: there is no results directory, or it holds another schema version.
        """
        store = cls(*resolve(uri), on_damage)
        with store._storage_errors("read the results directory"):
            if not store._exists(MARKER):
                raise StoreError(
                    f"{store.uri}: not a results directory (no {MARKER}){results_hint(store.uri) or '.'} "
                    "`sweeper launch GRID.yaml -r DIR` makes one."
                )
            store._check_marker()
        return store

    def impatient(self) -> "ResultsStore":
        """The same store, which tells an outage at once: for what is written anew every few seconds."""
        filesystem = self._fs.impatient() if isinstance(self._fs, PatientFileSystem) else self._fs
        return ResultsStore(filesystem, self._root, self.uri, self._on_damage)

    @classmethod
    def exists(cls, uri: str | os.PathLike[str]) -> bool:
        """Whether there is a results directory."""
        store = cls(*resolve(uri))
        with store._storage_errors("look for the results directory"):
            return store._exists(MARKER)

    def write(self, table: str, records: Sequence[Any], *, writer: str = "w") -> str | None:
        """Append records as one part file, atomically.

        Args:
            table: `trials`, `curves` or `attempts`.
            records: instances of that table's record class.
            writer: name of the writer, part of the file name.

        Returns:
            The new file's name, or None when there was nothing to write.

        Raises:
            StorageError: the storage refused (disk full, no permission); nothing was changed.
        """
        if not records:
            return None
        # Parquet files cannot be appended to, so each call makes a file of its own; `compact` joins them.
        rows = [vars(record) for record in records]  # flat dataclasses
        return self._write_part(table, [pa.Table.from_pylist(rows, schema=SCHEMAS[table])], f"{writer}-{unique()}")

    def read(
        self, table: str, columns: Sequence[str] | None = None, *, trial_ids: pa.ChunkedArray | None = None
    ) -> pa.Table:
        """Read a table, each key once (the row of the highest attempt counts).

        Args:
            table: `trials`, `curves` or `attempts`.
            columns: names to return; all when None.
            trial_ids: the trials to return; all when None.

        Raises:
            StoreError: a part is not readable or has another schema version.
        """
        # Which row counts depends on columns that nobody asked for; they are read with the others and dropped again.
        wanted = None if columns is None else list(dict.fromkeys([*columns, *RANKING[table]]))
        schema = SCHEMAS[table] if wanted is None else pa.schema([SCHEMAS[table].field(c) for c in wanted])
        # Not `empty_table`, which makes pyarrow load pandas: a first launch finds nothing and does without (0.5 s).
        nothing = pa.Table.from_batches([], schema.remove_metadata())
        rows = pa.concat_tables([nothing, *self._read_parts(table, wanted, trial_ids)])
        keep = counting(rows, table)
        rows = rows if keep.all() else rows.filter(pa.array(keep))
        return rows if columns is None else rows.select(list(columns))

    def read_every(self, table: str, columns: Sequence[str]) -> pa.Table:
        """Columns of every row of a table, also of rows that do not count."""
        schema = pa.schema([SCHEMAS[table].field(name) for name in columns])
        return pa.concat_tables([schema.empty_table(), *self._read_parts(table, columns, None)])

    def _read_parts(
        self, table: str, columns: Sequence[str] | None, trial_ids: pa.ChunkedArray | None
    ) -> list[pa.Table]:
        """Every row of a table, or of some trials; several may be of one trial."""
        wanted = None if trial_ids is None else trial_ids.combine_chunks()
        # A part that is half read is thrown away with all others: rows of one listing are consistent, rows of two may
        # hold a trial twice or not at all.
        for _ in range(_READ_TRIES):
            try:
                listed = self._list_parts(table)
                groups = [
                    group if wanted is None else group.filter(pc.is_in(group["trial_id"], wanted))
                    for part in self._parts(listed)
                    for group in self._groups(part, columns)
                ]
            except FileNotFoundError:  # it was merged after we listed it; its rows are in the new file
                continue
            # A listing that was under way while files were merged may show neither the old files nor the new one.
            if not set(filter(_is_merged, self._list_parts(table))).difference(listed):
                return groups
        raise StoreError(f"{self.uri}/{table}: others merge its files again and again; try once more.")

    def statuses(self) -> dict[str, str]:
        """Status of every trial that has a final row, by trial_id."""
        rows = self.read("trials", ["trial_id", "status"])
        return dict(zip(rows["trial_id"].to_pylist(), rows["status"].to_pylist(), strict=True))

    def attempts_made(self) -> dict[str, int]:
        """Number of attempts on record, by trial_id."""
        # Both tables: lost and preempted attempts stand in the history alone, and a writer that was killed may have
        # stored the history of an attempt and not yet its final row.
        return self._attempts("trials", "attempts")

    def attempts_ended(self) -> dict[str, int]:
        """Number of the attempt that made the final row, by trial_id."""
        return self._attempts("trials")

    def _attempts(self, *tables: str) -> dict[str, int]:
        """Highest attempt in some tables, by trial_id."""
        made: dict[str, int] = {}
        for table in tables:
            rows = self.read(table, ["trial_id", "attempt"])
            for trial_id, attempt in zip(rows["trial_id"].to_pylist(), rows["attempt"].to_pylist(), strict=True):
                made[trial_id] = max(attempt, made.get(trial_id, 0))
        return made

    def adopt(self, table: str, rows: pa.Table) -> None:
        """Append rows read from another store."""
        if rows.num_rows:
            self._write_part(table, [rows], f"merged-{unique()}")

    def let_finished_count(self, trial_id: str) -> None:
        """Write the finished row and curve of a trial once more where an unfinished row of a later attempt hides them.

        They are given the number of that later attempt: of two rows of one attempt the finished one counts, and a
        retry, which makes a higher one, still replaces it.
        """
        ids = pa.chunked_array([[trial_id]])
        # Every row and not those that count: the one looked for is exactly one that does not.
        rows = [row for part in self._read_parts("trials", None, ids) for row in part.to_pylist()]
        finished = max((row for row in rows if row["status"] == FINISHED), key=_attempt, default=None)
        latest = max(map(_attempt, rows), default=0)
        if finished is None or finished["attempt"] == latest:
            return
        curve = [row for part in self._read_parts("curves", None, ids) for row in part.to_pylist()]
        curve = [row for row in curve if row["attempt"] == finished["attempt"]]
        for table, again in (("curves", curve), ("trials", [finished])):  # the final row last, as lanes write it
            renumbered = [{**row, "attempt": latest} for row in again]
            parts = [pa.Table.from_pylist(renumbered, schema=SCHEMAS[table])]
            self._write_part(table, parts, f"launcher-{unique()}")

    def compact(self) -> None:
        """Merge the part files of each table into one, dropping rows that a later attempt replaced."""
        for table in SCHEMAS:
            listed = self._list_parts(table)
            # A single part is merged as well where it has no hash in its name: written anew it gets one.
            if len(listed) > 1 or not all(map(is_sealed, listed)):
                self._merge(table, listed)
        self.release_memory()

    @staticmethod
    def release_memory() -> None:
        """Give back what reading took: a launcher lives on for hours afterwards."""
        # Arrow keeps freed memory for itself: after reading a large store that was most of what a launcher held.
        pa.default_memory_pool().release_unused()

    def save_grid(self, name: str, text: str) -> None:
        """Keep the text of a launched grid; a grid of the same name is replaced."""
        self.write_text(f"grids/{name}.yaml", text)

    def grids(self) -> dict[str, str]:
        """Texts of the grids launched into this directory, by name."""
        return self.texts("grids", ".yaml")

    def save_code(self, sources: Mapping[str, str]) -> None:
        """Keep files that tasks are defined in, by the beginning of their SHA-256."""
        for digest, source in sources.items():
            self.write_text(f"code/{digest}.py", source)

    def code(self) -> dict[str, str]:
        """Files that the tasks of these rows are defined in, by the beginning of their SHA-256."""
        return self.texts("code", ".py")

    def set_aside(self, path: str) -> None:
        """Move a damaged file out of what is read, to ``damaged/`` below the root."""
        with self._storage_errors(f"move {base_name(path)}"):
            self._create_folder("damaged")
            # Moved and not deleted: whole pages of it may still be read by hand.
            self._fs.move(path, f"{self._root}/damaged/{base_name(path)}")

    def write_weights(self, folder: Weights, trial_id: str, payload: bytes) -> None:
        """Replace a trial's checkpoint or saved network; the file begins with the SHA-256 of what follows."""
        with self._storage_errors(f"write to {folder}"):
            self._create_folder(folder)
            # The hash is in the file, where that of a part is in its name: each checkpoint takes the place and name of
            # the last.
            self._write_bytes(f"{folder}/{trial_id}.pt", hashlib.sha256(payload).digest() + payload)

    def read_weights(self, folder: Weights, trial_id: str) -> bytes | None:
        """The checkpoint or the saved network of a trial, or None.

        Raises:
            DamageError: the file is not what was written; torch itself does not check what it loads.
        """
        path = f"{self._root}/{folder}/{trial_id}.pt"
        with self._storage_errors(f"read from {folder}"):
            if not self._exists(f"{folder}/{trial_id}.pt"):  # where a pipe stands there is none
                return None
            try:
                with self._fs.open_input_stream(path) as stream:
                    content: bytes = stream.read()
            except FileNotFoundError:
                return None
        digest, payload = content[: hashlib.sha256().digest_size], content[hashlib.sha256().digest_size :]
        if hashlib.sha256(payload).digest() != digest:
            raise DamageError(path, OTHER_BYTES)
        return payload

    def write_predictions(self, trial_id: str, rows: pa.Table) -> None:
        """Replace the predictions of a trial: rows of `sweeper.store.schema.PREDICTIONS`."""
        with self._storage_errors("write to predictions"):
            self._create_folder("predictions")
            self._write_bytes(f"predictions/{trial_id}.parquet", packed(PREDICTIONS, [rows]))

    def read_predictions(self, trial_id: str) -> pa.Table | None:
        """The predictions of a trial, or None where it has none.

        Raises:
            DamageError: the file is not readable.
            StoreError: it has another schema version.
        """
        name = f"predictions/{trial_id}.parquet"
        with self._storage_errors("read from predictions"):
            return open_part(self._fs, f"{self._root}/{name}").whole() if self._exists(name) else None

    def delete_checkpoint(self, trial_id: str) -> None:
        """Remove the checkpoint of a trial, where there is one."""
        self.delete_text(f"checkpoints/{trial_id}.pt")

    def _write_part(self, table: str, groups: Iterable[pa.Table], stem: str) -> str:
        payload = packed(SCHEMAS[table], groups)
        name = sealed(stem, payload)
        with self._storage_errors(f"write {table}"):
            self._write_bytes(f"{table}/{name}", payload)
        return name

    def _merge(self, table: str, listed: Sequence[str]) -> None:
        """Write one file of what the listed ones hold, then remove them."""
        try:
            # Two passes: the few columns that decide which rows count fit into memory for the whole table, and the rest
            # is copied a row group at a time.
            ranking = [group for part in self._parts(listed) for group in part.groups(RANKING[table])]
            keep = counting(pa.concat_tables(ranking), table)
            kept = self._kept(self._parts(listed), keep)
            # Its name says that it is a merge, by which a reader in the middle of a listing learns that files may be
            # gone.
            self._write_part(table, kept, f"compact-{unique()}")
        except FileNotFoundError:  # somebody else merges them at this moment
            return
        for path in listed:  # only now: killed in between, both are there, and each row counts once
            self._delete(path)

    @staticmethod
    def _kept(parts: Iterable[Part], keep: npt.NDArray[np.bool_]) -> Iterator[pa.Table]:
        """The rows that count, a row group at a time."""
        start = 0
        for part in parts:
            for group in part.groups(None):
                kept = keep[start : start + group.num_rows]
                yield group if kept.all() else group.filter(pa.array(kept))
                start += group.num_rows

    def _list_parts(self, table: str) -> list[str]:
        return [info.path for info in self._listed(table, ".parquet")]

    def _parts(self, listed: Sequence[str]) -> Iterator[Part]:
        """The listed parts, one after the other; damaged ones are left out where that is allowed."""
        for path in listed:
            part = self._open_part(path)
            if part is not None:
                yield part

    def _open_part(self, path: str) -> Part | None:
        """A part file, or None where it is damaged and may be left out."""
        try:
            return open_part(self._fs, path)
        except DamageError as error:
            self._leave_out(error)
            return None

    def _groups(self, part: Part, columns: Sequence[str] | None) -> list[pa.Table]:
        """The rows of a part, none of them where it is damaged and may be left out."""
        try:
            return list(part.groups(columns))
        except DamageError as error:  # of a part without a hash, which shows its damage only when it is decoded
            self._leave_out(error)
            return []

    def _leave_out(self, error: DamageError) -> None:
        """Go on without a damaged part, saying so once, or raise the error."""
        if self._on_damage is None:
            raise error
        if error.path not in self._damaged:
            self._damaged.add(error.path)
            self._on_damage(error)

    def _check_marker(self) -> None:
        with self._fs.open_input_stream(f"{self._root}/{MARKER}") as stream:
            text = stream.read().decode(errors="replace")
        try:
            version = json.loads(text)["schema_version"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise StoreError(f"{self.uri}/{MARKER}: not readable as JSON with a schema_version.") from error
        if version != SCHEMA_VERSION:
            raise StoreError(version_message(self.uri, version))


def _attempt(row: dict[str, Any]) -> int:
    return int(row["attempt"])


def _is_merged(path: str) -> bool:
    return base_name(path).startswith("compact-")
