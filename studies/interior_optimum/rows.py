"""Which rows of the results directory belong to which part of the study, and what of a grid has no row yet."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.errors import AnalysisError
from analysis.rows.load import datasets
from analysis.rows.sweep import Dataset, Selection, Sweep
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid
from sweeper.store.schema import FINISHED

GRIDS = Path(__file__).parent / "grids"

MAIN, K_C_128, HOLDOUT, CONVERGED, BASELINES, BASELINES_PILOT = (
    GRIDS / f"study2_text{part}.yaml"
    for part in ("", "_k_c_128", "_holdout", "_converged", "_baselines", "_baselines_pilot")
)

STEPS, LONGER, CONVERGED_STEPS = 4_000, 8_000, 16_000
"""Steps of the study, of a point that was trained twice as long, and of H5."""

LARGEST, SMALLER = 300_000, 100_000
"""The budget that is predicted before it is run, and the largest one that the prediction rests on."""


class Progress(NamedTuple):
    """What became of the trials that some grids ask for."""

    planned: int
    missing: int
    """Trials without a row."""
    failed: tuple[str, ...]
    """Ids of trials that diverged or failed: they have been run, and have no value."""
    unwritten: tuple[str, ...]
    """Grids that cannot be written before others have been run."""

    @property
    def lack(self) -> str:
        """What is missing, in words; empty where nothing is."""
        if self.unwritten:
            return f"The grid {' and '.join(self.unwritten)} has not been written yet"
        return f"{self.missing} of {self.planned} trials have not been run yet" if self.missing else ""


def progress(sweep: Sweep, grids: Iterable[Path]) -> Progress:
    """Hold grids against the rows of a results directory."""
    status = sweep.trials.set_index("trial_id")["status"]
    planned, missing, failed, unwritten = 0, 0, [], []
    for path in grids:
        if not path.exists():
            unwritten.append(path.name)
            continue
        ids = list(expand(load_grid(path)).trials)
        found = status[status.index.isin(ids)]
        planned, missing = planned + len(ids), missing + len(ids) - len(found)
        failed += found[found != FINISHED].index.tolist()
    return Progress(planned, missing, tuple(failed), tuple(unwritten))


def elm(sweep: Sweep, steps: int = STEPS) -> Dataset | None:
    """The ELM Networks of one length of training; None where there are none.

    Raises:
        AnalysisError: their other settings differ, so that they are not of this study alone.
    """
    found = [
        with_rows(data, rows)
        for data in datasets(sweep, Selection())
        if data.keys["architecture"] == "elm" and len(rows := data.rows[data.rows["steps"] == steps])
    ]
    if len(found) > 1:
        labels = " and ".join(data.label for data in found)
        raise AnalysisError(
            f"{sweep.label}: ELM Networks of {steps:,} steps with different settings ({labels}); keep the rows of the "
            "study's own grids in a directory of their own"
        )
    return found[0] if found else None


def others(sweep: Sweep) -> list[Dataset]:
    """The groups of other architectures of the study's own length of training."""
    return [
        with_rows(data, rows)
        for data in datasets(sweep, Selection())
        if data.keys["architecture"] != "elm" and len(rows := data.rows[data.rows["steps"] == STEPS])
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
