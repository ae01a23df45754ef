"""Lanes as long-lived Ray Tune trials, fed by a broker actor: Ray places, restarts and survives; we count trials.

One Tune trial is one lane, not one of our trials: Tune costs seconds per trial of its own, a pull costs milliseconds.
Tune's state is thrown away; the results store is the only ledger.
"""

import logging
import os
import tempfile
import uuid
from collections.abc import Sequence
from typing import Any

os.environ.update(  # read when ray is imported
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    TUNE_DISABLE_STRICT_METRIC_CHECKING="1",
    RAY_AIR_NEW_OUTPUT="0",
    RAY_USAGE_STATS_ENABLED="0",
)

import ray
from ray import tune
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.attempt import Trainer, train_assignment
from sweeper.broker import Assignment, Broker, Event, Pull, Report, Snapshot
from sweeper.lane import BrokerGoneError, LaneConfig, run_lane
from sweeper.monitor import Monitor

_NAMESPACE = "elm-sweeper"
_MAX_LANE_RESTARTS = 20
_OBJECT_STORE_BYTES = 100 * 1024**2
"""Nothing large travels through Ray: specs and reports only."""


def run_on_ray(
    assignments: Sequence[Assignment],
    *,
    lanes: int,
    config: LaneConfig,
    monitor: Monitor,
    direction: str,
    trainer: Trainer = train_assignment,
    address: str = "local",
) -> None:
    """Run assignments on lanes under Ray Tune until all are done, drained or lanes give up.

    Args:
        assignments: what to run, in order.
        lanes: number of lanes, one CPU each.
        config: shared by all lanes.
        monitor: shows progress and passes on Ctrl-C.
        direction: `min` or `max`, for the best trial of the progress line.
        trainer: what a lane does with an assignment.
        address: `local` starts Ray on this machine for the time of the call; else the running cluster to attach to.

    Raises:
        RayError, RuntimeError, tune.TuneError: Ray or Tune itself failed; what is stored is safe.
    """
    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    lanes = min(lanes, len(assignments))
    own = {"num_cpus": lanes, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        namespace=_NAMESPACE,
        **(own if address == "local" else {}),
    )
    try:
        name = f"broker-{uuid.uuid4().hex[:8]}"
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"name": name, "num_cpus": 0, "scheduling_strategy": here}  # it lives and dies with the launcher
        actor = ray.remote(Broker).options(**options).remote(assignments, direction=direction)
        with tempfile.TemporaryDirectory(prefix="sweeper-tune-") as scratch, monitor.watching(_Handle(actor)):
            tuner = tune.Tuner(
                tune.with_resources(tune.with_parameters(_tune_lane, lane_config=config, trainer=trainer), {"cpu": 1}),
                param_space={"broker": name, "lane": tune.grid_search(list(range(lanes)))},
                run_config=tune.RunConfig(
                    name="lanes",
                    storage_path=scratch,
                    failure_config=tune.FailureConfig(max_failures=_MAX_LANE_RESTARTS),
                    verbose=0,
                ),
            )
            tuner.fit()
    finally:
        ray.shutdown()


ORCHESTRATION_ERRORS: tuple[type[Exception], ...] = (RayError, RuntimeError, tune.TuneError)
"""What `run_on_ray` raises when Ray or Tune fails as a whole."""


def _tune_lane(config: dict[str, Any], lane_config: LaneConfig, trainer: Trainer) -> dict[str, int]:
    client = _Client(ray.get_actor(config["broker"], namespace=_NAMESPACE))
    return {"ran": run_lane(client, f"{lane_config.lane_prefix}-{config['lane']}", lane_config, trainer)}


class _Client:
    """The broker actor as a lane sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def pull(self, lane: str, incarnation: str, host: str, reports: Sequence[Report] = ()) -> Pull:
        pulled: Pull = self._call(self._actor.pull, lane, incarnation, host, reports)
        return pulled

    def heartbeat(self, lane: str, incarnation: str, host: str, trial_id: str | None, progress: float) -> bool:
        return bool(self._call(self._actor.heartbeat, lane, incarnation, host, trial_id, progress))

    @staticmethod
    def _call(method: Any, *arguments: Any) -> Any:
        try:
            return ray.get(method.remote(*arguments))
        except ray.exceptions.RayActorError as error:
            raise BrokerGoneError(str(error)) from error


class _Handle:
    """The broker actor as the launcher sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def snapshot(self) -> Snapshot:
        snapshot: Snapshot = ray.get(self._actor.snapshot.remote())
        return snapshot

    def drain(self) -> None:
        ray.get(self._actor.drain.remote())

    def stop(self) -> None:
        ray.get(self._actor.stop.remote())

    def take_events(self) -> list[Event]:
        events: list[Event] = ray.get(self._actor.take_events.remote())
        return events
