"""Lanes as long-lived Ray Tune trials, fed by a broker actor: Ray places and restarts lanes, the broker counts trials.

One Tune trial is one lane, not one of our trials: Tune costs seconds per trial of its own, a pull costs milliseconds.
Tune's state is thrown away; the results store is the only ledger.
"""

import os
import socket
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

# Read when ray is imported, hence above it. Loggers would write a CSV and a TensorBoard file per lane; Ctrl-C is the
# monitor's; lanes report no metric; many may wait for room at once; the console is our line's; nothing is sent home.
os.environ.update(
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    TUNE_DISABLE_STRICT_METRIC_CHECKING="1",
    TUNE_MAX_PENDING_TRIALS_PG="256",
    RAY_AIR_NEW_OUTPUT="0",
    RAY_USAGE_STATS_ENABLED="0",
)

import ray
from ray import tune
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.attach.connect import connected, has_died, private_parts
from cluster.attach.nodes import draining_nodes
from cluster.attach.room import Room
from sweeper.executors.apart import Link
from sweeper.executors.executor import ExecutorError
from sweeper.executors.ray_nodes import is_lost
from sweeper.executors.ray_supply import Cached, LaneSupply, SweepEnd
from sweeper.executors.ray_work import RayWork
from sweeper.lane.options import HostMemory, LaneConfig, LaneOptions
from sweeper.lane.place import misfit_of_node
from sweeper.queue.broker import Broker
from sweeper.queue.messages import Assignment, BrokerGoneError, Event, LateFinish, Need, Pull, Report, Snapshot
from sweeper.queue.start import LOADING

if TYPE_CHECKING:
    # For the types alone: lanes load torch, and the process that starts Ray does without (2 s).
    from sweeper.lane.trainer import Trainer

NAMESPACE = "elm-sweeper"
_MAX_LANE_RESTARTS = 20
"""Times that Tune starts one lane again before it counts as lost."""
_DRAIN_LOOK_S = 5.0
"""Pause between two looks whether a lane's node drains: clouds give 30 s and more, and each look is a call to Ray."""
_PARTS_LOOK_S = 0.5
"""Pause between two looks whether the processes of a private Ray run."""
_NODE_LABEL = "ray.io/node-id"
"""Label by which Ray itself marks each node with its id."""
_MAX_LANES_LOST = 4
"""Lanes that died more often than that before none is started any more."""


def run_on_ray(link: Link, work: RayWork) -> None:
    """Run assignments on lanes under Ray Tune until all are done, drained or lanes give up.

    Args:
        link: where the launcher watches the broker.
        work: what to run, and where.

    Raises:
        ClusterError: no connection, other versions there, no GPU, or results that not every node can write.
        ExecutorError: Ray or Tune itself failed; what is stored is safe.
    """
    options, attached = work.config.options, work.address is not None
    room = Room(
        options.device,
        trials_per_gpu=options.trials_per_gpu,
        trial_bytes=work.trial_bytes,
        lanes=work.lanes,
        threads=options.threads,
    )
    try:
        with (
            connected(
                work.address,
                namespace=NAMESPACE,
                local_cpus=None if work.lanes is None else work.lanes * options.threads,
                results=work.config.store_uri if attached else None,
            ),
            nullcontext() if attached else _watched_parts(link),
        ):
            room()  # no GPU where one is asked for is an error before anything is started
            broker, actor = _start_broker(work.assignments, work.direction, idle_leave=attached)
            with link.serving(_Handle(actor)):
                _run_lanes(broker, room, work)
    # RuntimeError as well: Tune raises that where it meets an error that it did not foresee, such as a worker that
    # Ray's memory monitor ended.
    except (RayError, RuntimeError, tune.TuneError) as error:
        raise ExecutorError(str(error)) from error


@contextmanager
def _watched_parts(link: Link) -> Iterator[None]:
    """End this process when a part of the Ray that it has started dies while the block lasts.

    Left alone, Ray's core waits a minute for such a part, inside of calls that nothing can interrupt, and then ends the
    process it runs in.
    """
    parts, ended = private_parts(), threading.Event()

    def watch() -> None:
        while not ended.wait(_PARTS_LOOK_S):
            try:
                dead = [name for name, part in parts.items() if has_died(part)]
            except Exception as error:  # the border of the thread: nobody would look any more
                link.fail(f"the processes of Ray cannot be looked at: {error}")
            if dead and not ended.is_set():
                link.fail(f"{' and '.join(dead)} of Ray died")

    threading.Thread(target=watch, name="Ray's parts", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _start_broker(assignments: Sequence[Assignment], direction: str, *, idle_leave: bool) -> tuple[str, Any]:
    """Start the broker as an actor on the launcher's node, which ends with the launcher; its name, and the actor."""
    # A name of its own for each launch: actors' names are shared by all who use the namespace on a cluster.
    name = f"broker-{uuid.uuid4().hex[:8]}"
    # On the launcher's own node: others may be lost or given back while the launch goes on.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = (
        # No share of a CPU is asked for, since it computes next to nothing and would take a lane's place.
        ray.remote(Broker)
        .options(name=name, num_cpus=0, scheduling_strategy=here)
        .remote(assignments, direction=direction, idle_leave=idle_leave, host_is_lost=is_lost)
    )
    ray.get(actor.need.remote())  # one that cannot start is an error here, and later would look like the end
    return name, actor


def _run_lanes(broker: str, room: Room, work: RayWork) -> None:
    """Let Tune keep as many lanes as there is room and work for, until the broker has nothing left."""
    trainable = tune.with_parameters(_tune_lane, lane_config=work.config, trainer=work.trainer)
    need = _Asking(broker)
    # Tune writes its state whatever it is told, and nobody reads it: the store knows what has ended.
    tune.Tuner(
        tune.with_resources(trainable, _place),
        tune_config=tune.TuneConfig(
            search_alg=LaneSupply(need, room, {"broker": broker}, most_lost=_MAX_LANES_LOST),
            num_samples=-1,  # the supply says when there are enough
            trial_dirname_creator=_lane_folder,
        ),
        run_config=tune.RunConfig(
            name="lanes",
            storage_path=work.scratch,
            stop=SweepEnd(need),
            # Counted per lane, for lanes and nodes that die: what a trial raises is caught in the lane and never
            # reaches Tune.
            failure_config=tune.FailureConfig(max_failures=_MAX_LANE_RESTARTS),
            verbose=0,
        ),
    ).fit()


def _place(setting: dict[str, Any]) -> tune.PlacementGroupFactory:
    """The resources that a lane asks for, on any node but those that were refused."""
    avoided = setting["avoid"]
    selector = [{_NODE_LABEL: f"!in({','.join(avoided)})"}] if avoided else None
    return tune.PlacementGroupFactory([setting["resources"]], bundle_label_selector=selector)


def check_cluster(link: Link, address: str, options: LaneOptions, results: str) -> None:
    """Attach once, and leave nothing behind.

    Args:
        link: not used; nothing is served.
        address: the running cluster.
        options: device and number of the lanes asked for, which may wait for nodes to come.
        results: absolute path or URI that every node is to write.

    Raises:
        ClusterError: as `run_on_ray`.
    """
    with connected(address, namespace=NAMESPACE, results=results):
        Room(options.device, lanes=options.lanes, threads=options.threads)()


def _tune_lane(config: dict[str, Any], lane_config: LaneConfig, trainer: "Trainer | None") -> dict[str, int]:
    client = _Client(ray.get_actor(config["broker"], namespace=NAMESPACE))
    name = lane_config.lane_name(config["lane"])
    client.phase(name, LOADING)
    from sweeper.lane.lane import run_lane
    from sweeper.lane.trainer import train_assignment

    node = ray.get_runtime_context().get_node_id()
    if (misfit := misfit_of_node(lane_config)) is not None:
        client.refuse(name, node, f"{socket.gethostname()} ({ray.util.get_node_ip_address()}) gets no lanes: {misfit}")
        return {"ran": 0}
    lane = _with_memory_of(node, lane_config)
    # The node's id and not the machine's name as host: it is what the broker asks Ray about when a lane falls silent.
    return {"ran": run_lane(client, name, lane, trainer or train_assignment, host=node)}


def _with_memory_of(node: str, config: LaneConfig) -> LaneConfig:
    """Fill in the memory of the lane's node, where nodes may differ; container limits are in Ray's number."""
    if config.memory is not None or config.options.device != "cpu":
        return config
    resources = next(known["Resources"] for known in ray.nodes() if known["NodeID"] == node)
    # As `cluster.attach.lanes` counts what a node has room for.
    lanes = max(1, int(resources.get("CPU", 1)) // config.options.threads)
    return replace(config, memory=HostMemory.of(resources["memory"], lanes))


def _lane_folder(trial: Any) -> str:
    return f"lane-{trial.config['lane']}"


class _Asking:
    """Asks the broker by its name, from wherever Tune's loop runs (over ray:// that is the head node)."""

    def __init__(self, broker: str) -> None:
        self._broker = broker

    def __call__(self) -> Need:
        try:
            need: Need = ray.get(ray.get_actor(self._broker, namespace=NAMESPACE).need.remote())
        except (ValueError, ray.exceptions.RayActorError):  # no such actor any more: the launcher has gone
            return Need(lanes=0, closed=True, over=True)
        return need


def _own_node_drains() -> bool:
    return ray.get_runtime_context().get_node_id() in draining_nodes()


class _Client:
    """The broker actor as a lane sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._leaving = Cached(_own_node_drains, _DRAIN_LOOK_S)

    def pull(self, lane: str, incarnation: str, host: str, reports: Sequence[Report] = ()) -> Pull:
        pulled: Pull = self._call(self._actor.pull, lane, incarnation, host, reports)
        return pulled

    def heartbeat(self, lane: str, incarnation: str, host: str, trial_id: str | None, progress: float) -> bool:
        # Leaving a draining node by itself saves the trial; waiting for the node to go would lose it.
        going_on = bool(self._call(self._actor.heartbeat, lane, incarnation, host, trial_id, progress))
        return going_on and not self._leaving()

    def leave(self, lane: str, incarnation: str, reports: Sequence[Report] = ()) -> None:
        self._call(self._actor.leave, lane, incarnation, reports)

    def fail(self, lane: str, incarnation: str, reason: str) -> None:
        self._call(self._actor.fail, lane, incarnation, reason)

    def die(self, lane: str, incarnation: str, reason: str) -> None:
        self._call(self._actor.die, lane, incarnation, reason)

    def warn(self, text: str) -> None:
        self._call(self._actor.warn, text)

    def refuse(self, lane: str, host: str, reason: str) -> None:
        self._call(self._actor.refuse, lane, host, reason)

    def phase(self, lane: str, phase: str) -> None:
        self._call(self._actor.phase, lane, phase)

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

    def take_events(self) -> list[Event | LateFinish]:
        events: list[Event | LateFinish] = ray.get(self._actor.take_events.remote())
        return events
