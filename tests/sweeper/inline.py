"""Executors without processes, for tests of what happens around them."""

from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.executors.executor import ExecutorError
from sweeper.lane.attempt import run_trial
from sweeper.lane.lane import run_lane
from sweeper.lane.options import LaneConfig, LaneOptions
from sweeper.lane.trainer import TrialContext, train_assignment
from sweeper.queue.broker import Broker
from sweeper.store.provenance import code_version
from sweeper.store.store import ResultsStore
from sweeper.training.checkpoint import Checkpoints


@dataclass(frozen=True, kw_only=True)
class Inline:
    """Runs assignments one after the other in this process; dies after `most` of them."""

    trainer: Any = None
    options: LaneOptions = field(default_factory=lambda: LaneOptions(lanes=1))
    most: int | None = None
    ran: list[str] = field(default_factory=list)
    name: str = "inline"
    lanes_here: int = 0

    def with_trainer(self, trainer) -> "Inline":
        return replace(self, trainer=trainer)

    def check(self, results) -> None:
        """This process will do."""

    def run(self, assignments, *, store_uri, monitor, direction, trial_bytes) -> None:
        store = ResultsStore.create(store_uri)
        for assignment in assignments:
            if self.most is not None and len(self.ran) >= self.most:
                raise ExecutorError("killed")
            context = TrialContext(on_step=lambda step: True, device="cpu", checkpoints=Checkpoints(store, "none", 1e9))
            trial, curves, attempt = run_trial(assignment, "lane", "v", context, self.trainer or train_assignment)
            store.write("curves", curves)
            store.write("attempts", [attempt])
            store.write("trials", [trial])
            self.ran.append(assignment.trial_id)


@dataclass(frozen=True, kw_only=True)
class LanesHere(Inline):
    """Runs lanes one after the other in this process: the same broker and lanes, no start-up time."""

    code_version: str = field(default_factory=code_version)

    def run(self, assignments, *, store_uri, monitor, direction, trial_bytes) -> None:
        broker = Broker(assignments, direction=direction)
        config = LaneConfig(
            store_uri=store_uri, lane_prefix="here", code_version=self.code_version, options=self.options
        )
        with monitor.watching(broker):
            for lane in range(self.options.lane_count):
                run_lane(broker, config.lane_name(lane), config, self.trainer or train_assignment)
