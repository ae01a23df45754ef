"""LSTM, Chrono-LSTM and GRU: torch's modules with a linear read-out."""

from dataclasses import dataclass, field

from model.architecture import Architecture, Counts, Flops, from_units
from model.config import ADDED, ModelConfig, check_dropout, check_timescales, require


@dataclass(frozen=True, kw_only=True)
class LstmConfig(ModelConfig):
    """A layer of LSTM units and a linear read-out."""

    n_rec: int
    """recurrent units"""
    embedding_scale: float = 3.0
    """height of the one-hot code of a text symbol"""
    dropout_in: float = 0.0
    """dropout probability of a layer's input channels, one mask per sequence, recurrent layer and read-out"""
    dropout_rec: float = field(default=0.0, metadata=ADDED)
    """dropout probability of the recurrent layer's previous activity as its weights read it, one mask per sequence"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "n_rec", self.n_rec >= 1, "an integer >= 1")
        require(self, "embedding_scale", self.embedding_scale > 0.0, "a number > 0")
        check_dropout(self)


@dataclass(frozen=True, kw_only=True)
class ChronoLstmConfig(LstmConfig):
    """An LSTM whose gates start out spread over a range of timescales (Tallec & Ollivier 2018)."""

    tau_m_min: float = 2.0
    """shortest timescale of the forget gates, in time steps"""
    tau_m_max: float = 100.0
    """longest timescale of the forget gates, in time steps"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self, "tau_m_min", self.tau_m_min > 1.0, "a number > 1: a gate that is half open forgets within 2 steps"
        )
        check_timescales(self)


@dataclass(frozen=True, kw_only=True)
class GruConfig(LstmConfig):
    """A layer of gated recurrent units and a linear read-out."""


class Gated(Architecture):
    """Units with gates, each of which has input weights, recurrent weights and, in torch, two biases."""

    module = "model.networks.gated:GatedNetwork"

    def __init__(self, config: type[LstmConfig], gates: int) -> None:
        self.config = config  # type: ignore[misc]  # one class for three architectures
        self.gates = gates

    def counts(self, config: LstmConfig) -> Counts:
        """Count the parameters: k_c are a unit's input and recurrent weights of all gates, k_e its biases."""
        k_c, k_e = self.gates * (config.n_in + config.n_rec), 2 * self.gates
        return from_units(config.n_rec, k_e, k_c, config.n_out * (config.n_rec + 1), fixed=0)

    def flops(self, config: LstmConfig) -> Flops:
        """Count the operations; gates belong to the recurrent sums, and the units have no MLP."""
        synapses = self.gates * config.n_rec * (config.n_in + config.n_rec)
        return Flops(synapses=2 * synapses, mlps=0, readout=2 * config.n_out * config.n_rec)


ARCHITECTURES = {
    "lstm": Gated(LstmConfig, gates=4),
    "chrono_lstm": Gated(ChronoLstmConfig, gates=4),
    "gru": Gated(GruConfig, gates=3),
}
