"""Benchmark of orchestration: `python -m benchmarks.sweeper`. Ground-truth trials that do nothing, so only overhead is
left.

Both sides run in one invocation, one after the other: lanes fed by a broker, and Ray Tune's function trainables with
reused actors and its loggers off (its leanest documented mode). CPU seconds are those of the whole process tree.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.usage import MemoryWatch, rss_kb, tree_cpu

_GRID = """
name: bench
task: {{name: text, alphabet: letters}}
budgets: [10000, 20000, 50000, 100000, 200000]
model: {{d_m: {{from: 2, to: 40, count: 10}}, d_tree: 4, d_branch: 4}}
seeds: {seeds}
"""
_POINTS = 50
"""Trials of the grid for each seed: five budgets times ten values of d_m."""
_WARM_SEEDS = 20
"""Replicates of the run before the timed one, which pays for imports and Ray's first start."""
_FEW = 1000
"""Trials of the smaller of the two launches between which memory is a slope."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--trials", default=5000, show_default=True, help="Trials of the overhead run; rounded to 50.")
@click.option("--tune-trials", default=300, show_default=True, help="Trials of Ray Tune's own mode.")
@click.option("--finished", default=10_000, show_default=True, help="Trials of the sweep launched a second time.")
@click.option("--lanes", default=2, show_default=True, help="Trials at a time.")
@click.option("--scale", type=int, metavar="TRIALS", help="One launch of so many trials on Ray, and a second, instead.")
@click.option("--side", hidden=True, help="Run one measurement in this process and print JSON.")
def main(trials: int, tune_trials: int, finished: int, lanes: int, scale: int | None, side: str | None) -> None:
    """Measure what orchestration costs per trial, beside Ray Tune's leanest mode."""
    sides: dict[str, Callable[[], dict[str, float]]] = {
        "lanes": lambda: _lanes(trials, lanes),
        # A slope between two launches, so that what every launch takes at its start cancels.
        "memory of few": lambda: _memory(_FEW, lanes),
        "memory": lambda: _memory(_FEW + trials, lanes),
        "tune": lambda: _tune(tune_trials, lanes),
        "concurrency": lambda: _concurrency(lanes),
        "finished": lambda: _finished(finished, lanes),
    }
    if scale is not None:
        _print_scale(_scale(scale, lanes))
        return
    if side is not None:
        click.echo(json.dumps(sides[side]()))
        return
    arguments = [f"--trials={trials}", f"--tune-trials={tune_trials}", f"--finished={finished}", f"--lanes={lanes}"]
    measured = {name: _in_subprocess(name, arguments) for name in sides}
    _print(measured)


def _print(measured: dict[str, dict[str, float]]) -> None:
    ours, tune = measured["lanes"], measured["tune"]
    again, busy = measured["finished"], measured["concurrency"]
    few, many = measured["memory of few"], measured["memory"]
    sizes = f"{few['trials']:.0f} to {many['trials']:.0f} trials"

    def slope(key: str) -> str:
        return f"{(many[key] - few[key]) / (many['trials'] - few['trials']):.2f} KB"

    table = Table(title="Orchestration overhead on ground-truth trials")
    for heading in ("quantity", "measured", "target"):
        table.add_column(heading, justify="left" if heading == "quantity" else "right")
    rows = (
        (f"wall per trial, {ours['trials']:.0f} trials, start-up included", f"{ours['wall_ms']:.2f} ms", "<= 5 ms"),
        ("CPU per trial, whole process tree", f"{ours['cpu_ms']:.2f} ms", ""),
        (f"CPU per trial of Tune with reused actors, {tune['trials']:.0f} trials", f"{tune['cpu_ms']:.1f} ms", ""),
        ("ratio of CPU, Tune / lanes", f"{tune['cpu_ms'] / ours['cpu_ms']:.1f}", ">= 10"),
        (f"launcher's memory per trial of the sweep, {sizes}", slope("end_kb"), "<= 2 KB"),
        ("the same at its peak, while files are merged", slope("peak_kb"), ""),
        ("broker's memory per trial of the sweep", slope("broker_kb"), "<= 2 KB"),
        (
            "launcher's growth per trial that ends, while trials run",
            f"{many['growth_kb'] / many['trials']:.2f} KB",
            "<= 2 KB",
        ),
        ("files per trial after compaction", f"{ours['files']:.4f}", "<= 0.05"),
        ("slots busy with trials of 0.5 s, after start-up", f"{100 * busy['share']:.1f} %", ">= 95 %"),
        (
            f"second launch of {again['trials']:.0f} finished trials",
            f"{again['launch_s']:.1f} s ({again['launch_cpu_s']:.1f} s of CPU)",
            "< 10 s",
        ),
        (
            f"plan of {again['trials']:.0f} points",
            f"{again['plan_s']:.2f} s ({again['plan_cpu_s']:.2f} s of CPU)",
            "< 3 s",
        ),
    )
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)
    # Beside the table, because wall times mean little on a machine that others use.
    print(f"load average before: {', '.join(f'{x:.1f}' for x in os.getloadavg())} on {os.cpu_count()} cores")


def _in_subprocess(side: str, arguments: list[str]) -> dict[str, float]:
    # a process for each side: Ray can be started once for each, and memory is not shared with what ran before
    command = [sys.executable, "-m", "benchmarks.sweeper", "--side", side, *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(output.strip().splitlines()[-1])  # above it stands what the launch printed
    return measured


def _grid(folder: str, trials: int) -> Path:
    """Write the grid of about so many trials."""
    path = Path(folder, f"{trials}.yaml")
    path.write_text(_GRID.format(seeds=max(1, trials // _POINTS)))
    return path


def _launch(grid: Path, results: str, lanes: int, trainer: Any, executor: str = "ray") -> Any:
    from sweeper.executors.processes import ProcessExecutor
    from sweeper.executors.ray_executor import RayExecutor
    from sweeper.lane.options import LaneOptions
    from sweeper.launch.launch import launch
    from sweeper.plan.grid import load_grid

    kind = RayExecutor if executor == "ray" else ProcessExecutor
    runs_on = kind(options=LaneOptions(lanes=lanes), trainer=trainer)
    # From the file, as the command line reads it: a text alone is taken for a stored one, with older defaults.
    return launch(load_grid(grid), results, runs_on, Console(stderr=True))


def _lanes(trials: int, lanes: int) -> dict[str, float]:
    from benchmarks.ground_truth import GroundTruth

    with tempfile.TemporaryDirectory() as folder, tree_cpu() as cpu:
        # Imports, Ray's first start.
        _launch(_grid(folder, _WARM_SEEDS * _POINTS), f"{folder}/warm", lanes, GroundTruth())
        # Timed after the warm run, and the processor seconds of both are told apart by their difference.
        began, cpu_before = time.perf_counter(), cpu.seconds()
        result = _launch(_grid(folder, trials), f"{folder}/r", lanes, GroundTruth())
        wall, used = time.perf_counter() - began, cpu.seconds() - cpu_before
        files = sum(len(list(Path(folder, "r", table).iterdir())) for table in ("trials", "curves", "attempts"))
    return {
        "trials": result.ran,
        "wall_ms": 1000 * wall / result.ran,
        "cpu_ms": 1000 * used / result.ran,
        "files": files / result.ran,
    }


def _memory(trials: int, lanes: int) -> dict[str, float]:
    """Resident memory of one launch in a process of its own.

    Two launches in one process would also measure what only the second start of Ray takes, whatever its size.
    """
    from benchmarks.ground_truth import GroundTruth

    with tempfile.TemporaryDirectory() as folder:
        memory = MemoryWatch()
        memory.start()
        result = _launch(_grid(folder, trials), f"{folder}/r", lanes, GroundTruth())
        # Ended before the numbers are read, so that no further look changes them.
        memory.end()
    return {
        "trials": result.ran,
        "end_kb": rss_kb(),
        "peak_kb": memory.peak_kb,
        "broker_kb": memory.broker_kb,
        "growth_kb": memory.growth_kb,
    }


def _scale(trials: int, lanes: int) -> dict[str, float]:
    """All quantities of one launch to its end, start-up included, and of a second one that finds nothing to run.

    Memory is the most that was resident.
    """
    from benchmarks.ground_truth import GroundTruth

    memory = MemoryWatch()
    with tempfile.TemporaryDirectory() as folder, tree_cpu() as cpu:
        grid = _grid(folder, trials)
        memory.start()
        began = time.perf_counter()
        result = _launch(grid, f"{folder}/r", lanes, GroundTruth())
        wall, used = time.perf_counter() - began, cpu.seconds()
        memory.end()
        files = sum(len(list(Path(folder, "r", table).iterdir())) for table in ("trials", "curves", "attempts"))
        counts = result.status.counts
        launch_s, launch_cpu_s = _timed("launch", str(grid), "-r", f"{folder}/r")
    return {
        "trials": result.ran,
        "finished": counts.get("finished", 0),
        "wall_s": wall,
        "cpu_s": used,
        "peak_mb": memory.peak_kb / 1024,
        "broker_mb": memory.broker_kb / 1024,
        "files": files,
        "launch_s": launch_s,
        "launch_cpu_s": launch_cpu_s,
    }


def _print_scale(measured: dict[str, float]) -> None:
    trials = measured["trials"]
    print("| trials | finished | wall | wall per trial | CPU per trial | launcher | broker | files | second launch |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {trials:,.0f} | {measured['finished']:,.0f} | {measured['wall_s']:.0f} s "
        f"| {1000 * measured['wall_s'] / trials:.1f} ms | {1000 * measured['cpu_s'] / trials:.1f} ms "
        f"| {measured['peak_mb']:.0f} MiB | {measured['broker_mb']:.0f} MiB | {measured['files']:.0f} "
        f"| {measured['launch_s']:.1f} s ({measured['launch_cpu_s']:.1f} s of CPU) |"
    )
    print(f"\nload average at the end: {', '.join(f'{x:.1f}' for x in os.getloadavg())} on {os.cpu_count()} cores")


def _tune(trials: int, lanes: int) -> dict[str, float]:
    import logging

    import ray
    from ray import tune

    import sweeper.executors.ray_tune  # noqa: F401  # sets Ray's quiet environment before ray is imported

    logging.getLogger("ray").setLevel(logging.ERROR)

    def trainable(config: dict[str, int]) -> dict[str, float]:
        return {"loss": 1.0 / (1 + config["i"])}

    with tempfile.TemporaryDirectory() as folder, tree_cpu() as cpu:
        began = time.perf_counter()
        # As many processors as lanes, so that both sides run the same number of trials at a time.
        ray.init(address="local", num_cpus=lanes, include_dashboard=False, log_to_driver=False)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={"i": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        tuner.fit()
        used, wall = cpu.seconds(), time.perf_counter() - began
        ray.shutdown()
    return {"trials": trials, "wall_ms": 1000 * wall / trials, "cpu_ms": 1000 * used / trials}


def _concurrency(lanes: int) -> dict[str, float]:
    from benchmarks.ground_truth import GroundTruth
    from sweeper.store.store import ResultsStore

    with tempfile.TemporaryDirectory() as folder:
        _launch(_grid(folder, 2 * _POINTS), f"{folder}/r", lanes, GroundTruth(seconds=0.5))
        rows = ResultsStore.open(f"{folder}/r").read("trials", ["started_at", "ended_at", "wall_s", "lane"]).to_pylist()
    # from when the last lane is up, because the target is about work and not about starting
    first_of_last_lane = max(
        min(r["started_at"] for r in rows if r["lane"] == lane) for lane in {r["lane"] for r in rows}
    )
    last_start = max(r["started_at"] for r in rows)  # afterwards there is nothing left to fill a slot with
    inside = [r for r in rows if first_of_last_lane <= r["started_at"] < last_start]
    span = (last_start - first_of_last_lane).total_seconds()
    # Time inside trials over time that the slots existed.
    return {"share": sum(r["wall_s"] for r in inside) / (lanes * span)}


def _finished(trials: int, lanes: int) -> dict[str, float]:
    from benchmarks.ground_truth import GroundTruth

    with tempfile.TemporaryDirectory() as folder:
        grid = _grid(folder, trials)
        # The process executor fills the store here: its rows are the same, and it needs no start of Ray.
        result = _launch(grid, f"{folder}/r", lanes, GroundTruth(), executor="processes")
        # Once through the library, which fills the store, then through the command line, which is what is timed.
        launch_s, launch_cpu_s = _timed("launch", str(grid), "-r", f"{folder}/r")
        plan_s, plan_cpu_s = _timed("plan", str(grid), "--json")
    return {
        "trials": result.ran,
        "launch_s": launch_s,
        "launch_cpu_s": launch_cpu_s,
        "plan_s": plan_s,
        "plan_cpu_s": plan_cpu_s,
    }


def _timed(*arguments: str) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    began, before = time.perf_counter(), _children_cpu()
    subprocess.run([sys.executable, "-m", "sweeper.cli", *arguments], check=True, capture_output=True)
    return time.perf_counter() - began, _children_cpu() - before


def _children_cpu() -> float:
    # Children that have ended and were waited for.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
