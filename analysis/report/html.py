"""The report as one HTML file that opens from disk: sections, figures, and the JSON document inside it."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from analysis.errors import AnalysisError
from analysis.figures.fit import agreement_data, plot_agreement, plot_residuals, residual_data
from analysis.figures.frontier import frontier_data, plot_frontier
from analysis.figures.isobudget import isobudget_data, plot_isobudget
from analysis.figures.theme import CONFIG, theme
from analysis.glossary import explained
from analysis.html import Cell, asset, content_security_policy, to_json
from analysis.laws.view import View
from analysis.report.model import Group, Joint, Report
from analysis.report.sections import group_sections, joint_section, provenance_section
from analysis.report.tables import Section, Table, number
from sweeper.words import counted

EMBEDDED = re.compile(r'<script type="application/json" id="report">(.*?)</script>', re.DOTALL)
"""Where the JSON document stands in the file."""


def report_html(report: Report, views: list[View]) -> str:
    """Build the report; the same inputs give the same bytes.

    Args:
        report: made by `analysis.report.report.assemble`.
        views: the groups, in the report's order.
    """
    # Imported here, because the terminal's commands do without Plotly and start faster.
    from plotly.offline import get_plotlyjs

    # Plotly's script travels inside the file: the report opens from disk, without a network.
    plotly, app = get_plotlyjs(), asset("paper.js") + asset("report.js")
    # Groups have the same figures, and an id may stand only once in a page.
    figures = {f"{i}-{name}": figure for i, view in enumerate(views) for name, figure in _figures(view).items()}
    # Groups have different numbers of budgets, and each spreads the whole ramp over its own.
    budgets = [len(view.table["budget"].dropna().unique()) for view in views]
    drawn = {
        "figures": figures,
        "config": CONFIG,
        "themes": [{mode: theme(mode, count) for mode in ("light", "dark")} for count in budgets],
    }
    body = "".join(_group(i, group, figures) for i, group in enumerate(report.groups))
    if not report.groups:
        first = explained(f"No rows: nothing can be concluded. {report.sweep.first}")
        body = f"<section class='card full'><p>{first}</p></section>"
    return Template(asset("report.html")).substitute(
        title=escape(f"Report: {report.sweep.label}"),
        subtitle=escape(_subtitle(report)),
        csp=content_security_policy(plotly, app, live=False),
        css=asset("page.css"),
        body=body + _joint(report.joint) + _folded("all", provenance_section(report.provenance)),
        # The numbers travel inside the page, so that a report that was sent by mail can still be verified.
        report=to_json(report.to_dict()),
        drawn=to_json(drawn),
        plotly=plotly,
        app=app,
    )


def embedded_report(text: str, name: str) -> Any:
    """Read the JSON document back out of a report.

    Raises:
        AnalysisError: the file holds none.
    """
    match = EMBEDDED.search(text)
    if match is None:
        raise AnalysisError(f"{name}: not a report of `analysis fit-theory` (no embedded numbers)")
    return json.loads(match.group(1))


def _subtitle(report: Report) -> str:
    sweep = report.sweep
    statuses = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sweep.by_status.items())
    return f"{sweep.uri}: {counted(sweep.trials, 'trial')} ({statuses or 'none'})"


def _figures(view: View) -> dict[str, Any]:
    """Figures by the section they stand in."""
    if not len(view.table):
        return {}
    figures = {
        f"optima-{x}": plot_isobudget(isobudget_data(view.data, view.table, view.optima, view.overlay, x=x))
        for x in ("n_rec", "d_m")
        if view.optima
    }
    figures["frontier"] = plot_frontier(
        frontier_data(view.data, view.table, view.frontier, view.overlay, view.baselines)
    )
    if view.overlay is not None:
        agreement = agreement_data(view.data, view.table, view.overlay)
        figures["residuals-agreement"] = plot_agreement(agreement)
        figures["residuals-n_rec"] = plot_residuals(residual_data(agreement, view.table, x="n_rec"))
    return figures


ALT = {
    "optima-n_rec": "Metric against neurons at fixed budgets, law dashed, best means starred",
    "optima-d_m": "Metric against memory units at fixed budgets, law dashed, best means starred",
    "frontier": "Best metric against trainable parameters",
    "residuals-agreement": "Measured means against the law",
    "residuals-n_rec": "Measured minus law against neurons",
}


def _group(index: int, group: Group, figures: Mapping[str, Any]) -> str:
    heading = f"<h2 class='group'>{escape(group.label)}</h2>"
    parts = []
    for section in group_sections(group):
        names = [name for name in ALT if name.split("-")[0] == section.id and f"{index}-{name}" in figures]
        drawn = "".join(
            f"<div class='plot' id='{index}-{name}' data-group='{index}' role='group' aria-label='{ALT[name]}'></div>"
            for name in names
        )
        parts.append(_section(str(index), section, f"<div class='plots'>{drawn}</div>" if drawn else ""))
    return heading + "".join(parts)


def _joint(entries: Sequence[Joint]) -> str:
    heading = "<h2 class='group'>Ablations, fitted jointly</h2>" if entries else ""
    return heading + "".join(_section(f"joint-{i}", joint_section(entry), "") for i, entry in enumerate(entries))


def _section(prefix: str, section: Section, figures: str) -> str:
    sentences = "".join(f"<p>{explained(sentence)}</p>" for sentence in section.sentences)
    # Regions of a page must have different names for a screen reader, so those of further groups carry their number.
    title = section.title if prefix in ("0", "all") else f"{section.title} ({prefix})"
    tables = "".join(html_table(f"{title}: table {i}", table) for i, table in enumerate(section.tables, 1))
    key = f"{prefix}-{section.id}-title"
    return (
        f"<section class='card full' aria-labelledby='{key}'><h3 id='{key}'>{explained(section.title)}</h3>"
        f"{sentences}{figures}{tables}</section>"
    )


def _folded(prefix: str, section: Section) -> str:
    """A section that is opened on demand: long lists of hashes that few readers need."""
    tables = "".join(html_table(f"{section.title}: table {i}", table) for i, table in enumerate(section.tables, 1))
    sentences = "".join(f"<p>{explained(sentence)}</p>" for sentence in section.sentences)
    key = f"{prefix}-{section.id}-title"
    return (
        f"<section class='card full' aria-labelledby='{key}'><h3 id='{key}'>{escape(section.title)}</h3>{sentences}"
        f"<details><summary>Show</summary>{tables}</details></section>"
    )


def html_table(name: str, table: Table) -> str:
    """A table that scrolls by itself where it is wider than the page; `name` is read out by screen readers."""
    table = table.without_empty()
    # A column of sentences is set to the left as a whole, whatever single cells hold.
    words = [any(_wordy(row[c]) for row in table.rows) for c in range(len(table.columns))]
    head = "".join(
        f"<th scope='col'{' class=text' if wordy else ''}>{explained(name)}</th>"
        for name, wordy in zip(table.columns, words, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(_cell(cell, wordy) for cell, wordy in zip(row, words, strict=True)) + "</tr>"
        for row in table.rows
    )
    label = escape(name)
    return (
        f"<div class='scroll' tabindex='0' role='region' aria-label='{label}'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _wordy(cell: Cell) -> bool:
    return isinstance(cell, str) and len(cell) > 12


def _cell(cell: Cell, wordy: bool) -> str:
    # Sentences are explained; short texts are names and numbers, in which a marked word would only be noise.
    text = (explained(cell) if wordy else escape(cell)) if isinstance(cell, str) else number(cell)
    return f"<td{' class=text' if wordy else ''}>{text}</td>"
