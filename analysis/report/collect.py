"""From groups of rows to their parts of the report, one by one; a group that fails costs the others nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from analysis.laws.evidence import EvidenceSettings
from analysis.laws.findings import MeasuredValue, RefusedLaw
from analysis.laws.theory_fit import NUMERICAL, LawFit, fit_dataset, one_line, scaled
from analysis.laws.view import View, baselines, make_view, with_baselines
from analysis.report.model import ReportSettings
from analysis.report.report import Done, group_report
from analysis.rows.sweep import Dataset, Sweep
from analysis.rows.weights import Weighting


def collect(sweep: Sweep, groups: Sequence[Dataset], settings: ReportSettings) -> Iterator[Done]:
    """Fit and describe the groups, one after another.

    Args:
        sweep: all rows.
        groups: rows of each group.
        settings: how to fit, and how much evidence to compute.

    Yields:
        Each group as soon as it is done.
    """
    # Other architectures need no law, so their lines are there before the first fit and for every group.
    lines = baselines(groups)
    for data in groups:
        try:
            view = make_view(sweep, fit_dataset(data, settings.fit))
        except NUMERICAL as error:
            view = make_view(sweep, unfitted(data, one_line(error)))
        (view,) = with_baselines([view], lines)
        yield describe(view, settings.evidence, settings.fixed)


def views_without_law(sweep: Sweep, groups: Sequence[Dataset]) -> list[View]:
    """Everything about each group but a law, for a command that fits none.

    Args:
        sweep: all rows.
        groups: rows of each group.
    """
    lines = baselines(groups)
    views = [make_view(sweep, unfitted(data, "no law was fitted")) for data in groups]
    return with_baselines(views, lines)


def describe(view: View, evidence: EvidenceSettings | None, fixed: Sequence[MeasuredValue] = ()) -> Done:
    """Write down one group; without its evidence, and with the reason, where that cannot be computed."""
    try:
        return Done(view, group_report(view, evidence, fixed))
    except NUMERICAL as error:
        # The numbers of the law itself were computed; only what rests on them failed, so the group is reported without
        # it.
        group = group_report(view, None, fixed)
        reason = f"The evidence about this law could not be computed: {one_line(error)}"
        return Done(view, replace(group, cannot_conclude=(*group.cannot_conclude, reason)))


def unfitted(data: Dataset, reason: str) -> LawFit:
    """A group whose fit failed: its rows, and why they have no law."""
    # Rows that the scale of a fit would leave out are named even where nothing was fitted.
    scale, _, excluded = scaled(data)
    return LawFit(
        data=data,
        scale=scale,
        fit=None,
        comparison=None,
        fits={},
        candidates=(),
        refused=(RefusedLaw("", reason),),
        excluded=excluded,
        costs={},
        allocations=(),
        weighting=Weighting("equal", None, None, (), "Equal weights."),
    )
