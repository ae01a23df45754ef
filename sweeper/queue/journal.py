"""What a launch leaves for people and other processes while it runs: a log file and its present state.

`launches/<id>.json` below the results directory is replaced every few seconds; `sweeper status` reads it to tell what
is running. A launch that was killed leaves a file that no longer changes, which counts as ended after `STALE_S`.
"""

import json
import logging
import os
import re
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
_CLOCKS_APART_S = 86_400.0
"""Further apart no two clocks of machines that share a directory are (assumption): the file is damaged."""
_COUNTS = (int, 1e9)
_FIELDS: dict[str, tuple[Any, float]] = {
    "sweep": (str, 255),
    "host": (str, 255),
    "pid": (int, 2**31 - 1),
    "began": (int | float, 1e11),
    "updated": (int | float, 1e11),
    "running": (list, 200_000),
    "done": _COUNTS,
    "total": _COUNTS,
}
"""What a state holds: type, and largest value or length."""
_log = logging.getLogger(__name__)
_warned: set[str] = set()


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
        try:
            state = _state(name, text)
        except ValueError as error:
            _warn_once(f"{store.uri}/launches/{name}.json: not the state of a launch ({error}); left out. Delete it.")
            continue
        silent_s = time.time() - state["updated"]
        if silent_s < STALE_S and not _has_died(state["host"], state["pid"], state["began"]):
            started = datetime.strptime(name.partition("-")[0], STAMP).replace(tzinfo=UTC)
            shown = {field: state[field] for field in ("sweep", "host", "pid", "done", "total")}
            live.append(LiveLaunch(**shown, running=tuple(state["running"]), started=started))
    return live


def _state(name: str, text: str) -> dict[str, Any]:
    """What a launch wrote, its fields of the types and within the bounds that a launch writes.

    Raises:
        ValueError: a field is missing, of another type or cannot be; says which.
    """
    datetime.strptime(name.partition("-")[0], STAMP)
    state = json.loads(text)
    if not isinstance(state, dict) or not set(_FIELDS) <= set(state):
        raise ValueError(f"expected the fields {', '.join(_FIELDS)}")
    for field, (kinds, most) in _FIELDS.items():
        value = state[field]
        size = len(value) if isinstance(value, str | list) else value
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= size <= most:
            raise ValueError(f"{field} is {str(value)[:40]!r}")
    if not all(isinstance(trial_id, str) and re.fullmatch("[0-9a-f]{16}", trial_id) for trial_id in state["running"]):
        raise ValueError("running holds what is no trial")
    if state["updated"] > time.time() + _CLOCKS_APART_S:
        raise ValueError(f"updated is {state['updated']:.4g}, far in the future")
    return state


def _warn_once(line: str) -> None:
    if line not in _warned:  # a launch looks every few seconds
        _warned.add(line)
        _log.warning("%s", line)


def _has_died(host: str, pid: int, began: float) -> bool:
    """Whether a launcher of this machine was killed; of another machine only silence tells."""
    if host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(pid).create_time() - began) > 1  # the number may be another process's by now
    except psutil.NoSuchProcess:
        return True
