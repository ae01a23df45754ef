"""Ending hopeless trials: the median rule or successive halving, decided at a trial's own validations.

Limits come from the curves that the store held when the batch began, so a trial needs no contact with others. No trial
ends before `min_steps`: tasks that show nothing at first would lose the very trials that learn later. A trial that is
ended is a row of its own status with a reason; it has no final metrics and enters no fit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.errors import GridError
from sweeper.plan.search_section import SearchSettings
from sweeper.store.store import ResultsStore
from sweeper.training.outcomes import Pruned

if TYPE_CHECKING:
    from sweeper.lane.trainer import TrialContext
    from sweeper.queue.messages import Assignment
    from sweeper.training.progress import TrialProgress

REDUCTION = 3
"""Successive halving: one in this many trials passes each rung, and rungs lie a factor of this many steps apart (Li et
al. 2020, section 3)."""

LEAST_CURVES = 5
"""Earlier trials of a budget at a step, below which none is ended there (Optuna's median rule starts after 5)."""


@dataclass(frozen=True, kw_only=True)
class StopLimits:
    """Losses above which a trial is ended, by budget and step."""

    rule: str
    """`median` or `asha`."""
    min_steps: int
    """Steps before which no trial is ended."""
    sign: float
    """1 where smaller metrics are better, -1 where larger ones are."""
    limits: Mapping[int | None, Mapping[int, float]]
    """By budget, then step."""

    def check(self, budget: int | None, step: int, metric: float, best: float) -> None:
        """End a trial whose best loss so far is above the limit.

        Args:
            budget: of the trial.
            step: of the validation.
            metric: its metric, for the message.
            best: the trial's best metric up to now.

        Raises:
            Pruned: the trial is to end.
        """
        if step < self.min_steps or not math.isfinite(best):
            return
        limit = self.limits.get(budget, {}).get(step)
        # Losses in `limits` carry the sign, so that smaller is better for every task.
        if limit is not None and self.sign * best > limit:
            threshold = "the median" if self.rule == "median" else f"the best of {REDUCTION}"
            raise Pruned(f"{metric:.5g} at step {step}, {threshold} of earlier trials is {self.sign * limit:.5g}")


@dataclass(frozen=True, kw_only=True)
class StoppingTrainer:
    """A trainer whose trials may be ended early; see `sweeper.lane.trainer.Trainer`."""

    trainer: Any
    """What trains."""
    limits: StopLimits
    """When to end."""

    def __call__(self, assignment: "Assignment", progress: "TrialProgress", context: "TrialContext") -> None:
        """Run one trial."""
        looked_at = 0

        def on_step(step: int) -> bool:
            nonlocal looked_at
            # The lane first: a trial that is to leave, or is over its time limit, is not to be called hopeless.
            go_on = context.on_step(step)
            # At the last step there is nothing left to save, and a trial that has got that far shall have its result.
            if go_on and len(progress.evaluations) > looked_at and step < assignment.spec.training.steps:
                looked_at = len(progress.evaluations)
                curve = [e for e in progress.evaluations if e.split == "valid" and math.isfinite(e.metric)]
                # An evaluation whose metric is not finite is no ground to end a trial on.
                if curve and curve[-1].step == step:
                    best = min(curve, key=lambda e: self.limits.sign * e.metric).metric
                    self.limits.check(assignment.budget, step, curve[-1].metric, best)
            return go_on

        self.trainer(assignment, progress, replace(context, on_step=on_step))


def check_steps(settings: SearchSettings, steps: Sequence[int]) -> None:
    """Refuse a guard that leaves nothing to end.

    Raises:
        GridError: `min_steps` is not below every trial's steps.
    """
    if settings.pruning != "none" and settings.min_steps is not None and settings.min_steps >= min(steps):
        raise GridError(
            f"search.min_steps: {settings.min_steps} of training.steps = {min(steps)} leaves no step at which a trial "
            "could be ended; lower it, or drop `pruning`"
        )


def stop_limits(store: ResultsStore, settings: SearchSettings, direction: str) -> StopLimits:
    """Limits from the curves of a store: of every trial that got as far, at its best so far."""
    sign = 1.0 if direction == "min" else -1.0
    # By budget, because larger networks are better at each step and would have every smaller one ended.
    budgets = {row["trial_id"]: row["budget"] for row in store.read("trials", ["trial_id", "budget"]).to_pylist()}
    curves: dict[str, dict[int, float]] = {}
    for row in store.read("curves", ["trial_id", "split", "step", "metric"]).to_pylist():
        if row["split"] == "valid" and row["metric"] is not None and row["trial_id"] in budgets:
            curves.setdefault(row["trial_id"], {})[row["step"]] = sign * row["metric"]
    by_place: dict[int | None, dict[int, list[float]]] = {}
    # Also curves of trials that were ended: without them only the survivors of earlier batches would set the limits.
    for trial_id, curve in curves.items():
        best = math.inf
        for step in sorted(curve):
            # Its best up to the step, as the trial's own best is held against the limit: a noisy validation ends
            # nobody.
            best = min(best, curve[step])
            by_place.setdefault(budgets[trial_id], {}).setdefault(step, []).append(best)
    share = 0.5 if settings.pruning == "median" else 1 / REDUCTION
    least = settings.min_steps or 1
    limits = {
        budget: {
            step: float(np.quantile(losses, share))
            for step, losses in steps.items()
            if len(losses) >= LEAST_CURVES and step >= least
        }
        for budget, steps in by_place.items()
    }
    if settings.pruning == "asha":
        limits = {budget: _rungs(steps, least) for budget, steps in limits.items()}
    return StopLimits(rule=settings.pruning, min_steps=least, sign=sign, limits=limits)


def _rungs(steps: Mapping[int, float], least: int) -> dict[int, float]:
    """The first step at or after each rung: least, 3 least, 9 least, ..."""
    rungs: dict[int, float] = {}
    rung = float(least)
    # Validations need not fall on rungs exactly, so the next one after each rung is taken.
    while steps and rung <= max(steps):
        step = min(step for step in steps if step >= rung)
        rungs[step] = steps[step]
        rung *= REDUCTION
    return rungs
