"""Tables and summaries that `plan`, `launch` and `status` print."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.table import Table

from model.registry import DEFAULT
from sweeper.console import PlainConsole
from sweeper.launch.result import LaunchResult
from sweeper.launch.verify import Verification
from sweeper.plan.advice import advice
from sweeper.plan.busy import busy_sentence
from sweeper.plan.cost import CostModel, Forecast
from sweeper.plan.expand import RUNNABLE, Plan, PlanRow
from sweeper.plan.grid import Grid
from sweeper.plan.trial import TrainingConfig, field_types
from sweeper.queue.journal import live_launches
from sweeper.queue.monitor import duration
from sweeper.status import MISSING, SweepStatus, missing_rows, plan_problems
from sweeper.store.schema import FINISHED
from sweeper.store.store import ResultsStore
from sweeper.words import counted

_MOST_REASONS = 5
"""Reasons that are listed before the rest is counted; more would push the next step off the screen."""
_FILE_WIDTH = 200
"""Columns of output that goes to a file; 80, which Rich assumes there, would break the rows of a plan."""
_BETWEEN = 3
"""Characters between the columns of a table: padding and line."""
_STATE_WIDTH = 40
"""Columns of a state; reasons that are longer go on below."""
_SIZES = ("n_rec", "d_m")
"""Sizes that always have a column in the table of a plan."""


def print_tasks(grid: Grid) -> None:
    """Print what the tasks ask for that are not ours, and what the metric of trivial answers to them is."""
    tasks = [(block.task, block.description) for block in grid.blocks if block.description is not None]
    for name, task in [pair for i, pair in enumerate(tasks) if pair not in tasks[:i]]:
        known: dict[str, float | None] = {"chance": task.chance, **task.baselines}
        if not task.baselines:
            known["trivial baseline"] = task.baseline
        levels = ", ".join(f"{what} {value:.4g}" for what, value in known.items() if value is not None)
        _console().print(
            f"Task {name}, {task.data_name}: n_in {task.n_in}, n_out {task.n_out}, {task.length} steps; test "
            f"{task.metric}, {task.direction} is best{levels and f': {levels}'}.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def print_plan(plan: Plan, status: SweepStatus | None, costs: CostModel, lanes: int, *, slowdown: float = 1.0) -> None:
    """Print a plan as a table, then its totals, the forecast and, where a store is given, what it already holds.

    Replicates share a line; every setting that varies has a column. The table's forecasts are those of a quiet machine.

    Args:
        plan: the plan.
        status: what a store holds of it.
        costs: what trials take.
        lanes: trials at a time.
        slowdown: by how much trials take longer on the machine as it is (`sweeper.plan.busy`).
    """
    console = _console()
    settings = _settings(plan.rows)
    varied = _varied(plan.rows, settings)
    lines = [_plan_cells(rows, point, varied, status, costs) for rows, point in _replicates(plan.rows, settings)]
    headings = ["P asked", "P", *_SIZES, *varied, "k_e", "k_c", "read-out", "seeds", "forecast", "trial"]
    table = Table(title=f"{plan.name}: {len(plan.rows)} points", box=SIMPLE_HEAD, title_justify="left")
    widths = [max(map(len, column)) for column in zip([*headings, "state"], *lines, strict=True)]
    widths[-1] = min(widths[-1], _STATE_WIDTH)
    for heading, width in zip(headings, widths, strict=False):
        table.add_column(heading, justify="left" if heading == "trial" else "right", no_wrap=True, min_width=width)
    table.add_column("state", min_width=widths[-1])
    for cells in lines:
        table.add_row(*cells)
    # Rich would cut numbers short where a terminal has no room for them; a terminal goes on in the next line.
    needed = sum(widths) + _BETWEEN * (len(widths) + 1)
    PlainConsole(width=max(console.width, needed)).print(table)
    problems = "".join(f", {count} {state}" for state, count in plan_problems(plan).items())
    console.print(f"{counted(len(plan.trials), 'trial')} to run{problems}.", highlight=False)
    rows = list(plan.trials.values())
    for sentence in advice(rows):
        console.print(f"Note: {sentence}", highlight=False, soft_wrap=True)
    if status is not None:
        rows = missing_rows(plan, status)
        console.print(_counts_line(status.counts), highlight=False)
        _print_stale(console, status)
    forecast = costs.forecast([row.spec for row in rows if row.spec], slowdown=slowdown)
    console.print(forecast_line(forecast, lanes), highlight=False)
    if forecast.seconds and (sentence := busy_sentence(slowdown, lanes)):
        console.print(sentence, highlight=False, soft_wrap=True)


def _varied(rows: Sequence[PlanRow], settings: Sequence[Mapping[str, object]]) -> list[str]:
    """Settings with several values in a plan, beyond those that have columns anyway."""
    levels: dict[str, set[str]] = {}
    of_task = {name for row in rows for name in row.shared}
    for point in settings:
        for name, value in point.items():
            # As texts, because not every value need be hashable.
            levels.setdefault(name, set()).add(str(value))
    for name, values in levels.items():
        # A point without sizes says nothing about settings that its grid leaves to a default.
        told = [point for row, point in zip(rows, settings, strict=True) if row.spec is not None or name in of_task]
        if any(name not in point for point in told):
            values.add("")
    # An architecture is named also where there is one alone: the sizes mean something else for each.
    shown = [name for name in levels if len(levels[name]) > 1 or (name == "architecture" and levels[name] != {DEFAULT})]
    return [name for name in shown if name not in (*_SIZES, "k_e", "k_c")]


def _settings(rows: Sequence[PlanRow]) -> list[dict[str, object]]:
    """What a person chose for each point, or left to a default that others of the plan's points replace."""
    of_training = tuple(field_types(TrainingConfig))
    of_model = dict.fromkeys(name for row in rows for name in row.settings if name not in of_training)
    settings = []
    for row in rows:
        point = {**row.shared, **row.settings}
        if row.spec is not None:
            # The achieved values, so that a block that leaves a setting out shows what it gets.
            missing = [name for name in of_model if name not in row.settings and hasattr(row.spec.model, name)]
            point |= {name: getattr(row.spec.model, name) for name in missing}
            point |= {name: getattr(row.spec.training, name) for name in of_training}
        settings.append(point)
    return settings


def _replicates(
    rows: Sequence[PlanRow], settings: Sequence[Mapping[str, object]]
) -> list[tuple[list[PlanRow], Mapping[str, object]]]:
    """The points of a plan, those that differ by their seed alone together, with their settings."""
    groups: dict[tuple[str, ...], tuple[list[PlanRow], Mapping[str, object]]] = {}
    for row, point in zip(rows, settings, strict=True):
        # Blocks of different tasks or architectures may have the same sizes.
        key = (str(row.budget), *(f"{name}={value}" for name, value in point.items()))
        groups.setdefault(key, ([], point))[0].append(row)
    return list(groups.values())


def _plan_cells(
    rows: Sequence[PlanRow],
    point: Mapping[str, object],
    varied: Sequence[str],
    status: SweepStatus | None,
    costs: CostModel,
) -> list[str]:
    """One line of the table of a plan; the forecast is that of all its replicates."""
    first = rows[0]
    states: Counter[str] = Counter()
    for row in rows:
        state = row.state if row.reason is None else f"{row.state}: {row.reason}"
        states[status.states[row.trial_id] if status is not None and row.state == RUNNABLE else state] += 1
    state_text = (
        next(iter(states)) if len(states) == 1 else ", ".join(f"{count} {state}" for state, count in states.items())
    )
    budget = "" if first.budget is None else f"{first.budget:,}"
    settings = [_cell(point.get(name, "")) for name in varied]
    seeds = _spans([int(row.axes["seed"]) for row in rows])
    if first.spec is None or first.counts is None:
        return [budget, "", "", _cell(first.axes.get("d_m", "")), *settings, "", "", "", seeds, "", "", state_text]
    model, total = first.spec.model, first.counts
    return [
        budget,
        f"{total.trainable_params:,}",
        str(getattr(model, "n_rec", 1)),
        str(getattr(model, "d_m", "")),
        *settings,
        _number(total.k_e),
        _number(total.k_c),
        f"{total.readout_params:,}",
        seeds,
        duration(sum(costs.seconds(row.spec) for row in rows if row.spec is not None)),
        # Eight digits find a trial in a directory, and the whole id would take the room of two columns.
        first.trial_id[:8] + "…" * (len(rows) > 1),
        state_text,
    ]


def _number(value: float) -> str:
    """A count per neuron, which is a mean where nothing more is known."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _spans(numbers: Sequence[int]) -> str:
    """Whole numbers, runs of them shortened: 0-2, 5."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def print_launch_start(grid: Grid, results: str) -> None:
    """Say what is about to happen."""
    # Soft wrap leaves the breaking to the terminal, so that a long path can be copied in one piece.
    PlainConsole().print(f"{grid.name}: results go to {results}", highlight=False, soft_wrap=True)


def print_launch(result: LaunchResult, results: str) -> None:
    """Say what a launch did and what to do next."""
    console = _console()
    problems = "".join(f", {count} points {state}" for state, count in plan_problems(result.plan).items())
    console.print(
        f"{counted(result.ran, 'trial')} run now. {_counts_line(result.status.counts)}{problems}", highlight=False
    )
    _print_reasons(console, result.status)
    _print_stale(console, result.status)  # of other data or code than what was added now
    if result.status.backends:
        ran_on = ", ".join(
            f"{name} ({counted(count, 'trial')})" for name, count in sorted(result.status.backends.items())
        )
        console.print(f"Trained by the back end {ran_on}.", highlight=False)
    if result.ran and result.busy_s > 0:
        console.print(_forecast_error(result), highlight=False)
    if result.ended_because:
        console.print(f"The search ended: {result.ended_because}.", highlight=False, soft_wrap=True)
    waiting = result.status.counts.get(MISSING, 0)
    saved = f", {result.saved} with a checkpoint to go on from" if result.saved else ""
    if result.stopped_because:
        console.print(f"Stopped: {result.stopped_because}", highlight=False, soft_wrap=True)
        if waiting:
            console.print(f"{waiting} trials wait{saved}.", highlight=False)
    elif waiting:
        over = "The time given by --max-hours is over. " if result.out_of_time else ""
        console.print(f"{over}{waiting} trials wait{saved}. The same command runs what is missing.", highlight=False)
    elif result.status.counts.get(FINISHED):
        console.print(f"Next: analysis fit-theory {shlex.quote(results)}", highlight=False, soft_wrap=True)


def _forecast_error(result: LaunchResult) -> str:
    """What the trials were expected to take beside what they took."""
    expected, spent = duration(result.forecast.seconds), duration(result.busy_s)
    # The forecast is of all trials, so a launch that was cut short says nothing about its error.
    if result.interrupted or result.stopped_because or result.forecast.seconds == 0:
        return f"Lane time: {expected} expected for all, {spent} spent on {result.ran} trials."
    off = result.busy_s / result.forecast.seconds - 1
    place = "inside" if result.forecast.low <= result.busy_s <= result.forecast.high else "outside"
    return f"Lane time: {expected} expected, {spent} spent ({off:+.0%}, {place} the range of the forecast)."


def print_status(statuses: Sequence[SweepStatus], store: ResultsStore) -> None:
    """Print one line per sweep of a results directory, and what is running."""
    console = _console()
    if not statuses:
        console.print(f"{store.uri}: no grid was launched into this directory", highlight=False)
    for status in statuses:
        console.print(f"{status.name}: {len(status.states)} trials. {_counts_line(status.counts)}", highlight=False)
        _print_reasons(console, status)
        _print_stale(console, status)
        if status.unplanned:
            console.print(f"  {status.unplanned} stored trials belong to no point of this grid", highlight=False)

    for live in live_launches(store):
        console.print(
            f"running: {live.sweep} on {live.host} (pid {live.pid}), {live.done} of {live.total} done, "
            f"{len(live.running)} trials in work",
            highlight=False,
        )


def print_verification(verification: Verification, results: str, *, set_aside: bool) -> None:
    """Print what is wrong in a results directory, and which trials to run again."""
    console, place = _console(), shlex.quote(results)

    def say(text: str) -> None:
        # Soft wrap leaves commands in one piece, to be copied.
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    rows = ", ".join(f"{count:,} {table}" for table, count in verification.rows.items())
    say(f"{verification.parts} part files with {rows} rows")
    if verification.unsealed:
        say(
            f"{verification.unsealed} of them are of an earlier version and carry no hash; "
            "`sweeper compact` gives them one"
        )
    for sentence in verification.damaged:
        say(f"damaged: {sentence}")
    for sentence in verification.problems:
        say(sentence)
    again = dict.fromkeys([*verification.wrong, *verification.incomplete])
    if again:
        chosen = ", ".join(f"'{trial_id}'" for trial_id in again)
        say(f'Run again: sweeper retry -r {place} --where "trial_id in [{chosen}]"')
    if verification.damaged and verification.missing:
        first = "" if set_aside else f"sweeper verify -r {place} --set-aside, then "
        say(
            f"Run again: {first}the launches of its grids; these trials have no readable row: "
            f"{' '.join(verification.missing)}"
        )
    if verification.holds:
        say("Nothing is wrong.")


def verification_json(verification: Verification) -> str:
    """The verification of a results directory, for machines."""
    return json.dumps({"holds": verification.holds, **asdict(verification)})


def forecast_line(forecast: Forecast, lanes: int) -> str:
    """The forecast as a sentence."""
    if forecast.seconds == 0:
        return "Nothing to run."
    source = f"fitted to {forecast.calibrated_on} finished trials" if forecast.calibrated_on else "built-in constants"
    low, high = forecast.wall_range(lanes)
    return (
        f"Forecast ({source}): {duration(forecast.seconds)} of lane time "
        f"({duration(forecast.low)} to {duration(forecast.high)}), about {duration(forecast.wall_seconds(lanes))} "
        f"({duration(low)} to {duration(high)}) on {counted(lanes, 'lane')}."
    )


def _print_stale(console: PlainConsole, status: SweepStatus) -> None:
    for reason, count in Counter(status.stale.values()).items():
        console.print(f"  {count} stale: {reason}", highlight=False, markup=False, soft_wrap=True)
    if len(status.versions) > 1:
        # With the commit, which alone makes no row stale: whether it changed a number only its author can tell.
        made_by = ", ".join(
            f"{version} ({counted(count, 'trial')})" for version, count in sorted(status.versions.items())
        )
        console.print(f"  made by several versions of the code: {made_by}", highlight=False, soft_wrap=True)


def _console() -> PlainConsole:
    """A console that does not break table rows when the output goes to a file."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=_FILE_WIDTH)


def _counts_line(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _print_reasons(console: PlainConsole, status: SweepStatus) -> None:
    """Failures by cause, most frequent first, each with one trial as an example."""
    ordered = sorted(status.reasons.items(), key=lambda item: -item[1])
    for reason, count in ordered[:_MOST_REASONS]:
        example = f"trial {status.examples[reason][:8]}"
        example = example if count == 1 else f"{example} and others like it"
        console.print(f"  {count} x {reason} ({example})", highlight=False, soft_wrap=True)
    if len(ordered) > _MOST_REASONS:
        console.print(f"  and {len(ordered) - _MOST_REASONS} other reasons", highlight=False)


def plan_json(plan: Plan, status: SweepStatus | None, costs: CostModel, *, slowdown: float = 1.0) -> str:
    """A plan for machines: every point with its sizes, state, forecast and, for trials, the id and whole spec."""
    points = []
    for row in plan.rows:
        point: dict[str, object] = {
            "state": row.state,
            "reason": row.reason,
            "budget": row.budget,
            "shared": dict(row.shared),
            "axes": dict(row.axes),
        }
        if row.spec is not None and row.counts is not None:
            point |= {"trial_id": row.trial_id, "counts": asdict(row.counts), "spec": row.spec.content}
            point["forecast_s"] = costs.seconds(row.spec)
            if status is not None and row.state == RUNNABLE:
                point["stored"] = status.states[row.trial_id]
        points.append(point)
    rows = list(plan.trials.values()) if status is None else missing_rows(plan, status)
    forecast = asdict(costs.forecast([row.spec for row in rows if row.spec], slowdown=slowdown))
    return json.dumps({"name": plan.name, "trials": len(plan.trials), "forecast": forecast, "points": points})


def status_json(statuses: Sequence[SweepStatus]) -> str:
    """Statuses for machines."""
    return json.dumps([_status_dict(status) for status in statuses])


def launch_json(result: LaunchResult) -> str:
    """What a launch did, for machines."""
    summary = {
        "ran": result.ran,
        "interrupted": result.interrupted,
        "stopped_because": result.stopped_because,
        "ended_because": result.ended_because,
        "forecast": asdict(result.forecast),
        "busy_s": result.busy_s,
        "saved": result.saved,
    }
    return json.dumps({**summary, "status": _status_dict(result.status)})


def _status_dict(status: SweepStatus) -> dict[str, object]:
    return {
        "name": status.name,
        "counts": status.counts,
        "states": dict(status.states),
        "stale": dict(status.stale),
        "versions": dict(status.versions),
        "reasons": dict(status.reasons),
        "examples": dict(status.examples),
        "backends": dict(status.backends),
        "unplanned": status.unplanned,
    }
