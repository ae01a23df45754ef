"""Planning and launching from Python: `sweeper.plan_grid` and `sweeper.launch_grid` (docs/python.md)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cluster.yaml_reader import write_yaml
from sweeper.extras import require
from sweeper.plan.expand import Plan, described, expand
from sweeper.plan.grid import Grid, load_grid, parse_grid

if TYPE_CHECKING:
    import pandas as pd

    from sweeper.executors.executor import Executor
    from sweeper.launch.result import LaunchResult


@dataclass(frozen=True, kw_only=True)
class PlannedGrid:
    """A grid's points with their solved sizes."""

    plan: Plan
    """The whole plan."""

    @property
    def frame(self) -> "pd.DataFrame":
        """One row per point: `state`, `reason`, the point's settings, and the sizes that were solved."""
        import pandas as pd  # planning itself does without

        rows = []
        for row in self.plan.rows:
            counts = None if row.counts is None else row.counts.trainable_params
            model = None if row.spec is None else row.spec.model
            solved = {"n_rec": getattr(model, "n_rec", None), "trainable_params": counts}
            rows.append({"state": row.state, "reason": row.reason, "budget": row.budget, **row.axes, **solved})
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>{self.frame.to_html(index=False, na_rep='', max_rows=20)}"

    def __str__(self) -> str:
        return f"{self.plan.name}: {len(self.plan.trials)} trials of {len(self.plan.rows)} points"


@dataclass(frozen=True, kw_only=True)
class LaunchedGrid:
    """What a launch left behind."""

    results: str
    """The results directory."""
    result: "LaunchResult"
    """What was run, and how it ended."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Trials of the grid by status."""
        return self.result.status.counts

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>"

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items() if count)
        return f"{self.result.ran} trials run now into {self.results}: {counts}"


def plan_grid(grid: str | os.PathLike[str] | Mapping[str, Any]) -> PlannedGrid:
    """Solve the sizes of every point of a grid. Runs and writes nothing.

    Args:
        grid: a grid file, the name of a shipped grid, or the same settings as a dictionary.

    Raises:
        GridError: a key or value that is not understood.
    """
    return PlannedGrid(plan=expand(described(_grid(grid))))


def launch_grid(
    grid: str | os.PathLike[str] | Mapping[str, Any],
    results: str | os.PathLike[str],
    *,
    lanes: int | None = None,
    executor: "Executor | None" = None,
    max_hours: float | None = None,
) -> LaunchedGrid:
    """Train the trials of a grid that a results directory lacks, on this machine.

    Args:
        grid: as in `plan_grid`.
        results: results directory or URI; launching again runs only what is missing there.
        lanes: trials that train at a time; as many as fit by default.
        executor: what runs the trials; child processes by default.
        max_hours: time after which no further trial is started.

    Raises:
        SweeperError: the grid or the directory is unusable.
    """
    from sweeper.executors.processes import ProcessExecutor
    from sweeper.lane.options import LaneOptions
    from sweeper.launch.launch import launch

    loaded = _grid(grid)
    if executor is None:
        require("torch", "snntorch")
        executor = ProcessExecutor(options=LaneOptions(lanes=lanes))
    target = os.fspath(results)
    return LaunchedGrid(
        results=target, result=launch(loaded, target, executor, Console(stderr=True), max_hours=max_hours)
    )


def _grid(grid: str | os.PathLike[str] | Mapping[str, Any]) -> Grid:
    if isinstance(grid, Mapping):
        # As text, because the store keeps the text of every grid and takes a plan from it again.
        return parse_grid(write_yaml(dict(grid)), folder=os.getcwd())
    return load_grid(grid)
