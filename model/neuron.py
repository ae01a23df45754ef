"""A single ELM neuron (Spieler et al. 2024), vanilla or with branches.

Its synapses are excitatory or inhibitory by their channel, so their weights are rectified; the MLP's activation
function is a plain relu; the output is a linear map of the memory. The neuron without branches ("vanilla") is the case
in which every synapse is a branch of its own.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from model.config import ElmNeuronConfig
from model.interface import InputError, Output, check_input
from model.layer import TANH_SCALE, TANH_SLOPE, DrawnLinear, absorbed_share, log_spaced

_INITIAL_WEIGHT = 0.5
"""synaptic weight before training (assumption: as the authors' PyTorch code starts them)"""


class ElmNeuronState(NamedTuple):
    """State of an ELM neuron after a time step."""

    branch_BR: Tensor
    """branch traces"""
    memory_BD: Tensor
    """memory"""


class ElmNeuron(nn.Module):
    """One ELM neuron, batch by batch; `state.memory_BD` of every step is returned as `activity` when asked for."""

    channel: Tensor
    tau_m: Tensor
    backend_name = "reference"

    def __init__(self, config: ElmNeuronConfig, generator: Generator, dtype: torch.dtype) -> None:
        super().__init__()
        self.config = config
        self.branches = config.d_tree or config.k_c
        self.register_buffer("channel", synapse_channels(config), persistent=False)
        self.synapse_weight = nn.Parameter(torch.full((config.k_c,), _INITIAL_WEIGHT, dtype=dtype))
        sizes = [self.branches + config.d_m, *[config.mlp_width] * config.l_mlp, config.d_m]
        self.mlp = nn.ModuleList(DrawnLinear(fan_in, fan_out, generator, dtype) for fan_in, fan_out in pairwise(sizes))
        self.readout = DrawnLinear(config.d_m, config.n_out, generator, dtype)
        self.register_buffer("tau_m", log_spaced(config.tau_m_min, config.tau_m_max, config.d_m).to(dtype))

    def zero_state(self, batch_size: int) -> ElmNeuronState:
        """State before the first step: all zero."""
        like = self.synapse_weight
        return ElmNeuronState(like.new_zeros(batch_size, self.branches), like.new_zeros(batch_size, self.config.d_m))

    def forward(self, x: Tensor, state: ElmNeuronState | None = None, *, keep_activity: bool = False) -> Output:
        """Run a segment of a sequence.

        Args:
            x: values [B, T, n_in], floating point or uint8; inhibitory channels hold negative values.
            state: state to start from; None is the zero state.
            keep_activity: whether to return the memory of every step, [B, T, D], as `activity`.

        Raises:
            InputError: see `model.interface.check_input`.
        """
        config = self.config
        x_BTI = check_input(x, config.n_in, self.synapse_weight.dtype)
        if x_BTI.dim() == 2:
            raise InputError(f"x: ids of shape {list(x.shape)} are not valid; a single neuron reads values")
        state = self.zero_state(len(x_BTI)) if state is None else state
        synapse_BTC = torch.relu(self.synapse_weight) * x_BTI[..., self.channel]
        sums_BTR = synapse_BTC.view(*x_BTI.shape[:2], self.branches, -1).sum(3)
        keep_D = torch.exp(-1.0 / self.tau_m)
        gain_D = TANH_SCALE * absorbed_share(self.tau_m, config.lambda_, config.lambda_as_ratio)
        kappa_b = math.exp(-1.0 / config.tau_b)
        branch_BR, memory_BD = state
        memories = []
        for sums_BR in sums_BTR.unbind(1):
            branch_BR = kappa_b * branch_BR + sums_BR
            kept_BD = keep_D * memory_BD
            signal = torch.cat([branch_BR, kept_BD], -1)
            for linear in self.mlp[:-1]:
                signal = torch.relu(linear(signal))
            memory_BD = kept_BD + gain_D * torch.tanh(TANH_SLOPE * self.mlp[-1](signal))
            memories.append(memory_BD)
        memory_BTD = torch.stack(memories, 1)
        nothing = x_BTI.new_zeros(())
        return Output(
            logits=self.readout(memory_BTD),
            state=ElmNeuronState(branch_BR, memory_BD),
            mlp_out_magnitude=nothing,
            population_activity=nothing,
            activity=memory_BTD.detach() if keep_activity else None,
        )


def synapse_channels(config: ElmNeuronConfig) -> Tensor:
    """List the channel that every synapse reads: each once, or windows at even distances that may overlap."""
    order = torch.arange(config.n_in)
    if config.interleaved:
        order = order.view(2, -1).T.flatten()
    if config.d_branch is None:
        return order
    last = config.n_in - config.d_branch
    starts = [round(branch * last / max(1, config.d_tree - 1)) for branch in range(config.d_tree)]
    return torch.cat([order[start : start + config.d_branch] for start in starts])
