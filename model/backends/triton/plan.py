"""What of a network stays the same from call to call, and how its work is cut into programs."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from model.backends.batch_last import synapse_places
from model.cell.parts import NetworkParts

# Estimates on paper for an H100 (docs/gpu.md), which decide nothing but how the work is cut; unmeasured.
_STEP_SECONDS = 2e-6
"""time of a step in which nothing is computed, in one program: its barriers and trips to the second-level cache"""
_LAUNCH_SECONDS = 4e-6
"""the same for a step that is a launch of its own, within a CUDA graph"""
_RATE = 60e9
"""operations per second of one multiprocessor in these kernels: a seventh of its arithmetic"""
_MOST_THREADS = 256
_MOST_NUMBERS = 16
"""numbers of a tile that one thread holds: compiled for sm_90, more of them spill from its 255 registers"""


@dataclass(frozen=True, kw_only=True)
class TritonPlan:
    """Sizes and wiring of a network's recurrent layer; K networks are stacked and `n` counts all their neurons."""

    networks: int
    """K"""
    n: int
    """neurons of all networks"""
    channels: int
    """input channels of all networks, which are the first rows of the table that synapses read"""
    d_tree: int
    d_branch: int
    d_m: int
    width: int
    """hidden width of the MLPs"""
    layers: int
    """hidden layers of the MLPs"""
    kappa_r: float | None
    """decay of the running average that high-passes the output; None without one"""
    kappa_b: float | None
    """decay of the branch traces; None without them"""
    source: Tensor
    """table row that every synapse reads, [n * R * S] int32"""
    start: Tensor
    """where the synapses that read a neuron begin in `reader`, and where the last end, [n + 1] int32"""
    reader: Tensor
    """branch of every synapse that reads a neuron, grouped by that neuron, [L] int32"""
    order: Tensor
    """place of those synapses among all, [L]"""
    decays: Tensor
    """kappa_r and kappa_b, 0 where there is none, in the network's precision: as plain numbers they would be float32"""
    readout_places: Tensor
    """see `model.backends.batch_last.synapse_places`"""

    @property
    def operations(self) -> int:
        """Operations of one neuron's step forward for one batch row."""
        sizes = [self.d_tree + self.d_m, *[self.width] * self.layers, self.d_m]
        mlp = sum(before * after for before, after in pairwise(sizes))
        return 2 * (self.d_tree * self.d_branch + mlp + self.d_m)


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How the neurons and batch rows of a step are cut into programs."""

    persistent: bool
    """whether a program has a whole network and takes all steps; else every step is a launch"""
    neurons: int
    """neurons of a tile"""
    batch: int
    """batch rows of a tile, and of a program"""
    warps: int
    """warps of 32 threads of a program"""

    @property
    def listed(self) -> int:
        """Readers of a neuron that are summed side by side on the way back: at least 4 for each thread."""
        return power_of_two(max(4, 128 * self.warps // (self.neurons * self.batch)))


def triton_plan(network: NetworkParts) -> TritonPlan:
    """Lay out the wiring of K stacked networks of one shape."""
    config = network.config
    connectome_KNC = network.hidden.connectome if network.stacked else network.hidden.connectome.unsqueeze(0)
    networks, neurons, _ = connectome_KNC.shape
    n, channels = networks * neurons, networks * config.n_in
    network_K11 = torch.arange(networks, device=connectome_KNC.device).view(-1, 1, 1)
    # from the numbering of one network to the rows of the table that all share, [channels | neurons]
    source = torch.where(
        connectome_KNC < config.n_in,
        network_K11 * config.n_in + connectome_KNC,
        channels + network_K11 * neurons + connectome_KNC - config.n_in,
    ).flatten()
    recurrent = torch.nonzero(source >= channels).squeeze(1)
    # Stable, so that the order of a sum is that of the wiring; sums in a fixed order give the same bits again.
    order = recurrent[torch.argsort(source[recurrent], stable=True)]
    start = torch.zeros(n + 1, dtype=torch.int64, device=source.device)
    start[1:] = torch.bincount(source[order] - channels, minlength=n).cumsum(0)
    return TritonPlan(
        networks=networks,
        n=n,
        channels=channels,
        d_tree=config.d_tree,
        d_branch=config.d_branch,
        d_m=config.d_m,
        width=config.mlp_width,
        layers=config.l_mlp,
        kappa_r=config.kappa_r,
        kappa_b=config.kappa_b,
        source=source.int(),
        start=start.int(),
        reader=torch.div(order, config.d_branch, rounding_mode="floor").int(),
        order=order,
        decays=network.output.weight.new_tensor([config.kappa_r or 0.0, config.kappa_b or 0.0]),
        readout_places=synapse_places(network),
    )


def choose_tiling(plan: TritonPlan, batch: int, processors: int) -> Tiling:
    """Choose between one program for each network and one launch for each step, by the times estimated above.

    Args:
        plan: the networks.
        batch: rows of the batch.
        processors: multiprocessors of the device.
    """
    most = min(32, power_of_two(batch))
    # Fewer rows a program make more programs, as long as processors are idle.
    rows = {size: _persistent_seconds(plan, batch, size, processors) for size in (8, 16, 32) if size <= most}
    best = min(rows, key=lambda size: (rows[size], -size), default=most)
    work = plan.n * batch * plan.operations / (processors * _RATE)
    persistent = not rows or rows[best] <= _LAUNCH_SECONDS + work
    return tiling_of(plan, batch, persistent=persistent, rows=best)


def tiling_of(plan: TritonPlan, batch: int, *, persistent: bool, rows: int | None = None) -> Tiling:
    """Fit tiles to a network's sizes; `rows` is the batch rows of a program, at most 32."""
    columns = min(8 if not persistent else 32, power_of_two(batch)) if rows is None else rows
    longest = power_of_two(max(plan.d_tree, plan.d_m, plan.width))
    if not persistent:
        threads = min(_MOST_THREADS, max(128, longest * columns // 4))
        return Tiling(persistent=False, neurons=max(1, 128 // (longest * columns)), batch=columns, warps=threads // 32)
    # one thread for each neuron and row, or for a part of the neuron where its vectors are long
    threads = min(_MOST_THREADS, max(32, power_of_two(plan.n // plan.networks) * columns))
    neurons = min(threads // columns, max(1, _MOST_NUMBERS * threads // (longest * columns)))
    return Tiling(persistent=True, neurons=power_of_two(neurons), batch=columns, warps=threads // 32)


def power_of_two(count: int) -> int:
    """Smallest power of two that is not below a count."""
    return 1 << max(0, count - 1).bit_length()


def _persistent_seconds(plan: TritonPlan, batch: int, rows: int, processors: int) -> float:
    programs = plan.networks * math.ceil(batch / rows)
    work = plan.n // plan.networks * rows * plan.operations / _RATE
    return _STEP_SECONDS + math.ceil(programs / processors) * work
