"""Options that several commands of `sweeper` share."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from cluster.errors import SettingError
from cluster.limits import LIMITS, check_limit


class Within(click.ParamType[float]):
    """A number within one of `cluster.limits.LIMITS`, so that neither `nan` nor a zero too many passes."""

    def __init__(self, key: str, *, above_zero: bool = False) -> None:
        self._key, self._above_zero = key, above_zero
        self._whole = isinstance(LIMITS[key].most, int) and key not in _FRACTIONS
        self.name = "integer" if self._whole else "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; a usage error where it is none, or beyond the limit."""
        from cluster.values import number, whole  # with PyYAML, which `--help` must not wait for

        try:
            amount: float = whole(None)(value, "") if self._whole else number(value, "")
            check_limit(self._key, amount, "")
        except SettingError as error:
            # The place is empty here, since click names the option itself.
            self.fail(str(error).removeprefix(": "), param, ctx)
        if self._above_zero and amount <= 0:
            self.fail(f"{value!r} is not above zero", param, ctx)
        return amount


class Share(click.ParamType[tuple[int, int]]):
    """Which of how many launches: ``3/8`` is the fourth of eight."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Number and count; a usage error where the number is not below the count."""
        number, _, count = str(value).partition("/")
        if not (re.fullmatch(r"\d{1,6}", number) and re.fullmatch(r"\d{1,6}", count) and int(number) < int(count)):
            self.fail(f"{value!r} is no share such as 0/8, the first of eight", param, ctx)
        return int(number), int(count)


_FRACTIONS = ("hours", "minutes", "seconds")
"""Limits whose ends are whole and whose values need not be."""

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
PLACE = "place"
"""The argument that may name the results instead of the option; no parameter of the command."""


def results_either_way(
    default: str | None = "results",
    *,
    into: str = "results",
    what: str = "Results directory, or a URI such as s3://bucket/sweep",
) -> Decorator:
    """Results as `-r DIR` or as the last argument, whichever a person types.

    Args:
        default: what neither of them means.
        into: the parameter of the command that gets it.
        what: the beginning of the option's help.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        option = click.option(
            "--results",
            "-r",
            into,
            callback=partial(_one_place, default=default),
            help=f"{what}; may stand without -r." + (f"  [default: {default}]" if default else ""),
        )
        # Eager, so that it is read before the option, whose value it becomes.
        argument = click.argument(
            PLACE, required=False, metavar="[RESULTS]", is_eager=True, expose_value=False, callback=_note_place
        )
        return argument(option(command))

    return decorate


def _note_place(context: click.Context, argument: click.Parameter, value: str | None) -> None:
    # Kept in the context, since argument and option are to end up as one parameter of the command.
    context.meta["results"] = value


def _one_place(context: click.Context, option: click.Parameter, value: str | None, default: str | None) -> str | None:
    """The results directory, however it was named."""
    argument: str | None = context.meta["results"]
    if value is not None and argument is not None and value != argument:
        raise click.UsageError(f"two results directories are named: {argument} and {value}")
    return value or argument or default


def debug_everywhere(command: click.Command) -> None:
    """Let a command, and all below it, take `--debug`.

    It stands for `run_command`, which reads it off the command line itself: an error may come before click has read its
    options.
    """
    if not any("--debug" in option.opts for option in command.params):
        option = click.Option(
            ["--debug"], is_flag=True, expose_value=False, help="Show the whole traceback of an error."
        )
        command.params.append(option)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            debug_everywhere(one)


LANES = click.option(
    "--lanes",
    "-j",
    type=Within("lanes"),
    help="Trials at a time. Default: one per CPU core, or what a cluster or the GPUs have room for.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


_DEVICES = ("cpu", "cuda", "mps", "xpu")
"""Kinds of devices that torch trains on; asking torch itself would take two seconds."""


def _device(context: click.Context, option: click.Parameter, value: str) -> str:
    """The name of a device, with its number where there are several."""
    kind, colon, number_of_it = value.partition(":")
    if kind not in _DEVICES or (colon and not re.fullmatch("[0-9]{1,4}", number_of_it)):
        raise click.BadParameter(f"{value!r} is not known. Valid: {', '.join(_DEVICES)}, or cuda:1", context, option)
    return value


def _packing(context: click.Context, option: click.Parameter, value: str) -> int | None:
    """A number of trials per GPU, or None for `auto`."""
    if value == "auto":
        return None
    # `isdigit` alone is true of digits of other scripts as well.
    if not value.isascii() or not value.isdigit():
        raise click.BadParameter(f"{value!r} is neither a whole number above zero nor auto", context, option)
    return int(Within("packed").convert(value, option, context))


def _seed_batch(context: click.Context, option: click.Parameter, value: str) -> str | int:
    """What `LaneOptions.seed_batch` takes."""
    if value in ("auto", "off"):
        return value
    if value.isascii() and value.isdigit():
        return int(Within("packed").convert(value, option, context))
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
        click.option(
            "--threads",
            type=Within("threads"),
            default=1,
            show_default=True,
            help="Threads of a trial; there is a lane per so many cores. Pays for single networks of many neurons.",
        ),
        click.option(
            "--device",
            default="cpu",
            show_default=True,
            callback=_device,
            help="torch device of the trials, such as cuda.",
        ),
        click.option(
            "--trials-per-gpu",
            default="1",
            show_default=True,
            metavar="N|auto",
            callback=_packing,
            help="Trials that share a GPU; auto: as many as fit its memory by the cost model.",
        ),
        click.option(
            "--max-hours", type=Within("hours"), help="Start no further trial after this long; the rest stays missing."
        ),
        click.option(
            "--trial-limit-s",
            type=Within("seconds", above_zero=True),
            metavar="SECONDS",
            help="End a single trial after this long.",
        ),
        click.option(
            "--checkpoint-s",
            type=Within("seconds", above_zero=True),
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
    # Backwards, because each decorator puts its option in front of those before: help shows them in the order above.
    for option in reversed(options):
        command = option(command)
    return command
