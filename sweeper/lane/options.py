"""What a launch tells its lanes: what a person chose, and what follows for one launch. Launchers load no torch."""

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.attach.machine import machine_share
from cluster.attach.probe import versions
from cluster.code import sources
from sweeper.lane.wear import MOST_TRIALS
from sweeper.store.provenance import code_version

MEMORY_SHARE = 0.9
"""Share of a host's free memory that its lanes may use together (assumption: the rest is for launcher and system)."""


@dataclass(frozen=True, kw_only=True)
class LaneOptions:
    """How many lanes there are, where they train, and what a trial is allowed."""

    lanes: int | None = None
    """Trials at a time; None means one per `threads` CPU cores, or as many as a cluster or the GPUs have room for."""
    threads: int = 1
    """Threads of one trial, and CPU cores that a lane counts for; pays for single networks of many neurons."""
    device: str = "cpu"
    """torch device of the trials."""
    trials_per_gpu: int | None = 1
    """Trials that share a GPU; None means as many as fit its memory by the cost model."""
    seed_batch: str | int = "auto"
    """Trials of one shape to train in one go: a number, `off`, or `auto` where it pays: `plan.seed_batch`."""
    trial_limit_s: float | None = None
    """Wall time after which a single trial is ended as `timed_out`."""
    checkpoint_s: float = 300.0
    """Seconds between two checkpoints of a trial; shorter trials have none."""

    @property
    def lane_count(self) -> int:
        """Trials at a time, the default filled in."""
        # By what a container may use of the machine, which can be less than its cores.
        return self.lanes or max(1, machine_share().workers // self.threads)


@dataclass(frozen=True, kw_only=True)
class HostMemory:
    """Memory that the lanes of one host may use."""

    whole_bytes: int
    """All of them together; what a trial gets that runs alone."""
    lanes: int
    """Lanes that share it."""

    @classmethod
    def of(cls, free_bytes: float, lanes: int) -> "HostMemory":
        """The share of a host's free memory that its lanes may use."""
        return cls(whole_bytes=int(MEMORY_SHARE * free_bytes), lanes=lanes)

    @property
    def share_bytes(self) -> int:
        """What one lane may use while others run."""
        # Even shares, since any lane may get the largest trial.
        return self.whole_bytes // self.lanes


@dataclass(frozen=True, kw_only=True)
class LaneConfig:
    """What every lane of one run of an executor needs to know."""

    store_uri: str
    """Where rows go; absolute."""
    lane_prefix: str
    """Lanes are named `<prefix>-0`, `<prefix>-1`, ...; unique, so that two launches never write one file."""
    code_version: str
    """Recorded in every row. The launcher's: a worker's copy of the code has no git repository to ask."""
    options: LaneOptions = LaneOptions()
    """What the person chose."""
    memory: HostMemory | None = None
    """Memory that each lane is held to; None where nothing is known, or where the memory is a GPU's."""
    directory: str | None = None
    """Working directory of the launcher: lanes enter it, so that relative paths in a grid mean the same to them."""
    recycle_trials: int = MOST_TRIALS
    """Trials after which a lane's process is replaced by a fresh one."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Files of tasks and architectures, by hash (`cluster.code`): a lane may run where they are not."""
    launcher: tuple[str, int] = ("", 0)
    """Host and process of the launcher, as the state of its launch names them in the results directory."""
    versions: Mapping[str, str | None] = field(default_factory=dict)
    """Versions of python, ray and torch that the launcher has (`cluster.attach.probe`)."""

    def lane_name(self, number: int) -> str:
        """Name of one of the lanes."""
        return f"{self.lane_prefix}-{number}"


def lane_config(sweep: str, store_uri: str, options: LaneOptions, memory: HostMemory | None) -> LaneConfig:
    """What the lanes of one run of an executor need to know, under names that no other launch uses.

    Args:
        sweep: name of the grid; lanes are named after it.
        store_uri: where rows go; absolute.
        options: what the person chose.
        memory: memory that each lane is held to, where it is known.
    """
    # Eight hex digits: names need to differ among the few launches that write into one directory at a time.
    prefix = f"{sweep}-{uuid.uuid4().hex[:8]}"
    return LaneConfig(
        store_uri=store_uri,
        lane_prefix=prefix,
        code_version=code_version(),
        options=options,
        memory=memory,
        sources=sources(),
        directory=os.getcwd(),
        launcher=(socket.gethostname(), os.getpid()),
        versions=versions(),
    )
