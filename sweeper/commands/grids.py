"""`sweeper grids`, `new` and `plan`: what is to be run. They write no results."""

import os
import re
import shlex
import sys
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import click

from cluster.attach.machine import machine_share
from cluster.command_line import Command
from sweeper.cli_options import JSON, LANES, Within, results_either_way

_WORTH_TELLING = 0.001
"""Share of letters that an alphabet drops from which on it is told."""


@click.command(cls=Command)
@click.argument("name", nargs=-1)
def grids(name: tuple[str, ...]) -> None:
    """List the grids that come with the program, or copy those of each NAME here, to be edited.

    \b
      sweeper grids                     what there is; `sweeper plan demo` takes a name as it takes a file
      sweeper grids demo neuronio       writes demo.yaml and neuronio.yaml into this folder
    """
    from cluster.errors import unknown_name
    from sweeper.errors import GridError
    from sweeper.plan.grid import SHIPPED, load_grid, shipped_grids

    for one in name:
        if one not in shipped_grids():
            raise GridError(unknown_name("grid", one, shipped_grids()))
        try:
            # Mode `x`: a file that is there already may be an edited copy.
            with open(f"{one}.yaml", "x", encoding="utf-8") as file:
                file.write((SHIPPED / f"{one}.yaml").read_text(encoding="utf-8"))
        except FileExistsError:
            raise GridError(f"{one}.yaml is there already") from None
        click.echo(f"wrote {one}.yaml")
    for one in [] if name else shipped_grids():
        # The first sentence of the file's own comment, so that there is one description to keep true.
        comment = takewhile(lambda line: line.startswith("#"), load_grid(SHIPPED / f"{one}.yaml").text.splitlines())
        sentence = re.split(r"(?<=[.:;?]) ", " ".join(line.lstrip("# ") for line in comment))[0]
        click.echo(f"{one:<22} {sentence.rstrip('.:;')}")


@click.command(cls=Command)
@click.argument("file", default="grid.yaml", type=click.Path(dir_okay=False))
@click.option("--data", help="A file of your own (text, .npz, .csv, ...), or a task with embedded data, such as text.")
@click.option("--target", metavar="COLUMN", help="Column to be predicted, where the data are a table.")
@click.option("--minutes", type=Within("minutes", above_zero=True), help="Wall time that the sweep may take here.")
@click.option("--budgets", metavar="P,P,...", help="Parameter budgets; chosen to fit the time where none are given.")
@LANES
@click.option("--results", "-r", help="Take the cost of a trial from what this results directory holds.")
def new(
    file: str,
    data: str | None,
    target: str | None,
    minutes: float | None,
    budgets: str | None,
    lanes: int | None,
    results: str | None,
) -> None:
    """Write FILE, a commented grid for your data that fits the time you have; asks for what no option says.

    \b
      sweeper new                                            asks
      sweeper new mine.yaml --data book.txt --minutes 20     does not
    """
    from cluster.values import whole_within
    from sweeper.errors import GridError
    from sweeper.plan.busy import busy_sentence
    from sweeper.plan.cost import CostModel
    from sweeper.plan.draft import Wish, draft, letters_lost, minutes_for
    from sweeper.status import store_cost_model
    from sweeper.store.store import ResultsStore
    from sweeper.tables import forecast_line

    if os.path.exists(file):
        raise GridError(f"{file} is there already")
    told = data is not None and minutes is not None  # nothing is asked of somebody who said what is needed
    try:
        data = data or click.prompt("Data (a file, or a task with embedded data such as text or shd)", default="text")
        if data.endswith((".csv", ".parquet")) and target is None:
            target = click.prompt("Column to be predicted")
        within = Within("minutes", above_zero=True)
        minutes = minutes or click.prompt("Minutes the sweep may take", type=within, default=10)
        if budgets is None and not told and _answers():
            budgets = click.prompt("Parameter budgets (empty: those that fit)", default="", show_default=False)
    except click.Abort:
        if _answers():
            raise
        raise click.UsageError(
            "nobody is there to be asked: give --data and --minutes, and --target where the data are a table"
        ) from None
    wanted = tuple(whole_within("budget")(one, "--budgets") for one in (budgets or "").split(",") if one.strip())
    costs = store_cost_model(ResultsStore.open(results)) if results else CostModel()
    lanes = lanes or machine_share().workers
    wish = Wish(
        data=data,
        target=target,
        minutes=minutes,
        lanes=lanes,
        budgets=tuple(sorted(set(wanted))),
        slowdown=_slowdown_here(lanes),
    )
    made = draft(wish, Path(file).stem, costs)
    with open(file, "x", encoding="utf-8") as written:
        written.write(made.text)
    click.echo(f"wrote {file}: {len(made.plan.trials)} trials. {forecast_line(made.forecast, lanes)}")
    if sentence := busy_sentence(wish.slowdown, lanes):
        click.echo(sentence)
    if not made.fits:
        smaller = " or smaller --budgets" if wanted else ""
        click.echo(
            f"Note: no smaller grid would tell anything, and with its start this one needs more than {minutes:g} "
            f"minutes; --minutes {minutes_for(made, lanes):g}{smaller} would do."
        )
    if os.path.isfile(data) and any(row.shared.get("alphabet") == "letters" for row in made.plan.rows):
        share, such = letters_lost(Path(data))
        if share >= _WORTH_TELLING:
            click.echo(
                f"Note: alphabet: letters makes spaces of {share:.1%} of the letters of {data} ({such}), which splits "
                "words; alphabet: bytes keeps them, and needs more parameters for its read-out."
            )
    executor = "" if find_spec("ray") else " --executor processes"
    results = f"results/{Path(file).stem}"
    click.echo(f"Next: sweeper launch {shlex.quote(file)} -r {shlex.quote(results)}{executor}")


def _slowdown_here(lanes: int) -> float:
    """By how much trials take longer here; more lanes than this machine has cores are meant for another one."""
    from sweeper.plan.busy import slowdown

    return slowdown(lanes) if lanes <= machine_share().workers else 1.0


def _answers() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


@click.command(cls=Command)
@click.argument("grid", type=click.Path(dir_okay=False))
@results_either_way(None, what="Hold the plan against this results directory")
@LANES
@click.option(
    "--simulate", metavar="SCENARIO", help="Simulate it on a cluster, such as nodes=64,gpus=8,preempt=0.02/h."
)
@click.option("--replay", is_flag=True, help="Simulate what RESULTS holds as it ran, and print the simulation's error.")
@JSON
def plan(grid: str, results: str | None, lanes: int | None, simulate: str | None, replay: bool, as_json: bool) -> None:
    """Print every point of GRID with its solved sizes and achieved P. Writes nothing.

    \b
      sweeper plan mine.yaml --simulate nodes=64,gpus=8,preempt=0.02/h,price=20     makespan, utilisation, money
      sweeper plan mine.yaml -r results/mine --replay     how far the simulation is off for the sweep that ran
    """
    from sweeper.plan.cost import CostModel
    from sweeper.plan.expand import described, expand
    from sweeper.plan.grid import load_grid
    from sweeper.status import store_cost_model, sweep_status
    from sweeper.store.nearby import results_hint
    from sweeper.store.store import ResultsStore
    from sweeper.tables import plan_json, print_plan, print_tasks

    if (replay, bool(simulate), as_json).count(True) > 1:
        raise click.UsageError("--simulate, --replay and --json print different things: give one of them")
    lanes = lanes or machine_share().workers
    loaded = described(load_grid(grid))
    expanded = expand(loaded)
    # A plan against a directory that a launch has yet to make is no mistake; a replay of nothing is one.
    begun = results is not None and (replay or ResultsStore.exists(results))
    if results and not begun:
        near = results_hint(results)
        click.echo(f"{results}: no results yet, so everything is to be run{near or '.'}", err=True)
    store = ResultsStore.open(results) if results and begun else None
    status = sweep_status(expanded, store) if store else None
    costs = store_cost_model(store) if store else CostModel()
    if replay or simulate:
        from sweeper.launch.simulation import replay_store, simulate_plan
        from sweeper.status import missing_rows

        if replay and store is None:
            raise click.UsageError("--replay simulates what results hold: give --results")
        # What is done already takes no time on any cluster.
        rows = missing_rows(expanded, status) if status else list(expanded.trials.values())
        specs = [row.spec for row in rows if row.spec is not None]
        click.echo(replay_store(store, costs) if replay and store else simulate_plan(specs, costs, simulate or ""))
    elif as_json:
        click.echo(plan_json(expanded, status, costs, slowdown=_slowdown_here(lanes)))
    else:
        print_tasks(loaded)
        print_plan(expanded, status, costs, lanes, slowdown=_slowdown_here(lanes))
        if loaded.search is not None and loaded.search.adaptive:
            click.echo(
                f"Shown: lists as they are, ends and middle of each range. Search {loaded.search.kind} runs up "
                f"to {loaded.search.trials} trials, {loaded.search.batch} at a time."
            )
