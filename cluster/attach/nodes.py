"""The nodes of the Ray cluster that this process is connected to, and what is run on each of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.attach import probe, ray_internals
from cluster.errors import ClusterError, joined

_PROBE_S = 120.0
"""Seconds that all nodes together may take to answer a question (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine of a Ray cluster."""

    node_id: str
    """Ray's id."""
    address: str
    """IP address."""
    host: str
    """Host name."""
    cpus: float
    """CPUs that Ray may use."""
    gpus: float
    """GPUs that Ray may use."""
    gpu_type: str | None
    """Ray's name of the GPU type, such as A100; None without GPUs or where Ray does not know it."""
    is_head: bool
    """Whether it is the head node."""


def cluster_nodes() -> tuple[Node, ...]:
    """The nodes that are alive and to stay, head first; needs a connection."""
    # Ray goes on calling a node alive until it is gone; a lane put there now would be lost with it.
    leaving = draining_nodes()
    nodes = (_node(entry) for entry in ray.nodes() if entry["Alive"] and entry["NodeID"] not in leaving)
    return tuple(sorted(nodes, key=lambda node: (not node.is_head, node.address, node.node_id)))


def draining_nodes() -> frozenset[str]:
    """Ids of the nodes that will go soon and take no new work; over ray:// it cannot be asked and none is named."""
    if ray.util.client.ray.is_connected():
        return frozenset()
    return ray_internals.draining()


def _node(entry: Mapping[str, Any]) -> Node:
    resources = entry["Resources"]
    # Ray has no field for it; it offers each GPU type as a resource that is named after it.
    types = [key.removeprefix("accelerator_type:") for key in resources if key.startswith("accelerator_type:")]
    gpus = float(resources.get("GPU", 0.0))
    return Node(
        node_id=entry["NodeID"],
        address=entry["NodeManagerAddress"],
        host=entry["NodeManagerHostname"],
        cpus=float(resources.get("CPU", 0.0)),
        gpus=gpus,
        # A node that was started with `--num-gpus=0` still names the type of those it has.
        gpu_type=types[0] if types and gpus else None,
        is_head="node:__internal_head__" in resources,
    )


def on_every_node(nodes: Sequence[Node], function: Callable[..., Any], *arguments: Sequence[Any]) -> dict[str, Any]:
    """Run a function of `cluster.attach.probe` once on each node, by value: nothing of ours need be installed there.

    Args:
        nodes: where to run.
        function: what to run.
        arguments: one sequence of arguments per node.

    Returns:
        By node id, the result, or a `ClusterError` that says why there is none.
    """
    # By reference the function would have to be importable on the node, and whether it is, is what is to be found out.
    cloudpickle.register_pickle_by_value(probe)
    try:
        # Without CPUs, so that it also runs on a node whose CPUs are all taken.
        task = ray.remote(num_cpus=0, max_retries=0)(function)
        references = {
            node.node_id: task.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False),
            ).remote(*values)
            for node, values in zip(nodes, arguments or [()] * len(nodes), strict=True)
        }
    finally:
        cloudpickle.unregister_pickle_by_value(probe)
    # One deadline for all, since they run side by side: a node that does not answer costs the wait once.
    deadline = time.monotonic() + _PROBE_S
    return {node_id: _fetch(reference, deadline) for node_id, reference in references.items()}


def _fetch(reference: Any, deadline: float) -> Any:
    try:
        # A tenth of a second at least, so that nodes that have answered are heard after one that used up the time.
        return ray.get(reference, timeout=max(0.1, deadline - time.monotonic()))
    except GetTimeoutError:
        return ClusterError(f"no answer within {_PROBE_S:.0f} s")
    except RayError as error:
        return ClusterError(joined(error)[:300])
