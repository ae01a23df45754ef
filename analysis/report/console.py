"""The report on one screen."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.laws.suggest import Suggestion, told
from analysis.report.compare import COLUMNS, Line, comparison_rows
from analysis.report.sections import group_sections, joint_section
from analysis.rows.summary import WARNINGS, GroupSummary, Summary

FILE_WIDTH = 140
"""Columns of the output where it is not a terminal."""

LEVEL_STYLE = {"ok": "green", "note": "default", "warning": "yellow", "error": "red"}


def make_console() -> Console:
    """A console as wide as the terminal, or wide enough for the tables in a file or pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print every group of a report."""
    sweep = report["sweep"]
    told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sweep["by_status"].items())
    console.print(f"[bold]{escape(sweep['label'])}[/bold]: {sweep['trials']} trials ({told or 'none'})")
    for group in report["groups"]:
        print_group(group, console)
    for entry in report["joint"]:
        print_joint(entry, console)
    if not report["groups"]:
        console.print("No rows to analyse: nothing can be concluded. Launch a grid first: sweeper launch grid.yaml")


def print_group(group: Mapping[str, Any], console: Console) -> None:
    """Print one group: data, law, optima, rivals, and what cannot be concluded."""
    data, law = group["data"], group["law"]
    console.rule(escape(group["label"]))
    noise = "unknown" if data["seed_noise"] is None else f"{data['seed_noise']:.4g} (df {data['seed_noise_freedom']})"
    console.print(
        f"metric: {escape(group['metric']['title'])}, {group['metric']['direction']} is best; {data['rows']} runs of "
        f"{data['configurations']} configurations, seed noise {noise}; {group['scale']}"
    )
    for entry in data["excluded"]:
        console.print(f"  left out: {entry['rows']} ({escape(entry['rule'])}: {escape(entry['why'])})")
    if law is not None:
        print_law(law, group["evidence"], group["weights"], console)
    if group["optima"]:
        console.print(optima_table(group["optima"]))
    if group["rivals"]:
        console.print(rivals_table(group["rivals"]))
        console.print(escape(group["verdict"]))
    for section in group_sections(group):
        if section.id in ("exponents", "held-out", "calibration", "residuals", "learning-rates", "sensitivity"):
            console.print(f"[bold]{section.title}:[/bold] {escape(' '.join(section.sentences))}")
    for sentence in [*group["refused"], *group["axes"]["sentences"], *group["cannot_conclude"]]:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}")
    for alarm in group["alarms"][:WARNINGS]:
        console.print(f"[yellow]![/yellow] {alarm['kind']}, d_m {number(alarm['d_m'])}: {escape(alarm['why'])}")
    for step in group["next"]:
        hours = "" if step["hours"] is None else f", about {step['hours']:.2g} h of trial time"
        console.print(
            f"[bold]next:[/bold] {escape(step['what'])} ({step['trials']} trials{hours}): {escape(step['why'])}"
        )


def print_joint(entry: Mapping[str, Any], console: Console) -> None:
    """Print one joint fit: parameters per level, models by AICc, and the verdict."""
    section = joint_section(entry)
    console.rule(escape(section.title))
    for found in section.tables:
        last = len(found.columns) - 1
        table = Table(box=SIMPLE_HEAD)
        for place, title in enumerate(found.columns):
            table.add_column(title, justify="left" if place in (0, last) or title == "level" else "right")
        for row in found.rows:
            table.add_row(*(escape(cell) if isinstance(cell, str) else number(cell, 4) for cell in row))
        console.print(table)
    for sentence in section.sentences:
        console.print(escape(sentence))


def print_law(
    law: Mapping[str, Any], evidence: Mapping[str, Any], weights: Mapping[str, Any], console: Console
) -> None:
    """Print the parameters with their intervals, the goodness of fit, the weights and the findings."""
    known = {row["quantity"]: row for row in evidence.get("parameters", [])}
    table = Table(title=escape(f"law: {law['law']['label']}"), title_justify="left", box=SIMPLE_HEAD)
    for title in ("parameter", "value", "95 % from", "to", "meaning"):
        table.add_column(title, justify="left" if title in ("parameter", "meaning") else "right")
    for name, value in law["values"].items():
        row = known.get(name, {"low": None, "high": None})
        meaning = escape(law["meanings"].get(name.split("[")[0], ""))
        table.add_row(escape(name), number(value), number(row["low"]), number(row["high"]), meaning)
    for group, coefficients in law["coefficients"].items():
        for name, value in coefficients.items():
            label = name if group == "all" else f"{name} ({group})"
            table.add_row(escape(label), number(value), "–", "–", escape(law["meanings"].get(name, "")))
    console.print(table)
    console.print(
        f"fit: r = {number(law['pearson_r'])}, RMSE {number(law['rmse'])}, AICc {number(law['aicc'])}, "
        f"{law['n']} runs, {law['p']} parameters"
    )
    console.print(escape(weights["sentence"]))
    for status in law["statuses"]:
        style = LEVEL_STYLE[status["level"]]
        console.print(f"  [{style}]{status['level']}[/{style}] {escape(status['sentence'])}")


def optima_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Measured and predicted optimum per budget."""
    table = Table(title="optimum per budget", title_justify="left", box=SIMPLE_HEAD)
    for title in ("P", "k_c", "N*", "d_m*", "metric", "± 95 %", "as good", "theory N*", "d_m*", "band", "bracketed"):
        table.add_column(title, justify="right")
    for row in rows:
        best, good, theory = row["measured"], row["as_good"]["d_m"], row["theory"]
        predicted = ("–", "–", "–")
        if theory and theory["bracketed"]:
            predicted = (number(theory["n_rec"]), number(theory["d_m"]), f"{theory['band'][0]}–{theory['band'][1]}")
        elif theory:
            predicted = ("–", f"extend: {theory['extend']}", "–")
        table.add_row(
            *(number(value) for value in (row["budget"], row["k_c"], best["n_rec"], best["d_m"], best["metric"])),
            "1 run" if best["half_width"] is None else number(best["half_width"], 2),
            f"{number(good[0], 2)}–{number(good[1], 2)}" if good else "unknown",
            *predicted,
            row["bracket"],
        )
    return table


def rivals_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Laws by AICc."""
    table = Table(title="laws by AICc (★ = chosen)", title_justify="left", box=SIMPLE_HEAD)
    for title in ("law", "p", "AICc", "Δ", "r", "RMSE", "warnings"):
        table.add_column(title, justify="left" if title in ("law", "warnings") else "right")
    for row in rows:
        table.add_row(
            escape(row["label"] + (" ★" if row["chosen"] else "")),
            str(row["p"]),
            *(
                number(row[name], figures)
                for name, figures in (("aicc", 5), ("delta", 3), ("pearson_r", 4), ("rmse", 3))
            ),
            ", ".join(row["warnings"]),
        )
    return table


def print_summary(found: Summary, console: Console) -> None:
    """Print a sweep on one screen."""
    told = ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in found.by_status.items()) or "none"
    cost = [f"{found.hours.trial:.3g} h of trials"]
    cost += [] if found.hours.core is None else [f"{found.hours.core:.3g} core-hours"]
    cost += [f"{found.hours.gpu:.3g} GPU-hours"] if found.hours.gpu else []
    console.print(f"[bold]{escape(found.label)}[/bold]: {found.trials:,} trials ({told}); {', '.join(cost)}")
    for sentence in found.apart:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}")
    budgets = Table(title="trials by budget", title_justify="left", box=SIMPLE_HEAD)
    statuses = list(found.by_status)
    for title in ("P", *(status.replace("_", " ") for status in statuses)):
        budgets.add_column(title, justify="right")
    for budget, counts in found.by_budget.items():
        name = budget if budget == "none" else f"{int(budget):,}"
        budgets.add_row(name, *(f"{counts.get(status, 0):,}" for status in statuses))
    if found.by_budget:
        console.print(budgets)
    for group in found.groups:
        _print_group_summary(group, console)
    for sentence in found.warnings:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}")


def _print_group_summary(group: GroupSummary, console: Console) -> None:
    noise = "unknown (one run each)" if group.noise is None else f"{group.noise:.3g}"
    console.print(
        f"[bold]{escape(group.label)}[/bold]: {escape(group.title)}, {group.direction} is best; {group.rows:,} runs of "
        f"{group.configurations:,} configurations, seed noise {noise}"
    )
    table = Table(title="best measured split per budget", title_justify="left", box=SIMPLE_HEAD)
    for title in ("P", "k_c", "N*", "d_m*", "metric", "runs", "d_m as good", "bracketed"):
        table.add_column(title, justify="right")
    for best in group.best:
        sizes = (number(value) for value in (best.budget, best.k_c, best.n_rec, best.d_m, best.metric))
        table.add_row(*sizes, str(best.runs), best.as_good or "–", best.verdict)
    if group.best:
        console.print(table)
    for sentence in group.warnings[:WARNINGS]:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}")
    if len(group.warnings) > WARNINGS:
        console.print(f"[yellow]•[/yellow] and {len(group.warnings) - WARNINGS} more; see the report")


def print_suggestion(found: Suggestion, label: str, console: Console) -> None:
    """Print the runs of a suggestion and what they are expected to bring."""
    console.print(f"[bold]{escape(label)}[/bold]: runs for {escape(found.target)}", soft_wrap=True)
    for sentence in found.sentences:
        console.print(f"[yellow]•[/yellow] {escape(sentence)}", soft_wrap=True)
    table = Table(box=SIMPLE_HEAD)
    for title in ("P", "d_m", "N", "seed", "hours", "chosen for"):
        table.add_column(title, justify="left" if title == "chosen for" else "right")
    for run in found.runs:
        sizes = (number(value) for value in (run.budget, run.d_m, run.n_rec, run.seed))
        table.add_row(*sizes, number(run.hours, 2), run.why)
    console.print(table)
    console.print(f"{len(found.runs)} runs, {found.hours:.3g} h of trial time", highlight=False)
    console.print(f"interval by the best law now: {told(found.before)}", soft_wrap=True, highlight=False)
    console.print(f"expected afterwards: {told(found.after)}", soft_wrap=True, highlight=False)


def print_comparison(lines: list[Line], console: Console) -> None:
    """Print the optima of several groups side by side."""
    for line in lines:
        table = Table(title=escape(f"{line.name}: {line.metric}"), title_justify="left", box=SIMPLE_HEAD)
        for title in COLUMNS[2:]:
            table.add_column(title, justify="right")
        for row in comparison_rows([line]):
            table.add_row(*(escape(cell) if isinstance(cell, str) else number(cell) for cell in row[2:]))
        console.print(table)
        if line.law:
            console.print(escape(line.law))


def number(value: float | int | None, figures: int = 5) -> str:
    """Write a number for reading."""
    if value is None:
        return "–"
    if float(value).is_integer() and abs(value) < 1e12:
        return f"{int(value):,}"
    return f"{value:.{figures}g}"
