"""A recurrent network of leaky integrate-and-fire neurons."""

from dataclasses import dataclass

from model.architecture import Architecture, Counts, Flops, from_units
from model.architectures.gated import LstmConfig
from model.config import check_timescales, require


@dataclass(frozen=True, kw_only=True)
class SnnConfig(LstmConfig):
    """Recurrent leaky integrate-and-fire neurons, trained with surrogate gradients, and leaky read-out units."""

    tau_m_min: float = 1.0
    """shortest membrane timescale, in time steps; neurons are spread on the logarithmic scale"""
    tau_m_max: float = 100.0
    """longest membrane timescale, in time steps"""
    tau_out: float = 10.0
    """membrane timescale of the read-out units, in time steps (assumption)"""
    learn_tau_m: bool = False
    """whether every neuron trains its membrane's decay"""
    surrogate_slope: float = 2.0
    """steepness of the arctan that replaces the spike's derivative (snntorch's default)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_timescales(self)
        for name in ("tau_out", "surrogate_slope"):
            require(self, name, getattr(self, name) > 0.0, "a number > 0")


class Spiking(Architecture):
    """Leaky integrate-and-fire neurons, which sum their input once."""

    config = SnnConfig
    module = "model.networks.spiking:SpikingNetwork"

    def counts(self, config: SnnConfig) -> Counts:
        """Count the parameters: k_e is a bias and, where it is learnt, the membrane's decay; else that is fixed."""
        k_e, fixed = (2, 0) if config.learn_tau_m else (1, config.n_rec)
        return from_units(config.n_rec, k_e, config.n_in + config.n_rec, config.n_out * (config.n_rec + 1), fixed=fixed)

    def flops(self, config: SnnConfig) -> Flops:
        """Count the operations."""
        synapses = config.n_rec * (config.n_in + config.n_rec)
        return Flops(synapses=2 * synapses, mlps=0, readout=2 * config.n_out * config.n_rec)


ARCHITECTURES = {"snn": Spiking()}
