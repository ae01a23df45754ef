"""What every kind of cluster offers: the files of a job, and how to start it, look at it and end it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cluster.kinds.job import Job
from cluster.kinds.record import JobRecord
from cluster.kinds.run import Runner

QUEUED, RUNNING, ENDED = "queued", "running", "ended"


@dataclass(frozen=True, kw_only=True)
class JobState:
    """How a job does, seen from outside."""

    state: str
    """`queued`, `running` or `ended`."""
    detail: str
    """One line in the cluster's own words."""


class Backend(Protocol):
    """One kind of cluster."""

    def files(self, profile: Any, job: Job) -> dict[str, str]:
        """Files of the job; the first is the one to show."""

    def submit(self, profile: Any, job: Job, run: Runner) -> dict[str, Any]:
        """Start the job and return what finds it again; leave nothing behind on failure."""

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """Look at the job."""

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """End the job: at once, or after its running trials."""


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a job into its folder."""
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
