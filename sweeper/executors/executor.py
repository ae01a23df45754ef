"""What a launch asks of an executor, which is made when a command starts and knows lanes, machine and trainer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from sweeper.errors import SweeperError
from sweeper.lane.options import LaneOptions
from sweeper.queue.messages import Assignment
from sweeper.queue.monitor import Monitor

if TYPE_CHECKING:
    # For the types alone: when run it would load torch (1.7 s), which a launcher does not need.
    from sweeper.lane.trainer import Trainer


class ExecutorError(SweeperError):
    """The executor failed as a whole, not a trial of it; the store decides whether to start it anew."""


class Executor(Protocol):
    """Runs assignments on lanes."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def options(self) -> LaneOptions:
        """How many lanes it keeps, where they train, and what a trial is allowed."""

    @property
    def lanes_here(self) -> int:
        """Lanes on this machine; 0 where they run elsewhere."""

    def with_trainer(self, trainer: "Trainer") -> "Executor":
        """The same executor with a trainer around its own.

        Args:
            trainer: takes the assignments.
        """

    @property
    def trainer(self) -> "Trainer | None":
        """What a lane does with an assignment; the real training when None."""

    def check(self, results: str) -> None:
        """Refuse a machine or cluster that will not do, before a results directory is made there.

        Raises:
            SweeperError: no GPU where one is asked for.
            ClusterError: the cluster is out of reach, of other versions, without GPUs, or does not share the results.
        """

    def run(
        self, assignments: Sequence[Assignment], *, store_uri: str, monitor: Monitor, direction: str, trial_bytes: int
    ) -> None:
        """Return when all are done, drained or given up.

        Args:
            assignments: what to run, in order.
            store_uri: where rows go; absolute.
            monitor: shows progress and passes on Ctrl-C.
            direction: `min` or `max`, for the best trial of the progress line.
            trial_bytes: memory that the largest trial is expected to need; lanes are packed on GPUs by it.

        Raises:
            ExecutorError: it failed as a whole; what is stored is safe.
            ClusterError: as `check`.
        """


def check_device(device: str) -> None:
    """Refuse a device that this machine has not.

    Raises:
        SweeperError: torch sees no GPU.
    """
    if device.startswith("cuda"):
        import torch  # 1.7 s, which a launch on CPUs does not pay in its launcher

        if not torch.cuda.is_available():
            raise SweeperError(f"--device {device}: torch {torch.__version__} sees no GPU on this machine")
