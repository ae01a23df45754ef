"""What the broker, its lanes and the launcher say to each other."""

from dataclasses import dataclass, field

from sweeper.plan.trial import TrialSpec
from tasks.base import TaskSpec


class BrokerGoneError(Exception):
    """The launcher that owns the broker is dead or unreachable: the lane ends; its trial is run anew later."""


# Slots instead of a dictionary each: launcher and broker hold one for every trial of the sweep, and may take 2 KB per
# trial together with all else (measured in this package's README).
@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One trial handed to a lane."""

    trial_id: str
    """The trial."""
    spec: TrialSpec
    """What to train."""
    sweep: str
    """Name of the grid that asked for it."""
    budget: int | None
    """Parameter budget that was asked for."""
    attempt: int
    """Number of this attempt, from 1."""
    configuration: str
    """Hash of the spec without its seed: what replicates share."""
    work: float = 1.0
    """Expected cost in arbitrary units, for the estimate of the time left."""
    alone: bool = False
    """To be run while no other lane of the host runs anything, with the memory of all of them."""
    single: bool = False
    """To be handed out by itself: it was in the hands of a lane that died, or in a group that failed."""
    joint_key: int | None = None
    """Neighbours in the queue with one key may be trained in one go; None for a trial that is trained by itself."""
    joint_most: int = 1
    """The most trials to train in one go with this one, itself included."""
    joint: tuple[str, ...] = ()
    """The trials it is to be trained in one go with, itself included; the broker's choice. Empty: by itself."""
    task: TaskSpec | None = None
    """What the task is, for its rows, which are also written where the task's data have gone; None: asked for then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a lane says of a trial whose rows are stored."""

    trial_id: str
    """The trial."""
    status: str
    """Status of the attempt."""
    reason: str | None
    """Why it did not finish."""
    metric: float | None
    """Final validation metric, for the progress line."""
    wall_s: float
    """Wall time, seconds."""


@dataclass(frozen=True, kw_only=True)
class Pull:
    """The broker's answer to a lane."""

    assignments: tuple[Assignment, ...]
    """Trials to run now, in order."""
    wait: bool
    """Nothing now, but there may be something later: ask again."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """The end of an attempt or trial that no lane can store, because its lane is dead; the launcher stores it."""

    assignment: Assignment
    """The trial."""
    lane: str
    """The lane it was on."""
    attempt_status: str | None
    """Status of the attempt that ended, for the history; None where none was made."""
    final_status: str | None
    """Final status, where the trial will not be tried again."""
    reason: str
    """What happened, in one line."""


@dataclass(frozen=True, kw_only=True)
class LateFinish:
    """Two lanes ran one trial, since one was thought dead, and one of them finished it: that row is to count."""

    trial_id: str
    """The trial."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """State of the queue at one moment."""

    total: int
    """Trials of this launch."""
    statuses: dict[str, int]
    """Number of trials done, by final status."""
    running: tuple[str, ...]
    """Trials that lanes run which have called lately."""
    queued: int
    """Trials waiting."""
    work_total: float
    """Work of all trials."""
    work_left: float
    """Work of the trials waiting or running, less the reported progress of the running ones."""
    busy_s: float
    """Wall seconds that lanes spent on trials done."""
    best: tuple[str, float] | None
    """Trial and final validation metric of the best trial so far."""
    reasons: dict[str, int]
    """Number of attempts per reason why they did not finish."""
    lanes: int
    """Lanes that have called lately."""
    stopped_because: str | None
    """Why the broker stopped the sweep by itself."""
    warnings: tuple[str, ...] = ()
    """What lanes warned of, each text once."""
    silent: int = 0
    """Trials of lanes that have not called for some seconds: lost, or too busy to call."""
    draining: bool = False
    """Whether nothing more is handed out."""
    longest_left: float = 0.0
    """Most work that one lane still has in hand: what the end of a drained queue waits for."""
    starting: dict[str, int] = field(default_factory=dict)
    """Lanes that have not trained yet, by what they are at (`sweeper.queue.start`)."""
    first_start: tuple[tuple[str, float], ...] = ()
    """What the first lane that trained was at before, each with its seconds; empty until there is one."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What is left to do for lanes."""

    lanes: int
    """Lanes that would have something to do: trials queued, and lanes that hold some."""
    closed: bool
    """Nothing more will be handed out."""
    over: bool
    """Nothing is left to do, not even for the lanes there are."""
    refused: frozenset[str] = frozenset()
    """Hosts on which lanes cannot work."""
