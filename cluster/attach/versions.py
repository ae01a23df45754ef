"""Whether the nodes of a cluster have the versions that are installed here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cluster.attach import probe
from cluster.errors import ClusterError

if TYPE_CHECKING:
    from cluster.attach.nodes import Node


def version_problems(nodes: Sequence["Node"], facts: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """One phrase per node whose versions differ from those here; see `cluster.attach.connect.check_versions`.

    Builds of one torch version for other devices (``2.13.0+cpu``, ``2.13.0+cu128``) count as equal.
    """
    problems = []
    for node in nodes:
        versions = facts[node.node_id]
        if isinstance(versions, ClusterError):
            problems.append(f"{node.host} ({node.address}) cannot run Python: {versions}")
            continue
        if differing := differing_versions(versions, here):
            problems.append(f"{node.host} ({node.address}) has {differing}")
    return problems


def differing_versions(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What differs between two answers of `probe.versions`, as a phrase; empty where nothing does."""
    return ", ".join(
        f"{name} {there[name] or 'not installed'} instead of {here[name]}"
        # Python down to its patch level, as Ray itself compares it.
        for name in ("python", *probe.PACKAGES)
        if _public(there[name]) != _public(here[name])
    )


def _public(version: str | None) -> str | None:
    # PEP 440 separates the local part of a version, here the build, by a plus.
    return version and version.split("+")[0]
