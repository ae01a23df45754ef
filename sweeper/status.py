"""Desired state minus stored state: which trials of a plan are done, failed or missing."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.grid import parse_grid
from sweeper.plan import DUPLICATE, EXCLUDED, INFEASIBLE, Plan, PlanRow, expand
from sweeper.store import ResultsStore

MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """A plan held against the store."""

    name: str
    """Name of the sweep."""
    states: Mapping[str, str]
    """Stored status of each planned trial, or `missing`, by trial_id in plan order."""
    reasons: Mapping[str, int]
    """Number of trials per reason why they did not finish."""
    unplanned: int
    """Stored trials that the plan does not ask for (another sweep's, or removed from the grid)."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of planned trials per state."""
        return dict(Counter(self.states.values()))


def sweep_status(plan: Plan, store: ResultsStore) -> SweepStatus:
    """Hold a plan against a store."""
    rows = store.read("trials", ["trial_id", "status", "reason"]).to_pylist()
    stored = {row["trial_id"]: row for row in rows}
    states = {trial_id: stored[trial_id]["status"] if trial_id in stored else MISSING for trial_id in plan.trials}
    reasons = Counter(
        f"{row['status']}: {row['reason']}" for row in rows if row["trial_id"] in plan.trials and row["reason"]
    )
    return SweepStatus(
        name=plan.name, states=states, reasons=dict(reasons), unplanned=len(stored.keys() - plan.trials.keys())
    )


def missing_rows(plan: Plan, status: SweepStatus) -> list[PlanRow]:
    """Rows of the plan that have no final row in the store, in plan order."""
    return [row for trial_id, row in plan.trials.items() if status.states[trial_id] == MISSING]


def stored_plans(store: ResultsStore) -> list[Plan]:
    """The plans of every grid launched into a store."""
    return [expand(parse_grid(text, default_name=name)) for name, text in store.grids().items()]


def plan_problems(plan: Plan) -> dict[str, int]:
    """Number of points that are not run, per state."""
    counted = Counter(row.state for row in plan.rows)
    return {state: counted[state] for state in (DUPLICATE, INFEASIBLE, EXCLUDED) if counted[state]}
