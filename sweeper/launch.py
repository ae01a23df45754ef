"""Launch a grid: plan minus store, run by an executor, again and again until nothing is missing."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from cluster.errors import ClusterError
from sweeper.cost import Forecast
from sweeper.errors import SweeperError
from sweeper.grid import Grid
from sweeper.journal import Journal, live_launches
from sweeper.monitor import Monitor
from sweeper.plan import Plan, PlanRow, expand
from sweeper.preflight import preflight
from sweeper.rounds import record_event, run_round
from sweeper.status import MISSING, NEW, RUNNING, SweepStatus, missing_rows, store_cost_model, sweep_status
from sweeper.store import ResultsStore

EXECUTORS = ("ray", "processes")
MAX_ROUNDS = 5
"""Times the executor is started anew when it fails as a whole while it still gets trials done."""


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """How to run, as opposed to what."""

    results: str
    """Results directory or URI."""
    executor: str = "ray"
    """`ray`, or `processes` for child processes without Ray."""
    address: str = "local"
    """Ray cluster to attach to; `local` starts Ray on this machine."""
    lanes: int | None = None
    """Trials at a time; None means one per CPU core, or as many as a cluster or the GPUs have room for."""
    device: str = "cpu"
    """torch device of the trials."""
    trials_per_gpu: int | None = 1
    """Trials that share a GPU; None means as many as fit its memory by the cost model."""
    max_hours: float | None = None
    """Time after which no further trial is started."""
    trial_limit_s: float | None = None
    """Wall time after which a single trial is ended."""
    checkpoint_s: float = 300.0
    """Seconds between two checkpoints of a trial."""
    seed_batch: str | int = "auto"
    """Trials of one shape to train in one go: a number, `off`, or `auto` where it pays; see `sweeper.seed_batch`."""

    @property
    def lane_count(self) -> int:
        """Trials at a time, the default filled in."""
        return self.lanes or len(os.sched_getaffinity(0))


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
    """Whether the user, or the time given, stopped it."""
    stopped_because: str | None
    """Why the launch stopped by itself before its end."""
    forecast: Forecast
    """Lane-seconds expected before it started."""
    busy_s: float
    """Lane-seconds spent on trials that ended."""
    ended_because: str | None = None
    """What ended a search."""
    out_of_time: bool = False
    """Whether it was the time given."""


def launch(grid: Grid, options: LaunchOptions, console: Console, *, trainer: Any = None) -> LaunchResult:
    """Run what a grid asks for and the store lacks.

    Args:
        grid: the grid.
        options: how to run.
        console: where progress goes.
        trainer: what a lane does with an assignment; the real training when None.

    Raises:
        SweeperError: the grid or the store is unusable, or the executor fails without getting anything done.
        ClusterError: the cluster is out of reach, of other versions, without GPUs, or does not share the results.
    """
    if grid.search is not None and grid.search.adaptive:
        from sweeper.search_loop import search_launch

        return search_launch(grid, options, console, trainer=trainer)
    plan = expand(grid)
    if not plan.trials:
        reasons = sorted({row.reason for row in plan.rows if row.reason})
        raise SweeperError(f"{grid.name}: none of the {len(plan.rows)} points can be run: {'; '.join(reasons[:3])}")
    _check_place(options)
    store = ResultsStore.create(options.results)
    store.save_grid(grid.name, grid.text)
    store.compact()  # also what an earlier launch left when it was killed
    _warn_of_twins(plan, store, console)
    before = sweep_status(plan, store)
    result = run_trials(plan, missing_rows(plan, before), store, options, console, trainer=trainer)
    while not result.interrupted and not result.stopped_because and (left := _abandoned(plan, before, result.status)):
        before = result.status
        more = run_trials(plan, left, store, options, console, trainer=trainer)
        result = replace(more, ran=result.ran + more.ran, busy_s=result.busy_s + more.busy_s)
    return result


def _warn_of_twins(plan: Plan, store: ResultsStore, console: Console) -> None:
    for live in live_launches(store):
        if live.sweep == plan.name:
            console.print(
                f"{plan.name} is being launched into {store.uri} already, by process {live.pid} on {live.host}. Trials "
                "that both run count once, but the time is spent twice.",
                highlight=False,
                soft_wrap=True,
            )


def _abandoned(plan: Plan, before: SweepStatus, after: SweepStatus) -> list[PlanRow]:
    """Trials left to another launch that was running them, and that has ended without them."""
    return [
        row
        for trial_id, row in plan.trials.items()
        if before.states[trial_id] == RUNNING and after.states[trial_id] in (MISSING, NEW)
    ]


def _check_place(options: LaunchOptions) -> None:
    """Refuse a machine or cluster that will not do before the results directory is made."""
    if options.address == "local":
        _check_device(options.device)
        return
    if ResultsStore.exists(options.results):
        return
    from sweeper.orchestrator import check_cluster

    results = options.results if "://" in options.results else os.path.abspath(options.results)
    check_cluster(options.address, device=options.device, lanes=options.lanes, results=results)


def _check_device(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise SweeperError(f"--device {device}: torch {torch.__version__} sees no GPU on this machine")


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
