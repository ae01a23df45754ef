"""Executors without processes, for tests of what happens around it."""

import dataclasses

from sweeper.errors import SweeperError
from sweeper.lane.attempt import run_trial
from sweeper.lane.lane import run_lane
from sweeper.lane.trainer import TrialContext
from sweeper.queue.broker import Broker
from sweeper.store.store import ResultsStore
from sweeper.training.checkpoint import Checkpoints


class Inline:
    """Runs assignments one after the other in this process; dies after `most` of them."""

    def __init__(self, most: int | None = None, trainer=None) -> None:
        self.most, self.trainer, self.ran = most, trainer, []

    def __call__(self, assignments, *, lanes, config, monitor, direction, trainer) -> None:
        store = ResultsStore.create(config.store_uri)
        for assignment in assignments:
            if self.most is not None and len(self.ran) >= self.most:
                raise SweeperError("killed")
            context = TrialContext(on_step=lambda step: True, device="cpu", checkpoints=Checkpoints(store, "none", 1e9))
            trial, curves, attempt = run_trial(assignment, "lane", "v", context, self.trainer or trainer)
            store.write("curves", curves)
            store.write("attempts", [attempt])
            store.write("trials", [trial])
            self.ran.append(assignment.trial_id)

    def install(self, monkeypatch) -> "Inline":
        """Let every launch of a test run here."""
        monkeypatch.setattr("sweeper.launch.rounds.executor_of", lambda options: (self, (SweeperError,)))
        return self


def run_lanes_here(assignments, *, lanes, config, monitor, direction, trainer) -> None:
    """Run lanes one after the other in this process: the same broker and lanes, no start-up time."""
    broker = Broker(assignments, direction=direction)
    config = dataclasses.replace(config, memory_bytes=None)
    with monitor.watching(broker):
        for lane in range(lanes):
            run_lane(broker, f"{config.lane_prefix}-{lane}", config, trainer)
