"""The `sweeper` command. Heavy packages are imported where a command needs them, so that --help stays fast."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from sweeper.errors import run_command
from tasks.cli import data

if TYPE_CHECKING:
    from sweeper.launch import LaunchResult

_RESULTS = click.option(
    "--results",
    "-r",
    default="results",
    show_default=True,
    help="Results directory, or a URI such as s3://bucket/sweep.",
)


_LANES = click.option("--lanes", "-j", type=click.IntRange(min=1), help="Trials at a time. Default: one per CPU core.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def _seed_batch(context: click.Context, option: click.Parameter, value: str) -> str | int:
    if value in ("auto", "off"):
        return value
    if value.isdigit() and int(value) >= 1:
        return int(value)
    raise click.BadParameter(f"{value!r} is not valid; give auto, off or a number of trials from 1")


def _running_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of the commands that run trials."""
    options = (
        _LANES,
        click.option(
            "--executor",
            type=click.Choice(["ray", "processes"]),
            default="ray",
            show_default=True,
            help="Ray Tune on this machine, or child processes without Ray.",
        ),
        click.option("--device", default="cpu", show_default=True, help="torch device of the trials, such as cuda."),
        click.option("--max-hours", type=float, help="Start no further trial after this long; the rest stays missing."),
        click.option("--trial-limit-s", type=float, metavar="SECONDS", help="End a single trial after this long."),
        click.option(
            "--checkpoint-s",
            type=float,
            default=300.0,
            show_default=True,
            help="Seconds between a trial's checkpoints.",
        ),
        click.option(
            "--seed-batch",
            default="auto",
            show_default=True,
            metavar="auto|off|K",
            callback=_seed_batch,
            help="Train K trials of one shape (replicates, learning rates) in one go; auto: where it pays.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
@click.version_option(package_name="elm-sweeper")
def cli(debug: bool) -> None:
    """Run scaling-law sweeps of ELM Networks.

    A grid file names a task, parameter budgets P and the sizes to vary; the size left out is solved from P.

    \b
      sweeper plan grid.yaml                  what would run, and what cannot
      sweeper launch grid.yaml -r results     run what is missing in results/
      sweeper status results                  what is done, running, failed, missing
      sweeper retry results --where "..."     run some trials again
      analysis fit-theory results             fit the law to what is done
    """


@cli.command()
@click.argument("grid", type=click.Path(dir_okay=False))
@click.option("--results", "-r", default=None, help="Hold the plan against this results directory.")
@_LANES
@_JSON
def plan(grid: str, results: str | None, lanes: int | None, as_json: bool) -> None:
    """Print every point of GRID with its solved sizes and achieved P. Writes nothing."""
    from sweeper.cost import CostModel
    from sweeper.grid import load_grid
    from sweeper.plan import expand
    from sweeper.report import plan_json, print_plan
    from sweeper.status import store_cost_model, sweep_status
    from sweeper.store import ResultsStore

    expanded = expand(load_grid(grid))
    store = ResultsStore.open(results) if results else None
    status = sweep_status(expanded, store) if store else None
    costs = store_cost_model(store) if store else CostModel()
    if as_json:
        click.echo(plan_json(expanded, status, costs))
    else:
        print_plan(expanded, status, costs, lanes or len(os.sched_getaffinity(0)))


@cli.command()
@click.argument("grid", type=click.Path(dir_okay=False))
@_RESULTS
@_running_options
@_JSON
def launch(grid: str, results: str, as_json: bool, **running: Any) -> None:
    """Train the trials of GRID that the results directory lacks.

    Launching again runs only what is missing: a grid may be edited, extended or re-seeded at any time. Ctrl-C lets the
    running trials finish and stops; Ctrl-C twice saves checkpoints and leaves. Either way the next launch goes on.
    """
    from rich.console import Console

    from sweeper.grid import load_grid
    from sweeper.launch import LaunchOptions, launch
    from sweeper.report import print_launch_start

    loaded = load_grid(grid)
    if not as_json:
        print_launch_start(loaded, results)
    _finish(launch(loaded, LaunchOptions(results=results, **running), Console(stderr=True)), results, as_json)


@cli.command()
@click.argument("results")
@click.option(
    "--where",
    "condition",
    default="status == 'failed'",
    show_default=True,
    help="Which trials, as a condition on the columns of the trials table.",
)
@_running_options
@_JSON
def retry(results: str, condition: str, as_json: bool, **running: Any) -> None:
    """Run trials of RESULTS again, whatever became of them; the new row replaces the old one.

    \b
      sweeper retry results --where "status == 'diverged' and learning_rate > 0.01"
      sweeper retry results --where "n_rec > 500 and status != 'finished'"
      sweeper retry results --where "'CUDA error' in reason"
    """
    from rich.console import Console

    from sweeper.launch import LaunchOptions
    from sweeper.maintenance import retry

    _finish(retry(condition, LaunchOptions(results=results, **running), Console(stderr=True)), results, as_json)


@cli.command()
@click.argument("target")
@click.argument("source", nargs=-1, required=True)
def merge(target: str, source: tuple[str, ...]) -> None:
    """Copy the rows and grids of each SOURCE results directory into TARGET; nothing is run or counted twice."""
    from sweeper.maintenance import merge

    for one in source:
        click.echo(f"{one}: {merge(target, one)} trials new in {target}")


@cli.command()
@click.argument("results")
def compact(results: str) -> None:
    """Merge the part files of RESULTS into one file per table. Readers and running launches are unaffected."""
    from sweeper.store import ResultsStore

    ResultsStore.open(results).compact()


@cli.command()
@click.argument("results", default="results")
@_JSON
def status(results: str, as_json: bool) -> None:
    """Print what is done, running, failed and missing in RESULTS."""
    from sweeper.report import print_status, status_json
    from sweeper.status import stored_plans, sweep_status
    from sweeper.store import ResultsStore

    store = ResultsStore.open(results)
    statuses = [sweep_status(expanded, store) for expanded in stored_plans(store)]
    if as_json:
        click.echo(status_json(statuses))
    else:
        print_status(statuses, store)


def _finish(result: "LaunchResult", results: str, as_json: bool) -> None:
    from sweeper.report import launch_json, print_launch

    if as_json:
        click.echo(launch_json(result))
    else:
        print_launch(result, results)
    if result.interrupted:
        sys.exit(130)
    if result.stopped_because:
        sys.exit(1)


cli.add_command(data)


def main() -> None:
    """Entry point of the `sweeper` command."""
    run_command(cli)


if __name__ == "__main__":
    main()
