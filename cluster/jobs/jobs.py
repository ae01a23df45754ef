"""`sweeper jobs` and `sweeper stop`: submitted jobs, seen from outside.

What reaches the clusters is imported when it is asked for: this file is read whenever `sweeper` starts, which takes
70 ms, and the kinds of cluster would add 50 ms to that (measured).
"""

import click

from cluster.errors import SubmitError


@click.command()
def jobs() -> None:
    """List the jobs submitted from this machine, and how their cluster says they do."""
    from cluster.jobs.submit import status
    from cluster.kinds.record import records

    every = records()
    if not every:
        click.echo("No job was submitted from this machine; `sweeper launch grid.yaml --cluster profile.yaml` does it.")
    for record in every:
        try:
            state = status(record)
            line = f"{state.state:<8} {state.detail}"
        except SubmitError as error:
            # A cluster that does not answer must not hide the jobs on others.
            line = f"{'unknown':<8} {error}"
        click.echo(f"{record.name:<32} {line}\n{'':<32} results {record.results}, files {record.folder}")


@click.command()
@click.argument("job", required=False)
@click.option("--now", is_flag=True, help="End at once, instead of after the running trials.")
def stop(job: str | None, now: bool) -> None:
    """End JOB (its name or its sweep's; the only one when left out). Launching again goes on from there."""
    from cluster.jobs.submit import stop as stop_job
    from cluster.kinds.record import find

    click.echo(stop_job(find(job), now=now))
