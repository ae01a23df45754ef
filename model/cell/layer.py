"""One layer of ELM neurons: parameters, wiring and a single time step, written to be read."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Generator, Tensor, nn

from model.config import READOUT_D_M, READOUT_L_MLP, ElmConfig

TANH_SCALE = 1.7159
"""height of the memory's update nonlinearity (LeCun's scaled tanh; Spieler et al. 2024)"""
TANH_SLOPE = 2.0 / 3.0
"""slope inside it"""


class MemoryRates(NamedTuple):
    """What the timescales mean for one time step, each [N, D]."""

    keep_ND: Tensor
    """kappa_m = exp(-dt / tau_m): the share of the memory that stays"""
    absorb_ND: Tensor
    """the share of the update that is taken in"""


class LayerStep(NamedTuple):
    """Result of one time step of a layer."""

    output_BN: Tensor
    """high-passed read-out of the memory plus bias, before the activation function"""
    memory_BND: Tensor
    """memory after the step"""
    average_BN: Tensor
    """running average of the high-pass filter after the step; [B, 0] without filter"""
    branch_BNR: Tensor
    """branch traces after the step; [B, N, 0] without traces"""
    mlp_out_BND: Tensor
    """the MLP's output o, which the regulariser looks at"""


class ElmLayer(nn.Module):
    """A layer of `n_rec` ELM neurons, each with its own synapses, MLP, timescales and output weights."""

    connectome: Tensor
    tau_m: Tensor

    def __init__(self, config: ElmConfig, generator: Generator, dtype: torch.dtype) -> None:
        """Draw wiring and weights from `generator`, always in float64, so that precisions share their numbers."""
        super().__init__()
        self.config = config
        self._kept_rates: tuple[tuple[Any, ...], MemoryRates] | None = None
        n, width = config.n_rec, config.mlp_width
        # a buffer: it is saved with the weights, without which they would mean nothing, and is not trained
        self.register_buffer("connectome", draw_connectome(config, generator))
        self.synapse_weight = _uniform((n, config.k_c), config.d_branch, generator, dtype)
        sizes = [config.d_tree + config.d_m, *[width] * config.l_mlp, config.d_m]
        self.mlp = nn.ModuleList(
            NeuronLinear(n, fan_in, fan_out, generator, dtype) for fan_in, fan_out in pairwise(sizes)
        )
        self.readout_weight = _uniform((n, config.d_m), config.d_m, generator, dtype)
        # Zero and not drawn, as published.
        self.bias = nn.Parameter(torch.zeros(n, dtype=dtype))
        # contiguous, because the rows of an expanded tensor are one piece of memory, which loading weights cannot write
        tau_ND = log_spaced(config.tau_m_min, config.tau_m_max, config.d_m).expand(n, -1).contiguous()
        if config.learn_tau_m:
            self.tau_logit = nn.Parameter(to_logit(tau_ND, tau_bounds(config)).to(dtype))
        else:
            self.register_buffer("tau_m", tau_ND.to(dtype))

    def mlp_tensors(self) -> list[Tensor]:
        """List weight and bias of the MLP's layers in turn."""
        return [tensor for linear in cast(list[NeuronLinear], self.mlp) for tensor in (linear.weight, linear.bias)]

    def timescales(self) -> Tensor:
        """Memory timescales [N, D] in the unit of dt: fixed, or a sigmoid between the bounds of `tau_bounds`."""
        return from_logit(self.tau_logit, tau_bounds(self.config)) if self.config.learn_tau_m else self.tau_m

    def rates(self) -> MemoryRates:
        """Turn the timescales into the factors of one time step; computed once where they are not trained."""
        # learnt ones change at every step of the optimiser, and the graph of one pass is gone after its backward
        if self.config.learn_tau_m:
            return self._rates()
        # the version counts writes in place, such as load_state_dict; the pointer changes with the device
        key = (self.tau_m.data_ptr(), self.tau_m._version, self.tau_m.dtype)
        if self._kept_rates is None or self._kept_rates[0] != key:
            self._kept_rates = key, self._rates()
        return self._kept_rates[1]

    def _rates(self) -> MemoryRates:
        steps_ND = self.timescales() / self.config.dt
        absorb_ND = absorbed_share(steps_ND, self.config.lambda_, self.config.lambda_as_ratio)
        return MemoryRates(torch.exp(-1.0 / steps_ND), absorb_ND)

    def step(
        self, u_BU: Tensor, memory_BND: Tensor, average_BN: Tensor, branch_BNR: Tensor, rates: MemoryRates
    ) -> LayerStep:
        """Advance every neuron by one time step.

        Args:
            u_BU: the layer's input channels followed by its own previous activity, [B, I + N].
            memory_BND: memory before the step.
            average_BN: running average of the high-pass filter before the step.
            branch_BNR: branch traces before the step.
            rates: `self.rates()`, hoisted out of the loop over time.
        """
        config = self.config
        synapse_BNC = self.synapse_weight * u_BU[:, self.connectome]
        sums_BNR = config.input_scale * synapse_BNC.view(-1, config.n_rec, config.d_tree, config.d_branch).sum(-1)
        if config.kappa_b is not None:
            branch_BNR = sums_BNR = config.kappa_b * branch_BNR + sums_BNR
        kept_BND = rates.keep_ND * memory_BND  # the MLP reads what is left of the memory, not the memory before decay
        # branches and memory feed one MLP, in this order; every back end and the golden files rely on it
        hidden_BNH = torch.cat([sums_BNR, kept_BND], dim=-1)
        for linear in self.mlp[:-1]:
            # Squared rectification, as published; its slope is 0 at 0, so that a unit opens smoothly.
            hidden_BNH = torch.relu(linear(hidden_BNH)).square()
        mlp_out_BND = self.mlp[-1](hidden_BNH)
        memory_BND = kept_BND + rates.absorb_ND * TANH_SCALE * torch.tanh(TANH_SLOPE * mlp_out_BND)
        y_BN = (self.readout_weight * memory_BND).sum(-1)
        if config.kappa_r is not None:
            # The average includes this step, and is subtracted afterwards: a high-pass filter of the output.
            average_BN = config.kappa_r * average_BN + (1.0 - config.kappa_r) * y_BN
            y_BN = y_BN - average_BN
        return LayerStep(y_BN + self.bias, memory_BND, average_BN, branch_BNR, mlp_out_BND)


class NeuronLinear(nn.Module):
    """An affine map of its own for every neuron: weight [N, out, in], bias [N, out]."""

    def __init__(self, n: int, fan_in: int, fan_out: int, generator: Generator, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = _uniform((n, fan_out, fan_in), fan_in, generator, dtype)
        self.bias = _uniform((n, fan_out), fan_in, generator, dtype)

    def forward(self, x_BNI: Tensor) -> Tensor:
        """Map [B, N, in] to [B, N, out]."""
        return torch.einsum("noi,bni->bno", self.weight, x_BNI) + self.bias


class DrawnLinear(nn.Linear):
    """Torch's linear layer with weights and biases ~ U(-1, 1) / sqrt(fan_in) from a generator of our own."""

    def __init__(self, fan_in: int, fan_out: int, generator: Generator, dtype: torch.dtype) -> None:
        super().__init__(fan_in, fan_out, dtype=dtype)
        self.weight = _uniform((fan_out, fan_in), fan_in, generator, dtype)
        self.bias = _uniform((fan_out,), fan_in, generator, dtype)

    def reset_parameters(self) -> None:
        """Leave the global generator alone; `__init__` draws."""


def readout_config(config: ElmConfig) -> ElmConfig:
    """Describe the read-out layer: linear ELM neurons that read the recurrent layer and not themselves."""
    # All other settings are the recurrent layer's, as in the published networks.
    return replace(
        config,
        n_in=config.n_rec,
        n_rec=config.n_out,
        d_m=READOUT_D_M,
        d_mlp=None,
        l_mlp=READOUT_L_MLP,
        rho_rec=0.0,
        rewire=1.0,
        modules=1,
        tau_r=None,
        dropout_rec=0.0,
    )


def draw_connectome(config: ElmConfig, generator: Generator) -> Tensor:
    """Draw what every synapse reads, with replacement.

    Returns:
        Indices [N, C], int64: below n_in an input channel, from n_in on a recurrent neuron (with probability rho_rec).
    """
    # all three are drawn for every synapse, so that rho_rec changes which draw counts and not the draws after it
    shape = (config.n_rec, config.k_c)
    chance = torch.rand(shape, generator=generator, dtype=torch.float64)
    channel = torch.randint(0, config.n_in, shape, generator=generator)
    neuron = torch.randint(config.n_in, config.n_in + config.n_rec, shape, generator=generator)
    if config.rewire < 1.0:
        # Nothing more is drawn, so that networks of any wiring share all draws: below rho_rec the chance is as uniform
        # as before, and so is the neuron, whose number becomes its rank among those nearby.
        nearby = config.n_in + _nearby(config, neuron - config.n_in)
        neuron = torch.where(chance < config.rewire * config.rho_rec, neuron, nearby)
    return torch.where(chance < config.rho_rec, neuron, channel)


def _nearby(config: ElmConfig, drawn: Tensor) -> Tensor:
    """Turn numbers drawn from all neurons into neurons near the one that reads, itself among them, both [N, C]."""
    n = config.n_rec
    own = torch.arange(n).unsqueeze(1)
    if config.modules > 1:
        # A part holds the neurons i of one i * modules // n, so that none is empty for those that belong to it.
        part = own * config.modules // n
        first, behind = (-(-edge * n // config.modules) for edge in (part, part + 1))
        return first + drawn * (behind - first) // n
    # As in Watts and Strogatz (1998), who rewire a ring in which each is joined to its nearest neighbours.
    reach = max(1, round(config.rho_rec * config.k_c / 2))
    width = min(n, 2 * reach + 1)
    return (own + drawn * width // n - width // 2) % n


def log_spaced(low: float, high: float, count: int) -> Tensor:
    """Space `count` timescales evenly on the logarithmic scale from `low` to `high`, float64."""
    tau = torch.logspace(math.log10(low), math.log10(high), count, dtype=torch.float64)
    return tau.clamp(low, high)  # 10 ** log10(low) may be below low by a rounding


def absorbed_share(steps: Tensor, lambda_: float, lambda_as_ratio: bool) -> Tensor:
    """Share of the memory's update that is taken in, for timescales in steps; see `ElmConfig.lambda_as_ratio`."""
    # expm1: for timescales of many steps 1 - exp(-1 / tau) would lose its leading digits
    if lambda_as_ratio:
        return -torch.expm1(-lambda_ / steps)
    return -lambda_ * torch.expm1(-1.0 / steps)


def tau_bounds(config: ElmConfig) -> tuple[float, float]:
    """Bounds of learnt timescales: [tau_m_min / 10, tau_m_max * sqrt(10)] (published implementation)."""
    return config.tau_m_min / 10.0, config.tau_m_max * math.sqrt(10.0)


def from_logit(logit: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Learnt timescales from what is trained: a sigmoid between the bounds."""
    low, high = bounds
    return low + (high - low) * torch.sigmoid(logit)


def to_logit(tau: Tensor, bounds: tuple[float, float], margin: float = 0.0) -> Tensor:
    """Undo `from_logit`, for timescales that are moved to at least `margin` from either bound."""
    low, high = bounds
    return torch.logit((tau - low) / (high - low), eps=margin / (high - low))


def _uniform(shape: tuple[int, ...], fan_in: int, generator: Generator, dtype: torch.dtype) -> nn.Parameter:
    """Draw U(-1, 1) / sqrt(fan_in)."""
    # torch draws other numbers for other precisions, so all are drawn in double precision and rounded last
    draw = torch.rand(shape, generator=generator, dtype=torch.float64)
    return nn.Parameter(((2.0 * draw - 1.0) / math.sqrt(fan_in)).to(dtype))
