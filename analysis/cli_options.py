"""Options that several commands of `analysis` share."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from sweeper.cli_options import Within, results_either_way

Command = Callable[..., None]

# Written out here, and compared by a test with the modules that define them: importing those would load pandas for
# `--help`.
MEASURES = ("final_metric", "best_metric", "final_loss")
SPLITS = ("train", "valid", "test")
WEIGHTS = ("auto", "equal", "replicates")
TABLES = ("table", "wandb-export", "optuna-storage", "ray-results")
DIR = results_either_way(into="dir", what="Results directory, URI or published:NAME")


def _decorate(command: Command, options: list[Callable[[Command], Command]]) -> Command:
    # Decorators apply from the inside out; reversed, `--help` lists the options in the order of the list.
    for option in reversed(options):
        command = option(command)
    return command


def selection_options(command: Command) -> Command:
    """Options that say which rows and which metric; the command gets one `selection`."""

    # Click reads a command's help from the docstring of the function, which is that of the command itself.
    @wraps(command)
    # Five options become one value here, so that no function behind has to hand on five arguments.
    def wrapped(*, metric: str, split: str, where: str | None, group: str | None, tokens: bool, **rest: Any) -> None:
        from analysis.rows.sweep import Measure, Selection

        measure = Measure(kind=metric, split=split)
        command(selection=Selection(measure=measure, where=where, group=group, tokens=tokens), **rest)

    choice = click.option(
        "--metric",
        type=click.Choice(MEASURES),
        default="final_metric",
        show_default=True,
        help="The task's metric at the end, at the best validation step, or the loss.",
    )
    which = click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Whose metric.")
    where = click.option("--where", help="Rows to use, for example \"budget >= 1e5 and task == 'text'\".")
    group = click.option("--group", help="One group of rows by its name, as reports and dashboards print it.")
    tokens = click.option(
        "--tokens",
        is_flag=True,
        help="Put rows that differ in steps and batch_size alone into one group: tokens become an axis of the laws.",
    )
    return _decorate(wrapped, [choice, which, where, group, tokens])


def fit_options(command: Command) -> Command:
    """Options that say how to fit; the command gets one `settings`."""

    @wraps(command)
    def wrapped(
        *, law: str, loss: str, huber_threshold: float | None, starts: int, seed: int, weights: str, **rest: Any
    ) -> None:
        from analysis.laws.theory_fit import FitSettings

        settings = FitSettings(
            law=law, loss=loss, huber_threshold=huber_threshold, starts=starts, seed=seed, weights=weights
        )
        command(settings=settings, **rest)

    choice = click.option(
        "--law",
        default="best",
        show_default=True,
        help="best (of the effective-information variants), or one such as effective_information:floor=max.",
    )
    loss = click.option("--loss", default="least_squares", show_default=True, help="least_squares, tukey or huber.")
    threshold = click.option(
        "--huber-threshold",
        type=float,
        help="With --loss huber: residual beyond which it is linear, in units of the fitted metric; default: 1.345 "
        "standard deviations of replicates, or of residuals.",
    )
    starts = click.option("--starts", type=Within("starts"), default=32, show_default=True, help="Searches per fit.")
    seed = click.option(
        "--seed", type=Within("seed"), default=0, show_default=True, help="Seed of the starting points."
    )
    weights = click.option(
        "--weights",
        type=click.Choice(WEIGHTS),
        default="auto",
        show_default=True,
        help="Of the runs: equal, 1 / seed variance of their budget (replicates), or auto: the latter where budgets "
        "differ in noise.",
    )
    return _decorate(wrapped, [choice, loss, threshold, starts, seed, weights])
