"""What an architecture is: sizes, timescales, wiring. Standard library only, checked when built."""

from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any


class ConfigError(ValueError):
    """A configuration that describes no buildable network; the message names field, value and valid range."""


@dataclass(frozen=True, kw_only=True)
class ElmConfig:
    """An ELM Network: one recurrent layer of ELM neurons, a read-out layer of ELM neurons, a dense linear map."""

    # The defaults are the published settings of the Enwik8 networks (Spieler et al. 2026).
    n_in: int
    """input channels (alphabet size for text)"""
    n_out: int
    """outputs: read-out neurons and width of the final linear map"""
    n_rec: int
    """neurons of the recurrent layer"""
    d_m: int
    """memory units per neuron"""
    d_tree: int
    """dendritic branches per neuron"""
    d_branch: int
    """synapses per branch"""
    d_mlp: int | None = None
    """hidden width of the neuron's MLP; None means 2 * d_m"""
    l_mlp: int = 1
    """hidden layers of the neuron's MLP; 0 is a linear map, which has no d_mlp"""
    rho_rec: float = 0.8
    """probability that a synapse reads a recurrent neuron instead of an input channel"""
    tau_m_min: float = 0.1
    """shortest memory timescale, in time steps"""
    tau_m_max: float = 100.0
    """longest memory timescale, in time steps"""
    tau_r: float | None = 2.0
    """timescale of the high-pass filter on the neuron's output, in time steps; None means no filter"""
    tau_b: float | None = None
    """timescale of the branch traces, in time steps; None means branches without memory"""
    lambda_: float = 5.0
    """how much faster memory absorbs than it forgets"""
    lambda_as_ratio: bool = True
    """True: absorption 1 - exp(-lambda / tau_m); False: lambda (1 - exp(-1 / tau_m)), the form of the first paper"""
    learn_tau_m: bool = False
    """whether every neuron trains its own memory timescales"""
    input_scale: float = 10.0
    """factor on every branch sum"""
    embedding_scale: float = 3.0
    """height of the one-hot code of a text symbol"""
    dropout_in: float = 0.0
    """dropout probability of a layer's input channels, one mask per sequence, both layers"""
    dropout_rec: float = 0.0
    """dropout probability of the recurrent layer's own previous activity, one mask per sequence"""

    def __post_init__(self) -> None:
        # Types come first, so that the comparisons below meet numbers only.
        _normalise(self)
        for name in ("n_in", "n_out", "n_rec", "d_m", "d_tree", "d_branch"):
            _require(self, name, getattr(self, name) >= 1, "an integer >= 1")
        _require(self, "d_mlp", self.d_mlp is None or self.d_mlp >= 1, "an integer >= 1, or nothing for 2 * d_m")
        _require(self, "l_mlp", self.l_mlp >= 0, "an integer >= 0")
        _require(self, "rho_rec", 0.0 <= self.rho_rec <= 1.0, "a probability from 0 to 1")
        _check_timescales(self)
        for name in ("tau_r", "tau_b"):
            value = getattr(self, name)
            _require(self, name, value is None or value > 0.0, "a number > 0, or nothing to switch it off")
        for name in ("lambda_", "input_scale", "embedding_scale"):
            _require(self, name, getattr(self, name) > 0.0, "a number > 0")
        for name in ("dropout_in", "dropout_rec"):
            # A probability of 1 would drop everything, and survivors could not be scaled by 1 / (1 - p).
            _require(self, name, 0.0 <= getattr(self, name) < 1.0, "a probability from 0 up to, not including, 1")

    @property
    def mlp_width(self) -> int:
        """Hidden width of the neuron's MLP with the default 2 * d_m filled in."""
        return 2 * self.d_m if self.d_mlp is None else self.d_mlp

    @property
    def k_c(self) -> int:
        """Trained synapses per neuron."""
        return self.d_tree * self.d_branch


@dataclass(frozen=True, kw_only=True)
class ElmNeuronConfig:
    """A single ELM neuron with a linear read-out of its memory (Spieler et al. 2024)."""

    # The defaults of the timescales and of lambda are the published settings for NeuronIO.
    n_in: int
    """input channels"""
    n_out: int
    """outputs that the memory is read out to"""
    d_m: int
    """memory units"""
    d_tree: int = 0
    """branches; 0 means none: the MLP reads every synapse (the paper's first, "vanilla" neuron)"""
    d_branch: int | None = None
    """synapses per branch; None means n_in / d_tree, every channel read once. Larger windows overlap"""
    d_mlp: int | None = None
    """hidden width of the MLP; None means 2 * d_m"""
    l_mlp: int = 1
    """hidden layers of the MLP"""
    tau_m_min: float = 1.0
    """shortest memory timescale, in time steps"""
    tau_m_max: float = 150.0
    """longest memory timescale, in time steps"""
    tau_b: float = 5.0
    """timescale of the synapse or branch traces, in time steps"""
    lambda_: float = 5.0
    """how much faster memory absorbs than it forgets"""
    lambda_as_ratio: bool = True
    """True: absorption 1 - exp(-lambda / tau_m); False: lambda (1 - exp(-1 / tau_m)), the form of the first paper"""
    interleaved: bool = False
    """whether windows run over the two halves of the channels in turn (excitatory and inhibitory inputs of NeuronIO)"""

    def __post_init__(self) -> None:
        _normalise(self)
        for name in ("n_in", "n_out", "d_m"):
            _require(self, name, getattr(self, name) >= 1, "an integer >= 1")
        _require(self, "d_tree", self.d_tree >= 0, "an integer >= 0; 0 means no branches")
        _require(self, "d_mlp", self.d_mlp is None or self.d_mlp >= 1, "an integer >= 1, or nothing for 2 * d_m")
        _require(self, "l_mlp", self.l_mlp >= 0, "an integer >= 0")
        if self.d_branch is None:
            # Without a window every channel is read once, which needs branches of equal size.
            whole = self.d_tree == 0 or self.n_in % self.d_tree == 0
            _require(self, "d_branch", whole, f"the synapses per branch, for d_tree does not divide n_in = {self.n_in}")
        else:
            # windows may overlap, but a channel that none of them covers would be input that cannot be seen
            covers = self.d_tree > 0 and self.d_branch <= self.n_in <= self.d_tree * self.d_branch
            _require(self, "d_branch", covers, f"branches that cover the channels: d_tree * d_branch >= {self.n_in}")
        _check_timescales(self)
        for name in ("tau_b", "lambda_"):
            _require(self, name, getattr(self, name) > 0.0, "a number > 0")
        _require(self, "interleaved", not self.interleaved or self.n_in % 2 == 0, "an even n_in, or false")

    @property
    def n_rec(self) -> int:
        """Always 1: there is one neuron, and no number of them to choose."""
        return 1

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP with the default 2 * d_m filled in."""
        return 2 * self.d_m if self.d_mlp is None else self.d_mlp

    @property
    def k_c(self) -> int:
        """Trained synapses."""
        return self.n_in if self.d_branch is None else self.d_tree * self.d_branch


@dataclass(frozen=True, kw_only=True)
class LstmConfig:
    """A layer of LSTM units and a linear read-out."""

    n_in: int
    """input channels (alphabet size for text)"""
    n_out: int
    """outputs"""
    n_rec: int
    """recurrent units"""
    embedding_scale: float = 3.0
    """height of the one-hot code of a text symbol"""
    dropout_in: float = 0.0
    """dropout probability of a layer's input channels, one mask per sequence, recurrent layer and read-out"""

    def __post_init__(self) -> None:
        _normalise(self)
        _check_baseline(self)


@dataclass(frozen=True, kw_only=True)
# Baselines are subclasses for the sake of the fields that they share; counts and networks ask for the most special
# first.
class ChronoLstmConfig(LstmConfig):
    """An LSTM whose gates start out spread over a range of timescales (Tallec & Ollivier 2018)."""

    tau_m_min: float = 2.0
    """shortest timescale of the forget gates, in time steps"""
    tau_m_max: float = 100.0
    """longest timescale of the forget gates, in time steps"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(
            self, "tau_m_min", self.tau_m_min > 1.0, "a number > 1: a gate that is half open forgets within 2 steps"
        )
        _check_timescales(self)


@dataclass(frozen=True, kw_only=True)
class GruConfig(LstmConfig):
    """A layer of gated recurrent units and a linear read-out."""


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
        _check_timescales(self)
        for name in ("tau_out", "surrogate_slope"):
            _require(self, name, getattr(self, name) > 0.0, "a number > 0")


# Constants and no fields: all published networks have these values, so there is nothing to choose.
READOUT_D_M = 3
"""memory units of a read-out neuron (the published networks use 3 everywhere)"""
READOUT_L_MLP = 0
"""hidden layers of a read-out neuron's MLP: none, it is linear"""

ModelConfig = ElmConfig | ElmNeuronConfig | LstmConfig | ChronoLstmConfig | GruConfig | SnnConfig
"""configuration of any architecture"""
# By the names of grid files: a new architecture needs an entry here, its counts, its operations and its network.
MODEL_CONFIGS: dict[str, type[ModelConfig]] = {
    "elm": ElmConfig,
    "elm_neuron": ElmNeuronConfig,
    "lstm": LstmConfig,
    "chrono_lstm": ChronoLstmConfig,
    "gru": GruConfig,
    "snn": SnnConfig,
}
"""configuration class of every architecture, by its name in grid files"""


def _check_timescales(config: Any) -> None:
    _require(config, "tau_m_min", config.tau_m_min > 0.0, "a number > 0")
    # Equal bounds are allowed: all memory units then share one timescale.
    _require(config, "tau_m_max", config.tau_m_max >= config.tau_m_min, f"a number >= tau_m_min = {config.tau_m_min}")


def _check_baseline(config: Any) -> None:
    for name in ("n_in", "n_out", "n_rec"):
        _require(config, name, getattr(config, name) >= 1, "an integer >= 1")
    _require(config, "embedding_scale", config.embedding_scale > 0.0, "a number > 0")
    _require(config, "dropout_in", 0.0 <= config.dropout_in < 1.0, "a probability from 0 up to, not including, 1")


def _normalise(config: Any) -> None:
    """Check every field's type and turn whole numbers given for float fields into floats.

    Raises:
        ConfigError: a field is no number of its kind, or not finite.
    """
    # Read off the declared types, so that a new field is checked without being listed here.
    for field in fields(config):
        value = getattr(config, field.name)
        # a union such as `int | None` has no __name__, and a class prints as "<class 'int'>"
        kind = str(field.type) if not isinstance(field.type, type) else field.type.__name__
        # A field that may be left out says so in its type.
        if value is None and "None" in kind:
            continue
        # Asked before integers, of which Python's booleans are a kind.
        if kind.startswith("bool"):
            _require(config, field.name, isinstance(value, bool), "true or false")
        elif kind.startswith("int"):
            # Python counts True as an integer, but nobody means a size of 1 by it.
            _require(config, field.name, isinstance(value, Integral) and not isinstance(value, bool), "an integer")
            # frozen dataclasses are set this way; numpy's integers would not survive JSON, so plain ones are kept
            object.__setattr__(config, field.name, int(value))
        else:  # YAML reads 5 as an integer where 5.0 is meant, and the same network must get the same id
            # NaN fails the comparison, so that it is refused together with infinity.
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            _require(config, field.name, is_number and abs(value) < float("inf"), "a finite number")
            object.__setattr__(config, field.name, float(value))


def _require(config: object, name: str, condition: bool, valid: str) -> None:
    if not condition:
        # One form for every message: field, value, and what would be valid.
        raise ConfigError(f"{name}: {getattr(config, name)!r} is not valid; give {valid}")
