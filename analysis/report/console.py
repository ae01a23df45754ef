"""The report on one screen."""

import re
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from analysis.html import none
from analysis.laws.suggest import Suggestion, gain_texts
from analysis.report.compare import COLUMNS, Line, comparison_rows
from analysis.report.model import Group, Report
from analysis.report.sections import group_sections, joint_section
from analysis.report.tables import Table, number
from analysis.rows.alarms import alarm_sentences
from analysis.rows.summary import WARNINGS, GroupSummary, Summary
from sweeper.console import PrintableConsole
from sweeper.queue.monitor import duration
from sweeper.words import counted

FILE_WIDTH = 100
"""Columns of the output where it is not a terminal."""


def make_console() -> Console:
    """A console as wide as the terminal, or wide enough for the tables in a file or pipe."""
    console = PrintableConsole()
    return console if console.is_terminal else PrintableConsole(width=FILE_WIDTH)


def print_report(report: Report, console: Console) -> None:
    """Print every group of a report."""
    sweep = report.sweep
    statuses = escape(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sweep.by_status.items()))
    console.print(f"[bold]{escape(sweep.label)}[/bold]: {counted(sweep.trials, 'trial')} ({statuses or 'none'})")
    for group in report.groups:
        print_group(group, console)
    for entry in report.joint:
        section = joint_section(entry)
        if not entry.models:  # one line for a fit that was not made; the report file has the levels
            console.print(f"[bold]{escape(section.title)}:[/bold] {escape(' '.join(entry.sentences))}")
            continue
        console.rule(escape(section.title))
        for table in section.tables:
            print_table(table, console)
        for sentence in section.sentences:
            console.print(escape(sentence))
    if not report.groups:
        console.print(f"No rows to analyse: nothing can be concluded. {escape(report.sweep.first)}", soft_wrap=True)


TABLES = {
    "parameters": "parameters",
    "compute": "best split of training compute",
    "optima": "optimum per budget",
    "rivals": "laws by AICc",
    "fixed": "measured before fitted",
}
"""Sections whose first table the terminal shows, with its title; the report file holds the others."""

SENTENCES = (
    *("parameters", "rivals", "exponents", "held-out", "fixed", "calibration", "residuals", "learning-rates"),
    "sensitivity",
)
"""Sections whose sentences the terminal shows."""


def print_group(group: Group, console: Console) -> None:
    """Print one group: data, law, optima, rivals, and what cannot be concluded."""
    data = group.data
    # Names come from grids and specs, and rich would read square brackets in them as markup.
    console.rule(escape(group.label))
    print_answer(group.answer, console)
    console.print(
        f"metric: {escape(group.metric.title)}, {group.metric.direction} is best; {counted(data.rows, 'run')} of "
        f"{counted(data.configurations, 'configuration')}, seed noise {data.seed_noise or 'unknown'}"
        + (f"; {group.scale}" if group.law is not None else "")
    )
    for entry in data.excluded:
        console.print(f"  left out: {entry.rows} ({escape(entry.rule)}: {escape(entry.why)})")
    if group.law is not None:
        console.print(f"law: {escape(group.law.fit.law.label)}. {escape(group.weights.sentence)}")
    for section in group_sections(group):
        # One screen: the first table of four sections, and the sentences of those that change a decision.
        if section.id in TABLES and section.tables:
            print_table(section.tables[0], console, TABLES[section.id])
        if section.id in SENTENCES and section.sentences:
            console.print(f"[bold]{section.title}:[/bold] {escape(' '.join(section.sentences))}")
    for sentence in [*group.axes.sentences, *group.cannot_conclude]:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}")
    for sentence in alarm_sentences(group.alarms):
        console.print(f"[yellow]![/yellow] {escape(sentence)}")
    for place, step in enumerate(group.next, 1):
        hours = "" if step.hours is None else f", about {step.hours:.2g} h of trial time"
        runs = f" ({counted(step.trials, 'trial')}{hours})" if step.trials else ""
        console.print(f"[bold]next, step {place}:[/bold] {escape(step.what)}{runs}: {escape(step.why)}")


COMMAND_AT_END = re.compile(r"(.*: )`([^`]+)`\.")
"""A sentence of the answer that ends with a command to be copied."""


def print_answer(lines: Sequence[str], console: Console) -> None:
    """Print the answer card: what a reader came for, before any number."""
    for line in lines:
        topic, _, rest = line.partition(": ")
        # Without highlighting: rich would colour every number of a sentence.
        ends = COMMAND_AT_END.fullmatch(rest)
        console.print(f"[bold green]{topic}:[/bold green] {escape(ends[1] if ends else rest)}", highlight=False)
        if ends:
            # Broken into lines, a quoted name in the command would hold a line break when it is copied.
            console.print(f"  {escape(ends[2])}", highlight=False, soft_wrap=True)


WRAPPED = 24
"""Texts longer than this may be broken into lines; numbers never are."""


def print_table(table: Table, console: Console, title: str | None = None) -> None:
    """Print a table so that no cell is cut: one too wide is broken, its key columns repeated.

    Args:
        table: columns and rows; columns without a value are left out.
        console: where to.
        title: stands above it.
    """
    table = table.without_empty()
    cells = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in table.rows]
    # A column is as wide as its longest text, but long texts wrap; numbers never do.
    widths = [
        min(WRAPPED, max(len(text) for text in (name, *(row[place] for row in cells))))
        for place, name in enumerate(table.columns)
    ]
    for block in _blocks(widths, table.keys, console.width):
        drawn = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD)
        for place in block:
            # Columns of numbers are set to the right, so that digits of equal worth stand below each other.
            texts = [row[place] for row in table.rows if isinstance(row[place], str)]
            long = any(len(str(text)) > WRAPPED for text in texts)
            drawn.add_column(
                escape(table.columns[place]), justify="left" if texts else "right", no_wrap=not long, overflow="fold"
            )
        for row in cells:
            drawn.add_row(*(escape(row[place]) for place in block))
        console.print(drawn)
        # The further parts of a broken table go on below the first and need no title of their own.
        title = None


def _blocks(widths: list[int], keys: int, room: int) -> list[list[int]]:
    """Places of the columns that stand side by side; each block begins with the key columns."""
    gap, lead = 3, list(range(keys))  # a space on each side and one of the box
    used = start = sum(widths[place] + gap for place in lead) + gap
    blocks, block = [], [*lead]
    for place in range(keys, len(widths)):
        # Every part holds at least one column beside the keys, however narrow the terminal is.
        if used + widths[place] + gap > room and len(block) > keys:
            blocks.append(block)
            block, used = [*lead], start
        block.append(place)
        used += widths[place] + gap
    return [*blocks, block]


def print_summary(summary: Summary, answers: Mapping[str, Sequence[str]], console: Console) -> None:
    """Print a sweep on one screen.

    Args:
        summary: the summary.
        answers: lines of the answer card by group.
        console: where to.
    """
    statuses = list(summary.by_status)
    counts = ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in summary.by_status.items()) or "none"
    counts = escape(counts)
    cost = [f"{summary.hours.trial:.3g} h of trials"]
    cost += [] if summary.hours.core is None else [f"{summary.hours.core:.3g} core-hours"]
    cost += [f"{summary.hours.gpu:.3g} GPU-hours"] if summary.hours.gpu else []
    console.print(
        f"[bold]{escape(summary.label)}[/bold]: {counted(summary.trials, 'trial')} ({counts}); {', '.join(cost)}"
    )
    for sentence in summary.apart:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}")
    rows = [
        (budget if budget == "none" else int(budget), *(counts.get(status, 0) for status in statuses))
        for budget, counts in summary.by_budget.items()
    ]
    if rows:
        columns = ("P", *(status.replace("_", " ") for status in statuses))
        print_table(Table(columns, rows), console, "trials by budget")
    for group in summary.groups:
        _print_group_summary(group, answers.get(group.label, ()), console)
    for sentence in summary.warnings:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}")


def _print_group_summary(group: GroupSummary, answer: Sequence[str], console: Console) -> None:
    console.print(
        f"[bold]{escape(group.label)}[/bold]: {escape(group.title)}, {group.direction} is best; "
        f"{counted(group.rows, 'run')} of {counted(group.configurations, 'configuration')}, "
        f"seed noise {group.noise or 'unknown (one run each)'}"
    )
    print_answer(answer, console)
    rows = [
        (
            *(none(v) for v in (best.budget, best.k_c, best.n_rec, best.d_m, best.metric, best.runs)),
            *((best.as_good, best.verdict) if best.d_m is not None else (None, None)),
        )
        for best in group.best
    ]
    if rows:
        columns = ("P", "k_c", "N*", "d_m*", "metric", "runs", "d_m as good", "bracketed")
        print_table(Table(columns, rows, keys=2), console, "best measured split per budget")
    for sentence in group.warnings[:WARNINGS]:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}")
    if len(group.warnings) > WARNINGS:
        console.print(f"[yellow]•[/yellow] and {len(group.warnings) - WARNINGS} more; see the report")


def print_suggestion(suggestion: Suggestion, label: str, console: Console) -> None:
    """Print the runs of a suggestion and what they are expected to bring."""
    console.print(f"[bold]{escape(label)}[/bold]: runs for {escape(suggestion.target)}", soft_wrap=True)
    for sentence in suggestion.sentences:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}", soft_wrap=True)
    rows = [
        (*(none(v) for v in (r.budget, r.d_m, r.n_rec, r.seed)), number(r.hours, 2), r.why) for r in suggestion.runs
    ]
    print_table(Table(("P", "d_m", "N", "seed", "hours", "chosen for"), rows, keys=3), console)
    console.print(
        f"{counted(len(suggestion.runs), 'run')}, {suggestion.hours:.3g} h of trial time "
        f"({duration(3600 * suggestion.hours)})",
        highlight=False,
    )
    for sentence in gain_texts(suggestion.before, suggestion.after):
        console.print(sentence, soft_wrap=True, highlight=False)


def print_comparison(lines: list[Line], console: Console) -> None:
    """Print the optima of several groups side by side."""
    for line in lines:
        # Group and metric stand above the table, once.
        rows = [row[2:] for row in comparison_rows([line])]
        print_table(Table(COLUMNS[2:], rows), console, escape(f"{line.name}: {line.metric}"))
        if line.law:
            console.print(escape(line.law))
