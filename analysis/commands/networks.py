"""What `activity` and `residuals` do: they run saved networks, for which they need torch."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
import pandas as pd
from rich.markup import escape

from analysis.activity import residual_report as report
from analysis.activity import timescales
from analysis.activity.collect import ActivitySettings, ResidualSettings, learned, networks_of, recorded, with_residuals
from analysis.activity.report import EXPLAINED, NetworkActivity, activity_json, activity_page, activity_table, sentences
from analysis.activity.residual_report import NetworkResiduals
from analysis.commands.files import path_in_results, write_text
from analysis.errors import AnalysisError
from analysis.html import to_json
from analysis.report.console import make_console, print_table
from analysis.rows.load import read_sweep
from analysis.rows.sweep import Sweep
from sweeper.errors import warn_of_damage
from sweeper.words import counted

Network = TypeVar("Network", NetworkActivity, NetworkResiduals)


def activity(uri: str, where: str | None, settings: ActivitySettings, *, output: str | None, as_json: bool) -> None:
    """Record the saved networks of a sweep; print what their neurons do and save it as JSON and HTML."""
    sweep, rows, base = _saved_networks(uri, where, output, "activity")
    networks, left_out = _those_that_ran(recorded(sweep, rows, settings), len(rows))
    learnt = list(learned(sweep, rows))
    if not networks and not learnt:
        raise AnalysisError(f"{uri}: none of {counted(len(rows), 'saved network')} could be recorded; {left_out[0]}")
    content = activity_json(networks, learnt, asdict(settings) | {"where": where})
    if as_json:
        print(to_json(content))
    else:
        console = make_console()
        if networks:
            print_table(activity_table(networks), console)
            for sentence in sentences(networks):
                console.print(f"[yellow]•[/yellow] {escape(sentence)}")
            console.print(EXPLAINED, style="dim")
        if learnt:
            print_table(timescales.timescale_table(learnt), console)
            console.print(timescales.EXPLAINED, style="dim")
    subtitle = f"{settings.split} split, {rows['data_name'].iloc[0]}; burn-in of {settings.burn_in} steps"
    _save(base, content, activity_page(networks, learnt, f"Activity: {sweep.label}", subtitle))


def residuals(uri: str, where: str | None, settings: ResidualSettings, *, output: str | None, as_json: bool) -> None:
    """Run the saved networks of a sweep of neuronio; print how they miss the voltage and save it as JSON and HTML."""
    sweep, rows, base = _saved_networks(uri, where, output, "residuals")
    networks, left_out = _those_that_ran(with_residuals(sweep, rows, settings), len(rows))
    if not networks:
        raise AnalysisError(f"{uri}: none of {counted(len(rows), 'saved network')} could be run; {left_out[0]}")
    content = report.residual_json(networks, asdict(settings) | {"where": where})
    if as_json:
        print(to_json(content))
    else:
        console = make_console()
        print_table(report.residual_table(networks), console)
        console.print(report.EXPLAINED, style="dim")
    subtitle = f"{settings.split} split, {networks[0].data_name}"
    _save(base, content, report.residual_page(networks, f"Residuals: {sweep.label}", subtitle))


def _saved_networks(uri: str, where: str | None, output: str | None, name: str) -> tuple[Sweep, pd.DataFrame, Path]:
    """The sweep, the rows whose networks were kept, and where the result goes, without a suffix."""
    sweep = read_sweep(uri, on_damage=warn_of_damage)
    rows = networks_of(sweep, where)
    base = Path(output).with_suffix("") if output else path_in_results(sweep, name)
    if base is None:
        raise AnalysisError(f"{uri}: not on this machine; say where the page should go with -o FILE")
    return sweep, rows, base


def _those_that_ran(found: Iterable[Network | tuple[str, str]], asked: int) -> tuple[list[Network], list[str]]:
    """Say which networks were run, and which were left out and why; return both."""
    networks = []
    left_out: list[str] = []
    for place, made in enumerate(found, 1):
        if isinstance(made, tuple):
            left_out.append(f"left out: trial {made[0]}: {made[1]}")
            click.echo(left_out[-1], err=True)
        else:
            networks.append(made)
            click.echo(f"ran {place} of {asked}: {made.label}", err=True)
    return networks, left_out


def _save(base: Path, content: Any, html: str) -> None:
    write_text(base.with_suffix(".json"), to_json(content))
    write_text(base.with_suffix(".html"), html)
    click.echo(f"saved: {base.with_suffix('.json')} and {base.with_suffix('.html')}", err=True)
