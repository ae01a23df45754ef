"""What `sweeper plan --simulate` prints: a plan on a cluster that is not here, and the error for one that ran."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cluster.simulate.replay import TrialSpan, forecast_text, replay
from cluster.simulate.scenario import parse_scenario
from cluster.simulate.simulate import forecast
from sweeper.errors import SweeperError
from sweeper.plan.cost import CostModel
from sweeper.plan.trial import TrialSpec, spec_from_canonical
from sweeper.store.store import ResultsStore

_COMMON_SHARE = 0.25
"""Share of the variance of the cost model's error that all trials have in common (assumption, as in its forecast)."""
_MOST_TRIALS = 2_000_000


def simulate_plan(specs: Sequence[TrialSpec], costs: CostModel, scenario: str) -> str:
    """Simulate trials on a cluster.

    Args:
        specs: the trials, in the order in which they are handed out.
        costs: says how long each takes on one lane; its error goes into the simulation unless `scenario` gives another.
        scenario: such as ``nodes=64,gpus=8,preempt=0.02/h``; ``trials=100000`` repeats the plan up to that many.

    Returns:
        A forecast for people, several lines.

    Raises:
        ScenarioError: `scenario` is not understood.
        SweeperError: there is nothing to run.
    """
    if not specs:
        raise SweeperError("--simulate: there is nothing left to run")
    scenario, count = _take_trials(scenario, len(specs))
    spread = costs.log_spread
    # The built-in constants are wrong by the machine, so that all of their error is common, as in `CostModel.forecast`.
    common = _COMMON_SHARE if costs.calibrated_on else 1.0
    errors = {"error": math.sqrt(1 - common) * spread, "bias": math.sqrt(common) * spread}
    # Errors that the person gave hold; only the others come from the cost model.
    named = {part.partition("=")[0].strip() for part in scenario.split(",")}
    filled = ",".join(filter(None, (scenario, *(f"{k}={v:.6f}" for k, v in errors.items() if k not in named))))
    # `resize` repeats the plan from its beginning until there are enough.
    durations = np.resize(np.array([costs.seconds(spec) for spec in specs]), count)
    source = f"{costs.calibrated_on} finished trials" if costs.calibrated_on else "built-in constants of one CPU core"
    return f"{forecast_text(forecast(durations, parse_scenario(filled)))}\ndurations    from {source}"


def _take_trials(scenario: str, planned: int) -> tuple[str, int]:
    """Take `trials=N` out of a scenario; the plan's own number without it."""
    parts = [part.strip() for part in scenario.split(",")]
    wanted = [part.partition("=")[2].strip() for part in parts if part.partition("=")[0].strip() == "trials"]
    if not wanted:
        return scenario, planned
    if len(wanted) > 1:
        raise SweeperError("--simulate: trials is given twice")
    if not re.fullmatch(r"\d+", wanted[-1]) or not 1 <= int(wanted[-1]) <= _MOST_TRIALS:
        raise SweeperError(f"--simulate: trials: expected a whole number up to {_MOST_TRIALS}, got {wanted[-1]!r}")
    return ",".join(part for part in parts if part.partition("=")[0].strip() != "trials"), int(wanted[-1])


def replay_store(store: ResultsStore, costs: CostModel) -> str:
    """Simulate the largest launch that a store holds and compare with what really happened.

    Args:
        store: the results directory.
        costs: the cost model fitted to it.

    Returns:
        Two lines: the simulation from the durations that the trials had, and from those the cost model expects.

    Raises:
        SweeperError: the store holds no launch with at least two finished trials.
    """
    columns = ["trial_id", "lane", "started_at", "ended_at"]
    attempts = [row for row in store.read("attempts", columns).to_pylist() if row["started_at"] is not None]
    launches = Counter(_launch(row["lane"]) for row in attempts)
    if not launches or launches.most_common(1)[0][1] < 2:
        raise SweeperError(f"{store.uri}: holds no launch with two or more trials to compare the simulation with")
    # A launch and not the whole store: between two launches the lanes were not there.
    largest = launches.most_common(1)[0][0]
    expected = {
        row["trial_id"]: costs.seconds(spec_from_canonical(row["spec"]))
        for row in store.read("trials", ["trial_id", "spec"]).to_pylist()
    }
    groups = _busy([row for row in attempts if _launch(row["lane"]) == largest])
    really = [TrialSpan(g[0]["lane"], _began(g), max(r["ended_at"] for r in g).timestamp()) for g in groups]
    real = replay(really)
    modelled = replay(
        [
            # The cost model is fitted to shares of the time of groups (`wall_s`), so that a group takes their sum.
            TrialSpan(span.lane, span.started_s, span.started_s + sum(expected.get(r["trial_id"], 0.0) for r in group))
            for span, group in zip(really, groups, strict=True)
        ]
    )
    return (
        f"{real.sentence}\n"
        f"With the durations that the cost model expects ({costs.calibrated_on} finished trials) it says "
        f"{modelled.simulated_s:.1f} s ({modelled.simulated_s / real.real_s - 1:+.1%})"
    )


def _busy(attempts: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Attempts grouped into what a lane did in one go: those whose times overlap were trained together."""
    groups: list[list[Mapping[str, Any]]] = []
    for row in sorted(attempts, key=lambda row: (row["lane"], row["started_at"])):
        last = groups[-1] if groups else None
        # A lane trains one thing at a time, so that trials of one lane overlap only where they were trained in one go.
        if last and last[0]["lane"] == row["lane"] and row["started_at"] < max(r["ended_at"] for r in last):
            last.append(row)
        else:
            groups.append([row])
    return groups


def _began(group: Sequence[Mapping[str, Any]]) -> float:
    return float(min(row["started_at"] for row in group).timestamp())


def _launch(lane: str) -> str:
    """Lanes of one launch share what stands before their number."""
    return lane.rpartition("-")[0]
