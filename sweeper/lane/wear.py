"""When a lane's process is to be replaced: after many trials, or once its memory has grown and stays grown."""

from collections.abc import Callable

import psutil

MOST_TRIALS = 5_000
"""Trials after which a process is replaced whatever its memory: a start costs seconds, a leak a whole sweep."""
MOST_GROWTH_BYTES = 512 * 1024**2
"""Growth of the resident memory between trials that is taken for a leak (assumption: caches stay well below)."""
LEAST_TRIALS = 10
"""A process runs so many trials before and after its memory is first looked at: caches fill in the first ones."""


class Wear:
    """Watches one lane's process; its memory is looked at between trials only.

    Args:
        resident: bytes of resident memory; this process's when None.
        most_trials: see `MOST_TRIALS`.
        most_growth_bytes: see `MOST_GROWTH_BYTES`.
    """

    def __init__(
        self,
        resident: Callable[[], int] | None = None,
        *,
        most_trials: int = MOST_TRIALS,
        most_growth_bytes: int = MOST_GROWTH_BYTES,
    ) -> None:
        self._resident = resident or _resident_bytes
        self._most_trials, self._most_growth_bytes = most_trials, most_growth_bytes
        self._base: int | None = None

    def is_out(self, trials: int) -> bool:
        """Whether the process is to be replaced after so many trials."""
        if trials >= self._most_trials:
            return True
        if trials < LEAST_TRIALS:
            return False
        # Taken once: growth that creeps on from trial to trial must add up, not begin anew at each look.
        if self._base is None:
            self._base = self._resident()
        return trials >= 2 * LEAST_TRIALS and self._resident() - self._base > self._most_growth_bytes


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)
