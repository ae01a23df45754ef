"""Work on a results directory that already holds rows: run some again, or take in another directory's."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple

import pyarrow as pa
from rich.console import Console

from cluster.code import register
from sweeper.errors import DamageError, SweeperError
from sweeper.executors.executor import Executor
from sweeper.launch.result import LaunchResult
from sweeper.launch.run import Runner, end_of
from sweeper.plan.expand import RUNNABLE, Plan, PlanRow
from sweeper.plan.trial import spec_from_canonical
from sweeper.queue.start import Start
from sweeper.queue.stop_requests import StopRequests
from sweeper.status import stored_plans
from sweeper.store.schema import SCHEMAS
from sweeper.store.store import ResultsStore
from sweeper.store.where import matching_rows


def retry(
    condition: str, results: str, executor: Executor, console: Console, *, max_hours: float | None = None
) -> LaunchResult:
    """Run stored trials again.

    Args:
        condition: which, as a condition on the columns of the trials table (see `sweeper.store.where`).
        results: results directory or URI.
        executor: what runs the trials.
        console: where progress goes.
        max_hours: time from now after which no further trial is started.

    Raises:
        SweeperError: the condition is not understood or no trial meets it.
    """
    store = ResultsStore.open(results)
    for source in store.code().values():
        register(source)
    # The grids' other trials are in the plan so that they do not count as unplanned.
    trials = {row.trial_id: row for plan in stored_plans(store) for row in plan.trials.values()}
    # The rows to run come from the rows themselves and not from the grids, which may have been edited since. Where a
    # grid still asks for a trial, it alone says what is kept of it beside its row.
    rows = [_plan_row(row) for row in _select(store, condition)]
    rows = [replace(row, spec=trials[row.trial_id].spec) if row.trial_id in trials else row for row in rows]
    trials |= {row.trial_id: row for row in rows}
    plan = Plan(name="retry", rows=tuple(rows), trials=trials)
    requests = StopRequests(console)
    runner = Runner(
        store=store,
        executor=executor,
        console=console,
        requests=requests,
        start=Start(console, age_s=0.0),
        ends_at=end_of(max_hours),
    )
    with requests.listening():
        return runner.run(plan, rows)


class Merged(NamedTuple):
    """What one results directory got from another."""

    trials: int
    """Trials that are new."""
    networks: int
    """Saved networks that were copied."""
    predictions: int
    """Trials whose predictions were copied."""


def merge(target: str, source: str) -> Merged:
    """Copy rows, grids, saved networks and predictions of one results directory into another.

    Where both hold a trial, the higher attempt counts. A grid of the same name but another text is kept as
    ``<name>-merged``, a third as ``<name>-merged2``. Merging again goes on where a merge was killed.

    Raises:
        SweeperError: one of them is no results directory, or of another schema version.
        DamageError: a file of the source is not what was written; nothing was taken for whole.
    """
    source_store, target_store = ResultsStore.open(source), ResultsStore.create(target)
    before = len(target_store.statuses())
    # Before the rows: a killed merge then leaves files without rows, which the next one completes, and never a row that
    # claims a network which is not there.
    networks, predictions = _copy_files(source_store, target_store)
    # Rows and not files are copied, since only whole tables can be checked for damage and for their version.
    for table in SCHEMAS:
        target_store.adopt(table, source_store.read(table))
    target_store.save_code(source_store.code())
    known = target_store.grids()
    for name, text in source_store.grids().items():
        free = next(one for one in _names(name) if known.get(one, text) == text)
        target_store.save_grid(free, text)
        known[free] = text
    return Merged(len(target_store.statuses()) - before, networks, predictions)


def _names(grid: str) -> Iterator[str]:
    """Names for a grid from elsewhere: the target's own keep theirs, so that launching them again asks for the same
    trials as before."""
    yield grid
    yield f"{grid}-merged"
    yield from (f"{grid}-merged{number}" for number in count(2))


def _copy_files(source: ResultsStore, target: ResultsStore) -> tuple[int, int]:
    """Copy the saved networks and predictions that belong to the rows which will count."""
    ours, theirs = target.attempts_ended(), source.attempts_ended()

    def wanted(folder: str, ending: str) -> list[str]:
        there = set(target.names(folder, ending))
        kept = [trial_id for trial_id in source.names(folder, ending) if trial_id in theirs]
        # Of equal attempts the numbers are the same, so a file that is there stays.
        return [one for one in kept if (ours.get(one, 0), one in there) < (theirs[one], True)]

    networks = predictions = 0
    for trial_id in wanted("networks", ".pt"):
        # Read with its hash and written with it: a damaged file is told and not copied.
        weights = source.read_weights("networks", trial_id)
        if weights is not None and weights != _whole_weights(target, trial_id):
            target.write_weights("networks", trial_id, weights)
            networks += 1
    for trial_id in wanted("predictions", ".parquet"):
        rows = source.read_predictions(trial_id)
        if rows is not None and rows != _whole_predictions(target, trial_id):
            target.write_predictions(trial_id, rows)
            predictions += 1
    return networks, predictions


def _whole_weights(store: ResultsStore, trial_id: str) -> bytes | None:
    with suppress(DamageError):  # what is damaged is replaced
        return store.read_weights("networks", trial_id)
    return None


def _whole_predictions(store: ResultsStore, trial_id: str) -> pa.Table | None:
    with suppress(DamageError):
        return store.read_predictions(trial_id)
    return None


def _select(store: ResultsStore, condition: str) -> list[dict[str, Any]]:
    frame = store.read("trials").to_pandas()
    chosen = frame[matching_rows(frame, condition)]
    if chosen.empty:
        raise SweeperError(f"--where {condition!r}: none of {len(frame)} stored trials meets it")
    rows: list[dict[str, Any]] = chosen[["spec", "budget"]].to_dict("records")
    return rows


def _plan_row(row: dict[str, Any]) -> PlanRow:
    budget = None if row["budget"] != row["budget"] else int(row["budget"])  # pandas holds a null as NaN
    spec = spec_from_canonical(row["spec"])
    return PlanRow(
        state=RUNNABLE,
        reason=None,
        budget=budget,
        settings={},
        seed=spec.seed,
        shared={"task": spec.task, **spec.task_options, "architecture": spec.architecture},
        spec=spec,
        trial_id=spec.trial_id,
        counts=None,
    )
