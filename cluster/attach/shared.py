"""Whether a results directory is one and the same place on every node."""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cluster.attach import probe
from cluster.errors import ClusterError
from cluster.storage import open_location, split_options

if TYPE_CHECKING:
    from cluster.attach.nodes import Node

_PATIENCE_S = 15.0
"""Network file systems may show a new file this late (the default attribute cache of NFS is 3 to 60 s; assumption)."""
_HERE = "launcher"


def shared_problems(
    nodes: Sequence["Node"], results: str, on_every_node: Callable[..., dict[str, Any]]
) -> dict[str, str]:
    """Leave a file from here and one from each node, and see who sees what.

    Args:
        nodes: the nodes of the cluster.
        results: path or URI.
        on_every_node: `cluster.attach.nodes.on_every_node`.

    Returns:
        What is wrong, by host name; empty when all is well. What was written is removed again.

    Raises:
        ClusterError: the results directory cannot be written from here.
    """
    # A name of its own, so that two launches that look at the same time do not take each other's marks for theirs.
    place, options = split_options(results)
    folder = f"{place.rstrip('/')}/.shared-{uuid.uuid4().hex[:12]}{'?' if options else ''}{options}"
    # What the check had to make is removed again: a results directory that is there counts as one that was checked.
    new = [] if "://" in results else _missing(results)
    # From here first: without the launcher's file every node would seem to look at another folder.
    _mark_from_here(folder)
    try:
        # Each node looks for the launcher's file only: a folder that all share with the launcher they share with each
        # other.
        marks = [(folder, node.node_id, _HERE, _PATIENCE_S) for node in nodes]
        answers = on_every_node(nodes, probe.leave_mark, *marks)
        return {node.host: str(answers[node.node_id]) for node in nodes if answers[node.node_id] is not None}
    finally:
        _remove(folder)
        for path in new:
            with suppress(OSError):  # somebody has put something there meanwhile
                os.rmdir(path)


def _missing(path: str) -> list[str]:
    """The folder and those above it that do not exist, the deepest first."""
    missing = []
    # `lexists`, so that a link that leads nowhere counts as somebody's and is not removed.
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    return missing


def _mark_from_here(folder: str) -> None:
    try:
        if "://" not in folder:
            os.makedirs(folder)
        problem = probe.leave_mark(folder, _HERE, _HERE, 0.0)
    except (OSError, ValueError) as error:
        problem = str(error)
    if problem:
        raise ClusterError(f"--results {os.path.dirname(folder)}: cannot be written from here: {problem}")


def _remove(folder: str) -> None:
    if "://" not in folder:
        shutil.rmtree(folder, ignore_errors=True)
        return
    filesystem, root = open_location(folder)
    filesystem.delete_dir(root)
