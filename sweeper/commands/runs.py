"""`sweeper launch` and `retry`: what trains networks, here, on a running cluster, or in a job."""

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from cluster.command_line import Command
from sweeper.cli_options import JSON, PLACE, Share, results_either_way, running_options
from sweeper.extras import require
from sweeper.home import use_writable_home
from sweeper.output import make_stdout_best_effort

if TYPE_CHECKING:
    from cluster.profiles.profile import AnyProfile
    from sweeper.executors.executor import Executor
    from sweeper.launch.result import LaunchResult
    from sweeper.plan.grid import Grid

_OF_THE_CALL = ("grid", "results", "cluster", "dry_run", "as_job", "as_json", "debug")
"""Options of `launch` that are not those of a submitted job's launcher."""


@click.command(cls=Command)
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


@click.command(cls=Command)
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
