"""How a forecast is said, and how well the simulation does on a sweep that really ran."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cluster.errors import ScenarioError
from cluster.simulate.scenario import Scenario
from cluster.simulate.simulate import Forecast, simulate


class TrialSpan(NamedTuple):
    """When and where a trial ran."""

    lane: str
    """The lane."""
    started_s: float
    """Start, seconds since any fixed time."""
    ended_s: float
    """End, on the same clock."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A sweep that ran, simulated from the durations of its trials."""

    real_s: float
    """Seconds from the first trial's start to the last one's end."""
    simulated_s: float
    """The same, simulated."""
    lanes: int
    """Lanes that ran trials."""
    trials: int
    """Number of trials."""

    @property
    def error(self) -> float:
        """Relative error of the simulation."""
        return self.simulated_s / self.real_s - 1.0

    @property
    def sentence(self) -> str:
        """The comparison on one line."""
        return (
            f"{self.trials} trials on {self.lanes} lanes took {span(self.real_s)}; the simulation says "
            f"{span(self.simulated_s)} ({self.error:+.1%})"
        )


def replay(trials: Sequence[TrialSpan], *, overhead_s: float = Scenario.overhead) -> Replay:
    """Simulate a sweep from the durations its trials really had, on as many lanes, which come up when they really did.

    Args:
        trials: the trials of one launch, without interruption.
        overhead_s: seconds per trial beside the trial itself.

    Raises:
        ScenarioError: no trials, or one that ends before it starts.
    """
    if not trials or any(trial.ended_s < trial.started_s for trial in trials):
        raise ScenarioError("replay: expected trials that end after they start")
    # In the order of their starts, which is the one in which they were handed out.
    ordered = sorted(trials, key=lambda trial: trial.started_s)
    durations = np.array([trial.ended_s - trial.started_s for trial in ordered])
    began = ordered[0].started_s
    # Reversed, so that of each lane's trials the first one stays in the dictionary.
    first = {trial.lane: trial.started_s - began for trial in reversed(ordered)}
    lanes = len(first)
    # Starting is not simulated: the lanes come up when they really did.
    scenario = Scenario(nodes=1, cpus=lanes, start=0.0, lane_start=0.0, overhead=overhead_s)
    # Nothing is drawn: what is known of the sweep already holds its losses and its spread.
    run = simulate(durations, scenario, np.random.default_rng(0), ready_s=list(first.values()))
    return Replay(
        real_s=max(trial.ended_s for trial in trials) - began,
        simulated_s=run.makespan_s,
        lanes=lanes,
        trials=len(trials),
    )


def forecast_text(forecast: Forecast) -> str:
    """A forecast for people, several lines."""
    scenario, (low, middle, high) = forecast.scenario, forecast.makespan_s
    each = f"{scenario.gpus} GPU(s)" if scenario.gpus else f"{scenario.cpus} CPU(s)"
    lines = [
        f"{forecast.trials} trials, {span(forecast.work_s)} of work, on {scenario.nodes} node(s) of {each}: "
        f"{scenario.lanes} at a time",
        f"makespan     {span(middle)} ({span(low)} to {span(high)} in 80% of {len(forecast.runs)} simulations)",
        f"lanes        {forecast.mean('utilisation'):.1%} at work, {forecast.mean('overhead'):.1%} overhead, "
        f"{forecast.mean('lost'):.1%} lost, {forecast.mean('idle'):.1%} idle",
    ]
    if scenario.preempt or scenario.limit < float("inf"):
        lines.append(f"interrupted  {forecast.mean('losses'):.0f} trials, resumed from their last checkpoint")
    if scenario.price:
        cheap, usual, dear = forecast.money
        hours = forecast.mean("node_hours")
        lines.append(f"money        {usual:,.2f} ({cheap:,.2f} to {dear:,.2f}) for {hours:,.1f} node hours")
    return "\n".join(lines)


def span(seconds: float) -> str:
    """A time span for people."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
