"""What the launcher tells the process that runs Ray."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.lane.options import LaneConfig
from sweeper.queue.messages import Assignment

if TYPE_CHECKING:
    from sweeper.lane.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class RayWork:
    """One run of lanes under Ray."""

    assignments: Sequence[Assignment]
    """What to run, in order."""
    lanes: int | None
    """Number of lanes; None means as many as there is room for, also on nodes that join later."""
    config: LaneConfig
    """Shared by all lanes."""
    direction: str
    """`min` or `max`, for the best trial of the progress line."""
    trial_bytes: int
    """Memory that the largest trial is expected to need."""
    trainer: "Trainer | None"
    """What a lane does with an assignment; the real training when None."""
    address: str | None
    """The running cluster to attach to; None starts Ray on this machine."""
    scratch: str
    """Folder for Tune's own state, which is thrown away."""
