"""Records saved networks, or what they answer, one after the other and measures them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from analysis.activity.measures import measure
from analysis.activity.report import NetworkActivity
from analysis.activity.residual_report import NetworkResiduals
from analysis.activity.residuals import residuals
from analysis.activity.timescales import LearnedTimescales
from analysis.errors import AnalysisError
from analysis.rows.sweep import Sweep
from sweeper.errors import SweeperError
from sweeper.store.store import ResultsStore
from sweeper.store.where import matching_rows
from tasks.base import Split

Ran = TypeVar("Ran")
"""What is made of one network."""


@dataclass(frozen=True, kw_only=True)
class ActivitySettings:
    """How networks are recorded."""

    split: Split = "test"
    """Whose sequences; held-out ones show what the network has learnt and not what it remembers."""
    sequences: int = 16
    """Sequences, or parallel streams of a task that carries its state."""
    steps: int = 1000
    """Steps kept of each, at most."""
    burn_in: int = 100
    """First steps that are run and not kept: the state begins at zero, as no network's does in use."""
    threshold: float = 0.0
    """Activity above which a neuron counts as active; it is rectified, so 0 means: at all."""


@dataclass(frozen=True, kw_only=True)
class ResidualSettings:
    """What networks are run over."""

    split: Split = "test"
    """Whose windows."""
    windows: int = 64
    """Windows to run, at most."""


def networks_of(sweep: Sweep, where: str | None) -> pd.DataFrame:
    """Rows of the trials whose networks were kept, in the order of budget and d_m.

    Raises:
        AnalysisError: the sweep has no store, no network was kept, or none fulfils the condition.
    """
    if sweep.store is None:
        raise AnalysisError(f"{sweep.uri}: no results directory, so there are no saved networks")
    kept = set(sweep.store.names("networks", ".pt"))
    rows = sweep.trials[sweep.trials["trial_id"].isin(kept)]
    if not len(rows):
        raise AnalysisError(
            f"{sweep.uri}: no saved networks. Trials keep their weights where the grid says "
            "`training: {save: final}`; those that had ended before have none."
        )
    if where is not None:
        rows = rows[matching_rows(rows, where)]
        if not len(rows):
            raise AnalysisError(f"--where {where!r}: no trial with a saved network fulfils it ({len(kept)} were kept)")
    return rows.sort_values(["budget", "d_m", "k_c", "seed"])


def learned(sweep: Sweep, rows: pd.DataFrame) -> Iterator[LearnedTimescales]:
    """Read the timescales of those networks and single neurons that were to learn them."""
    # Asked of the stored settings first, so that weights are read, and torch is loaded, only where there is something.
    learning = rows[rows["spec"].str.contains(r'"learn_tau_m":\s*true')]
    if not len(learning):
        return
    from sweeper.training.recording import learnt_timescales

    store = _store(sweep)
    for row in learning.to_dict("records"):
        found = learnt_timescales(store, row["trial_id"])
        if found is not None:
            yield LearnedTimescales(
                trial_id=row["trial_id"],
                budget=None if pd.isna(row["budget"]) else float(row["budget"]),
                n_rec=int(row["n_rec"]),
                d_m=int(row["d_m"]),
                seed=int(row["seed"]),
                dt=found.dt,
                before=found.before,
                after=found.after,
            )


def recorded(
    sweep: Sweep, rows: pd.DataFrame, settings: ActivitySettings
) -> Iterator[NetworkActivity | tuple[str, str]]:
    """Record and measure each network; one that cannot be recorded gives its trial and the reason."""
    # Here and not above: recording needs torch, which the analysis does without everywhere else.
    from sweeper.training.recording import record

    store = _store(sweep)

    def one(row: dict[str, Any]) -> NetworkActivity:
        made = record(
            store,
            row["trial_id"],
            split=settings.split,
            sequences=settings.sequences,
            steps=settings.steps,
            burn_in=settings.burn_in,
        )
        return NetworkActivity(
            trial_id=row["trial_id"],
            data_name=made.data_name,
            budget=None if pd.isna(row["budget"]) else float(row["budget"]),
            n_rec=int(row["n_rec"]),
            d_m=int(row["d_m"]),
            k_e=float(row["k_e"]),
            k_c=float(row["k_c"]),
            seed=int(row["seed"]),
            measures=measure(made.activity_RTN, made.potential_RTN, made.timescales_ND, threshold=settings.threshold),
        )

    return _each(rows, one)


def with_residuals(
    sweep: Sweep, rows: pd.DataFrame, settings: ResidualSettings
) -> Iterator[NetworkResiduals | tuple[str, str]]:
    """Run each network over windows of neuronio; one that cannot be run gives its trial and the reason."""
    # Here and not above: running networks needs torch, which the analysis does without everywhere else.
    from sweeper.training.recording import record_voltage

    store = _store(sweep)

    def one(row: dict[str, Any]) -> NetworkResiduals:
        made = record_voltage(store, row["trial_id"], split=settings.split, windows=settings.windows)
        return NetworkResiduals(
            trial_id=row["trial_id"],
            data_name=made.data_name,
            architecture=row["architecture"],
            d_m=int(row["d_m"]),
            k_e=float(row["k_e"]),
            seed=int(row["seed"]),
            windows=len(made.target_RT),
            residuals=residuals(made.predicted_RT.astype(float), made.target_RT.astype(float), made.spikes_RT),
        )

    return _each(rows, one)


def _each(rows: pd.DataFrame, one: Callable[[dict[str, Any]], Ran]) -> Iterator[Ran | tuple[str, str]]:
    """What `one` makes of each row; where it cannot, the trial and the reason, and the others go on."""
    for row in rows.to_dict("records"):
        try:
            yield one({str(name): value for name, value in row.items()})
        except SweeperError as error:
            yield str(row["trial_id"]), str(error)


def _store(sweep: Sweep) -> ResultsStore:
    assert sweep.store is not None  # `networks_of` has refused others
    return sweep.store
