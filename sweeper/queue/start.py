"""The start of a launch, from the command to the first step: what it is at, and how long each part took."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import psutil
from rich.console import Console

from sweeper.words import counted

PLANNING, STARTING_LANES = "planning", "starting lanes"
"""What the launcher itself is at, before and after the executor's own phases."""
LOADING, BUILDING, OPENING, STEPPING = "loading torch", "preparing the kernel", "opening the data", "first step"
"""What a lane is at before it trains, in this order; the kernel is compiled once per machine, and loaded ever after."""
TRAINING = "training"
"""What a lane is at once it has taken a step: its start is over."""


class Start:
    """Says what a start is at, and where its time went once the first trial runs.

    Args:
        console: where it is said.
        profile: whether each part gets a line of its own.
        clock: monotonic seconds.
        age_s: seconds since the command began; those of this process when None.
    """

    def __init__(
        self,
        console: Console,
        *,
        profile: bool = False,
        clock: Callable[[], float] = time.monotonic,
        age_s: float | None = None,
    ) -> None:
        self._console, self._profile, self._clock = console, profile, clock
        if age_s is None:
            age_s = time.time() - psutil.Process(os.getpid()).create_time()
        self._began = clock() - age_s
        self._phases: list[tuple[str, float]] = [(PLANNING, self._began)]
        self.over = False

    def begin(self, phase: str) -> None:
        """Note that a phase begins, which ends the one before."""
        if not self.over and phase != self._phases[-1][0]:
            self._phases.append((phase, self._clock()))

    @contextmanager
    def showing(self, phase: str) -> Iterator[None]:
        """Show a phase of the launcher while the block lasts."""
        self.begin(phase)
        if self.over or not self._console.is_terminal:
            if not self.over:
                self._console.print(f"{phase} ...", highlight=False)
            yield
            return
        with self._console.status(phase):
            yield

    def line(self, starting: dict[str, int]) -> str:
        """What the start is at, for the progress line.

        Args:
            starting: lanes by what they are at.
        """
        lanes = [f"{counted(count, 'lane')} {phase}" for phase, count in starting.items()]
        since = self._clock() - self._phases[-1][1]
        return f"{', '.join(lanes) or self._phases[-1][0]} ({since:.0f} s)"

    def end(self, of_lane: Sequence[tuple[str, float]]) -> None:
        """Say how long it took until the first trial ran; later calls say nothing.

        Args:
            of_lane: what the first lane that trains was at, each with its seconds, in order.
        """
        if self.over:
            return
        self.over = True
        now = self._clock()
        marks = [*self._phases, ("", now - sum(seconds for _, seconds in of_lane))]
        spent = [(name, max(0.0, until - begun)) for (name, begun), (_, until) in pairwise(marks)]
        parts = [*spent, *of_lane]
        total = now - self._began
        if not self._profile:
            told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts if seconds >= _WORTH_TELLING_S)
            self._console.print(f"First trial running after {total:.1f} s: {told}.", highlight=False, soft_wrap=True)
            return
        self._console.print(f"First trial running after {total:.1f} s:", highlight=False)
        for name, seconds in parts:
            self._console.print(f"  {seconds:6.2f} s  {seconds / total:4.0%}  {name}", highlight=False)


_WORTH_TELLING_S = 0.1
"""Parts that took less are left out of the one line."""
