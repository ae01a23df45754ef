"""Lanes on Ray as a launch sees them. Ray is loaded by the first call that needs it: there may be nothing to run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cluster.attach.machine import machine_share
from sweeper.executors.executor import check_device
from sweeper.lane.options import HostMemory, LaneOptions, lane_config
from sweeper.queue.messages import Assignment
from sweeper.queue.monitor import Monitor
from sweeper.store.store import ResultsStore

if TYPE_CHECKING:
    from sweeper.lane.trainer import Trainer

LOCAL = "local"
"""The address that means: start Ray on this machine for the time of a run."""


@dataclass(frozen=True, kw_only=True)
class RayExecutor:
    """Runs lanes under Ray Tune, on this machine or on a running cluster."""

    options: LaneOptions = field(default_factory=LaneOptions)
    """How many lanes it keeps, where they train, and what a trial is allowed."""
    address: str = LOCAL
    """The cluster to attach to, or `LOCAL`."""
    trainer: "Trainer | None" = None
    """What a lane does with an assignment; the real training when None."""
    name: str = "ray"
    """See `Executor`."""

    @property
    def lanes_here(self) -> int:
        """See `Executor`."""
        return self.options.lane_count if self.address == LOCAL else 0

    def with_trainer(self, trainer: "Trainer") -> "RayExecutor":
        """See `Executor`."""
        return replace(self, trainer=trainer)

    def check(self, results: str) -> None:
        """See `Executor`."""
        if self.address == LOCAL:
            check_device(self.options.device)
        elif not ResultsStore.exists(results):  # a directory that is there was checked when it was made
            from sweeper.executors.ray_tune import check_cluster  # 3 s of ray and torch

            place = results if "://" in results else os.path.abspath(results)
            check_cluster(self.address, self.options, results=place)

    def run(
        self, assignments: Sequence[Assignment], *, store_uri: str, monitor: Monitor, direction: str, trial_bytes: int
    ) -> None:
        """See `Executor`."""
        from sweeper.executors.ray_tune import run_on_ray  # 3 s of ray and torch
        from sweeper.lane.trainer import train_assignment

        counted = (
            self.address == LOCAL and self.options.device == "cpu"
        )  # else Ray knows the room, on each node its own
        wanted = self.options.lane_count if counted else self.options.lanes
        # No more lanes than trials: each costs a process that loads torch.
        lanes = None if wanted is None else min(wanted, len(assignments))
        memory = HostMemory.of(machine_share().available_bytes, lanes or 1) if counted else None
        run_on_ray(
            assignments,
            lanes=lanes,
            config=lane_config(assignments[0].sweep, store_uri, self.options, memory),
            monitor=monitor,
            direction=direction,
            trial_bytes=trial_bytes,
            trainer=self.trainer or train_assignment,
            address=None if self.address == LOCAL else self.address,
        )
