"""The `sweeper` command.

What a command needs is imported inside it: this file loads in 0.1 s, the planner (scipy) in 0.5 s, a launch in 0.6 s,
and Ray with torch in 3 s, which `--help`, `jobs` and `data` must not wait for.
"""

import signal
import sys
from importlib.util import find_spec

import click

from cluster.command_line import Group
from cluster.jobs.jobs import jobs, stop
from sweeper.cli_options import JSON, debug_everywhere, results_either_way
from sweeper.commands.grids import grids, new, plan
from sweeper.commands.runs import launch, retry
from sweeper.commands.stores import compact, merge, status, verify
from sweeper.errors import run_command
from sweeper.home import use_writable_home
from sweeper.output import make_stderr_best_effort
from tasks.cli import data


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


for command in (grids, new, plan, launch, retry, status, merge, compact, verify, data, jobs, stop):
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
