"""The `sweeper` command. Heavy packages are imported where a command needs them, so that --help stays fast."""

import sys

import click

from sweeper.errors import run_command
from tasks.cli import data

_RESULTS = click.option(
    "--results",
    "-r",
    default="results",
    show_default=True,
    help="Results directory, or a URI such as s3://bucket/sweep.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
@click.version_option(package_name="elm-sweeper")
def cli(debug: bool) -> None:
    """Run scaling-law sweeps of ELM Networks.

    A grid file names a task, parameter budgets P and the sizes to vary; the size left out is solved from P.

    \b
      sweeper plan grid.yaml                  what would run, and what cannot
      sweeper launch grid.yaml -r results     run what is missing in results/
      sweeper status results                  what is done, failed, missing
      analysis fit-theory results             fit the law to what is done
    """


@cli.command()
@click.argument("grid", type=click.Path(dir_okay=False))
@click.option("--results", "-r", default=None, help="Hold the plan against this results directory.")
def plan(grid: str, results: str | None) -> None:
    """Print every point of GRID with its solved sizes and achieved P. Writes nothing."""
    from sweeper.grid import load_grid
    from sweeper.plan import expand
    from sweeper.report import print_plan
    from sweeper.status import sweep_status
    from sweeper.store import ResultsStore

    expanded = expand(load_grid(grid))
    print_plan(expanded, sweep_status(expanded, ResultsStore.open(results)) if results else None)


@cli.command()
@click.argument("grid", type=click.Path(dir_okay=False))
@_RESULTS
@click.option("--lanes", "-j", type=click.IntRange(min=1), help="Trials at a time. Default: one per CPU core.")
@click.option(
    "--executor",
    type=click.Choice(["ray", "processes"]),
    default="ray",
    show_default=True,
    help="Ray Tune on this machine, or child processes without Ray.",
)
@click.option("--device", default="cpu", show_default=True, help="torch device of the trials, such as cuda.")
def launch(grid: str, results: str, lanes: int | None, executor: str, device: str) -> None:
    """Train the trials of GRID that the results directory lacks.

    Launching again runs only what is missing. Ctrl-C lets the running trials finish and stops; Ctrl-C twice stops at
    once. Either way the next launch goes on.
    """
    from rich.console import Console

    from sweeper.grid import load_grid
    from sweeper.launch import LaunchOptions, launch
    from sweeper.report import print_launch, print_launch_start

    loaded = load_grid(grid)
    console = Console(stderr=True)
    print_launch_start(loaded, results)
    options = LaunchOptions(results=results, executor=executor, lanes=lanes, device=device)
    result = launch(loaded, options, console)
    print_launch(result, results)
    if result.interrupted:
        sys.exit(130)


@cli.command()
@click.argument("results", default="results")
def status(results: str) -> None:
    """Print what is done, failed and missing in RESULTS."""
    from sweeper.report import print_status
    from sweeper.status import stored_plans, sweep_status
    from sweeper.store import ResultsStore

    store = ResultsStore.open(results)
    print_status([sweep_status(expanded, store) for expanded in stored_plans(store)], store)


cli.add_command(data)


def main() -> None:
    """Entry point of the `sweeper` command."""
    run_command(cli)


if __name__ == "__main__":
    main()
