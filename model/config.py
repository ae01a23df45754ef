"""What every configuration of a network has, and that of the ELM Network. Standard library only, checked when built."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from numbers import Integral, Real
from typing import Any


class ConfigError(ValueError):
    """A configuration that describes no buildable network; the message names field, value and valid range."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Configuration of a network of any architecture: its fields are what a trial's id is made of.

    Configurations are immutable. Each architecture has a class of its own, or shares one (`model.architecture`).
    """

    n_in: int
    """input channels (alphabet size for text)"""
    n_out: int
    """outputs"""

    def __post_init__(self) -> None:
        normalise(self)
        for name in ("n_in", "n_out"):
            require(self, name, getattr(self, name) >= 1, "an integer >= 1")

    @property
    def units(self) -> int:
        """Recurrent neurons: the setting n_rec, or 1 for the single neuron."""
        return int(self.n_rec)  # type: ignore[attr-defined]  # a field or a property of every subclass

    def plain(self) -> dict[str, Any]:
        """Return the configuration as JSON keeps it, without settings that were `added` and have their default."""
        values = {name: getattr(self, name) for name in _field_names(type(self))}  # type: ignore[arg-type]  # a class is hashable
        return without_added(values, added_settings(type(self)))  # type: ignore[arg-type]


ADDED: Mapping[str, Any] = {"added": True}
"""Metadata of a field that came after trials of its architecture were stored. `plain`, which their ids are made of,
leaves it out where it has its default, so that those ids stand."""


@cache
def added_settings(config: Any) -> Mapping[str, Any]:
    """Return the settings of a class that were `ADDED`, with their defaults."""
    return {field.name: field.default for field in fields(config) if field.metadata.get("added")}


def without_added(values: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of the values of settings those of `added` ones that have the default given there."""
    return {name: value for name, value in values.items() if name not in added or value != added[name]}


@cache
def _field_names(config: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(config))


@dataclass(frozen=True, kw_only=True)
class ElmConfig(ModelConfig):
    """An ELM Network: one recurrent layer of ELM neurons, a read-out layer of ELM neurons, a dense linear map."""

    # The defaults are the published settings of the Enwik8 networks (Spieler et al. 2026).
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
    rewire: float = field(default=1.0, metadata=ADDED)
    """share of the synapses on recurrent neurons that read any of them; the others read one nearby, on a ring or in the
    neuron's module. At 1 the wiring is uniform, a little above 0 a small world"""
    modules: int = field(default=1, metadata=ADDED)
    """equal parts of the recurrent layer. Above 1, nearby is a neuron's own part; at 1, as many others on a ring as it
    has synapses on neurons"""
    dt: float = field(default=1.0, metadata=ADDED)
    """time that passes in one step, in the unit of the timescales; at 1 they are counted in time steps"""
    tau_m_min: float = 0.1
    """shortest memory timescale, in the unit of dt"""
    tau_m_max: float = 100.0
    """longest memory timescale, in the unit of dt"""
    tau_r: float | None = 2.0
    """timescale of the high-pass filter on the neuron's output, in the unit of dt; None means no filter"""
    tau_b: float | None = None
    """timescale of the branch traces, in the unit of dt; None means branches without memory"""
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
        super().__post_init__()
        for name in ("n_rec", "d_m", "d_tree", "d_branch"):
            require(self, name, getattr(self, name) >= 1, "an integer >= 1")
        require(self, "d_mlp", self.d_mlp is None or self.d_mlp >= 1, "an integer >= 1, or nothing for 2 * d_m")
        require(self, "l_mlp", self.l_mlp >= 0, "an integer >= 0")
        require(self, "rho_rec", 0.0 <= self.rho_rec <= 1.0, "a probability from 0 to 1")
        require(self, "rewire", 0.0 <= self.rewire <= 1.0, "a probability from 0 to 1")
        require(self, "modules", self.modules >= 1, "an integer >= 1")
        # Two names for one network would be trained twice.
        require(
            self,
            "modules",
            self.modules == 1 or self.rewire < 1.0,
            "1, for uniform wiring has no modules; or rewire < 1",
        )
        check_timescales(self)
        require(self, "dt", self.dt > 0.0, "a number > 0")
        for name in ("tau_r", "tau_b"):
            value = getattr(self, name)
            require(self, name, value is None or value > 0.0, "a number > 0, or nothing to switch it off")
        for name in ("lambda_", "input_scale", "embedding_scale"):
            require(self, name, getattr(self, name) > 0.0, "a number > 0")
        check_dropout(self)

    @property
    def mlp_width(self) -> int:
        """Hidden width of the neuron's MLP with the default 2 * d_m filled in."""
        return 2 * self.d_m if self.d_mlp is None else self.d_mlp

    @property
    def k_c(self) -> int:
        """Trained synapses per neuron."""
        return self.d_tree * self.d_branch

    @property
    def kappa_r(self) -> float | None:
        """Share of the high-pass filter's average that a step keeps; None without a filter."""
        return None if self.tau_r is None else kept_share(self.tau_r, self.dt)

    @property
    def kappa_b(self) -> float | None:
        """Share of a branch trace that a step keeps; None without traces."""
        return None if self.tau_b is None else kept_share(self.tau_b, self.dt)


# Constants and no fields: all published networks have these values, so there is nothing to choose.
READOUT_D_M = 3
"""memory units of a read-out neuron (the published networks use 3 everywhere)"""
READOUT_L_MLP = 0
"""hidden layers of a read-out neuron's MLP: none, it is linear"""


def kept_share(tau: float, dt: float) -> float:
    """Return kappa = exp(-dt / tau): what one step leaves of something that decays with a timescale."""
    return math.exp(-dt / tau)


def check_timescales(config: Any) -> None:
    """Refuse a range of timescales that is empty or reaches zero.

    Raises:
        ConfigError: it is.
    """
    require(config, "tau_m_min", config.tau_m_min > 0.0, "a number > 0")
    # Equal bounds are allowed: all memory units then share one timescale.
    require(config, "tau_m_max", config.tau_m_max >= config.tau_m_min, f"a number >= tau_m_min = {config.tau_m_min}")


def check_dropout(config: Any) -> None:
    """Refuse dropout probabilities outside 0 to 1.

    Raises:
        ConfigError: one is.
    """
    for name in ("dropout_in", "dropout_rec"):
        # A probability of 1 would drop everything, and survivors could not be scaled by 1 / (1 - p).
        require(config, name, 0.0 <= getattr(config, name) < 1.0, "a probability from 0 up to, not including, 1")


def normalise(config: Any) -> None:
    """Check every field's type and turn whole numbers given for float fields into floats.

    Raises:
        ConfigError: a field is no number of its kind, or not finite.
    """
    # Read off the declared types, so that a new field is checked without being listed here.
    for entry in fields(config):
        value = getattr(config, entry.name)
        # a union such as `int | None` has no __name__, and a class prints as "<class 'int'>"
        kind = str(entry.type) if not isinstance(entry.type, type) else entry.type.__name__
        # A field that may be left out says so in its type.
        if value is None and "None" in kind:
            continue
        # Asked before integers, of which Python's booleans are a kind.
        if kind.startswith("bool"):
            require(config, entry.name, isinstance(value, bool), "true or false")
        elif kind.startswith("int"):
            # Python counts True as an integer, but nobody means a size of 1 by it.
            require(config, entry.name, isinstance(value, Integral) and not isinstance(value, bool), "an integer")
            # frozen dataclasses are set this way; numpy's integers would not survive JSON, so plain ones are kept
            object.__setattr__(config, entry.name, int(value))
        else:  # YAML reads 5 as an integer where 5.0 is meant, and the same network must get the same id
            # NaN fails the comparison, so that it is refused together with infinity.
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            require(config, entry.name, is_number and abs(value) < float("inf"), "a finite number")
            object.__setattr__(config, entry.name, float(value))


def require(config: object, name: str, condition: bool, valid: str) -> None:
    """Refuse the value of a field unless a condition holds.

    Args:
        config: the configuration.
        name: the field.
        condition: what must hold.
        valid: what would be valid, in words.

    Raises:
        ConfigError: it does not hold.
    """
    if not condition:
        # One form for every message: field, value, and what would be valid.
        raise ConfigError(f"{name}: {getattr(config, name)!r} is not valid; give {valid}")
