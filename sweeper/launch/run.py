"""Run rows of a plan to their end: rounds of an executor until nothing is left."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from cluster.errors import ClusterError
from sweeper.errors import SweeperError
from sweeper.launch.options import LaunchOptions, LaunchResult
from sweeper.launch.preflight import check_packages, preflight
from sweeper.launch.rounds import record_event, run_round
from sweeper.plan.expand import Plan, PlanRow
from sweeper.queue.journal import Journal
from sweeper.queue.monitor import Monitor
from sweeper.status import store_cost_model, sweep_status
from sweeper.store.store import ResultsStore

MAX_ROUNDS = 5
"""Times the executor is started anew when it fails as a whole while it still gets trials done."""


def run_trials(
    plan: Plan,
    rows: Sequence[PlanRow],
    store: ResultsStore,
    options: LaunchOptions,
    console: Console,
    *,
    trainer: Any = None,
) -> LaunchResult:
    """Run some rows of a plan to their end, whatever the store already holds of them.

    Raises:
        SweeperError: the executor fails without getting anything done.
    """
    if options.address == "local":
        check_packages([row.spec for row in rows if row.spec is not None])
    wanted = {row.trial_id: row for row in rows}
    costs = store_cost_model(store)
    forecast = costs.forecast([row.spec for row in rows if row.spec is not None])
    here = options.lane_count if options.address == "local" else 0
    preflight(store, [costs.memory_bytes(row.spec) for row in rows if row.spec is not None], here, console)
    journal = Journal(store, plan.name, total=len(rows))
    monitor = Monitor(
        console,
        lambda event: record_event(store, event),
        journal.update,
        limit_s=None if options.max_hours is None else 3600 * options.max_hours,
        log_spread=costs.log_spread,
    )
    before = store.attempts_made()
    left, busy_s, rounds = list(wanted.values()), 0.0, 0
    stopped_because = None
    while left and not monitor.interrupted and not monitor.out_of_time and stopped_because is None:
        rounds += 1
        try:
            failure = run_round(left, plan, store, options, monitor, costs, trainer)
        except ClusterError as error:  # not there, or not there any more: another round would not help
            journal.note(str(error))
            journal.close()
            raise
        if monitor.error is not None:
            raise monitor.error
        ended = {trial_id for trial_id, attempt in store.attempts_ended().items() if attempt > before.get(trial_id, 0)}
        previous, left = len(left), [row for trial_id, row in wanted.items() if trial_id not in ended]
        if monitor.last is not None:
            busy_s += monitor.last.busy_s
            stopped_because = monitor.last.stopped_because
        stuck = len(left) == previous and not monitor.interrupted and not monitor.out_of_time
        if failure is not None:
            journal.note(f"the {options.executor} executor failed: {failure}")
            if stuck or rounds == MAX_ROUNDS:
                raise SweeperError(f"the {options.executor} executor failed: {failure}") from failure
        elif stuck and stopped_because is None:
            raise SweeperError(f"the {options.executor} executor ended without running any of {previous} trials")
    store.compact()
    journal.close()
    status = sweep_status(plan, store)
    store.release_memory()
    return LaunchResult(
        plan=plan,
        status=status,
        ran=len(wanted) - len(left),
        interrupted=monitor.interrupted or (bool(left) and monitor.out_of_time),
        stopped_because=stopped_because,
        forecast=forecast,
        busy_s=busy_s,
        out_of_time=bool(left) and monitor.out_of_time,
    )
