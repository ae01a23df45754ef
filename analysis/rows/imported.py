"""Directories of imported rows: a table of another tool as Parquet, beside what is known about where it came from.

The columns are those of the store's trials, but all may be null: what another tool did not record stays missing. A law
needs sizes in every row, so readers complete the identity P = n_rec (k_e + k_c), and say in their first lines which
numbers stand in.

    import.json     source with its hash, mapping, units, hash of the rows
    rows.parquet    one row per trial
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import AnalysisError
from analysis.rows.sweep import Sweep
from sweeper.errors import DamageError

MARKER, ROWS = "import.json", "rows.parquet"

FORMAT = 1
"""Version of `import.json` and of the columns beside it."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where imported rows came from."""

    source: str
    """Name of the file or folder that was read."""
    source_sha256: str | None
    """SHA-256 of that file; None for folders and frames."""
    kind: str
    """How it was read: `table`, or the tool that exported it."""
    mapping: Mapping[str, str]
    """Column of the source, or arithmetic of its columns, by our column."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Unit by our column, as the importer named it."""
    settings: tuple[str, ...] = ()
    """Further columns of the source whose values keep rows apart."""
    unused: tuple[str, ...] = ()
    """Columns of the source that nothing reads."""

    def sentence(self) -> str:
        """What every number behind is about, in one sentence."""
        parts = [
            f"{name} is {source}{f' [{self.units[name]}]' if name in self.units else ''}"
            for name, source in self.mapping.items()
            if name != source or name in self.units
        ]
        return f"imported from {self.source}" + (f": {', '.join(parts)}." if parts else ".")


def is_import(uri: str) -> bool:
    """Whether a path is a directory of imported rows."""
    return (Path(uri) / MARKER).is_file()


def write_import(folder: str | os.PathLike[str], rows: pd.DataFrame, origin: Origin) -> None:
    """Write imported rows as a directory that `analysis.rows.load.read_sweep` reads.

    Args:
        folder: made where it is missing.
        rows: what `analysis.imports.mapping.mapped` made.
        origin: where they came from.

    Raises:
        AnalysisError: there is something in the folder already.
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise AnalysisError(f"-o {folder}: not an empty directory; rows are imported into a new one")
    path.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), path / ROWS, compression="zstd")
    content = {"format": FORMAT, "rows_sha256": sha256_of_file(path / ROWS), "provenance": "imported"} | asdict(origin)
    # The marker comes last: a directory that is half written is not taken for one.
    (path / MARKER).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_import(uri: str) -> Sweep:
    """Read a directory of imported rows.

    Raises:
        AnalysisError: it was written by another version.
        DamageError: the rows are not those that were written.
    """
    path = Path(uri)
    try:
        content = json.loads((path / MARKER).read_text(encoding="utf-8"))
        version, digest = content["format"], content["rows_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(str(path / MARKER), "not the record of an import") from error
    if version != FORMAT:
        raise AnalysisError(f"{path / MARKER}: format {version} is not {FORMAT}; import the table again")
    if not (path / ROWS).is_file() or sha256_of_file(path / ROWS) != digest:
        raise DamageError(str(path / ROWS), "not the rows that were imported")
    known = {name: content[name] for name in Origin.__dataclass_fields__}
    origin = Origin(**known | {name: tuple(content[name]) for name in ("settings", "unused")})
    label = path.resolve().name
    sweep = imported_sweep(pq.read_table(path / ROWS).to_pandas(), origin, label=label)
    return Sweep(label=label, uri=uri, trials=sweep.trials, grids={}, folder=str(path), notes=sweep.notes)


def imported_sweep(rows: pd.DataFrame, origin: Origin, *, label: str) -> Sweep:
    """Imported rows as a sweep.

    Args:
        rows: what `analysis.imports.mapping.mapped` made.
        origin: where they came from.
        label: short name, for titles.
    """
    trials, sentences = _completed(rows)
    return Sweep(label=label, uri=label, trials=trials, grids={}, notes=(origin.sentence(), *sentences))


def _completed(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Fill in the sizes that P = n_rec (k_e + k_c) gives, and say which."""
    sizes = {name: rows[name].to_numpy(dtype=float) for name in ("n_rec", "k_e", "k_c", "trainable_params")}
    n, k, c, p = (np.isfinite(column) for column in sizes.values())
    n_rec, k_e, k_c, params = (column.copy() for column in sizes.values())
    k_c[~c] = 0.0
    # Only the size of the whole network is known: as many neurons of one parameter each cost as much.
    n_rec[~n & ~k & p], k_e[~n & ~k & p] = params[~n & ~k & p], 1.0
    k_e[n & ~k & ~p] = 1.0
    mean_size, count = n & ~k & p, ~n & k & p
    # A quotient by a size of 0 is not finite; the row then has no size, which the ledger says.
    with np.errstate(divide="ignore", invalid="ignore"):
        k_e[mean_size] = params[mean_size] / n_rec[mean_size] - k_c[mean_size]
        n_rec[count] = params[count] / (k_e[count] + k_c[count])
    params = np.where(p, params, n_rec * (k_e + k_c))
    sentences = []
    for name, known, why in (
        ("k_c", c, "0 stands in"),
        ("n_rec", n, "trainable_params / (k_e + k_c) stands in" if count.any() else "trainable_params stands in"),
        ("k_e", k, "trainable_params / n_rec - k_c stands in" if mean_size.any() else "1 stands in"),
        ("trainable_params", p, "n_rec (k_e + k_c) stands in"),
    ):
        if len(rows) and not known.all():
            where = "not in that table" if not known.any() else f"missing in {int((~known).sum()):,} rows"
            sentences.append(f"{name} is {where}: {why}")
    whole = [f"{'; '.join(sentences)}."] if sentences else []
    return rows.assign(n_rec=n_rec, k_e=k_e, k_c=k_c, trainable_params=params), whole


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file as it is now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
