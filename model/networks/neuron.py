"""A single ELM neuron (Spieler et al. 2024), vanilla or with branches.

Its synapses are excitatory or inhibitory by their channel, so their weights are rectified; the MLP's activation
function is a plain relu; the output is a linear map of the memory. The neuron without branches ("vanilla") is the case
in which every synapse is a branch of its own.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from model.architectures.elm_neuron import TAU_MARGIN, ElmNeuronConfig
from model.cell.interface import InputError, Output, check_input
from model.cell.layer import TANH_SCALE, TANH_SLOPE, DrawnLinear, absorbed_share, from_logit, log_spaced, to_logit
from model.config import ConfigError
from model.networks.neuron_scan import MemoryScan

NEURON_BACKENDS = ("auto", "torch", "reference")
"""`reference`: the definition, step by step under autograd; `torch`, which is `auto`: the same with own gradients"""

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

    def __init__(
        self, config: ElmNeuronConfig, generator: Generator, dtype: torch.dtype, backend: str = "auto"
    ) -> None:
        super().__init__()
        if backend not in NEURON_BACKENDS:
            raise ConfigError(
                f"backend: {backend!r} is not valid for ElmNeuronConfig; give {', '.join(NEURON_BACKENDS)}"
            )
        self.backend_name = "torch" if backend == "auto" else backend
        self.config = config
        self.branches = config.d_tree or config.k_c
        # not saved: it follows from the configuration, and nothing is drawn
        self.register_buffer("channel", synapse_channels(config), persistent=False)
        self.synapse_weight = nn.Parameter(torch.full((config.k_c,), _INITIAL_WEIGHT, dtype=dtype))
        sizes = [self.branches + config.d_m, *[config.mlp_width] * config.l_mlp, config.d_m]
        self.mlp = nn.ModuleList(DrawnLinear(fan_in, fan_out, generator, dtype) for fan_in, fan_out in pairwise(sizes))
        self.readout = DrawnLinear(config.d_m, config.n_out, generator, dtype)
        tau_D = log_spaced(config.tau_m_min, config.tau_m_max, config.d_m)
        if config.learn_tau_m:
            self.tau_logit = nn.Parameter(to_logit(tau_D, tau_bounds(config), TAU_MARGIN).to(dtype))
        else:
            # A buffer: fixed, but part of what a checkpoint must hold.
            self.register_buffer("tau_m", tau_D.to(dtype))

    def timescales(self) -> Tensor:
        """Memory timescales [D] in the unit of dt: fixed, or a sigmoid between the bounds of `tau_bounds`."""
        return from_logit(self.tau_logit, tau_bounds(self.config)) if self.config.learn_tau_m else self.tau_m

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
            InputError: see `model.cell.interface.check_input`.
        """
        x_BTI = check_input(x, self.config.n_in, self.synapse_weight.dtype)
        if x_BTI.dim() == 2:
            raise InputError(f"x: ids of shape {list(x.shape)} are not valid; a single neuron reads values")
        state = self.zero_state(len(x_BTI)) if state is None else state
        run = self._step_by_step if self.backend_name == "reference" else self._scan
        memory_BTD, state = run(x_BTI, state)
        nothing = x_BTI.new_zeros(())
        return Output(
            logits=self.readout(memory_BTD),
            state=state,
            mlp_out_magnitude=nothing,
            population_activity=nothing,
            activity=memory_BTD.detach() if keep_activity else None,
        )

    def _step_by_step(self, x_BTI: Tensor, state: ElmNeuronState) -> tuple[Tensor, ElmNeuronState]:
        """Memory of every step and the last state, as defined."""
        # Rectified, because a synapse that changes sign would turn from excitatory to inhibitory.
        synapse_BTC = torch.relu(self.synapse_weight) * x_BTI[..., self.channel]
        sums_BTR = synapse_BTC.view(*x_BTI.shape[:2], self.branches, -1).sum(3)
        keep_D, gain_D, kappa_b = self._constants()
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
        return torch.stack(memories, 1), ElmNeuronState(branch_BR, memory_BD)

    def _scan(self, x_BTI: Tensor, state: ElmNeuronState) -> tuple[Tensor, ElmNeuronState]:
        """Do the same by `model.networks.neuron_scan`; the last branch traces are a sum of the input over time."""
        keep_D, gain_D, kappa_b = self._constants()
        steps, synapse_C = x_BTI.shape[1], torch.relu(self.synapse_weight)
        layers: list[Tensor] = [tensor for linear in self.mlp for tensor in linear.parameters()]
        first_HK, bias_H, *rest = layers  # of every layer weight, then bias
        # The first layer reads branches and memory side by side; its two halves are applied at different times.
        branch_HR, recurrent_HD = first_HK[:, : self.branches], first_HK[:, self.branches :]
        per_branch = len(synapse_C) // self.branches
        # synapses, branches and first layer are linear and follow each other: one matrix from channels to hidden units
        spread_CH = synapse_C[:, None] * branch_HR.T.repeat_interleave(per_branch, 0)
        drive_IH = x_BTI.new_zeros(x_BTI.shape[2], len(branch_HR)).index_add(0, self.channel, spread_CH)
        # trace' = kappa trace + drive should hold the bias once, so every step adds what the decay takes of it
        drive_TBH = (x_BTI @ drive_IH + (1 - kappa_b) * bias_H).transpose(0, 1)
        trace_BH = state.branch_BR @ branch_HR.T + bias_H
        memory_TBD: Tensor = MemoryScan.apply(  # type: ignore[no-untyped-call]  # untyped in torch
            drive_TBH, trace_BH, state.memory_BD, kappa_b, keep_D, gain_D, recurrent_HD, torch.is_grad_enabled(), *rest
        )
        decay_T = kappa_b ** torch.arange(steps - 1, -1, -1, dtype=x_BTI.dtype, device=x_BTI.device)
        # A trace after the last step is its start, decayed, and the input, each step decayed by the time since.
        summed_BC = torch.einsum("t,bti->bi", decay_T, x_BTI)[:, self.channel] * synapse_C
        branch_BR = kappa_b**steps * state.branch_BR + summed_BC.view(len(x_BTI), self.branches, -1).sum(2)
        return memory_TBD.transpose(0, 1), ElmNeuronState(branch_BR, memory_TBD[-1])

    def _constants(self) -> tuple[Tensor, Tensor, float]:
        """Share of the memory that is kept, gain of what is absorbed, share of a branch trace that is kept."""
        config, steps_D = self.config, self.timescales() / self.config.dt
        gain_D = TANH_SCALE * absorbed_share(steps_D, config.lambda_, config.lambda_as_ratio)
        return torch.exp(-1.0 / steps_D), gain_D, config.kappa_b


def tau_bounds(config: ElmNeuronConfig) -> tuple[float, float]:
    """Bounds of learnt timescales: those of the range itself, as in the authors' PyTorch code; a network's are wider.

    The slope of a sigmoid is nothing at its ends, so that the shortest and the longest timescale hardly move.
    """
    return config.tau_m_min, config.tau_m_max


def synapse_channels(config: ElmNeuronConfig) -> Tensor:
    """List the channel that every synapse reads: each once, or windows at even distances that may overlap."""
    order = torch.arange(config.n_in)
    if config.interleaved:
        # Excitatory and inhibitory channels of one place follow each other, so that a window holds both kinds.
        order = order.view(2, -1).T.flatten()
    if config.d_branch is None:
        return order
    # the first window begins with the first channel and the last one ends with the last, the rest evenly between
    last = config.n_in - config.d_branch
    starts = [round(branch * last / max(1, config.d_tree - 1)) for branch in range(config.d_tree)]
    return torch.cat([order[start : start + config.d_branch] for start in starts])
