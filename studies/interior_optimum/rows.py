"""Which rows of the results directory belong to which part of the study, and what of a grid has no row yet."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from analysis.errors import AnalysisError
from analysis.rows.load import datasets
from analysis.rows.sweep import Dataset, Measure, Selection, Sweep
from studies.interior_optimum.task import BASELINES, CONVERGED, HOLDOUT, K_C_128, LONGER, MAIN, Task
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid
from sweeper.store.schema import FINISHED

LOSS = Measure(kind="final_loss")
"""The test loss at the end, which stands in for a metric near its end."""


class Progress(NamedTuple):
    """What became of the trials that some grids ask for."""

    planned: int
    missing: int
    """Trials without a row."""
    failed: tuple[str, ...] = ()
    """Ids of trials that diverged or failed: they have been run, and have no value."""
    unwritten: tuple[str, ...] = ()
    """Grids that cannot be written before others have been run."""

    @property
    def lack(self) -> str:
        """What is missing, in words; empty where nothing is."""
        if self.unwritten:
            return f"The grid {' and '.join(self.unwritten)} has not been written yet"
        return f"{self.missing} of {self.planned} trials have not been run yet" if self.missing else ""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """All trials that the grids of one half ask for, held against the rows there are."""

    task: Task
    """The half."""
    trials: pd.DataFrame
    """`trial_id`, `part`, `budget`, `d_m`, `k_c` and `status`; the last is missing where there is no row."""

    def of(self, *parts: str, budget: float | None = None) -> Progress:
        """What became of some parts, at all budgets or at one."""
        trials = self.trials[self.trials["part"].isin(parts)]
        if budget is not None:
            trials = trials[trials["budget"] == budget]
        run = trials["status"].notna()
        return Progress(
            planned=len(trials),
            missing=int((~run).sum()),
            failed=tuple(trials.loc[run & (trials["status"] != FINISHED), "trial_id"]),
            unwritten=tuple(path.name for path in map(self.task.grid, parts) if not path.exists()),
        )


def ledger(task: Task, sweep: Sweep | None) -> Ledger:
    """Hold the grids of one half against the rows of its results directory; None where there is no directory."""
    status = {} if sweep is None else dict(zip(sweep.trials["trial_id"], sweep.trials["status"], strict=True))
    columns = ["trial_id", "part", "budget", "d_m", "k_c", "status"]
    return Ledger(task=task, trials=pd.DataFrame(_planned(task, status), columns=columns))


def _planned(task: Task, status: dict[str, str]) -> Iterator[tuple[object, ...]]:
    for part in (MAIN, K_C_128, HOLDOUT, CONVERGED, LONGER, BASELINES):
        if not task.grid(part).exists():
            continue
        for trial_id, row in expand(load_grid(task.grid(part))).trials.items():
            assert row.spec is not None  # runnable rows have a spec and counts
            assert row.counts is not None
            d_m = getattr(row.spec.model, "d_m", None)
            yield trial_id, part, row.budget, d_m, row.counts.k_c, status.get(trial_id)


def elm(sweep: Sweep, steps: int, measure: Measure | None = None) -> Dataset | None:
    """The ELM Networks of one length of training; None where there are none.

    Args:
        sweep: all rows.
        steps: of the training.
        measure: the column that is judged; None for the task's own metric on the test split.

    Raises:
        AnalysisError: their other settings differ, so that they are not of this study alone.
    """
    found = [
        with_rows(data, rows)
        for data in datasets(sweep, Selection(measure=measure or Measure()))
        if data.keys["architecture"] == "elm" and len(rows := data.rows[data.rows["steps"] == steps])
    ]
    if len(found) > 1:
        labels = " and ".join(data.label for data in found)
        raise AnalysisError(
            f"{sweep.label}: ELM Networks of {steps:,} steps with different settings ({labels}); keep the rows of the "
            "study's own grids in a directory of their own"
        )
    return found[0] if found else None


def is_near_its_end(task: Task, data: Dataset) -> bool:
    """Whether the best mean of any budget is beyond the task's ceiling, so that the test loss is judged instead.

    Args:
        task: the half.
        data: its networks, by the task's own metric.
    """
    means = data.rows.groupby("configuration")["value"].mean()
    return task.ceiling is not None and bool((means > task.ceiling).any())


def others(sweep: Sweep, steps: int) -> list[Dataset]:
    """The groups of other architectures of one length of training."""
    return [
        with_rows(data, rows)
        for data in datasets(sweep, Selection())
        if data.keys["architecture"] != "elm" and len(rows := data.rows[data.rows["steps"] == steps])
    ]


def of_connectivity(data: Dataset, k_c: float) -> Dataset:
    """The rows of one k_c."""
    return with_rows(data, data.rows[data.rows["k_c"] == k_c])


def up_to(data: Dataset, budget: float) -> Dataset:
    """The rows of budgets up to one."""
    return with_rows(data, data.rows[data.rows["budget"] <= budget])


def replaced(data: Dataset, longer: Dataset) -> Dataset:
    """The rows with those points exchanged that were trained longer."""
    point = ["budget", "d_m", "k_c"]
    exchanged = pd.MultiIndex.from_frame(data.rows[point]).isin(pd.MultiIndex.from_frame(longer.rows[point]))
    # Numbers of configurations begin anew in each group, and those of two must not meet.
    moved = longer.rows.assign(configuration=longer.rows["configuration"] + 1 + data.rows["configuration"].max())
    return with_rows(data, pd.concat([data.rows[~exchanged], moved], ignore_index=True))


def with_rows(data: Dataset, rows: pd.DataFrame) -> Dataset:
    """A group with other rows."""
    return replace(data, rows=rows.reset_index(drop=True))
