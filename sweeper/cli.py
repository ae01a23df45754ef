"""The `sweeper` command.

What a command needs is imported inside it: this file loads in 0.1 s, the planner (scipy) in 0.5 s, a launch in 0.6 s,
and Ray with torch in 3 s, which `--help`, `jobs` and `data` must not wait for.
"""

import os
import re
import shlex
import signal
import sys
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cluster.attach.machine import machine_share
from cluster.command_line import Group
from cluster.jobs.jobs import jobs, stop
from sweeper.cli_options import JSON, LANES, PLACE, Share, Within, debug_everywhere, results_either_way, running_options
from sweeper.errors import run_command, warn_of_damage
from sweeper.extras import require
from sweeper.home import use_writable_home
from sweeper.output import make_stderr_best_effort, make_stdout_best_effort
from tasks.cli import data

if TYPE_CHECKING:
    from cluster.profiles.profile import AnyProfile
    from sweeper.executors.executor import Executor
    from sweeper.launch.result import LaunchResult
    from sweeper.plan.grid import Grid


_WORTH_TELLING = 0.001
"""Share of letters that an alphabet drops from which on it is told."""
_OF_THE_CALL = ("grid", "results", "cluster", "dry_run", "as_job", "as_json", "debug")
"""Options of `launch` that are not those of a submitted job's launcher."""


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="elm-sweeper")
def cli() -> None:
    """Run scaling-law sweeps of ELM Networks.

    A grid file names a task, parameter budgets P and the sizes to vary; the size left out is solved from P.

    \b
      sweeper grids                                   grids that come with the program; launch one by its name: demo
      sweeper new mine.yaml                           asks for data and time, and writes a grid that fits
      sweeper plan mine.yaml                          what would run, and what cannot
      sweeper launch mine.yaml -r results/mine        run what is missing in results/mine
      sweeper status -r results/mine                  what is done, running, failed, missing
      sweeper retry -r results/mine --where "..."     run some trials again
      sweeper verify -r results/mine                  check every file and row; which trials to run again
      sweeper doctor --cluster ...                    what would stop a sweep, here and on a cluster
      sweeper launch mine.yaml --cluster profile.yaml     submit to Slurm, Kubernetes, a cloud or ssh hosts
      sweeper jobs; sweeper stop NAME                 submitted jobs, seen from outside
      analysis fit-theory results/mine                fit the law to what is done

    \b
    Exit codes:
      0    all went well
      1    a mistake that can be mended; one line on stderr names it
      2    wrong usage
      3    launch or retry ended, but trials failed, or none finished
      4    launch or retry stopped by itself: --max-hours, storage that fails, trials that all fail alike
      70   a fault of this program
      130  interrupted; the same command goes on
    """


@cli.command()
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


@cli.command()
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
    try:
        data = data or click.prompt("Data (a file, or a task with embedded data such as text or shd)", default="text")
        if data.endswith((".csv", ".parquet")) and target is None:
            target = click.prompt("Column to be predicted")
        within = Within("minutes", above_zero=True)
        minutes = minutes or click.prompt("Minutes the sweep may take", type=within, default=10)
        if budgets is None and _answers():
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


@cli.command()
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


@cli.command()
@click.argument("grid", type=click.Path(dir_okay=False))
@results_either_way()
@running_options
@click.option(
    "--until",
    metavar="RULE",
    help='Search until a rule holds, such as "ci(d_m_opt @ 1e6) < 20% or hours >= 8" (sweeper/README.md).',
)
@click.option(
    "--share",
    type=Share(),
    metavar="I/N",
    help="Be number I (from 0) of N launches that share the trials: each takes parts that no other has.",
)
@click.option("--dry-run", is_flag=True, help="With a profile: print the very file that would be submitted, and stop.")
@click.option(
    "--as-job",
    is_flag=True,
    help="For schedulers that start anew what fails: exit code 0 also after what a new start would not mend (codes 3 "
    "and 4, and Ctrl-C).",
)
@click.option(
    "--profile-start", is_flag=True, help="List what the time until the first trial's first step was spent on."
)
@JSON
@click.pass_context
def launch(
    context: click.Context,
    /,
    grid: str,
    results: str,
    executor: str,
    cluster: str | None,
    max_hours: float | None,
    until: str | None,
    share: tuple[int, int] | None,
    dry_run: bool,
    as_job: bool,
    profile_start: bool,
    as_json: bool,
    **lanes: Any,
) -> None:
    """Train the trials of GRID that the results directory lacks.

    Launching again runs only what is missing: a grid may be edited, extended or re-seeded at any time. Ctrl-C lets the
    running trials finish and stops; Ctrl-C twice saves checkpoints and leaves. Either way the next launch goes on.

    \b
      sweeper launch mine.yaml -r results/mine                         on this machine
      sweeper launch mine.yaml --until "ci(d_m_opt @ 1e6) < 20%"       propose, run, look, again; says why it stops
      sweeper launch mine.yaml -r /shared/mine --cluster HOST:6379     on a running Ray cluster
      sweeper launch mine.yaml -r results/mine --cluster slurm.yaml --dry-run   print the job that a profile makes
      sweeper launch mine.yaml -r results/mine --cluster slurm.yaml    submit it
    """
    from sweeper.console import PlainConsole
    from sweeper.launch.launch import launch
    from sweeper.plan.grid import load_grid
    from sweeper.queue.start import Start
    from sweeper.tables import print_launch_start

    target = _target(cluster, executor)
    if dry_run and (target is None or isinstance(target, str)):
        raise click.UsageError("--dry-run prints a job file: it needs --cluster PROFILE.yaml; see also `sweeper plan`")
    loaded = load_grid(grid)
    if until is not None:
        from sweeper.launch.search_loop import with_until

        loaded = with_until(loaded, until)
    if target is not None and not isinstance(target, str):
        if share is not None:
            raise click.UsageError("--share is given by the job itself; set `array: true` in the profile")
        arguments = _typed(context, apart_from=(*_OF_THE_CALL, PLACE))
        _submit(loaded, target, results, arguments, dry_run=dry_run, as_json=as_json)
        return
    runs_on = _executor(executor, target, lanes)
    if not as_json:
        make_stdout_best_effort()  # the product of a launch is its rows: what it prints may get lost
        print_launch_start(loaded, results)
    console = PlainConsole(stderr=True)
    start = Start(console, profile=profile_start)
    result = launch(loaded, results, runs_on, console, max_hours=max_hours, share=share, start=start)
    _finish(result, results, as_json, result.job_exit_code if as_job else result.exit_code)


@cli.command()
@results_either_way()
@click.option(
    "--where",
    "condition",
    default="status == 'failed'",
    show_default=True,
    help="Which trials, as a condition on the columns of the trials table.",
)
@running_options
@JSON
def retry(
    results: str,
    condition: str,
    executor: str,
    cluster: str | None,
    max_hours: float | None,
    as_json: bool,
    **lanes: Any,
) -> None:
    """Run trials of RESULTS again, whatever became of them; the new row replaces the old one.

    \b
      sweeper retry -r results/mine --where "status == 'diverged' and learning_rate > 0.01"
      sweeper retry -r results/mine --where "n_rec > 500 and status != 'finished'"
      sweeper retry -r results/mine --where "'CUDA error' in reason"
    """
    from sweeper.console import PlainConsole
    from sweeper.launch.maintenance import retry

    target = _target(cluster, executor)
    if target is not None and not isinstance(target, str):
        # A job is made of a grid, and what a retry runs stands in no grid.
        raise click.UsageError("retry attaches to a running cluster only; launch submits jobs")
    runs_on = _executor(executor, target, lanes)
    if not as_json:
        make_stdout_best_effort()
    result = retry(condition, results, runs_on, PlainConsole(stderr=True), max_hours=max_hours)
    _finish(result, results, as_json, result.exit_code)


@cli.command()
@click.argument("places", nargs=-1, required=True, metavar="[TARGET] SOURCE...")
@click.option("--results", "-r", "target", metavar="TARGET", help="Results directory, or URI, that takes the rows.")
def merge(places: tuple[str, ...], target: str | None) -> None:
    """Copy each SOURCE results directory (rows, grids, saved networks, predictions) into TARGET.

    Nothing is run or counted twice. After a kill the same command goes on.
    """
    from sweeper.launch.maintenance import merge

    target, *sources = places if target is None else (target, *places)
    if not sources:
        raise click.UsageError(f"what is to be copied into {target}? `sweeper merge TARGET SOURCE...`")
    for one in sources:
        merged = merge(target, one)
        kept = {"saved networks": merged.networks, "predictions": merged.predictions}
        copied = "".join(f", {count} {what} copied" for what, count in kept.items() if count)
        click.echo(f"{one}: {merged.trials} trials new in {target}{copied}")


@cli.command()
@results_either_way()
def compact(results: str) -> None:
    """Merge the part files of RESULTS into one file per table. Readers and running launches are unaffected."""
    from sweeper.store.store import ResultsStore

    ResultsStore.open(results).compact()


@cli.command()
@results_either_way()
@click.option("--set-aside", is_flag=True, help="Move damaged files to damaged/, so that a launch runs them again.")
@JSON
def verify(results: str, set_aside: bool, as_json: bool) -> None:
    """Check everything RESULTS holds: parts, checksums, schemas, rows against their specs, curves, checkpoints.

    Says which trials to run again. Exit code 1 where something is wrong.
    """
    from sweeper.launch.verify import verify
    from sweeper.tables import print_verification, verification_json

    verification = verify(results, set_aside=set_aside)
    if as_json:
        click.echo(verification_json(verification))
    else:
        print_verification(verification, results, set_aside=set_aside)
    sys.exit(0 if verification.holds else 1)


@cli.command()
@results_either_way()
@JSON
def status(results: str, as_json: bool) -> None:
    """Print what is done, running, failed and missing in RESULTS."""
    from sweeper.status import stored_plans, sweep_status
    from sweeper.store.store import ResultsStore
    from sweeper.tables import print_status, status_json

    store = ResultsStore.open(results, on_damage=warn_of_damage)
    statuses = [sweep_status(expanded, store) for expanded in stored_plans(store)]
    if as_json:
        click.echo(status_json(statuses))
    else:
        print_status(statuses, store)


@cli.command()
@click.option(
    "--cluster",
    is_flag=False,
    flag_value="auto",
    help="A running cluster (HOST:PORT or ray://HOST:PORT; alone: RAY_ADDRESS, or the one that `ray start` made here), "
    "or a profile.yaml.",
)
@results_either_way(None, what="Results directory or URI that every node is to write")
@JSON
def doctor(cluster: str | None, results: str | None, as_json: bool) -> None:
    """Look for what would stop a sweep, here and on a cluster; each finding comes with its remedy."""
    from cluster.doctor.doctor import diagnose, report

    use_writable_home()
    findings = diagnose(cluster, results)
    if find_spec("torch") is not None:  # else the versions have told it
        from sweeper.backend import backend_findings

        findings += backend_findings()
    sys.exit(report(findings, as_json=as_json))


def _target(cluster: str | None, executor: str) -> "str | AnyProfile | None":
    """What --cluster names: the address of a running cluster, or a profile; None for this machine."""
    if cluster is None:
        return None
    from cluster.profiles.target import read_target

    if executor != "ray":
        raise click.UsageError(f"--executor {executor} runs on this machine only; leave one of it and --cluster out")
    return read_target(cluster)


def _executor(executor: str, address: str | None, lanes: dict[str, Any]) -> "Executor":
    """What runs the trials, here or on a running cluster, which must answer before anything is written.

    Args:
        executor: `ray` or `processes`.
        address: the running cluster; None for this machine.
        lanes: the fields of `LaneOptions`.
    """
    from sweeper.executors.processes import ProcessExecutor
    from sweeper.executors.ray_executor import RayExecutor
    from sweeper.lane.options import LaneOptions

    # Before torch and Ray are loaded, which read the home directory as they start.
    if (folder := use_writable_home()) is not None:
        click.echo(f"Warning: the home directory cannot be written; caches go to {folder}", err=True)
    # Asked for before anything is written or started, where one line can still say what is missing.
    require("torch", "snntorch", *(["ray"] if executor == "ray" else []))
    options = LaneOptions(**lanes)
    if executor == "processes":
        return ProcessExecutor(options=options)
    if address is None:
        return RayExecutor(options=options)
    from cluster.attach.connect import check_reachable
    from cluster.profiles.target import resolve_address

    # Resolved once, here: the launch must not end on another cluster than the one that was looked at.
    address = resolve_address(address)
    # At a port where no head answers Ray's own client would go on trying for 40 s.
    check_reachable(address)
    return RayExecutor(options=options, address=address)


def _typed(context: click.Context, *, apart_from: tuple[str, ...]) -> tuple[str, ...]:
    """The options of this call as they were typed, so that a submitted job's launcher gets the same."""
    # Options that nobody typed are left out, so that the job's launcher fills in its own defaults on its own machine.
    by_the_person = click.core.ParameterSource.COMMANDLINE
    words: list[str] = []
    for option in context.command.params:
        if option.name in apart_from or context.get_parameter_source(option.name or "") is not by_the_person:
            continue
        value = context.params[option.name or ""]
        # The long form, since the words end up in a job file that people read.
        words.append(max(option.opts, key=len))
        if not getattr(option, "is_flag", False):
            # None is what `auto` was turned into (`cli_options._packing`).
            words.append("auto" if value is None else str(value))
    return tuple(words)


def _submit(
    grid: "Grid", profile: "AnyProfile", results: str, arguments: tuple[str, ...], *, dry_run: bool, as_json: bool
) -> None:
    """Submit a launch of a grid as a job, or print its file."""
    import json
    from dataclasses import asdict

    from cluster.jobs.submit import dry_run as job_file
    from cluster.jobs.submit import submit
    from cluster.kinds.job import make_job
    from sweeper.launch.submission import check_data_paths, files_of, longest_trial_s

    check_data_paths(grid)
    job = make_job(
        profile,
        sweep=grid.name,
        grid_text=grid.text,
        results=results,
        arguments=arguments,
        longest_trial_s=longest_trial_s(grid),
        sources=files_of(grid),
    )
    if dry_run:
        click.echo(job_file(profile, job), nl=False)
        return
    record = submit(profile, job)
    if as_json:
        click.echo(json.dumps(asdict(record)))
        return
    click.echo(f"{record.name} is submitted; results go to {record.results}, its files to {record.folder}")
    click.echo(
        f"Next: sweeper jobs, sweeper status -r {shlex.quote(record.results)}; sweeper stop {record.name} ends it"
    )


def _finish(result: "LaunchResult", results: str, as_json: bool, exit_code: int) -> None:
    from sweeper.tables import launch_json, print_launch

    if as_json:
        click.echo(launch_json(result))
    else:
        print_launch(result, results)
    sys.exit(exit_code)


for command in (data, jobs, stop):
    cli.add_command(command)
debug_everywhere(cli)


def main() -> None:
    """Entry point of the `sweeper` command."""
    # Job scripts stop a launch by SIGINT, and a shell may start background programs with it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Before anything is printed: a log on a full disk must not end a launch.
    make_stderr_best_effort()
    run_command(cli)


if __name__ == "__main__":
    main()
