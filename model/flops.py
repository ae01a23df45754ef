"""Floating-point operations of any architecture, exact from its configuration. Standard library only.

Counted are the multiplications and additions of weighted sums (two for each weight and use); element-wise work is not.
One-hot and sparse inputs count as dense, so that architectures are compared on the same footing.
"""

from dataclasses import dataclass
from itertools import pairwise

from model.config import (
    READOUT_D_M,
    READOUT_L_MLP,
    ConfigError,
    ElmConfig,
    ElmNeuronConfig,
    GruConfig,
    LstmConfig,
    ModelConfig,
    SnnConfig,
)


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Operations of the forward pass for one time step of one sequence."""

    synapses: int
    """weighted sums of what the recurrent neurons read"""
    mlps: int
    """the recurrent neurons' MLPs and read-outs of their memory"""
    readout: int
    """everything behind the recurrent layer"""

    @property
    def forward(self) -> int:
        """All operations of the forward pass."""
        return self.synapses + self.mlps + self.readout

    @property
    def training(self) -> int:
        """Forward pass and both products of every backward one: gradients of the inputs and of the weights."""
        return 3 * self.forward


def flops(config: ModelConfig) -> Flops:
    """Count the operations of one time step of one sequence.

    Raises:
        ConfigError: the configuration is of no known architecture.
    """
    # A factor of 2 throughout: a weight is multiplied and added.
    if isinstance(config, ElmConfig):
        # The output weights are one more use of the memory.
        mlp = _mlp_weights(config.d_tree, config.d_m, config.mlp_width, config.l_mlp) + config.d_m
        readout_mlp = _mlp_weights(config.d_tree, READOUT_D_M, 0, READOUT_L_MLP) + READOUT_D_M
        readout = config.n_out * (config.k_c + readout_mlp + config.n_out)
        return Flops(synapses=2 * config.n_rec * config.k_c, mlps=2 * config.n_rec * mlp, readout=2 * readout)
    if isinstance(config, ElmNeuronConfig):
        mlp = _mlp_weights(config.d_tree or config.k_c, config.d_m, config.mlp_width, config.l_mlp)
        return Flops(synapses=2 * config.k_c, mlps=2 * mlp, readout=2 * config.n_out * config.d_m)
    if isinstance(config, LstmConfig):
        # a spiking neuron sums its input once; a GRU has three gates and an LSTM four, each with weights of its own
        gates = 1 if isinstance(config, SnnConfig) else 3 if isinstance(config, GruConfig) else 4
        synapses = gates * config.n_rec * (config.n_in + config.n_rec)
        # Gates belong to the recurrent sums, and the units have no MLP.
        return Flops(synapses=2 * synapses, mlps=0, readout=2 * config.n_out * config.n_rec)
    raise ConfigError(f"config: {type(config).__name__} is of no known architecture")


def _mlp_weights(branches: int, d_m: int, width: int, hidden_layers: int) -> int:
    """Count the weights, without biases, of a neuron's MLP."""
    sizes = [branches + d_m, *[width] * hidden_layers, d_m]
    return sum(before * after for before, after in pairwise(sizes))
