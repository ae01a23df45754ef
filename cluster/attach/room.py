"""The room that a cluster has for lanes at the moment, asked again as nodes come and go."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cluster.attach import probe
from cluster.attach.lanes import LaneShape, fitting_trials, lane_shapes
from cluster.attach.nodes import Node, cluster_nodes, on_every_node
from cluster.errors import ClusterError

_MIB = 2**20


class Room:
    """Says how many lanes of which kind the nodes have room for; needs a connection.

    Args:
        device: torch device of the trials.
        trials_per_gpu: lanes that share one GPU; None means as many as fit its memory.
        trial_bytes: memory that the largest trial is expected to need, for `trials_per_gpu` None.
        lanes: number of lanes asked for; those beyond the room wait for nodes.
        threads: CPUs that a lane takes where trials run on CPUs.
    """

    def __init__(
        self,
        device: str,
        *,
        trials_per_gpu: int | None = 1,
        trial_bytes: int = 0,
        lanes: int | None = None,
        threads: int = 1,
    ) -> None:
        self._device, self._trials_per_gpu, self._trial_bytes, self._lanes = device, trials_per_gpu, trial_bytes, lanes
        self._threads = threads
        self._memory: dict[str, Any] = {}

    def __call__(self, without: Collection[str] = ()) -> tuple[LaneShape, ...]:
        """The lanes there is room for now.

        Args:
            without: ids of nodes that are to get none.

        Raises:
            ClusterError: no node has what the device asks for, or not even one trial fits a GPU.
        """
        # Asked anew each time: nodes come and go while a sweep runs.
        nodes = [node for node in cluster_nodes() if node.node_id not in without]
        packed: int | Mapping[str, int] = self._trials_per_gpu or 1
        if self._trials_per_gpu is None and self._device.startswith("cuda"):
            packed = self._packed(nodes)
        return lane_shapes(nodes, device=self._device, trials_per_gpu=packed, lanes=self._lanes, threads=self._threads)

    def _packed(self, nodes: Sequence[Node]) -> dict[str, int]:
        """Trials that fit each GPU type; nodes are asked for their GPUs' memory once."""
        new = [node for node in nodes if node.gpus and node.node_id not in self._memory]
        # Once per node: the question starts a process there, and the room is asked for every few seconds.
        self._memory |= on_every_node(new, probe.node_facts) if new else {}
        return packed_by_type(nodes, self._memory, self._trial_bytes)


def packed_by_type(nodes: Sequence[Node], facts: Mapping[str, Any], trial_bytes: int) -> dict[str, int]:
    """Number of trials that fit each GPU type by memory.

    Args:
        nodes: the nodes.
        facts: `probe.node_facts` by node id, or the error instead.
        trial_bytes: expected peak of one trial.

    Raises:
        ClusterError: a trial does not fit, or a node does not say how much memory its GPUs have.
    """
    packed: dict[str, int] = {}
    for node in (node for node in nodes if node.gpus):
        answer = facts[node.node_id]
        if isinstance(answer, ClusterError) or not answer["gpus"]:
            why = answer if isinstance(answer, ClusterError) else "nvidia-smi shows none"
            raise ClusterError(f"--trials-per-gpu auto: the memory of the GPUs of {node.host} is not known: {why}")
        # Lanes cannot choose among GPUs of one type, so that the one with the least memory decides.
        smallest = min(memory for _, memory in answer["gpus"]) * _MIB
        fitting = fitting_trials(smallest, trial_bytes)
        kind = node.gpu_type or ""
        packed[kind] = min(fitting, packed.get(kind, fitting))
    return packed
