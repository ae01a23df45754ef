"""The groups of a sweep that a command is about."""

from collections.abc import Sequence

import click

from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import View, make_view, with_baselines, with_effects
from analysis.rows.load import datasets, group_lines
from analysis.rows.sweep import Dataset, Selection, Sweep


def tell_groups(groups: Sequence[Dataset]) -> None:
    """Say before anything else which rows are kept apart, on stderr: what a command prints may be read by a program."""
    for line in group_lines(groups):
        click.echo(line, err=True)


def make_views(sweep: Sweep, selection: Selection, settings: FitSettings) -> list[View]:
    """Fit and describe every group of a sweep that has rows."""
    return group_views(sweep, datasets(sweep, selection), settings)


def group_views(sweep: Sweep, groups: Sequence[Dataset], settings: FitSettings) -> list[View]:
    """Fit and describe those of some groups that have rows."""
    views = [make_view(sweep, fit_dataset(data, settings)) for data in groups if len(data.rows)]
    return with_effects(with_baselines(views))
