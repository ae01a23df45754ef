"""Lanes as plain processes of this machine, without Ray: the same broker, lanes and rows as on Ray."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.managers import BaseManager
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from cluster.attach.machine import machine_share
from sweeper.executors.apart import signals_held_back
from sweeper.executors.executor import ExecutorError, check_device
from sweeper.executors.warm import settle, warm_context
from sweeper.lane.options import HostMemory, LaneConfig, LaneOptions, lane_config
from sweeper.queue.broker import Broker
from sweeper.queue.messages import Assignment, BrokerGoneError, Pull, Report
from sweeper.queue.monitor import Monitor
from sweeper.queue.start import LOADING

if TYPE_CHECKING:
    from sweeper.lane.trainer import Trainer

_EXPOSED = ("pull", "heartbeat", "leave", "fail", "die", "warn", "phase")
"""What lanes may call; draining and stopping is the launcher's."""
_MAX_DEATHS = 20
"""Deaths of lanes before the machine, not a trial, is taken for the cause (a trial is given up after three)."""
_ORPHAN_S = 30.0
"""Seconds that a lane has for saving its trial once its launcher is dead (assumption)."""
_POLL_S = 0.1
"""Pause between two looks at the lanes: what a lane that ends may keep its successor waiting."""


@dataclass(frozen=True, kw_only=True)
class ProcessExecutor:
    """Runs lanes as child processes."""

    options: LaneOptions = field(default_factory=LaneOptions)
    """How many lanes it keeps, where they train, and what a trial is allowed."""
    trainer: "Trainer | None" = None
    """What a lane does with an assignment; the real training when None."""
    name: str = "processes"
    """See `Executor`."""

    @property
    def lanes_here(self) -> int:
        """See `Executor`."""
        return self.options.lane_count

    def with_trainer(self, trainer: "Trainer") -> "ProcessExecutor":
        """See `Executor`."""
        return replace(self, trainer=trainer)

    def check(self, results: str) -> None:
        """See `Executor`."""
        check_device(self.options.device)

    def run(
        self, assignments: Sequence[Assignment], *, store_uri: str, monitor: Monitor, direction: str, trial_bytes: int
    ) -> None:
        """See `Executor`."""
        # A lane without a trial would load torch for nothing.
        lanes = min(self.options.lane_count, len(assignments))
        # On a GPU it is the GPU's memory that runs out, which the limit on a process does not see.
        on_cpus = self.options.device == "cpu"
        memory = HostMemory.of(machine_share().available_bytes, lanes) if on_cpus else None
        config = lane_config(assignments[0].sweep, store_uri, self.options, memory)
        broker = _Locked(Broker(assignments, direction=direction))
        authkey = os.urandom(32)  # the port is open to every user of this machine, and what comes in is unpickled
        server = _BrokerManager(("127.0.0.1", 0), authkey, broker).get_server()
        # Not `serve_forever`: at its end that puts sys.stdout back to the terminal's, away from a notebook or a test.
        server.stop_event = threading.Event()  # type: ignore[attr-defined]  # asked for by the threads of connections
        server_thread = threading.Thread(target=server.accepter, name="broker", daemon=True)
        server_thread.start()
        context = warm_context()
        processes: dict[int, BaseProcess] = {}

        def start(number: int) -> None:
            name = config.lane_name(number)
            arguments = (dict(os.environ), server.address, authkey, name, config, self.trainer)
            process = context.Process(target=_lane_main, args=arguments, name=name, daemon=True)
            broker.phase(name, LOADING)
            with signals_held_back():  # until the lane ignores them itself
                try:
                    process.start()
                except (OSError, EOFError) as error:
                    raise ExecutorError(f"no lane can be started: {error}") from error
                processes[number] = process

        with monitor.watching(broker):
            try:
                for number in range(lanes):
                    start(number)
                _supervise(broker, server_thread, processes, start)
            finally:
                # Lanes that still live are those of a launch that failed, or that the third Ctrl-C ends. All are killed
                # before any is waited for: one that takes its time to go must not leave the others at work.
                for process in processes.values():
                    process.kill()
                for process in processes.values():
                    process.join()
                server.stop_event.set()  # type: ignore[attr-defined]


def _supervise(
    broker: Any, server: threading.Thread, processes: dict[int, BaseProcess], start: Callable[[int], None]
) -> None:
    """Restart lanes that die while there is work; return when every lane has ended by itself."""
    deaths = 0
    while processes:
        time.sleep(_POLL_S)
        # Else lanes that cannot reach their broker would be started again and again, and the machine be blamed.
        if not server.is_alive():
            raise ExecutorError("the thread that serves the lanes has ended")
        for index, process in list(processes.items()):
            if process.is_alive():
                continue
            del processes[index]
            if process.exitcode != 0:
                broker.lane_died(process.name)  # at once: the silence of a lane would tell it only after a minute
                # Lanes that die while the launch is ending are expected, and nothing is started in their place.
                deaths += not broker.need().closed
                if deaths > _MAX_DEATHS:
                    raise ExecutorError(
                        f"lanes died {deaths} times, the last with exit code {process.exitcode}; giving up"
                    )
            if broker.need().lanes > len(processes):  # it left with work to do: dead, worn out, or its GPU not clean
                start(index)


def _lane_main(
    environment: dict[str, str],
    address: tuple[str, int],
    authkey: bytes,
    name: str,
    config: LaneConfig,
    trainer: "Trainer | None",
) -> None:
    settle(environment)
    threading.Thread(target=_end_after_launcher, name="launcher's death", daemon=True).start()
    manager = _BrokerManager(address, authkey)
    manager.connect()
    client = _Client(manager.broker())
    # Here and not above: the launcher that imports this file does without torch, which lanes were born with.
    from sweeper.lane.lane import run_lane
    from sweeper.lane.trainer import train_assignment

    run_lane(client, name, config, trainer or train_assignment)


def _end_after_launcher() -> None:
    """Lanes leave by themselves when their broker has gone; one that cannot, since a step takes long, is ended."""
    launcher = multiprocessing.parent_process()
    assert launcher is not None, "a lane is a child process"
    # `parent_process` waits on a pipe that the kernel closes when the launcher dies, however it dies.
    launcher.join()
    time.sleep(_ORPHAN_S)
    # Not `sys.exit`, which in a thread ends that thread alone.
    os._exit(1)


class _Client:
    """The broker behind a socket."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    def pull(self, lane: str, incarnation: str, host: str, reports: Sequence[Report] = ()) -> Pull:
        pulled: Pull = self._call("pull", lane, incarnation, host, reports)
        return pulled

    def heartbeat(self, lane: str, incarnation: str, host: str, trial_id: str | None, progress: float) -> bool:
        return bool(self._call("heartbeat", lane, incarnation, host, trial_id, progress))

    def leave(self, lane: str, incarnation: str, reports: Sequence[Report] = ()) -> None:
        self._call("leave", lane, incarnation, reports)

    def fail(self, lane: str, incarnation: str, reason: str) -> None:
        self._call("fail", lane, incarnation, reason)

    def die(self, lane: str, incarnation: str, reason: str) -> None:
        self._call("die", lane, incarnation, reason)

    def warn(self, text: str) -> None:
        self._call("warn", text)

    def phase(self, lane: str, phase: str) -> None:
        self._call("phase", lane, phase)

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            # A proxy keeps one connection per thread, so heartbeats do not take the answers of pulls for theirs.
            return self._proxy._callmethod(method, arguments)
        except (EOFError, ConnectionError) as error:
            raise BrokerGoneError(str(error)) from error


class _BrokerManager(BaseManager):
    """Serves one broker, or connects to one."""

    broker: Callable[[], Any]  # made by `register`

    def __init__(self, address: tuple[str, int], authkey: bytes, broker: Any = None) -> None:
        super().__init__(address=address, authkey=authkey)
        self.register("broker", callable=lambda: broker, exposed=_EXPOSED)


class _Locked:
    """A broker that many threads may call: the manager serves each lane from a thread, and the monitor is one more."""

    def __init__(self, broker: Broker) -> None:
        self._broker, self._lock = broker, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._broker, name)

        def call(*arguments: Any) -> Any:
            with self._lock:
                return method(*arguments)

        return call
