"""What a launch leaves for people and other processes while it runs: a log file and its present state.

`launches/<id>.json` below the results directory is replaced every few seconds; `sweeper status` reads it to tell what
is running. Whether its launcher still lives is not read off clocks that machines may disagree about. In this order:

1. A launcher that can be seen from here (same boot, same process namespace) lives as long as its process does.
2. A state that the storage, by its own clock, took within the last `STALE_S` is that of a launch that lives.
3. Else it is looked at for `LOOK_S`, which is more than two of its updates: what does not change meanwhile is dead.
"""

import json
import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sweeper.errors import OutageError, StoreError
from sweeper.queue.identity import ProcessIdentity, own_identity
from sweeper.queue.messages import Snapshot
from sweeper.store.store import ResultsStore

UPDATE_S = 5.0
"""Pause between two writes of the state."""
STALE_S = 60.0
"""A state that the storage took longer ago than this may be that of a dead launch."""
LOOK_S = 12.0
"""Time in which the state of a launch that lives changes at least once: twice `UPDATE_S`, and 2 s for the storage."""
_LONG_GONE_S = 86400.0
"""A state older than this is not looked at twice: nobody's clock is off by a day (assumption)."""
_POLL_S = 0.5
STAMP = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, kw_only=True)
class LiveLaunch:
    """A launch that is running now, as its file tells."""

    sweep: str
    """Name of its grid."""
    started: datetime
    """When it began, by the clock of its host."""
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
    part: str | None = None
    """The part of the trials that it has taken, such as 3/8; None where it takes all that is missing."""


class Journal:
    """Writes one launch's log and state, which is removed at the end of the block, however that ends.

    Args:
        store: where they go.
        sweep: name of the grid.
        total: trials of this launch.
        part: the part of the trials that it takes, such as 3/8; None for all that is missing.
    """

    def __init__(self, store: ResultsStore, sweep: str, *, total: int, part: str | None = None) -> None:
        # Its own updates come again in seconds, and a launch must not wait for them.
        self._store, self._sweep, self._total, self._part = store.impatient(), sweep, total, part
        self._name = f"{datetime.now(UTC):{STAMP}}-{uuid.uuid4().hex[:6]}"
        self._lines: list[str] = []
        self._reasons: dict[str, int] = {}
        # The first update is due at once, since another launch looks for a state before it starts the same trials.
        self._updated = -UPDATE_S
        self._updates = 0
        self.note(f"launch of {sweep}: {total} trials to run, launcher {socket.gethostname()} pid {os.getpid()}")

    def __enter__(self) -> "Journal":
        # At once, and not with the first look at the broker: of two launches that begin at the same moment, whichever
        # looks for others last finds the other's state.
        self._write_state([], 0)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.note(f"{type(error).__name__}: {error}")
        try:
            self._close()
        except StoreError:
            if error is None:  # else the storage may be what ended the block; the first error is the one to be told
                raise

    def twins(self) -> list[LiveLaunch]:
        """Other launches of the same sweep that run now."""
        states = _states(self._store, wait=True)
        return [
            _launch(name, state)
            for name, state in states.items()
            if name != self._name and state["sweep"] == self._sweep
        ]

    def note(self, text: str) -> None:
        """Add a line to the log."""
        self._lines.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}")

    def update(self, snapshot: Snapshot) -> None:
        """Write the state, at most every `UPDATE_S` seconds; new kinds of failure go to the log."""
        for reason, count in snapshot.reasons.items():
            if reason not in self._reasons:
                self.note(reason)
            self._reasons[reason] = count
        # Monotonic, since the clock of the machine may be set back or forward while the launch runs.
        if time.monotonic() - self._updated < UPDATE_S:
            return
        self._updated = time.monotonic()
        try:
            self._write_state(list(snapshot.running), sum(snapshot.statuses.values()))
            self._write_log()
        # Rows are what counts, and lanes wait with theirs; when the storage answers again the next update says all.
        except OutageError as error:
            if "storage" not in self._reasons:
                self.note(f"updates are lost: {error}")
            self._reasons.setdefault("storage", 0)
            self._reasons["storage"] += 1

    def _close(self) -> None:
        """Remove the state and write what is left to the log."""
        # Before anything is removed: where the storage is read-only the state stays, and this process lives.
        _ENDED.add(self._name)
        # First, so that a launch whose log cannot be written does not look as if it went on.
        self._store.delete_text(f"launches/{self._name}.json")
        for reason, count in sorted(self._reasons.items()):
            self.note(f"{count} x {reason}")
        self.note("launch ended")
        self._write_log()

    def _write_state(self, running: list[str], done: int) -> None:
        self._updates += 1
        identity = own_identity()
        state = {
            "sweep": self._sweep,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": None if identity is None else vars(identity),
            # Tells this directory from a copy of it, in which the state of a launch that runs would lie as well.
            "directory": self._store.identity(),
            "updates": self._updates,  # makes each state differ from the one before
            "running": running,
            "done": done,
            "total": self._total,
            "part": self._part,
        }
        self._store.write_text(f"launches/{self._name}.json", json.dumps(state))

    def _write_log(self) -> None:
        # The whole log each time: object stores cannot append to a file.
        self._store.write_text(f"launches/{self._name}.log", "\n".join(self._lines) + "\n")


def live_launches(store: ResultsStore, *, wait: bool = True) -> list[LiveLaunch]:
    """Launches that run now.

    Args:
        store: the results directory.
        wait: look for up to `LOOK_S` at what nothing else decides. Without, such a launch counts as alive until calls
            of this process that are as far apart have seen it unchanged.
    """
    return [_launch(name, state) for name, state in _states(store, wait=wait).items()]


def holds_state_of(store: ResultsStore, launcher: tuple[str, int]) -> bool:
    """Whether the state of a launch lies here that a launcher, named by host and process, has written."""
    texts = store.texts("launches", ".json")
    states = (_checked(store, name, text) for name, text in texts.items())
    return any((state["host"], state["pid"]) == launcher for state in states if state is not None)


def clear_dead_launches(store: ResultsStore) -> int:
    """Remove the states that dead launches left; their number."""
    listed = store.texts("launches", ".json")
    dead = listed.keys() - _states(store, wait=True).keys()
    for name in dead:
        store.delete_text(f"launches/{name}.json")
    return len(dead)


def _states(store: ResultsStore, *, wait: bool) -> dict[str, dict[str, Any]]:
    """States of the launches that live, by name; what is no state of ours is left out."""
    while True:
        listed = store.texts("launches", ".json")
        texts = {name: text for name, text in listed.items() if name not in _ENDED}
        states = {name: state for name, text in texts.items() if (state := _checked(store, name, text)) is not None}
        # All are looked at before anything is waited for, so that many dead launches cost one wait and not one each.
        verdicts = {name: _lives(store, name, states[name], texts[name]) for name in states}
        if None not in verdicts.values() or not wait:
            return {name: state for name, state in states.items() if verdicts[name] is not False}
        time.sleep(_POLL_S)


def _lives(store: ResultsStore, name: str, state: Mapping[str, Any], text: str) -> bool | None:
    """Whether a launch lives; None where one more look is needed, until which it counts as alive."""
    if state["process"] is not None and state["directory"] == store.identity():  # else it is a copy of another's state
        visible = ProcessIdentity(**state["process"]).is_alive()
        if visible is not None:
            return visible
    age_s = store.age_s(f"launches/{name}.json")
    # The absolute value, because the storage's clock may have been set back between the two times it gave.
    if age_s is not None and abs(age_s) < STALE_S:
        return True
    if age_s is not None and abs(age_s) > _LONG_GONE_S:
        return False
    # Neither process nor age can tell: what is left is whether the text changes, which needs two looks.
    seen = _LOOKS.setdefault((store.uri, name), _Look(text, time.monotonic()))
    if seen.text != text:
        _LOOKS[store.uri, name] = _Look(text, time.monotonic(), changed=True)
        return True
    if time.monotonic() - seen.at < LOOK_S:
        return True if seen.changed else None
    return False


@dataclass(frozen=True)
class _Look:
    """A state as it was seen."""

    text: str
    """What it said."""
    at: float
    """When it was first seen to say so, monotonic seconds."""
    changed: bool = False
    """Whether it had said something else before, so that it was written while we looked."""


_LOOKS: dict[tuple[str, str], _Look] = {}
"""By results directory and name of the launch: what this process saw of launches that nothing but change can tell."""

_ENDED: set[str] = set()
"""Launches of this process that have ended, whether or not their states could be removed."""
_COUNTS = (int, 1e9)
_FIELDS: dict[str, tuple[type, float]] = {
    "sweep": (str, 255),
    "host": (str, 255),
    "pid": (int, 2**31 - 1),
    "running": (list, 200_000),
    "done": _COUNTS,
    "total": _COUNTS,
}
"""Type of each field of a state, and the most it can be: the number itself, or the length of a text or list."""
_PROCESS_FIELDS: dict[str, tuple[type, float]] = {
    "boot": (str, 64),
    "namespace": (str, 64),
    "pid": (int, 2**31 - 1),
    "start": (int, 2**63),
}

_log = logging.getLogger(__name__)
_warned: set[str] = set()


def _checked(store: ResultsStore, name: str, text: str) -> dict[str, Any] | None:
    """A state as a launch writes it; None, with a warning, for anything else that lies there under such a name."""
    try:
        return _read(name, text)
    # A RecursionError comes from `json.loads` at brackets nested thousands deep.
    except (ValueError, RecursionError) as error:
        line = f"{store.uri}/launches/{name}.json: not the state of a launch ({error}); left out. Delete it."
        if line not in _warned:  # a launch looks every few seconds
            _warned.add(line)
            _log.warning("%s", line)
        return None


def _read(name: str, text: str) -> dict[str, Any]:
    """The state in a text, each field of it of the type and within the bounds that a launch writes.

    Raises:
        ValueError: a field is missing, of another type or cannot be; says which.
    """
    # The start of the launch is read off the name, so a name without one is no launch's. Checked like the rest, because
    # a results directory may be shared and anybody can put files into it.
    datetime.strptime(name.partition("-")[0], STAMP)
    state = json.loads(text)
    if not isinstance(state, dict):
        raise ValueError(f"expected the fields {', '.join(_FIELDS)}")
    _check_fields(state, _FIELDS)
    # Other launches leave alone what is named here, so ids it has to be and nothing else.
    if not all(isinstance(trial_id, str) and re.fullmatch("[0-9a-f]{16}", trial_id) for trial_id in state["running"]):
        raise ValueError("running holds what is no trial")
    # Both are null where the system or the storage cannot tell.
    process, directory = state.setdefault("process", None), state.setdefault("directory", None)
    if process is not None:
        if not isinstance(process, dict) or process.keys() != _PROCESS_FIELDS.keys():
            raise ValueError(f"process is {str(process)[:40]!r}")
        _check_fields(process, _PROCESS_FIELDS)
    part = state.setdefault("part", None)
    if part is not None and not (isinstance(part, str) and re.fullmatch(r"\d{1,6}/\d{1,6}", part)):
        raise ValueError(f"part is {str(part)[:40]!r}")
    if directory is not None and not isinstance(directory, str):
        raise ValueError(f"directory is {str(directory)[:40]!r}")
    return state


def _check_fields(values: Mapping[str, Any], fields: Mapping[str, tuple[type, float]]) -> None:
    if not fields.keys() <= values.keys():
        raise ValueError(f"expected the fields {', '.join(fields)}")
    for field, (kind, most) in fields.items():
        value = values[field]
        size = len(value) if isinstance(value, str | list) else value
        # Not `isinstance`, to which True and False are integers.
        if type(value) is not kind or not 0 <= size <= most:
            raise ValueError(f"{field} is {str(value)[:40]!r}")


def _launch(name: str, state: Mapping[str, Any]) -> LiveLaunch:
    started = datetime.strptime(name.partition("-")[0], STAMP).replace(tzinfo=UTC)
    return LiveLaunch(
        started=started,
        part=state["part"],
        running=tuple(state["running"]),
        **{key: state[key] for key in _FIELDS if key != "running"},
    )
