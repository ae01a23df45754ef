"""Launch a grid: plan minus store, run by an executor, again and again until nothing is missing."""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from rich.console import Console

from sweeper.broker import MAX_LOSSES, Assignment, Loss
from sweeper.cost import relative_work
from sweeper.errors import SweeperError
from sweeper.grid import Grid
from sweeper.monitor import Monitor
from sweeper.plan import Plan, PlanRow, expand
from sweeper.record import Outcome, attempt_record, code_version, trial_record
from sweeper.schema import FAILED
from sweeper.status import SweepStatus, missing_rows, sweep_status
from sweeper.store import ResultsStore

EXECUTORS = ("ray", "processes")
LOST = "lost"
MAX_ROUNDS = 5
"""Times the executor is started anew when it fails as a whole while it still gets trials done."""


class Executor(Protocol):
    """Runs assignments to their end; see `sweeper.orchestrator.run_on_ray`."""

    def __call__(
        self,
        assignments: Sequence[Assignment],
        *,
        lanes: int,
        config: Any,
        monitor: Monitor,
        direction: str,
        trainer: Any,
    ) -> None:
        """Return when all are done, drained or given up."""


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """How to run, as opposed to what."""

    results: str
    """Results directory or URI."""
    executor: str = "ray"
    """`ray`, or `processes` for child processes without Ray."""
    lanes: int | None = None
    """Trials at a time; None means one per CPU core."""
    device: str = "cpu"
    """torch device of the trials."""


@dataclass(frozen=True, kw_only=True)
class LaunchResult:
    """What a launch leaves behind."""

    plan: Plan
    """The grid's plan."""
    status: SweepStatus
    """The plan against the store, afterwards."""
    ran: int
    """Trials that got a final row in this launch."""
    interrupted: bool
    """Whether the user stopped it."""


def launch(grid: Grid, options: LaunchOptions, console: Console, *, trainer: Any = None) -> LaunchResult:
    """Run what a grid asks for and the store lacks.

    Args:
        grid: the grid.
        options: how to run.
        console: where progress goes.
        trainer: what a lane does with an assignment; the real training when None.

    Raises:
        SweeperError: the grid or the store is unusable, or the executor fails without getting anything done.
    """
    plan = expand(grid)
    if not plan.trials:
        reasons = sorted({row.reason for row in plan.rows if row.reason})
        raise SweeperError(f"{grid.name}: none of the {len(plan.rows)} points can be run: {'; '.join(reasons[:3])}")
    store = ResultsStore.create(options.results)
    store.save_grid(grid.name, grid.text)
    store.compact()  # also what an earlier launch left when it was killed
    status = sweep_status(plan, store)
    missing_before = len(missing_rows(plan, status))
    monitor = Monitor(console, lambda loss: _record_loss(store, loss))
    rounds = 0
    while (rows := missing_rows(plan, status)) and not monitor.interrupted:
        rounds += 1
        failure = _run_round(rows, plan, store, options, monitor, trainer)
        previous, status = len(rows), sweep_status(plan, store)
        stuck = len(missing_rows(plan, status)) == previous
        if failure is not None and not monitor.interrupted and (stuck or rounds == MAX_ROUNDS):
            raise SweeperError(f"the {options.executor} executor failed: {failure}") from failure
        if failure is None and stuck and not monitor.interrupted:
            raise SweeperError(f"the {options.executor} executor ended without running any of {previous} trials")
    store.compact()
    return LaunchResult(
        plan=plan,
        status=status,
        ran=missing_before - len(missing_rows(plan, status)),
        interrupted=monitor.interrupted,
    )


def _run_round(
    rows: Sequence[PlanRow], plan: Plan, store: ResultsStore, options: LaunchOptions, monitor: Monitor, trainer: Any
) -> Exception | None:
    """Run the executor once; what it raised comes back, since the store decides whether to go on."""
    from sweeper.lane import LaneConfig, train_assignment

    executor, errors = _executor(options.executor)
    config = LaneConfig(
        store_uri=store.local_path() or store.uri,
        lane_prefix=uuid.uuid4().hex[:8],
        code_version=code_version(),
        device=options.device,
    )
    assignments = _assignments(rows, plan.name, store)
    direction = trial_direction(rows[0])
    try:
        executor(
            assignments,
            lanes=options.lanes or len(os.sched_getaffinity(0)),
            config=config,
            monitor=monitor,
            direction=direction,
            trainer=trainer or train_assignment,
        )
    except KeyboardInterrupt:
        return None
    except errors as error:
        return error
    return None


def _executor(name: str) -> tuple[Executor, tuple[type[Exception], ...]]:
    if name == "processes":
        from sweeper.local import run_on_processes

        return run_on_processes, (SweeperError,)
    from sweeper.orchestrator import ORCHESTRATION_ERRORS, run_on_ray

    return run_on_ray, ORCHESTRATION_ERRORS


def trial_direction(row: PlanRow) -> str:
    """Which way a planned trial's metric improves."""
    from tasks.spec import task_spec

    assert row.spec is not None
    return task_spec(row.spec.task, row.spec.task_options).direction


def _assignments(rows: Sequence[PlanRow], sweep: str, store: ResultsStore) -> list[Assignment]:
    made = store.attempts_made()
    return [
        Assignment(
            trial_id=row.trial_id,
            spec=row.spec,
            sweep=sweep,
            budget=row.budget,
            attempt=made.get(row.trial_id, 0) + 1,
            work=relative_work(row.spec),
        )
        for row in rows
        if row.spec is not None
    ]


def _record_loss(store: ResultsStore, loss: Loss) -> None:
    """Keep a trial's lost attempt in the history, and give the trial a final row once it is given up."""
    now = datetime.now(UTC)
    outcome = Outcome(
        status=LOST,
        reason="its lane died",
        started_at=now,
        ended_at=now,
        lane=loss.lane,
        code_version=code_version(),
    )
    store.write("attempts", [attempt_record(loss.assignment, outcome)], writer="launcher")
    if loss.given_up:
        final = Outcome(
            status=FAILED,
            reason=f"its lane died {MAX_LOSSES} times",
            started_at=now,
            ended_at=now,
            lane=loss.lane,
            code_version=code_version(),
        )
        store.write("trials", [trial_record(loss.assignment, final)], writer="launcher")
