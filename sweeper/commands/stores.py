"""`sweeper status`, `merge`, `compact` and `verify`: what a results directory holds."""

import sys

import click

from cluster.command_line import Command
from sweeper.cli_options import JSON, results_either_way
from sweeper.errors import warn_of_damage


@click.command(cls=Command)
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


@click.command(cls=Command)
@results_either_way()
def compact(results: str) -> None:
    """Merge the part files of RESULTS into one file per table. Readers and running launches are unaffected."""
    from sweeper.store.store import ResultsStore

    ResultsStore.open(results).compact()


@click.command(cls=Command)
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


@click.command(cls=Command)
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
