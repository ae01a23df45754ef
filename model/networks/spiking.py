"""A recurrent network of leaky integrate-and-fire neurons with surrogate gradients, through snntorch."""

import math
from typing import NamedTuple

import snntorch
import torch
from snntorch import surrogate
from torch import Generator, Tensor, nn

from model.architectures.spiking import SnnConfig
from model.cell.interface import DropoutMasks, Output
from model.cell.layer import DrawnLinear, log_spaced
from model.networks.baseline import BaselineNetwork


class SnnState(NamedTuple):
    """State of a spiking network after a time step."""

    spikes_BN: Tensor
    """spikes, which the recurrent synapses read next"""
    membrane_BN: Tensor
    """membrane potentials"""
    readout_BO: Tensor
    """membrane potentials of the read-out units, which do not spike"""


class SpikingNetwork(BaselineNetwork):
    """Recurrent leaky integrate-and-fire neurons -> leaky read-out units, whose membranes are the logits."""

    config: SnnConfig

    def __init__(self, config: SnnConfig, generator: Generator, dtype: torch.dtype) -> None:
        super().__init__()
        self.config = config
        self.input = DrawnLinear(config.n_in, config.n_rec, generator, dtype)
        # a bare matrix: the bias of these neurons is that of `input`
        draw = torch.rand((config.n_rec, config.n_rec), generator=generator, dtype=torch.float64)
        self.recurrent_weight = nn.Parameter(((2.0 * draw - 1.0) / math.sqrt(config.n_rec)).to(dtype))
        # Spread on the logarithmic scale, as the memories of an ELM neuron are.
        beta_N = torch.exp(-1.0 / log_spaced(config.tau_m_min, config.tau_m_max, config.n_rec)).to(dtype)
        # A spike is a step, whose derivative is 0 almost everywhere; training replaces it by that of an arctan.
        spike_grad = surrogate.atan(alpha=config.surrogate_slope)
        self.neurons = snntorch.Leaky(beta=beta_N, spike_grad=spike_grad, learn_beta=config.learn_tau_m)
        self.output = DrawnLinear(config.n_rec, config.n_out, generator, dtype)

    def zero_state(self, batch_size: int) -> SnnState:
        """State before the first step: no spikes, membranes at rest."""
        zeros_BN = self.recurrent_weight.new_zeros(batch_size, self.config.n_rec)
        return SnnState(zeros_BN, zeros_BN.clone(), self.recurrent_weight.new_zeros(batch_size, self.config.n_out))

    def forward(
        self,
        x: Tensor,
        state: SnnState | None = None,
        *,
        masks: DropoutMasks | None = None,
        keep_activity: bool = False,
    ) -> Output:
        """Run a segment of a sequence; arguments and errors as for `model.networks.elm_network.ElmNetwork.forward`.

        `population_activity` is the mean number of spikes per neuron and step.
        """
        x_BTI, masks = self.read(x, masks)
        spikes_BN, membrane_BN, readout_BO = self.zero_state(len(x)) if state is None else state
        spikes = []
        # what depends on the input alone is one product over the sequence; spikes must be taken step by step
        for current_BN in self.input(x_BTI).unbind(1):
            seen_BN = spikes_BN if masks is None else spikes_BN * masks.recurrent_BN
            drive_BN = torch.addmm(current_BN, seen_BN, self.recurrent_weight.T)
            spikes_BN, membrane_BN = self.neurons(drive_BN, membrane_BN)
            spikes_BN = spikes_BN.to(drive_BN.dtype)  # snntorch's spikes are single precision
            spikes.append(spikes_BN)
        spikes_BTN = torch.stack(spikes, 1)
        # A leaky read-out sums spikes over time, since a single step's spikes say little.
        kappa_out, logits = math.exp(-1.0 / self.config.tau_out), []
        for drive_BO in self.read_out(spikes_BTN, masks).unbind(1):
            readout_BO = torch.add(drive_BO, readout_BO, alpha=kappa_out)
            logits.append(readout_BO)
        return Output(
            logits=torch.stack(logits, 1),
            state=SnnState(spikes_BN, membrane_BN, readout_BO),
            mlp_out_magnitude=spikes_BTN.new_zeros(()),
            population_activity=spikes_BTN.mean(),
            activity=spikes_BTN.detach() if keep_activity else None,
        )
