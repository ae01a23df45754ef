"""Desired state minus stored state: which trials of a plan are done, running, failed, stale, missing or new."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from sys import intern
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.errors import GridError
from sweeper.plan.cost import CostModel, calibrate
from sweeper.plan.expand import DUPLICATE, EXCLUDED, INFEASIBLE, Plan, PlanRow, expand
from sweeper.plan.grid import parse_grid
from sweeper.queue.failures import MAX_BUG_TRIES, kind_of
from sweeper.queue.journal import live_launches
from sweeper.store.provenance import code_version
from sweeper.store.schema import FAILED, FINISHED, OUT_OF_MEMORY
from sweeper.store.store import ResultsStore
from tasks.errors import DataError
from tasks.spec import data_sha256

MISSING, NEW, RUNNING = "missing", "new", "running"
OTHER_DATA = "trained on other data"
"""How a reason for being stale begins where it is the data that have changed."""
_COLUMNS = [
    "trial_id",
    "attempt",
    "status",
    "reason",
    "data_name",
    "data_sha256",
    "code_version",
    "ended_at",
    "backend",
]
_COST_COLUMNS = ["status", "spec", "wall_s", "cpu_s", "peak_memory_bytes", "lane", "device", "ended_at"]
_BATCH = 1000
_HISTORY = 500
"""Newest trials that calibrate the cost model."""


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """A plan held against the store."""

    name: str
    """Name of the sweep."""
    states: Mapping[str, str]
    """State of each planned trial by trial_id: its stored status, `running`, `missing` (the grid asked for it before)
    or `new` (it did not)."""
    stale: Mapping[str, str]
    """Stored trials of the plan that were made by another program version or from other data, with the reason."""
    reasons: Mapping[str, int]
    """Number of trials per reason why they did not finish; reasons that differ in numbers alone count as the first."""
    examples: Mapping[str, str]
    """One trial for each of the `reasons`."""
    unplanned: int
    """Stored trials that the plan does not ask for (another sweep's, or removed from the grid)."""
    backends: Mapping[str, int]
    """Number of finished trials per implementation of the network that trained them."""
    versions: Mapping[str, int]
    """Number of stored trials of the plan per version of this program, with its commit, that made them."""
    unfinished_tries: frozenset[str]
    """Failed trials that have tries left: a launch was cut short before it could try them again."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of planned trials per state."""
        return dict(Counter(self.states.values()))


def sweep_status(plan: Plan, store: ResultsStore) -> SweepStatus:
    """Hold a plan against a store."""
    table = store.read("trials", _COLUMNS)
    # Interned: the rows of a large sweep share five texts instead of holding one each.
    stored = {row["trial_id"]: intern(row["status"]) for row in _rows(table, ["trial_id", "status"])}
    running = {trial_id for live in live_launches(store) for trial_id in live.running}
    asked_before = _asked_before(plan, store)

    def state(trial_id: str) -> str:
        # Before the stored status: a failed trial that is tried again has a row already.
        if trial_id in running:
            return RUNNING
        if trial_id in stored:
            return stored[trial_id]
        return MISSING if trial_id in asked_before else NEW

    # With its type, since pyarrow gives an empty list another one.
    states = {trial_id: state(trial_id) for trial_id in plan.trials}
    # Nothing is asked of an empty table: a value of ours makes pyarrow load pandas (0.5 s of a first launch).
    if not table.num_rows:
        return SweepStatus(
            name=plan.name,
            states=states,
            stale={},
            reasons={},
            examples={},
            unplanned=0,
            backends={},
            versions={},
            unfinished_tries=frozenset(),
        )
    planned = table.filter(pc.is_in(table["trial_id"], pa.array(plan.trials, pa.string())))
    reasons, examples = _causes(planned)
    return SweepStatus(
        name=plan.name,
        states=states,
        stale=_stale(plan, planned, table),
        reasons=reasons,
        examples=examples,
        backends=Counter(
            row["backend"]
            for row in _rows(planned.filter(pc.equal(planned["status"], FINISHED)), ["backend"])
            if row["backend"] is not None
        ),
        versions=Counter(row["code_version"] for row in _rows(planned, ["code_version"])),
        unplanned=len(stored.keys() - plan.trials.keys()),
        unfinished_tries=frozenset(
            row["trial_id"]
            for row in _rows(planned.filter(pc.equal(planned["status"], FAILED)), ["trial_id", "attempt"])
            # The attempt's number counts tries across launches, while a broker begins anew with each.
            if row["attempt"] < MAX_BUG_TRIES
        ),
    )


def _rows(table: pa.Table, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows as mappings, a thousand at a time: ten thousand of them together take ten megabytes."""
    for batch in table.select(list(columns)).to_batches(max_chunksize=_BATCH):
        yield from batch.to_pylist()


def _causes(planned: pa.Table) -> tuple[dict[str, int], dict[str, str]]:
    """Count the rows that give a reason by its kind; for each the first reason in full, and the trial that gave it."""
    first: dict[str, str] = {}
    counted: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for row in _rows(planned.filter(pc.is_valid(planned["reason"])), ["trial_id", "status", "reason"]):
        reason = f"{row['status']}: {row['reason']}"
        name = first.setdefault(kind_of(reason), reason)
        counted[name] += 1
        examples.setdefault(name, row["trial_id"])
    return dict(counted), examples


def missing_rows(plan: Plan, status: SweepStatus) -> list[PlanRow]:
    """Rows of the plan that a launch has to run, in the order of execution."""
    to_run = {trial_id for trial_id, state in status.states.items() if state in (MISSING, NEW)}
    return [row for trial_id, row in plan.trials.items() if trial_id in to_run | status.unfinished_tries]


def stored_plans(store: ResultsStore) -> list[Plan]:
    """The plans of every grid launched into a store; what a search chose is a grid of its own."""
    plans = []
    for name, text in store.grids().items():
        try:
            grid = parse_grid(text, default_name=name)
            if grid.search is None or not grid.search.adaptive:
                plans.append(expand(grid))
        except GridError as error:
            raise GridError(f"{store.uri}/grids/{name}.yaml: {error}") from error
    return plans


def plan_problems(plan: Plan) -> dict[str, int]:
    """Number of points that are not run, per state."""
    counted = Counter(row.state for row in plan.rows)
    return {state: counted[state] for state in (DUPLICATE, INFEASIBLE, EXCLUDED) if counted[state]}


def store_cost_model(store: ResultsStore) -> CostModel:
    """The cost model, calibrated by the newest trials of a store."""
    # Two reads: narrow columns of all rows to find the newest, then the long specs of these alone. Trials that ran
    # out of memory enter for what they tell about memory.
    every = store.read("trials", ["trial_id", "status", "ended_at"])
    if not every.num_rows:
        return CostModel()
    # By time, so that the newest come last: programs and machines change, and the latest trials tell most of the next.
    telling = every.filter(pc.is_in(every["status"], pa.array([FINISHED, OUT_OF_MEMORY]))).sort_by("ended_at")
    newest = telling["trial_id"].slice(max(0, telling.num_rows - _HISTORY))
    return calibrate(store.read("trials", _COST_COLUMNS, trial_ids=newest).sort_by("ended_at").to_pylist())


def _asked_before(plan: Plan, store: ResultsStore) -> set[str]:
    """Trials that the grid of the same name asked for when it was last launched into the store."""
    text = store.grids().get(plan.name)
    if text is None:
        return set()
    # The usual case, without a second expansion.
    if text == plan.text:
        return set(plan.trials)
    try:
        return set(expand(parse_grid(text, default_name=plan.name)).trials)
    # Written by a version that knew other keys, or naming data that have gone: then everything that is missing is new
    except (GridError, DataError):
        return set()


def _stale(plan: Plan, planned: pa.Table, every: pa.Table) -> dict[str, str]:
    """Why stored trials may differ from what this program would compute today."""
    version = code_version().split("+")[0]
    dated = every.filter(pc.is_valid(every["data_sha256"])).sort_by("ended_at")
    # Sorted by time, so that the last entry, which stays in the mapping, is the newest.
    newest = {row["data_name"]: row["data_sha256"] for row in _rows(dated, ["data_name", "data_sha256"])}
    stale: dict[str, str] = {}
    data_now = _hash_of_data()
    for row in _rows(planned, ["trial_id", "code_version", "data_name", "data_sha256"]):
        # Versions without the commit: each edit of a text would otherwise make every stored trial stale.
        made_by = row["code_version"].split("+")[0]
        # What the task would read now where that can be told, else what the newest row was made from.
        current = data_now(plan.trials[row["trial_id"]]) or newest.get(row["data_name"])
        # The data first: numbers on other data cannot be compared at all.
        if current is not None and row["data_sha256"] not in (None, current):
            stale[row["trial_id"]] = (
                f"{OTHER_DATA} than {row['data_name']} is now (SHA-256 {current[:12]}); to train them anew: "
                f"sweeper retry --where \"data_sha256 == '{row['data_sha256']}'\""
            )
        elif made_by != version:
            stale[row["trial_id"]] = f"made by version {made_by}, this is {version}"
    return stale


def _hash_of_data() -> Callable[[PlanRow], str | None]:
    """A function that tells the hash of what a trial would read now, and looks once for the trials of one task."""
    known: dict[tuple[str, tuple[tuple[str, Any], ...]], str | None] = {}

    def of(row: PlanRow) -> str | None:
        if row.spec is None:
            return None
        key = (row.spec.task, tuple(sorted(row.spec.task_options.items())))
        if key not in known:
            known[key] = data_sha256(row.spec.task, row.spec.task_options)
        return known[key]

    return of
