"""Check a whole results directory: every file against its hash, every row against its spec, and the tables together."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from model.budget import counts
from model.config import ConfigError
from sweeper.errors import FOR_PEOPLE, DamageError, StoreError, SweeperError
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.trial import TrialSpec, spec_from_canonical
from sweeper.store.parts import is_sealed
from sweeper.store.schema import FINISHED, SCHEMAS, STATUSES
from sweeper.store.store import ResultsStore, Weights

_OF_TRAINING = ("learning_rate", "batch_size", "length", "steps")
_OF_MODEL = ("n_in", "n_out", "n_rec", "d_m", "l_mlp", "d_tree", "d_branch", "rho_rec", "tau_m_max")
_OF_COUNTS = ("k_e", "k_c", "trainable_params", "recurrent_params", "readout_params", "total_params")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found in a results directory."""

    rows: Mapping[str, int]
    """Rows that count, by table."""
    parts: int
    """Part files."""
    unsealed: int
    """Part files of earlier versions, whose names hold no hash."""
    damaged: tuple[str, ...]
    """One sentence for each damaged file."""
    problems: tuple[str, ...]
    """What does not fit together in files that are whole."""
    wrong: tuple[str, ...]
    """Trials whose stored row cannot be true; `sweeper retry` replaces them."""
    incomplete: tuple[str, ...]
    """Trials whose curve or history is gone while their row is there; `sweeper retry` makes them whole."""
    missing: tuple[str, ...]
    """Trials of the stored grids that have no readable row; a launch of the grids runs them."""

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damaged and not self.problems


def verify(results: str, *, set_aside: bool = False) -> Verification:
    """Read everything that a results directory holds.

    Args:
        results: results directory or URI.
        set_aside: move damaged files to ``damaged/`` in it, so that a launch runs again what they held.

    Raises:
        StoreError: it is no results directory, or of another schema version.
    """
    errors: list[DamageError] = []
    # Damage is gathered and not raised: the first damaged file must not hide the others.
    store = ResultsStore.open(results, on_damage=errors.append)
    tables = {table: store.read(table) for table in SCHEMAS}
    wrong = {row["trial_id"]: why for row in tables["trials"].to_pylist() if (why := _wrong(row)) is not None}
    problems = [f"trial {trial_id}: {why}" for trial_id, why in wrong.items()]
    incomplete = _incomplete(tables)
    problems += _disagreements(store)
    problems += [f"{len(ids)} {what}: {_some(ids)}" for what, ids in incomplete.items() if ids]
    planned: set[str] = set()
    for name, text in store.grids().items():
        try:
            planned |= set(expand(parse_grid(text, default_name=name)).trials)
        # A grid that cannot be read is a problem of this directory like any other, and the other grids are still looked
        # at.
        except FOR_PEOPLE as error:
            problems.append(f"grids/{name}.yaml: {error}")
    problems += _side_files(store)
    folders: tuple[Weights, ...] = ("checkpoints", "networks")
    for folder, trial_id in ((place, name) for place in folders for name in store.names(place, ".pt")):
        try:
            store.read_weights(folder, trial_id)
        except DamageError as error:
            errors.append(error)
    for trial_id in store.names("predictions", ".parquet"):
        try:
            store.read_predictions(trial_id)
        except DamageError as error:
            errors.append(error)
    if set_aside:
        # Last, when everything has been read: a file that is moved away could not be looked at again.
        for damage in errors:
            store.set_aside(damage.path)
    parts = [path for table in SCHEMAS for path in store.names(table, ".parquet")]
    return Verification(
        rows={table: rows.num_rows for table, rows in tables.items()},
        parts=len(parts),
        unsealed=sum(not is_sealed(f"{name}.parquet") for name in parts),
        damaged=tuple(f"{damage.path}: {damage.why}" for damage in errors),
        problems=tuple(problems),
        wrong=tuple(wrong),
        incomplete=tuple(sorted(set().union(*incomplete.values()))),
        missing=tuple(sorted(planned - set(tables["trials"]["trial_id"].to_pylist()))),
    )


def _wrong(row: Mapping[str, Any]) -> str | None:
    """Why the final row of a trial cannot be true, if so: ids and sizes follow from the spec."""
    try:
        spec = spec_from_canonical(row["spec"])
    # Whatever a spec that was altered can raise: what is checked here may have been written by anybody.
    except (ValueError, KeyError, TypeError, SweeperError, ConfigError) as error:
        return f"its spec cannot be read ({error})"
    if spec.trial_id != row["trial_id"]:
        return f"its spec is that of {spec.trial_id}"
    if row["status"] not in STATUSES:
        return f"status {row['status']!r} is not known"
    for name, value in _expected(spec).items():
        if row[name] != value:
            return f"{name} is {row[name]}, and {value} by its spec"
    if row["status"] == FINISHED and row["final_step"] not in (None, spec.training.steps):
        return f"it finished at step {row['final_step']} of {spec.training.steps}"
    return None


def _expected(spec: TrialSpec) -> dict[str, Any]:
    """Columns of the final row that follow from the spec."""
    total = counts(spec.model)
    return {
        "seed": spec.seed,
        "task": spec.task,
        "architecture": spec.architecture,
        **{name: getattr(spec.training, name) for name in _OF_TRAINING},
        # `d_mlp` is missing among them: the column has the width that was built, not the setting.
        **{name: getattr(spec.model, name, None) for name in _OF_MODEL},
        **{name: getattr(total, name) for name in _OF_COUNTS},
    }


def _disagreements(store: ResultsStore) -> Iterator[str]:
    """Attempts that finished twice, on two lanes, with different numbers."""
    seen: dict[tuple[str, int], set[float | None]] = defaultdict(set)
    # Also of rows that do not count: a lane that was thought dead may have made the same attempt as another.
    for row in store.read_every("trials", ["trial_id", "attempt", "status", "final_valid_metric"]).to_pylist():
        if row["status"] == FINISHED:
            seen[row["trial_id"], row["attempt"]].add(row["final_valid_metric"])
    for (trial_id, attempt), values in seen.items():
        if len(values) > 1:
            yield f"trial {trial_id}: attempt {attempt} finished {len(values)} times with different metrics"


def _incomplete(tables: Mapping[str, pa.Table]) -> dict[str, list[str]]:
    """Trials whose row lacks its counterparts in the other tables, by what they lack."""
    trials = tables["trials"].select(["trial_id", "status"]).to_pylist()
    # Only rows without their counterparts are faults. The reverse is what a killed writer leaves: it writes curves and
    # attempts before the final row.
    tried = set(tables["attempts"]["trial_id"].to_pylist())
    curves = set(tables["curves"]["trial_id"].to_pylist())
    finished = [row["trial_id"] for row in trials if row["status"] == FINISHED]
    return {
        "trials have no row in attempts": [row["trial_id"] for row in trials if row["trial_id"] not in tried],
        "finished trials have no curve": [trial_id for trial_id in finished if trial_id not in curves],
    }


def _side_files(store: ResultsStore) -> Iterator[str]:
    """Files of running launches that are no JSON objects."""
    try:
        texts = store.texts("launches", ".json")
    except StoreError as error:
        yield str(error)
        return
    for name, text in texts.items():
        try:
            whole = isinstance(json.loads(text), dict)
        except json.JSONDecodeError:
            whole = False
        if not whole:
            yield f"launches/{name}.json: not a JSON object; remove it where no launch runs"


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (" and others" if len(ids) > 5 else "")
