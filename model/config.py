"""What an architecture is: sizes, timescales, wiring. Standard library only, checked when built."""

from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any


class ConfigError(ValueError):
    """A configuration that describes no buildable network; the message names field, value and valid range."""


@dataclass(frozen=True, kw_only=True)
class ElmConfig:
    """An ELM Network: one recurrent layer of ELM neurons, a read-out layer of ELM neurons, a dense linear map."""

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
        _normalise(self)
        for name in ("n_in", "n_out", "n_rec", "d_m", "d_tree", "d_branch"):
            _require(self, name, getattr(self, name) >= 1, "an integer >= 1")
        _require(self, "d_mlp", self.d_mlp is None or self.d_mlp >= 1, "an integer >= 1, or nothing for 2 * d_m")
        _require(self, "l_mlp", self.l_mlp >= 0, "an integer >= 0")
        _require(self, "rho_rec", 0.0 <= self.rho_rec <= 1.0, "a probability from 0 to 1")
        _require(self, "tau_m_min", self.tau_m_min > 0.0, "a number > 0")
        _require(self, "tau_m_max", self.tau_m_max >= self.tau_m_min, f"a number >= tau_m_min = {self.tau_m_min}")
        for name in ("tau_r", "tau_b"):
            value = getattr(self, name)
            _require(self, name, value is None or value > 0.0, "a number > 0, or nothing to switch it off")
        for name in ("lambda_", "input_scale", "embedding_scale"):
            _require(self, name, getattr(self, name) > 0.0, "a number > 0")
        for name in ("dropout_in", "dropout_rec"):
            _require(self, name, 0.0 <= getattr(self, name) < 1.0, "a probability from 0 up to, not including, 1")

    @property
    def mlp_width(self) -> int:
        """Hidden width of the neuron's MLP with the default 2 * d_m filled in."""
        return 2 * self.d_m if self.d_mlp is None else self.d_mlp

    @property
    def k_c(self) -> int:
        """Trained synapses per neuron."""
        return self.d_tree * self.d_branch


READOUT_D_M = 3
"""memory units of a read-out neuron (the published networks use 3 everywhere)"""
READOUT_L_MLP = 0
"""hidden layers of a read-out neuron's MLP: none, it is linear"""

ModelConfig = ElmConfig
"""any architecture's configuration"""
MODEL_CONFIGS: dict[str, type[ModelConfig]] = {"elm": ElmConfig}
"""configuration class of every architecture, by its name in grid files"""


def _normalise(config: Any) -> None:
    """Check every field's type and turn whole numbers given for float fields into floats.

    Raises:
        ConfigError: a field is no number of its kind, or not finite.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        kind = str(field.type) if not isinstance(field.type, type) else field.type.__name__
        if value is None and "None" in kind:
            continue
        if kind.startswith("bool"):
            _require(config, field.name, isinstance(value, bool), "true or false")
        elif kind.startswith("int"):
            _require(config, field.name, isinstance(value, Integral) and not isinstance(value, bool), "an integer")
            object.__setattr__(config, field.name, int(value))
        else:
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            _require(config, field.name, is_number and abs(value) < float("inf"), "a finite number")
            object.__setattr__(config, field.name, float(value))


def _require(config: object, name: str, condition: bool, valid: str) -> None:
    if not condition:
        raise ConfigError(f"{name}: {getattr(config, name)!r} is not valid; give {valid}")
