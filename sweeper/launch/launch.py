"""Launch a grid: plan minus store, run by an executor, again and again until nothing is missing."""

import os
from dataclasses import replace
from typing import Any

from rich.console import Console

from sweeper.errors import SweeperError
from sweeper.launch.options import LaunchOptions, LaunchResult
from sweeper.launch.run import run_trials
from sweeper.plan.expand import Plan, PlanRow, expand
from sweeper.plan.grid import Grid
from sweeper.queue.journal import live_launches
from sweeper.status import MISSING, NEW, RUNNING, SweepStatus, missing_rows, sweep_status
from sweeper.store.store import ResultsStore


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
        from sweeper.launch.search_loop import search_launch

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
    from sweeper.executors.ray_tune import check_cluster

    results = options.results if "://" in options.results else os.path.abspath(options.results)
    check_cluster(options.address, device=options.device, lanes=options.lanes, results=results)


def _check_device(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise SweeperError(f"--device {device}: torch {torch.__version__} sees no GPU on this machine")
