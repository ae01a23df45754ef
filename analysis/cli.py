"""The command line of the analysis; everything heavy is imported by the command that needs it."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from sweeper.errors import run_command

Command = TypeVar("Command", bound=Callable[..., Any])

MEASURES = ("final_metric", "best_metric", "final_loss")
SPLITS = ("train", "valid", "test")


debug_option = click.option("--debug", is_flag=True, expose_value=False, help="Show the whole traceback of an error.")


def selection_options(command: Command) -> Command:
    """Options that say which rows and which metric."""
    for option in (
        debug_option,
        click.option("--where", help="Rows to use, for example \"budget >= 1e5 and task == 'text'\"."),
        click.option(
            "--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Which split's metric."
        ),
        click.option(
            "--metric",
            type=click.Choice(MEASURES),
            default="final_metric",
            show_default=True,
            help="The task's metric at the end, at the best validation step, or the loss in nats.",
        ),
    ):
        command = option(command)
    return command


def fit_options(command: Command) -> Command:
    """Options that say how to fit."""
    for option in (
        click.option("--seed", default=0, show_default=True, help="Seed of the starting points."),
        click.option(
            "--starts", type=click.IntRange(min=8), default=32, show_default=True, help="Searches of every fit."
        ),
        click.option("--loss", default="least_squares", show_default=True, help="least_squares, tukey or huber."),
        click.option(
            "--law",
            default="best",
            show_default=True,
            help="best (of the effective-information variants), or one such as effective_information:floor=max.",
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@debug_option
@click.version_option(package_name="elm-sweeper")
def cli() -> None:
    """From stored trials to a fitted law, a report and a dashboard.

    DIR is a results directory made by `sweeper launch`, or a built-in table: published:enwik8, published:shd_adding,
    published:neuronio.
    """


@cli.command("fit-theory")
@click.argument("dir")
@fit_options
@selection_options
@click.option("-o", "--output", help="JSON file; default fit.json in DIR.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def fit_theory(
    dir: str, metric: str, split: str, where: str | None, law: str, loss: str, starts: int, seed: int,
    output: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Fit the law: parameters, optimum per budget, goodness of fit, rival laws."""
    from analysis import commands
    from analysis.load import Measure
    from analysis.theory_fit import FitSettings

    settings = FitSettings(law=law, loss=loss, starts=starts, seed=seed)
    measure = Measure(kind=metric, split=split)
    commands.fit_theory(dir, measure=measure, where=where, settings=settings, output=output, as_json=as_json)


@cli.command()
@click.argument("dir")
@fit_options
@selection_options
@click.option("-o", "--output", help="HTML file; default dashboard.html in DIR.")
def dashboard(
    dir: str,
    metric: str,
    split: str,
    where: str | None,
    law: str,
    loss: str,
    starts: int,
    seed: int,
    output: str | None,
) -> None:
    """Write one self-contained HTML page: trade-off, frontier, optimum per budget, trials."""
    from analysis import commands
    from analysis.load import Measure
    from analysis.theory_fit import FitSettings

    settings = FitSettings(law=law, loss=loss, starts=starts, seed=seed)
    measure = Measure(kind=metric, split=split)
    path = commands.dashboard(dir, measure=measure, where=where, settings=settings, output=output)
    click.echo(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


@cli.command()
@click.argument("dir")
@selection_options
@click.option("-o", "--output", required=True, help="File ending in .parquet or .csv.")
def export(dir: str, metric: str, split: str, where: str | None, output: str) -> None:
    """Write the tidy rows that enter a fit, the chosen metric as `value`."""
    from analysis import commands
    from analysis.load import Measure

    count = commands.export(dir, measure=Measure(kind=metric, split=split), where=where, output=output)
    click.echo(f"wrote {output} ({count} rows)")


def main() -> None:
    """Entry point of the `analysis` command."""
    run_command(cli)


if __name__ == "__main__":
    main()
