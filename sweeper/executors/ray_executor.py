"""Lanes on Ray as a launch sees them. The launcher itself never loads Ray: see `sweeper.executors.apart`."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cluster.attach.machine import machine_share
from cluster.storage import absolute
from sweeper.executors.apart import run_apart
from sweeper.executors.executor import check_device
from sweeper.executors.ray_work import RayWork
from sweeper.lane.options import HostMemory, LaneOptions, lane_config
from sweeper.queue.messages import Assignment
from sweeper.queue.monitor import Monitor
from sweeper.store.store import ResultsStore

if TYPE_CHECKING:
    from sweeper.lane.trainer import Trainer

LOCAL = "local"
"""The address that means: start Ray on this machine for the time of a run."""
_RUN, _CHECK = (f"sweeper.executors.ray_tune:{name}" for name in ("run_on_ray", "check_cluster"))
"""By name: importing them loads Ray and torch (3 s), in the process apart that needs them."""


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
            run_apart(_CHECK, (self.address, self.options, absolute(results)))

    def run(
        self, assignments: Sequence[Assignment], *, store_uri: str, monitor: Monitor, direction: str, trial_bytes: int
    ) -> None:
        """See `Executor`."""
        counted = (
            self.address == LOCAL and self.options.device == "cpu"
        )  # else Ray knows the room, on each node its own
        wanted = self.options.lane_count if counted else self.options.lanes
        # No more lanes than trials: each costs a process that loads torch.
        lanes = None if wanted is None else min(wanted, len(assignments))
        memory = HostMemory.of(machine_share().available_bytes, lanes or 1) if counted else None
        # Here and not over there, where a process that is killed would leave it behind
        with tempfile.TemporaryDirectory(prefix="sweeper-tune-") as scratch:
            work = RayWork(
                assignments=assignments,
                lanes=lanes,
                config=lane_config(assignments[0].sweep, store_uri, self.options, memory),
                direction=direction,
                trial_bytes=trial_bytes,
                trainer=self.trainer,
                address=None if self.address == LOCAL else self.address,
                scratch=scratch,
            )
            run_apart(_RUN, (work,), monitor=monitor, private=self.address == LOCAL)
