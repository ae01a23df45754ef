"""Rows of a plan as the broker takes them, and rows of the store for what no lane could write."""

from collections.abc import Sequence
from datetime import UTC, datetime
from sys import intern
from typing import Any

from sweeper.lane.record import Outcome, attempt_record, trial_record
from sweeper.plan.cost import CostModel
from sweeper.plan.seed_batch import Place
from sweeper.plan.trial import TrialSpec
from sweeper.queue.messages import Assignment, Event, LateFinish
from sweeper.store.provenance import code_version
from sweeper.store.store import ResultsStore
from tasks.spec import task_spec


def assignments_of(places: Sequence[Place], sweep: str, store: ResultsStore, costs: CostModel) -> list[Assignment]:
    """Places in the queue as the broker takes them, numbered after the attempts on record."""
    made = store.attempts_made()
    specs = [row.spec for row, _, _ in places if row.spec is not None]
    tasks = {key: task_spec(name, dict(key[1])) for key, name in {task_key(spec): spec.task for spec in specs}.items()}
    return [
        Assignment(
            trial_id=row.trial_id,
            spec=row.spec,
            sweep=sweep,
            budget=row.budget,
            # One above all attempts on record, so that the row that this one makes outranks theirs.
            attempt=made.get(row.trial_id, 0) + 1,
            configuration=intern(row.spec.configuration),  # one text for all replicates
            work=costs.seconds(row.spec),
            joint_key=key,
            joint_most=most,
            task=tasks[task_key(row.spec)],
        )
        for row, key, most in places
        if row.spec is not None
    ]


def task_key(spec: TrialSpec) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """Name and options of a trial's task, equal for trials that share it."""
    return spec.task, tuple(sorted(spec.task_options.items()))


def record_event(store: ResultsStore, event: Event | LateFinish) -> None:
    """Keep an attempt that no lane could write, and give the trial a final row once it is given up."""
    if isinstance(event, LateFinish):
        store.let_finished_count(event.trial_id)
        return
    # Start and end alike: nobody who is left knows when the attempt began, and a duration of zero adds no lane time.
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

    # The history first and the final row last, as lanes write them: killed in between, the trial is run anew.
    if event.attempt_status is not None:
        store.write("attempts", [attempt_record(event.assignment, outcome(event.attempt_status))], writer="launcher")
    if event.final_status is not None:
        store.write("trials", [trial_record(event.assignment, outcome(event.final_status))], writer="launcher")
