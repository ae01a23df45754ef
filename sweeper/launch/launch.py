"""Launch a grid: plan minus store, run by an executor, again and again until nothing is missing."""

from collections import Counter

from rich.console import Console

from cluster.code import sources_of
from sweeper.errors import SweeperError
from sweeper.executors.executor import Executor
from sweeper.launch.data_check import warnings_of_data
from sweeper.launch.preflight import check_cells, check_packages, check_room, check_tasks
from sweeper.launch.result import LaunchResult, joined
from sweeper.launch.run import Runner, end_of
from sweeper.plan.descriptions import DEFAULTS
from sweeper.plan.expand import Plan, PlanRow, described, expand
from sweeper.plan.grid import Grid
from sweeper.queue.journal import clear_dead_launches, live_launches
from sweeper.queue.start import Start
from sweeper.queue.stop_requests import LEAVE, StopRequests
from sweeper.status import MISSING, NEW, OTHER_DATA, RUNNING, SweepStatus, missing_rows, sweep_status
from sweeper.store.store import ResultsStore
from sweeper.words import counted


def launch(
    grid: Grid,
    results: str,
    executor: Executor,
    console: Console,
    *,
    max_hours: float | None = None,
    share: tuple[int, int] | None = None,
    start: Start | None = None,
) -> LaunchResult:
    """Run what a grid asks for and the store lacks.

    Args:
        grid: the grid; with a `search:` section of an adaptive kind its trials are chosen as the launch goes on.
        results: results directory or URI.
        executor: what runs the trials: `RayExecutor` or `ProcessExecutor`.
        console: where progress goes.
        max_hours: time from now after which no further trial is started.
        share: number of this launch among so many that share the trials, each taking what no other has.
        start: tells of the start; one that begins now when None.

    Raises:
        SweeperError: the grid, the search or the store is unusable, or the executor fails without getting anything
            done.
        ClusterError: the cluster is out of reach, of other versions, without GPUs, or does not share the results.
    """
    requests = StopRequests(console)
    with requests.listening():
        start = start or Start(console, age_s=0.0)
        return _launch(grid, results, executor, console, requests, start, end_of(max_hours), share)


def _launch(
    grid: Grid,
    results: str,
    executor: Executor,
    console: Console,
    requests: StopRequests,
    start: Start,
    ends_at: float,
    share: tuple[int, int] | None,
) -> LaunchResult:
    grid = described(grid)
    searched = grid.search is not None and grid.search.adaptive
    if searched and share is not None:
        raise SweeperError(f"{grid.name}: a search chooses by all of its results, so its trials cannot be shared")
    plan = None if searched else _runnable(expand(grid))
    # Before the directory is made: a launch that cannot work leaves nothing behind.
    executor.check(results)
    if not ResultsStore.exists(results):
        _check_first(grid, plan, results, executor)
    store = ResultsStore.create(results)
    # Only now: a mistake in the address should be told at once.
    store.be_patient(lambda: requests.level >= LEAVE)
    # Before the status is taken: trials of a launch that was killed would count as running and be left to it.
    clear_dead_launches(store)
    store.save_code(sources_of(name for block in grid.blocks for name in (block.task, block.architecture)))
    store.compact()  # also what an earlier launch left when it was killed
    runner = Runner(store=store, executor=executor, console=console, requests=requests, start=start, ends_at=ends_at)
    if plan is None:
        # Here and not above: the search's statistics take half a second to load, which a plain launch does not need.
        from sweeper.launch.search_loop import search_launch

        return search_launch(grid, runner)
    _warn_of_other_defaults(grid, store.grids().get(grid.name), console)
    store.save_grid(grid.name, grid.text)
    before = sweep_status(plan, store)
    _warn_of_other_data(before, console)
    if share is not None:
        return _shared(plan, runner, *share)
    runs = [runner.run(plan, missing_rows(plan, before))]
    # A second look, since another launch that ran some of the trials may have died while this one ran the others.
    while not (runs[-1].interrupted or runs[-1].stopped_because):
        after = runs[-1].status
        abandoned = _abandoned(plan, before, after)
        if not abandoned:
            break
        before = after
        runs.append(runner.run(plan, abandoned))
    return joined(runs)


def part_of(trial_id: str, count: int) -> int:
    """Which of so many parts a trial belongs to; ids are hashes, so the parts are about equal."""
    return int(trial_id[:8], 16) % count


def _shared(plan: Plan, runner: Runner, number: int, count: int) -> LaunchResult:
    """Run one part of the trials after the other, beginning with this launch's own, that no live launch has taken."""
    runs: list[LaunchResult] = []
    at_work = True
    while at_work:
        at_work = False
        for part in [(number + offset) % count for offset in range(count)]:
            # Looked at anew for each part, since the others go on meanwhile.
            taken = {live.part for live in live_launches(runner.store) if live.sweep == plan.name}
            missing = missing_rows(plan, sweep_status(plan, runner.store))
            rows = [row for row in missing if part_of(row.trial_id, count) == part]
            if not rows or f"{part}/{count}" in taken:
                continue
            runs.append(runner.run(plan, rows, part=f"{part}/{count}"))
            if runs[-1].interrupted or runs[-1].stopped_because:
                return joined(runs)
            at_work = True
    return joined(runs or [runner.run(plan, [])])


def _warn_of_other_defaults(grid: Grid, stored: str | None, console: Console) -> None:
    """Say that an unchanged file asks for other trials, since the defaults of training were others when it was run."""
    # Nothing is noted in grids that were stored before there were recipes (`sweeper.plan.descriptions.DEFAULTS`).
    note = f"\n{DEFAULTS}:"
    if stored is not None and note not in stored and note in grid.text and grid.text.startswith(stored.rstrip()):
        console.print(
            f"Warning: {grid.name} was launched here when the published settings were the defaults of `training`, and "
            "now asks for other trials; `training: {preset: paper}` asks for those that are here.",
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


def _check_first(grid: Grid, plan: Plan | None, results: str, executor: Executor) -> None:
    """Refuse what the runner and the search refuse as well, but when they do, the directory has been made."""
    check_room(results, 0 if plan is None else len(plan.trials))
    if plan is None:
        from sweeper.launch.search_loop import Search

        Search(grid=grid).check()
    if executor.lanes_here:
        check_packages((block.task, block.task_options) for block in grid.blocks)
    if executor.lanes_here and plan is not None:
        specs = [row.spec for row in plan.trials.values() if row.spec is not None]
        check_tasks(specs)
        check_cells(specs)
        warnings_of_data(specs)  # told by the runner


def _warn_of_other_data(status: SweepStatus, console: Console) -> None:
    """Say before the first trial that new rows would stand beside rows of other data; the summary says it again."""
    for reason, count in Counter(status.stale.values()).items():
        if reason.startswith(OTHER_DATA):
            console.print(
                f"Warning: {counted(count, 'stored trial')}: {reason}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )


def _runnable(plan: Plan) -> Plan:
    """The plan, unless it has nothing to run at all."""
    if not plan.trials:
        reasons = sorted({row.reason for row in plan.rows if row.reason})
        raise SweeperError(f"{plan.name}: none of the {len(plan.rows)} points can be run: {'; '.join(reasons[:3])}")
    return plan
