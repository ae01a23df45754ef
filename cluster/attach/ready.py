"""Wait for a Ray cluster to be up, for job scripts: `python -m cluster.attach.ready --address HOST:PORT --nodes 4`."""

import os
import sys
import time
from collections.abc import Callable

import click

from cluster.attach.address import run
from cluster.attach.connect import nodes_up
from cluster.errors import ClusterError, ConnectError

_POLL_S = 0.5
"""Seconds between two questions (assumption)."""


def wait_for_nodes(
    address: str,
    *,
    nodes: int,
    at_least: int,
    timeout_s: float,
    alive: Callable[[], bool] = lambda: True,
    ask: Callable[[str], tuple[int, float, float]] = nodes_up,
) -> str:
    """Wait until nodes have joined a cluster.

    Args:
        address: host:port of the head.
        nodes: number to wait for.
        at_least: number that will do once the time is over.
        timeout_s: seconds to wait.
        alive: whether the head's own process still runs.
        ask: asks the head.

    Returns:
        A sentence that says what is there.

    Raises:
        ClusterError: too few nodes, or the head's process has ended; says what the head answered last.
    """
    began, last, up = time.monotonic(), "it has not answered yet", (0, 0.0, 0.0)
    while True:
        # Looked at first: once the head has ended, waiting for its answer would only use up the time.
        if not alive():
            raise ClusterError(f"{address}: the Ray head has ended before the cluster was up ({last})")
        try:
            up = ask(address)
            last = f"{up[0]} of {nodes} nodes have joined"
        except ConnectError as error:
            last = str(error)
        waited = time.monotonic() - began
        # Not content with `at_least` before the time is over: a sweep begins with all nodes where they do come.
        if up[0] >= nodes or (waited > timeout_s and up[0] >= at_least):
            return f"{up[0]} of {nodes} nodes are up after {waited:.0f} s: {up[1]:g} CPUs, {up[2]:g} GPUs"
        if waited > timeout_s:
            raise ClusterError(f"{address}: not ready after {timeout_s:.0f} s: {last}; at least {at_least} needed")
        time.sleep(_POLL_S)


def process_alive(pid: int) -> bool:
    """Whether a process of ours runs."""
    try:
        os.kill(pid, 0)  # signal 0 is not sent: the call only says whether it could be
    except ProcessLookupError:
        return False
    return True


@click.command()
@click.option("--address", required=True, help="host:port of the head.")
@click.option("--nodes", type=click.IntRange(min=1), required=True, help="Nodes to wait for.")
@click.option("--at-least", type=click.IntRange(min=1), required=True, help="Nodes that will do after the timeout.")
@click.option("--timeout", "timeout_s", type=float, required=True, help="Seconds.")
@click.option("--while-pid", type=int, help="Give up when this process has ended.")
def main(address: str, nodes: int, at_least: int, timeout_s: float, while_pid: int | None) -> None:
    """Wait until NODES have joined the cluster at ADDRESS."""

    def alive() -> bool:
        return while_pid is None or process_alive(while_pid)

    print(wait_for_nodes(address, nodes=nodes, at_least=at_least, timeout_s=timeout_s, alive=alive), flush=True)


if __name__ == "__main__":
    sys.exit(run(main))
