"""Files and exports of other tools as frames, with what the export itself says about columns."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pyarrow as pa

from analysis.errors import AnalysisError
from analysis.imports.mapping import ImportSettings, mapped
from analysis.rows.imported import Origin, sha256_of_file
from cluster.errors import joined, path_hint, unknown_name
from sweeper.store.schema import FAILED, FINISHED, PRUNED

ENDINGS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".ndjson": lambda path: pd.read_json(path, lines=True),
}
"""Readers by the file's ending."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of another tool."""

    frame: pd.DataFrame
    """Its rows."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """What the tool's own names mean, by our column; a mapping of the user's comes first."""
    direction: str | None = None
    """Which way the metric improves, where the tool knows it."""
    left_out: int = 0
    """Rows of trials that have not ended."""
    warnings: tuple[str, ...] = ()
    """What could not be read and was passed over."""


def to_stderr(sentence: str) -> None:
    """Print a line where it does not mix with what a program reads."""
    click.echo(sentence, err=True)


def import_rows(
    source: str,
    settings: ImportSettings,
    *,
    kind: str = "table",
    study: str | None = None,
    warn: Callable[[str], object] = to_stderr,
) -> tuple[pd.DataFrame, Origin, int]:
    """Read a table of another tool.

    Args:
        source: the file, or for `ray-results` the folder.
        settings: the mapping, and what all rows share.
        kind: one of `KINDS`.
        study: name of the study, for `optuna-storage` with several.
        warn: is told in one line each what could not be read and was passed over.

    Returns:
        The rows with the columns of trials, where they came from, and how many trials had not ended and are left out.

    Raises:
        AnalysisError: the file cannot be read, or what `mapped` refuses.
    """
    if kind not in KINDS:
        raise AnalysisError(unknown_name("--from", kind, KINDS))
    path = Path(source)
    if not path.exists():
        raise AnalysisError(f"{source}: no such file{path_hint(path, Path.exists)}")
    table = optuna_storage(path, study) if kind == "optuna-storage" else KINDS[kind](path)
    for sentence in table.warnings:
        warn(sentence)
    # The user's word counts where both name a column.
    whole = replace(
        settings,
        mapping=dict(table.mapping) | dict(settings.mapping),
        direction=settings.direction or table.direction,
    )
    rows, mapping = mapped(table.frame, whole, place=path.name)
    origin = Origin(
        source=path.name,
        source_sha256=sha256_of_file(path) if path.is_file() else None,
        kind=kind,
        mapping=mapping,
        units=dict(settings.units),
        settings=tuple(settings.settings),
        unused=unused(table.frame, mapping, settings),
    )
    return rows, origin, table.left_out


def unused(frame: pd.DataFrame, mapping: Mapping[str, str], settings: ImportSettings) -> tuple[str, ...]:
    """Columns that neither the mapping nor the settings name."""
    # Names inside arithmetic are found as words, which is enough to tell what nothing reads.
    words = set(mapping.values()) | {word for text in mapping.values() for word in _words(text)}
    return tuple(str(name) for name in frame.columns if name not in words and name not in settings.settings)


def _words(text: str) -> list[str]:
    return "".join(c if c.isidentifier() or c.isdigit() else " " for c in text).split()


def read_table(path: Path) -> Table:
    """Read a CSV, Parquet or JSON-lines file."""
    if path.suffix not in ENDINGS:
        raise AnalysisError(f"{path}: the name must end in {', '.join(ENDINGS)}")
    if path.is_dir() or not path.stat().st_size:
        raise AnalysisError(f"{path}: {'a folder, not a file' if path.is_dir() else 'an empty file'}")
    try:
        return Table(frame=ENDINGS[path.suffix](path))
    # Every one of these readers says in another class that a file is not what its name claims.
    except (ValueError, pa.ArrowInvalid, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise AnalysisError(f"{path}: not readable as {path.suffix[1:]} ({joined(error)})") from error


def wandb_export(path: Path) -> Table:
    """Read the CSV that the table of runs of Weights & Biases exports."""
    frame = read_table(path).frame
    mapping = {}
    if "State" in frame:
        ended = frame[~frame["State"].isin(("running", "pending"))].copy()
        states = ended["State"].astype(str)
        ended["State"] = [FINISHED if state == "finished" else FAILED for state in states]
        ended["reason"] = [None if state == "finished" else f"wandb: {state}" for state in states]
        mapping = {"status": "State", "reason": "reason"}
    else:
        ended = frame
    # Names of runs are often given by hand, and then not always one to a run.
    for name in ("ID", "Name"):
        if name in ended and ended[name].is_unique and ended[name].notna().all():
            mapping["trial_id"] = name
            break
    if "Runtime" in ended and pd.api.types.is_numeric_dtype(ended["Runtime"]):
        mapping["wall_s"] = "Runtime"
    return Table(frame=ended.reset_index(drop=True), mapping=mapping, left_out=len(frame) - len(ended))


def optuna_storage(path: Path, study: str | None = None) -> Table:
    """Read a study from Optuna's SQLite storage."""
    try:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        raise AnalysisError("--from optuna-storage needs Optuna: pip install 'elm-sweeper[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        # Nothing is created or upgraded: the file is somebody's only copy.
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}", skip_table_creation=True)
        names = optuna.get_all_study_names(storage)
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
        raise AnalysisError(f"{path}: not readable as a storage of Optuna ({joined(error)})") from error
    if study is None and len(names) != 1:
        raise AnalysisError(
            f"{path}: holds {len(names)} studies; choose one with --study: {', '.join(names) or 'none'}"
        )
    if study is not None and study not in names:
        raise AnalysisError(unknown_name("--study", study, names))
    loaded = optuna.load_study(study_name=study or names[0], storage=storage)
    if len(loaded.directions) > 1:
        raise AnalysisError(f"{path}: study {study or names[0]} has {len(loaded.directions)} objectives, expected 1")
    rows: list[dict[str, Any]] = []
    trials = loaded.get_trials(deepcopy=False)
    ended = {"COMPLETE": FINISHED, "PRUNED": PRUNED, "FAIL": FAILED}
    for trial in trials:
        if trial.state.name in ended:
            seconds = trial.duration.total_seconds() if trial.duration else None
            value = trial.values[0] if trial.values and trial.state.name == "COMPLETE" else None
            own = {"number": f"trial-{trial.number}", "state": ended[trial.state.name], "value": value}
            # The study's own columns come last, so that no parameter of the same name takes their place.
            rows.append({**trial.user_attrs, **trial.params, **own, "duration_s": seconds})
    return Table(
        frame=pd.DataFrame(rows),
        mapping={"trial_id": "number", "status": "state", "metric": "value", "wall_s": "duration_s"},
        direction="max" if loaded.direction.name == "MAXIMIZE" else "min",
        left_out=len(trials) - len(rows),
    )


def ray_results(path: Path) -> Table:
    """Read the folder of an experiment of Ray Tune: each trial's last result, and its parameters as `config/...`."""
    if not path.is_dir():
        raise AnalysisError(f"{path}: not a folder; give the folder of the experiment, which holds one per trial")
    rows = []
    torn: list[str] = []
    folders = sorted({file.parent for file in path.glob("*/params.json")})
    for folder in folders:
        parameters = _json(folder / "params.json")
        row = {f"config/{name}": value for name, value in _flat(parameters)}
        reports, unreadable = _reports(folder / "result.json")
        torn += [f"{folder.name}/result.json"] * (unreadable > 0)
        if reports:
            # Each line is a report of the trial, and the last one is its end.
            last = {name: value for name, value in reports[-1].items() if name != "config"}
            row = dict(_flat(last)) | row
        failed = (folder / "error.txt").is_file()
        if not reports and not failed:
            continue
        why = _text(folder / "error.txt").strip().splitlines()[-1:] if failed else []
        rows.append({**row, "folder": folder.name, "status": FAILED if failed else FINISHED, "reason": "".join(why)})
    if not rows:
        raise AnalysisError(f"{path}: no trial with a result (params.json and result.json in a folder of its own)")
    mapping = {"trial_id": "folder", "status": "status", "reason": "reason"}
    frame = pd.DataFrame(rows)
    frame["reason"] = frame["reason"].where(frame["reason"] != "", None)
    if "time_total_s" in frame:
        mapping["wall_s"] = "time_total_s"
    warnings: tuple[str, ...] = ()
    if torn:
        # What a killed machine leaves behind is no reason to lose the other trials.
        which = torn[0] + (f" and {len(torn) - 1} others" if len(torn) > 1 else "")
        warnings = (
            f"{which}: passed over what is no JSON object, most often the last line of a trial that was killed",
        )
    return Table(frame=frame, mapping=mapping, left_out=len(folders) - len(rows), warnings=warnings)


def _reports(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The reports of a trial, one JSON object a line, and how many lines are none."""
    reports, unreadable = [], 0
    for line in _text(file).splitlines() if file.is_file() else ():
        try:
            report = json.loads(line)
        except ValueError:
            report = None
        if isinstance(report, dict):
            reports.append(report)
        else:
            unreadable += bool(line.strip())
    return reports, unreadable


def _text(file: Path) -> str:
    # A line that was cut off may end in the middle of a letter.
    return file.read_text(encoding="utf-8", errors="replace")


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(file))
    except ValueError as error:
        raise AnalysisError(f"{file}: not readable as JSON ({joined(error)})") from error
    if not isinstance(content, dict):
        raise AnalysisError(f"{file}: expected the parameters of a trial, found {type(content).__name__}")
    return content


def _flat(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in node.items():
        path = f"{prefix}{name}"
        pairs += _flat(value, f"{path}/") if isinstance(value, dict) else [(path, value)]
    return pairs


KINDS: dict[str, Callable[[Path], Table]] = {
    "table": read_table,
    "wandb-export": wandb_export,
    "optuna-storage": optuna_storage,
    "ray-results": ray_results,
}
"""Readers by the name that `--from` takes."""
