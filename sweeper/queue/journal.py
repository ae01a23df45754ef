"""What a launch leaves for people and other processes while it runs: a log file and its present state.

`launches/<id>.json` below the results directory is replaced every few seconds; `sweeper status` reads it to tell what
is running. A launch that was killed leaves a file that no longer changes, which counts as ended after `STALE_S`.
"""

import json
import os
import socket
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psutil

from sweeper.queue.messages import Snapshot
from sweeper.store.store import ResultsStore

UPDATE_S = 5.0
STALE_S = 60.0
STAMP = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, kw_only=True)
class LiveLaunch:
    """A launch that is running now, as its file tells."""

    sweep: str
    """Name of its grid."""
    started: datetime
    """When it began."""
    host: str
    """Machine of the launcher."""
    pid: int
    """Process of the launcher."""
    running: tuple[str, ...]
    """Trials its lanes run."""
    done: int
    """Trials ended in this launch."""
    total: int
    """Trials of this launch."""


class Journal:
    """Writes one launch's log and state.

    Args:
        store: where they go.
        sweep: name of the grid.
        total: trials of this launch.
    """

    def __init__(self, store: ResultsStore, sweep: str, *, total: int) -> None:
        self._store, self._sweep, self._total = store, sweep, total
        self._name = f"{datetime.now(UTC):{STAMP}}-{uuid.uuid4().hex[:6]}"
        self._lines: list[str] = []
        self._reasons: dict[str, int] = {}
        self._updated = -UPDATE_S
        self.note(f"launch of {sweep}: {total} trials to run, launcher {socket.gethostname()} pid {os.getpid()}")

    def note(self, text: str) -> None:
        """Add a line to the log."""
        self._lines.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}")

    def update(self, snapshot: Snapshot) -> None:
        """Write the state, at most every `UPDATE_S` seconds; new kinds of failure go to the log."""
        for reason, count in snapshot.reasons.items():
            if reason not in self._reasons:
                self.note(reason)
            self._reasons[reason] = count
        if time.monotonic() - self._updated < UPDATE_S:
            return
        self._updated = time.monotonic()
        self._write_state(list(snapshot.running), sum(snapshot.statuses.values()))
        self._write_log()

    def close(self) -> None:
        """Write what is left to the log and remove the state."""
        for reason, count in sorted(self._reasons.items()):
            self.note(f"{count} x {reason}")
        self.note("launch ended")
        self._write_log()
        self._store.delete_text(f"launches/{self._name}.json")

    def _write_state(self, running: list[str], done: int) -> None:
        state = {
            "sweep": self._sweep,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": psutil.Process().create_time(),
            "updated": time.time(),
            "running": running,
            "done": done,
            "total": self._total,
        }
        self._store.write_text(f"launches/{self._name}.json", json.dumps(state))

    def _write_log(self) -> None:
        self._store.write_text(f"launches/{self._name}.log", "\n".join(self._lines) + "\n")


def live_launches(store: ResultsStore) -> list[LiveLaunch]:
    """Launches that wrote their state within the last `STALE_S` seconds, but for those known to be dead."""
    live = []
    for name, text in store.texts("launches", ".json").items():
        state: dict[str, Any] = json.loads(text)
        silent_s, began = time.time() - state.pop("updated"), state.pop("began", 0.0)
        if silent_s < STALE_S and not _has_died(state["host"], state["pid"], began):
            started = datetime.strptime(name.partition("-")[0], STAMP).replace(tzinfo=UTC)
            live.append(LiveLaunch(**{**state, "running": tuple(state["running"])}, started=started))
    return live


def _has_died(host: str, pid: int, began: float) -> bool:
    """Whether a launcher of this machine was killed; of another machine only silence tells."""
    if host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(pid).create_time() - began) > 1  # the number may be another process's by now
    except psutil.NoSuchProcess:
        return True
