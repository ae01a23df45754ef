"""The part of `sweeper doctor` that looks at the nodes of a running cluster."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.attach import probe
from cluster.attach.connect import attached_unchecked
from cluster.attach.nodes import Node, on_every_node
from cluster.attach.shared import shared_problems
from cluster.attach.versions import version_problems
from cluster.doctor.finding import Finding, clock, disk, error, ok, warning
from cluster.errors import ClusterError, ConnectError

_NAMESPACE = "elm-sweeper-doctor"


def cluster_findings(address: str, results: str | None) -> Iterator[Finding]:
    """What can be said of a running cluster and each of its nodes.

    Args:
        address: `auto`, host:port or ray://host:port.
        results: results directory or URI that every node is to write; not looked at when None.
    """
    try:
        # Unchecked, or the first difference would end what is to list all of them.
        with attached_unchecked(address, namespace=_NAMESPACE) as attached:
            yield ok(
                "cluster",
                f"{attached.address}: {len(attached.nodes)} nodes, {attached.cpus} CPUs, {attached.gpus} GPUs",
            )
            yield from node_findings(attached.nodes, results)
    except ConnectError as problem:
        yield error("cluster", str(problem), "start the cluster, or name another address")


def node_findings(nodes: Sequence[Node], results: str | None) -> Iterator[Finding]:
    """Versions, GPUs, clock, disk and results of each node; needs a connection."""
    # /tmp, because Ray writes its logs and what it spills there.
    folders = ["/tmp", *([results] if results and "://" not in results else [])]
    sent = time.time()
    facts = on_every_node(nodes, probe.node_facts, *[folders] * len(nodes))
    answered = time.time()
    problems = version_problems(nodes, facts, probe.node_facts())
    for problem in problems:
        yield error("versions", problem, "install the same python, ray and torch there as here")
    if not problems:
        yield ok("versions", f"python, ray and torch are the same on {len(nodes)} nodes")
    # All nodes are asked at once; a clock was read somewhere between, so half of the wait is its uncertainty.
    for node in nodes:
        facts_of_node = facts[node.node_id]
        if not isinstance(facts_of_node, ClusterError):
            yield from _hardware(node, facts_of_node)
            yield clock(node.host, facts_of_node["clock"] - (sent + answered) / 2, (answered - sent) / 2)
            for folder, free in facts_of_node["free_bytes"].items():
                yield disk(f"{node.host}:{folder}", free)
    yield from _results(nodes, results)


def _hardware(node: Node, facts: Mapping[str, Any]) -> Iterator[Finding]:
    visible_gpus = len(facts["gpus"])
    named = f"{node.host} ({node.address}): {node.cpus:g} CPUs, {node.gpus:g} GPUs for Ray"
    if node.gpus > visible_gpus:
        yield error(
            "hardware", f"{named}, {visible_gpus} seen by nvidia-smi", "start Ray there with --num-gpus as it really is"
        )
    elif visible_gpus > node.gpus:
        yield warning(
            "hardware", f"{named}, {visible_gpus} seen by nvidia-smi", "start Ray there with --num-gpus to use them all"
        )
    elif node.cpus > facts["cpus"]:
        yield warning("hardware", f"{named}, {facts['cpus']} cores", "lanes will share cores; lower --num-cpus there")
    else:
        yield ok("hardware", named)


def _results(nodes: Sequence[Node], results: str | None) -> Iterator[Finding]:
    if results is None:
        return
    try:
        problems = shared_problems(nodes, results, on_every_node)
    except ClusterError as problem:
        yield error("results", str(problem), "choose a place that can be written")
        return
    for host, why in problems.items():
        yield error("results", f"{results} on {host}: {why}", "use shared disk or object storage")
    if not problems:
        yield ok("results", f"{results} is one place that all {len(nodes)} nodes write")
