"""How many lanes a cluster has room for, and what each of them asks Ray for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import ClusterError

if TYPE_CHECKING:
    from cluster.attach.nodes import Node

_GPU_STEP = 1e-4
"""Ray counts resources in steps of this size."""
_TYPE_SHARE = 0.001
"""What a lane takes of a node's accelerator_type resource, of which each node has 1; it only says where to run."""


@dataclass(frozen=True, kw_only=True)
class LaneShape:
    """Lanes that ask Ray for the same resources."""

    count: int
    """Number of lanes."""
    cpus: float
    """CPUs of each."""
    gpus: float = 0.0
    """GPUs of each; below one where several lanes share a GPU."""
    gpu_type: str | None = None
    """The GPU type they are bound to; None where there is only one."""

    @property
    def resources(self) -> dict[str, float]:
        """As Ray counts them."""
        amounts = {"CPU": self.cpus, "GPU": self.gpus}
        if self.gpu_type is not None:
            amounts[f"accelerator_type:{self.gpu_type}"] = _TYPE_SHARE
        return {name: amount for name, amount in amounts.items() if amount}


def lane_shapes(
    nodes: Sequence["Node"],
    *,
    device: str,
    trials_per_gpu: int | Mapping[str, int] = 1,
    lanes: int | None = None,
    threads: int = 1,
) -> tuple[LaneShape, ...]:
    """Fill a cluster with lanes.

    Args:
        nodes: the nodes.
        device: torch device of the trials; `cpu` gives one lane per `threads` CPUs, `cuda` lanes on GPUs only.
        trials_per_gpu: lanes that share one GPU, for all GPU types or by type; see `fitting_trials`.
        lanes: number of lanes that was asked for; as many as fit when None. More than fit wait for nodes to come.
        threads: CPUs of a lane that trains on them.

    Returns:
        One shape per GPU type, most lanes first; one shape on CPUs.

    Raises:
        ClusterError: GPUs are asked for and there are none, or there are no CPUs either, or no node with as many as a
            lane takes.
    """
    if not device.startswith("cuda"):
        # Node by node: halves of a lane's CPUs on two nodes make no lane.
        room = sum(int(node.cpus) // threads for node in nodes)
        if room == 0 and lanes is None and any(node.cpus >= 1 for node in nodes):
            raise ClusterError(f"--threads {threads}: no node of the cluster offers that many CPUs")
        if room == 0 and lanes is None:
            raise ClusterError("the cluster offers no CPUs; start its nodes with --num-cpus, or give --lanes")
        return (LaneShape(count=lanes or room, cpus=float(threads)),)
    by_type: dict[str | None, list["Node"]] = {}
    for node in nodes:
        if int(node.gpus):
            by_type.setdefault(node.gpu_type, []).append(node)
    if not by_type and lanes is None:
        raise ClusterError(f"--device {device}: none of the {len(nodes)} nodes has a GPU that Ray may use")
    if not by_type:
        # No GPU to ask yet: of the numbers known, the smallest is the one least likely to be too large.
        packed = trials_per_gpu if isinstance(trials_per_gpu, int) else min(trials_per_gpu.values(), default=1)
        return (LaneShape(count=lanes or 1, cpus=1.0, gpus=gpu_share(packed)),)
    shapes = [_on_gpus(kind, group, trials_per_gpu, bound=len(by_type) > 1) for kind, group in by_type.items()]
    # Most lanes first: where fewer are asked for than fit, they come from the type that the cluster has most of.
    return _limited(sorted(shapes, key=lambda shape: -shape.count), lanes)


def _on_gpus(
    kind: str | None, nodes: Sequence["Node"], trials_per_gpu: int | Mapping[str, int], *, bound: bool
) -> LaneShape:
    packed = trials_per_gpu if isinstance(trials_per_gpu, int) else trials_per_gpu.get(kind or "", 1)
    # A CPU for each lane, or a part of one where a node has fewer CPUs than lanes: else its GPUs could not all be used.
    cpus = min(1.0, *(node.cpus / (int(node.gpus) * packed) for node in nodes))
    return LaneShape(
        count=sum(int(node.gpus) * packed for node in nodes),
        cpus=_down(cpus),
        gpus=gpu_share(packed),
        # Bound only where types differ: with one type Ray needs no help, and nodes whose type it does not know still
        # fit.
        gpu_type=kind if bound else None,
    )


def _limited(shapes: Sequence[LaneShape], lanes: int | None) -> tuple[LaneShape, ...]:
    """Cut to the number asked for; what is asked for beyond the room goes to the largest group."""
    if lanes is None:
        return tuple(shapes)
    left, kept = lanes, []
    for shape in shapes:
        count = min(shape.count, left)
        left -= count
        if count:
            kept.append((shape, count))
    # Those beyond the room wait, for a node of the kind that the cluster has most of.
    kept[0] = (kept[0][0], kept[0][1] + left)
    return tuple(
        LaneShape(count=count, cpus=shape.cpus, gpus=shape.gpus, gpu_type=shape.gpu_type) for shape, count in kept
    )


def gpu_share(trials: int) -> float:
    """Share of a GPU that so many lanes can each have, in Ray's steps."""
    return 1.0 if trials == 1 else _down(1.0 / trials)


def fitting_trials(gpu_bytes: int, trial_bytes: int, *, reserve: float = 0.1, most: int = 16) -> int:
    """Number of trials whose memory fits one GPU together.

    Args:
        gpu_bytes: memory of the GPU.
        trial_bytes: expected peak of one trial, the CUDA context (300 to 500 MB) included.
        reserve: share kept free, since the expectation has an error.
        most: limit, since lanes that share a GPU also share its time.

    Raises:
        ClusterError: not even one fits.
    """
    fitting = int(gpu_bytes * (1 - reserve) // max(1, trial_bytes))
    if fitting == 0:
        raise ClusterError(
            f"a trial is expected to need {trial_bytes / 2**30:.1f} GiB and the GPU has {gpu_bytes / 2**30:.1f} GiB"
        )
    return min(fitting, most)


def _down(amount: float) -> float:
    # Down and never up: shares that add up to more than the whole would leave one lane without a place.
    return int(amount / _GPU_STEP) * _GPU_STEP
