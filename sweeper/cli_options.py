"""Options that several commands of `sweeper` share."""

from collections.abc import Callable

import click

RESULTS = click.option(
    "--results",
    "-r",
    default="results",
    show_default=True,
    help="Results directory, or a URI such as s3://bucket/sweep.",
)


def results_either_way(command: Callable[..., None]) -> Callable[..., None]:
    """Results as `-r DIR`, as everywhere, or as the one argument of commands that are about nothing else."""
    option = click.option(
        "--results",
        "-r",
        callback=_one_place,
        help="Results directory, or a URI such as s3://bucket/sweep; may stand without -r.  [default: results]",
    )
    # Eager, so that it is read before the option, whose value it becomes
    argument = click.argument(
        "place", required=False, metavar="[RESULTS]", is_eager=True, expose_value=False, callback=_note_place
    )
    return argument(option(command))


def _note_place(context: click.Context, argument: click.Parameter, value: str | None) -> None:
    context.meta["results"] = value


def _one_place(context: click.Context, option: click.Parameter, value: str | None) -> str:
    """The results directory, however it was named."""
    argument: str | None = context.meta["results"]
    if value is not None and argument is not None and value != argument:
        raise click.UsageError(f"two results directories are named: {argument} and {value}")
    return value or argument or "results"


LANES = click.option(
    "--lanes",
    "-j",
    type=click.IntRange(min=1),
    help="Trials at a time. Default: one per CPU core, or what a cluster or the GPUs have room for.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def _packing(context: click.Context, option: click.Parameter, value: str) -> int | None:
    """A number of trials per GPU, or None for `auto`."""
    if value == "auto":
        return None
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a whole number above zero nor auto", context, option)
    return int(value)


def _seed_batch(context: click.Context, option: click.Parameter, value: str) -> str | int:
    """What `LaneOptions.seed_batch` takes."""
    if value in ("auto", "off"):
        return value
    if value.isdigit() and int(value) >= 1:
        return int(value)
    raise click.BadParameter(f"{value!r} is not valid; give auto, off or a number of trials from 1")


def running_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of the commands that run trials."""
    options = (
        LANES,
        click.option(
            "--executor",
            type=click.Choice(["ray", "processes"]),
            default="ray",
            show_default=True,
            help="Ray Tune, or child processes of this machine without Ray.",
        ),
        click.option(
            "--cluster",
            is_flag=False,
            flag_value="auto",
            metavar="[ADDRESS|PROFILE]",
            help="Run on a Ray cluster: HOST:PORT or ray://HOST:PORT; alone: RAY_ADDRESS, or the one that `ray start` "
            "made here; or submit a job by a profile.yaml (cluster/README.md).",
        ),
        click.option("--device", default="cpu", show_default=True, help="torch device of the trials, such as cuda."),
        click.option(
            "--trials-per-gpu",
            default="1",
            show_default=True,
            metavar="N|auto",
            callback=_packing,
            help="Trials that share a GPU; auto: as many as fit its memory by the cost model.",
        ),
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
