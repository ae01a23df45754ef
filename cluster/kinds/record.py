"""What this machine remembers of submitted jobs, so that status and stop find them after the terminal was closed."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from cluster.errors import SubmitError


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """One submitted job."""

    kind: str
    """Kind of the profile."""
    name: str
    """Name of the job."""
    sweep: str
    """Name of the sweep."""
    results: str
    """Results directory or URI, as the cluster sees it."""
    folder: str
    """Folder of the job's files on the cluster."""
    submitted_at: str
    """Time of submission, ISO 8601, UTC."""
    handle: Mapping[str, Any] = field(default_factory=dict)
    """What the kind needs to find the job again: a job number, a namespace, hosts, a file."""


def state_folder() -> Path:
    """Where records lie: the user's state directory, with `XDG_STATE_HOME` honoured."""
    return platformdirs.user_state_path("elm-sweeper") / "jobs"


def save(record: JobRecord) -> None:
    """Keep a record, replacing that of an earlier submission of the same job."""
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.name}.json"
    # Renamed when whole, so that `sweeper jobs` in another terminal never reads half a record.
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def forget(name: str) -> None:
    """Drop a record, where there is one."""
    (state_folder() / f"{name}.json").unlink(missing_ok=True)


def records() -> list[JobRecord]:
    """All records, newest first.

    Raises:
        SubmitError: one cannot be read; names the file.
    """
    kept = []
    for path in state_folder().glob("*.json"):
        try:
            kept.append(JobRecord(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            raise SubmitError(f"{path}: is no job record ({error}); delete it to go on") from error
    return sorted(kept, key=lambda record: record.submitted_at, reverse=True)


def find(name: str | None) -> JobRecord:
    """The record of a job by its name or its sweep's name; the only one there is when None.

    Raises:
        SubmitError: there is none, or several; lists the names.
    """
    every = records()
    # By the sweep's name too, which is what people remember; it may have been submitted by several profiles.
    fitting = [r for r in every if name is None or name in (r.name, r.sweep)]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(r.name for r in every) or "none"
    if not fitting:
        raise SubmitError(f"no job {f'{name} ' if name else ''}was submitted from this machine; jobs: {known}")
    raise SubmitError(f"{len(fitting)} jobs {f'of {name!r} ' if name else ''}were submitted; name one of: {known}")
