"""How many lanes Ray Tune keeps: as many as there is room and work for, while nodes come and go.

Tune asks `LaneSupply` for its next trial, which is one lane. A lane that ends while there is work left is replaced, and
a node that joins gets lanes within seconds. `SweepEnd` ends lanes that still wait for room when nothing is left to do.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ray.tune import Stopper
from ray.tune.search import Searcher

from cluster.attach.lanes import LaneShape
from cluster.errors import ClusterError
from sweeper.queue.messages import Need

_ASK_BROKER_S = 0.5
"""Pause between two questions to the broker; Tune's loop asks for lanes many times a second."""
_LOOK_S = 3.0
"""Pause between two looks at the cluster's nodes."""
_GRACE_S = 2.0
"""Lanes end by themselves once nothing is left; only what waits for room longer than this is ended by Tune."""


class Cached:
    """The answer to a question that is not asked more often than every few seconds.

    Args:
        ask: asks.
        pause_s: how long an answer is good for.
        clock: monotonic seconds.
    """

    def __init__(self, ask: Callable[[], Any], pause_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._pause_s, self._clock = ask, pause_s, clock
        # The first call asks, whatever the clock says.
        self._asked_at = float("-inf")
        self._answer: Any = None

    def __call__(self) -> Any:
        """The answer, asked anew where it is old."""
        if self._clock() - self._asked_at >= self._pause_s:
            self._answer, self._asked_at = self._ask(), self._clock()
        return self._answer


class LaneSupply(Searcher):  # type: ignore[misc]  # Ray is not followed by mypy
    """Hands Tune one lane after another.

    Args:
        need: what the broker has to do.
        room: what the nodes have room for, but those with the given ids; raises `ClusterError` where there is none.
        setting: what each lane is told beside its number and resources.
        most_lost: lanes that may be lost for good before no further one is started.
    """

    def __init__(
        self,
        need: Callable[[], Need],
        room: Callable[[Collection[str]], Sequence[LaneShape]],
        setting: dict[str, Any],
        *,
        most_lost: int,
    ) -> None:
        super().__init__()
        self._need, self._room = Cached(need, _ASK_BROKER_S), Cached(lambda: self._or_none(room), _LOOK_S)
        self._setting, self._most_lost = setting, most_lost
        self._started = self._lost = 0
        self._live: dict[str, str | None] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next lane; None while no more are of use, `FINISHED` once none ever will be."""
        need = self._need()
        # `FINISHED` is final for Tune, None is not: a lane that comes back may put trials into the queue again.
        if need.closed or self._lost >= self._most_lost:
            return str(Searcher.FINISHED)
        # As many lanes as trials wait or run: one more would start, find nothing and leave.
        if len(self._live) >= need.lanes:
            return None
        # What lives is counted per GPU type, since Tune does not say on which node it has put a lane.
        live, shapes = Counter(self._live.values()), self._room()
        if len(self._live) >= sum(shape.count for shape in shapes):  # of a GPU type named only later, too
            return None
        shape = next((s for s in shapes if live[s.gpu_type] < s.count), None)
        if shape is None:
            return None
        self._live[trial_id] = shape.gpu_type
        self._started += 1
        return {
            **self._setting,
            "lane": self._started - 1,
            "resources": shape.resources,
            "avoid": sorted(need.refused),
        }

    def _or_none(self, room: Callable[[Collection[str]], Sequence[LaneShape]]) -> Sequence[LaneShape]:
        try:
            return room(self._need().refused)
        except ClusterError:  # the last GPU or CPU has left; others may join
            return ()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note that a lane has ended."""
        self._live.pop(trial_id, None)
        self._lost += error

    def save(self, checkpoint_path: str) -> None:
        """Nothing is kept: the results store is the only ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""

    def get_state(self) -> dict[str, Any]:
        """See `save`."""
        return {}

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """See `save`."""


class SweepEnd(Stopper):  # type: ignore[misc]
    """Ends what is left of the lanes a moment after the broker's last trial.

    Args:
        need: what the broker has to do.
        clock: monotonic seconds.
    """

    def __init__(self, need: Callable[[], Need], clock: Callable[[], float] = time.monotonic) -> None:
        self._need, self._clock = Cached(need, _ASK_BROKER_S, clock), clock
        self._over_since: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never ends a single lane."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep has been over for long enough."""
        # Work may come back after the queue was empty, when a lane with trials in hand dies: then the wait begins anew.
        if not self._need().over:
            self._over_since = None
            return False
        if self._over_since is None:
            self._over_since = self._clock()
        return self._clock() - self._over_since > _GRACE_S
