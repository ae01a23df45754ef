"""How a launch is to run, and what it leaves behind."""

import os
from dataclasses import dataclass

from sweeper.plan.cost import Forecast
from sweeper.plan.expand import Plan
from sweeper.status import SweepStatus

EXECUTORS = ("ray", "processes")


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """How to run, as opposed to what."""

    results: str
    """Results directory or URI."""
    executor: str = "ray"
    """`ray`, or `processes` for child processes without Ray."""
    address: str = "local"
    """Ray cluster to attach to; `local` starts Ray on this machine."""
    lanes: int | None = None
    """Trials at a time; None means one per CPU core, or as many as a cluster or the GPUs have room for."""
    device: str = "cpu"
    """torch device of the trials."""
    trials_per_gpu: int | None = 1
    """Trials that share a GPU; None means as many as fit its memory by the cost model."""
    max_hours: float | None = None
    """Time after which no further trial is started."""
    trial_limit_s: float | None = None
    """Wall time after which a single trial is ended."""
    checkpoint_s: float = 300.0
    """Seconds between two checkpoints of a trial."""
    seed_batch: str | int = "auto"
    """Trials of one shape to train in one go: a number, `off`, or `auto` where it pays: `plan.seed_batch`."""

    @property
    def lane_count(self) -> int:
        """Trials at a time, the default filled in."""
        return self.lanes or len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class LaunchResult:
    """What a launch leaves behind."""

    plan: Plan
    """The grid's plan."""
    status: SweepStatus
    """The plan against the store, afterwards."""
    ran: int
    """Trials that got a final row in this launch."""
    interrupted: bool
    """Whether the user, or the time given, stopped it."""
    stopped_because: str | None
    """Why the launch stopped by itself before its end."""
    forecast: Forecast
    """Lane-seconds expected before it started."""
    busy_s: float
    """Lane-seconds spent on trials that ended."""
    ended_because: str | None = None
    """What ended a search."""
    out_of_time: bool = False
    """Whether it was the time given."""
