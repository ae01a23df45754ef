"""`sweeper data`: list, describe, fetch and verify the data sets.

What downloads and reads is imported when it is asked for: this file is read whenever `sweeper` starts, which takes
70 ms, and the network modules alone would add 70 ms to that (measured), torch behind `verify` two seconds.
"""

from pathlib import Path

import click

from cluster.command_line import Group
from tasks.base import DataSet
from tasks.data_sets import DATA_SETS, data_set
from tasks.errors import DataError

_DIRECTORY = click.option(
    "--data-dir", help="Data directory; default $ELM_DATA_DIR, else the user's cache directory.", metavar="DIR"
)


@click.group(cls=Group)
def data() -> None:
    """List, describe, fetch and verify data sets."""


@data.command(name="list")
@_DIRECTORY
def list_command(data_dir: str | None) -> None:
    """List the data sets: which are ready for use, what a download takes, tasks, contents and licence."""
    # All data sets are listed, absent ones too: the list is how one learns what can be fetched.
    width = max(map(len, DATA_SETS))
    for entry in DATA_SETS.values():
        click.echo(
            f"{entry.name:<{width}}  {_state(entry, data_dir):<9}  {_download_size(entry):>9}  "
            f"{', '.join(entry.tasks):<15}  {entry.summary}; licence: {entry.licence}"
        )


@data.command()
@click.argument("name")
@_DIRECTORY
def info(name: str, data_dir: str | None) -> None:
    """Describe one data set: licence, citation, mirrors, hashes and folder."""
    from tasks.data.fetch import folder_of

    entry = data_set(name)
    click.echo(f"{entry.name}: {entry.summary}")
    click.echo(f"tasks     {', '.join(entry.tasks)}")
    click.echo(f"state     {_state(entry, data_dir)}")
    click.echo(f"licence   {entry.licence}")
    click.echo(f"cite      {entry.citation}")
    # Other data sets have no folder that a person could put files into.
    if entry.kind in ("download", "manual"):
        click.echo(f"folder    {folder_of(entry, data_dir)}")
    for file in entry.files:
        size = f"{file.size:,} bytes" if file.size else "size unknown"
        click.echo(f"file      {file.name}, {size}, {file.digest}")
        click.echo(f"          becomes {file.unpacked}, {file.unpacked_digest}")
        for url in file.urls:
            click.echo(f"          from {url}")
        if file.package:
            click.echo(f"          from apt-get download {file.package}")
    if entry.steps:
        click.echo(f"by hand   {entry.steps}")


@data.command()
@click.argument("names", nargs=-1, required=True)
@_DIRECTORY
def fetch(names: tuple[str, ...], data_dir: str | None) -> None:
    """Download and check data sets; embedded ones need no download."""
    # All names are looked up first, so that a misspelt one is refused before anything is downloaded.
    for entry in [data_set(name) for name in names]:
        if entry.kind in ("embedded", "generated"):
            click.echo(f"{entry.name}: {entry.kind}, nothing to fetch")
        else:
            click.echo(f"{entry.name}: ready in {_fetch_with_bar(entry, data_dir)}")


def _fetch_with_bar(entry: DataSet, data_dir: str | None) -> Path:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from tasks.data import fetch as fetching

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        # Bars of all files exist from the start and appear with their first block, so that files that are already there
        # show none.
        lines = {file.name: bar.add_task(file.name, total=file.size, visible=False) for file in entry.files}

        def report(name: str, done: int, total: int | None) -> None:
            bar.update(lines[name], completed=done, total=total, visible=True)

        return fetching.fetch(entry, cache_dir=data_dir, progress=report)


@data.command()
@click.argument("names", nargs=-1)
@_DIRECTORY
def verify(names: tuple[str, ...], data_dir: str | None) -> None:
    """Hash data sets anew; without names, all that are installed or downloaded."""
    from tasks.data.fetch import folder_of
    from tasks.verify import problems

    data_sets = [data_set(name) for name in names] or [
        entry for entry in DATA_SETS.values() if entry.check or (entry.files and folder_of(entry, data_dir).exists())
    ]
    problems_by_name = {entry.name: problems(entry, data_dir) for entry in data_sets}
    for name, lines in problems_by_name.items():
        click.echo(f"{name}: {'not in order' if lines else 'ok'}")
    # After all lines are printed, so that one damaged set does not hide the state of the others.
    if any(problems_by_name.values()):
        raise DataError("; ".join(line for lines in problems_by_name.values() for line in lines))


def _download_size(entry: DataSet) -> str:
    sizes = [file.size for file in entry.files]
    if not sizes:
        return "-"
    # Some servers state no size, and a sum of the others would be too small.
    return "unknown" if None in sizes else f"{sum(size for size in sizes if size) / 1e6:,.1f} MB"


def _state(entry: DataSet, data_dir: str | None) -> str:
    if entry.kind in ("embedded", "generated"):
        return entry.kind
    from tasks.data.fetch import is_present

    # A set that only a person can fetch has no files to look for, so it never counts as present.
    return "present" if entry.files and is_present(entry, data_dir) else "absent"
