"""What runs just now, for the live page: every launch with its pace, and the trials its lanes are at."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from analysis.dashboard.panels import Panel, rows_of
from sweeper.errors import FOR_PEOPLE
from sweeper.plan.expand import Plan, expand
from sweeper.plan.grid import parse_grid
from sweeper.queue.journal import LiveLaunch, live_launches
from sweeper.store.store import ResultsStore

PANEL = "running"
"""Id of the panel."""

COLUMNS = ("launch", "trial", "P", "N", "d_m", "learning rate", "seed")

NOTHING = "Nothing runs now."


class Now(NamedTuple):
    """What the panel shows."""

    trials: int
    """Trials in work."""
    summary: str
    rows: tuple[tuple[Any, ...], ...]
    """One per trial in work (columns: `COLUMNS`)."""


class Plans:
    """The plans of the grids in a store, expanded once per text."""

    def __init__(self, expand_text: Callable[[str, str], Plan] | None = None) -> None:
        # Tests give a function of their own, which counts how often a grid is expanded.
        self._expand = expand_text or (lambda name, text: expand(parse_grid(text, default_name=name)))
        self._expanded: dict[tuple[str, str], Plan | None] = {}

    def get(self, name: str, text: str | None) -> Plan | None:
        """The plan of a grid; None where there is no text, or one that this version cannot read."""
        if text is None:
            return None
        if (name, text) not in self._expanded:
            try:
                self._expanded[name, text] = self._expand(name, text)
            # A grid of another version, or one that names data that are not here: its trials are shown by id alone.
            # Any other error is a fault of this program, and must not pass for such a grid.
            except FOR_PEOPLE:
                self._expanded[name, text] = None
        return self._expanded[name, text]


def running_now(store: ResultsStore, plans: Plans, *, now: datetime | None = None) -> Now:
    """Describe the launches that run.

    Args:
        store: the results directory.
        plans: keeps expanded grids between calls.
        now: the time; default: now.
    """
    launches = live_launches(store, wait=False)  # asked again and again, which is as good as waiting
    if not launches:
        return Now(0, NOTHING, ())
    grids, at = store.grids(), now or datetime.now(UTC)
    rows: list[tuple[Any, ...]] = []
    for launch in launches:
        plan = plans.get(launch.sweep, grids.get(launch.sweep))
        # A trial is known by its id as soon as it is handed out; its sizes stand in the grid of its launch.
        rows += [(launch.sweep, trial_id, *_sizes(plan, trial_id)) for trial_id in launch.running]
    sentences = " ".join(_sentence(launch, at) for launch in launches)
    return Now(len(rows), sentences, rows_of(rows))


def _sizes(plan: Plan | None, trial_id: str) -> tuple[Any, ...]:
    # A search chooses trials that no grid lists, and a grid may have been edited while its launch runs on.
    row = plan.trials.get(trial_id) if plan is not None else None
    if row is None or row.spec is None:
        return (None,) * 5
    spec = row.spec
    return (row.budget, spec.model.units, getattr(spec.model, "d_m", None), spec.training.learning_rate, spec.seed)


def _sentence(launch: LiveLaunch, now: datetime) -> str:
    # The launch may run on another machine, whose clock may be ahead of ours.
    elapsed = max((now - launch.started).total_seconds(), 0.0)
    left = launch.total - launch.done
    # All trials have ended but the launch has not: an estimate would say that nothing is left to wait for.
    if not left:
        ending = "the last ones are being written"
    elif launch.done:
        ending = f"about {span(elapsed / launch.done * left)} left at this pace"
    else:
        ending = "no trial has ended yet, so there is no estimate"
    return (
        f"{launch.sweep} on {launch.host} (pid {launch.pid}): {launch.done:,} of {launch.total:,} done in "
        f"{span(elapsed)}, {len(launch.running):,} in work; {ending}."
    )


def span(seconds: float) -> str:
    """Write a length of time for reading.

    >>> span(42), span(600), span(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"


def running_panel() -> Panel:
    """The panel, which the live page fills."""
    return Panel(
        id=PANEL,
        title="Running now",
        caption="from the launches' own state, written every few seconds",
        summary=NOTHING,
        width="full",
        columns=COLUMNS,
    )
