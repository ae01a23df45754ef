"""Tables and summaries that `plan`, `launch` and `status` print."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sweeper.grid import Grid
from sweeper.plan import RUNNABLE, Plan
from sweeper.schema import FINISHED
from sweeper.status import MISSING, SweepStatus, plan_problems
from sweeper.store import ResultsStore

if TYPE_CHECKING:
    from sweeper.launch import LaunchResult

_MOST_REASONS = 5
_FILE_WIDTH = 200


def print_plan(plan: Plan, status: SweepStatus | None) -> None:
    """Print a plan as a table, then its totals and, where a store is given, what it already holds."""
    console = _console()
    table = Table(title=f"{plan.name}: {len(plan.rows)} points", box=SIMPLE_HEAD, title_justify="left")
    for heading in ("P asked", "P", "n_rec", "d_m", "k_e", "k_c", "read-out", "seed", "steps"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("trial", no_wrap=True)
    table.add_column("state")
    for row in plan.rows:
        state = row.state if row.reason is None else f"{row.state}: {row.reason}"
        asked = "" if row.budget is None else f"{row.budget:,}"
        if row.spec is None or row.counts is None:
            given = ", ".join(f"{name} {value}" for name, value in row.axes.items())
            table.add_row(asked, *[""] * 9, f"{state} ({given})")
            continue
        model, total = row.spec.model, row.counts
        if status is not None and row.state == RUNNABLE:
            state = status.states[row.trial_id]
        table.add_row(
            asked,
            f"{total.trainable_params:,}",
            str(model.n_rec),
            str(getattr(model, "d_m", "")),
            f"{total.k_e:,}",
            f"{total.k_c:,}",
            f"{total.readout_params:,}",
            str(row.spec.seed),
            f"{row.spec.training.steps:,}",
            row.trial_id[:8],
            state,
        )
    console.print(table)
    problems = "".join(f", {count} {state}" for state, count in plan_problems(plan).items())
    console.print(f"{len(plan.trials)} trials to run{problems}.", highlight=False)
    if status is not None:
        console.print(_counts_line(status.counts), highlight=False)


def print_launch_start(grid: Grid, results: str) -> None:
    """Say what is about to happen."""
    Console().print(f"{grid.name}: results go to {results}", highlight=False, soft_wrap=True)


def print_launch(result: "LaunchResult", results: str) -> None:
    """Say what a launch did and what to do next."""
    console = Console()
    problems = "".join(f", {count} points {state}" for state, count in plan_problems(result.plan).items())
    console.print(f"{result.ran} trials run now. {_counts_line(result.status.counts)}{problems}", highlight=False)
    _print_reasons(console, result.status.reasons)
    if result.status.counts.get(MISSING):
        console.print("The same command runs what is missing.", highlight=False)
    elif result.status.counts.get(FINISHED):
        console.print(f"Next: analysis fit-theory {results}", highlight=False, soft_wrap=True)


def print_status(statuses: Sequence[SweepStatus], store: ResultsStore) -> None:
    """Print one line per sweep of a results directory."""
    console = Console()
    if not statuses:
        console.print(f"{store.uri}: no grid was launched into this directory", highlight=False)
    for status in statuses:
        console.print(f"{status.name}: {len(status.states)} trials. {_counts_line(status.counts)}", highlight=False)
        _print_reasons(console, status.reasons)
        if status.unplanned:
            console.print(f"  {status.unplanned} stored trials belong to no point of this grid", highlight=False)


def _console() -> Console:
    """A console that does not break table rows when the output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)


def _counts_line(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _print_reasons(console: Console, reasons: Mapping[str, int]) -> None:
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    for reason, count in ordered[:_MOST_REASONS]:
        console.print(f"  {count} x {reason}", highlight=False, soft_wrap=True)
    if len(ordered) > _MOST_REASONS:
        console.print(f"  and {len(ordered) - _MOST_REASONS} other reasons", highlight=False)
