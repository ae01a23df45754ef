"""One round of a launch: rows of a plan become assignments, and an executor runs them."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from sys import intern
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from sweeper.errors import SweeperError
from sweeper.lane.record import Outcome, attempt_record, trial_record
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import Plan, PlanRow
from sweeper.plan.seed_batch import SHORT_S, Place, arrange
from sweeper.queue.messages import Assignment, Event, LateFinish
from sweeper.queue.monitor import Monitor
from sweeper.store.provenance import code_version
from sweeper.store.store import ResultsStore
from tasks.spec import task_spec

if TYPE_CHECKING:
    from sweeper.launch.options import LaunchOptions

MEMORY_SHARE = 0.9
"""Share of the memory available at the start that the lanes may use together."""


class Executor(Protocol):
    """Runs assignments to their end; see `sweeper.executors.ray_tune.run_on_ray`."""

    def __call__(
        self,
        assignments: Sequence[Assignment],
        *,
        lanes: int | None,
        config: Any,
        monitor: Monitor,
        direction: str,
        trainer: Any,
    ) -> None:
        """Return when all are done, drained or given up."""


def run_round(
    rows: Sequence[PlanRow],
    plan: Plan,
    store: ResultsStore,
    options: "LaunchOptions",
    monitor: Monitor,
    costs: CostModel,
    trainer: Any,
) -> Exception | None:
    """Run the executor once.

    Args:
        rows: what to run, in order.
        plan: the plan they are of.
        store: where their rows go.
        options: how to run.
        monitor: shows progress and passes on Ctrl-C.
        costs: what trials are expected to take.
        trainer: what a lane does with an assignment; the real training when None.

    Returns:
        What the executor raised, since the store decides whether to go on.

    Raises:
        ClusterError: the cluster is out of reach, of other versions, without GPUs, or does not share the results.
    """
    from sweeper.lane.lane import LaneConfig
    from sweeper.lane.trainer import train_assignment

    executor, errors = executor_of(options)
    local = options.address == "local"
    fixed = options.lanes is not None or (local and options.device == "cpu") or options.executor == "processes"
    lanes = min(options.lane_count, len(rows)) if fixed else None
    config = LaneConfig(
        store_uri=store.local_path() or store.uri,
        lane_prefix=f"{plan.name}-{uuid.uuid4().hex[:8]}",
        code_version=code_version(),
        device=options.device,
        checkpoint_s=options.checkpoint_s,
        trial_limit_s=options.trial_limit_s,
        memory_bytes=int(MEMORY_SHARE * psutil.virtual_memory().available)
        if local and options.device == "cpu"
        else None,
        lanes=lanes or 1,
        trial_bytes=max(costs.memory_bytes(row.spec, options.device) for row in rows if row.spec is not None),
    )
    assignments = assignments_of(_places(rows, options, costs), plan.name, store, costs)
    store.release_memory()
    try:
        executor(
            assignments,
            lanes=lanes,
            config=config,
            monitor=monitor,
            direction=_direction(assignments[0]),
            trainer=trainer or train_assignment,
        )
    except KeyboardInterrupt:
        return None
    except errors as error:
        return error
    return None


def executor_of(options: "LaunchOptions") -> tuple[Executor, tuple[type[Exception], ...]]:
    """The executor asked for, and what it raises when it fails as a whole."""
    if options.executor == "processes":
        from sweeper.executors.processes import run_on_processes

        return run_on_processes, (SweeperError,)
    from sweeper.executors.ray_tune import ORCHESTRATION_ERRORS, run_on_ray

    run = partial(run_on_ray, address=options.address, trials_per_gpu=options.trials_per_gpu)
    return run, ORCHESTRATION_ERRORS


def _direction(assignment: Assignment) -> str:
    return task_spec(assignment.spec.task, assignment.spec.task_options).direction


def _places(rows: Sequence[PlanRow], options: "LaunchOptions", costs: CostModel) -> list[Place]:
    """Bring trials together that are to be trained in one go, as far as the order may be changed."""
    expected_s = costs.forecast([row.spec for row in rows if row.spec is not None]).wall_seconds(options.lane_count)
    hurry = options.max_hours is not None or expected_s > SHORT_S
    return arrange(rows, choice=options.seed_batch, device=options.device, hurry=hurry)


def assignments_of(places: Sequence[Place], sweep: str, store: ResultsStore, costs: CostModel) -> list[Assignment]:
    """Places in the queue as the broker takes them, numbered after the attempts on record."""
    made = store.attempts_made()
    return [
        Assignment(
            trial_id=row.trial_id,
            spec=row.spec,
            sweep=sweep,
            budget=row.budget,
            attempt=made.get(row.trial_id, 0) + 1,
            configuration=intern(row.spec.configuration),  # one text for all replicates
            work=costs.seconds(row.spec),
            joint_key=key,
            joint_most=most,
        )
        for row, key, most in places
        if row.spec is not None
    ]


def record_event(store: ResultsStore, event: Event | LateFinish) -> None:
    """Keep an attempt that no lane could write, and give the trial a final row once it is given up."""
    if isinstance(event, LateFinish):
        store.let_finished_count(event.trial_id)
        return
    now = datetime.now(UTC)

    def outcome(status: str) -> Outcome:
        return Outcome(
            status=status,
            reason=event.reason,
            started_at=now,
            ended_at=now,
            lane=event.lane,
            code_version=code_version(),
        )

    if event.attempt_status is not None:
        store.write("attempts", [attempt_record(event.assignment, outcome(event.attempt_status))], writer="launcher")
    if event.final_status is not None:
        store.write("trials", [trial_record(event.assignment, outcome(event.final_status))], writer="launcher")
