"""Exact parameter counts of a configuration and the integer solvers that fill a budget. Standard library only."""

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

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


class BudgetError(ValueError):
    """No size fits the budget; the message names the smallest budget that has a solution."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Trainable scalars of a network, by where they sit."""

    k_e: int
    """effective complexity: trained scalars of one recurrent neuron that are not synapses"""
    k_c: int
    """connectivity: trained synapses of one recurrent neuron"""
    recurrent_params: int
    """trained scalars of the recurrent layer"""
    readout_params: int
    """trained scalars of everything behind it"""
    trainable_params: int
    """trained scalars of the whole network"""
    total_params: int
    """trainable_params plus the fixed numbers a checkpoint must hold: wiring indices and untrained timescales"""


def counts(config: ModelConfig) -> Counts:
    """Count the parameters of a configuration exactly.

    A recurrent unit's synapses (k_c) are its input and recurrent weights, of all gates; k_e is what else it trains.

    Returns:
        The counts; `trainable_params` equals `sum(p.numel() for p in network.parameters())` of the built network.

    Raises:
        ConfigError: the configuration is of no known architecture.
    """
    if isinstance(config, ElmConfig):
        return _elm_counts(config)
    if isinstance(config, ElmNeuronConfig):
        return _neuron_counts(config)
    if isinstance(config, SnnConfig):
        return _snn_counts(config)
    # SnnConfig is a subclass of LstmConfig, so it was asked before.
    if isinstance(config, LstmConfig):  # and its kin: GRU, Chrono-LSTM
        gates = 3 if isinstance(config, GruConfig) else 4
        k_c, k_e = gates * (config.n_in + config.n_rec), 2 * gates  # torch keeps two biases for each gate
        return _from_units(config.n_rec, k_e, k_c, config.n_out * (config.n_rec + 1), fixed=0)
    raise ConfigError(f"config: {type(config).__name__} is of no known architecture")


def _elm_counts(config: ElmConfig) -> Counts:
    k_e = _elm_k_e(config.d_m, config.mlp_width, config.l_mlp, config)
    # The read-out neurons share everything else with the recurrent ones, also whether timescales are learnt; see
    # `model.cell.layer.readout_config`.
    readout_k_e = _elm_k_e(READOUT_D_M, 0, READOUT_L_MLP, config)
    # Read-out neurons with their synapses, then the dense map n_out x n_out with its bias.
    readout_params = config.n_out * (readout_k_e + config.k_c) + config.n_out * config.n_out + config.n_out
    # one index for each synapse, of the recurrent and of the read-out neurons
    wiring = (config.n_rec + config.n_out) * config.k_c
    fixed_tau = 0 if config.learn_tau_m else config.n_rec * config.d_m + config.n_out * READOUT_D_M
    return _from_units(config.n_rec, k_e, config.k_c, readout_params, fixed=wiring + fixed_tau)


def _neuron_counts(config: ElmNeuronConfig) -> Counts:
    """Count a single neuron; its fixed numbers are its timescales and, with windows, index and validity of synapses."""
    # Without branches the MLP reads every synapse.
    width_in = (config.d_tree or config.k_c) + config.d_m
    k_e = mlp_params(width_in, config.mlp_width, config.d_m, config.l_mlp)
    windows = 0 if config.d_branch is None else 2 * config.k_c
    return _from_units(1, k_e, config.k_c, config.n_out * (config.d_m + 1), fixed=windows + config.d_m)


def _snn_counts(config: SnnConfig) -> Counts:
    # a bias and, where it is learnt, the membrane's decay; else that is a fixed number
    k_e = 2 if config.learn_tau_m else 1
    fixed = 0 if config.learn_tau_m else config.n_rec
    return _from_units(config.n_rec, k_e, config.n_in + config.n_rec, config.n_out * (config.n_rec + 1), fixed=fixed)


def _from_units(units: int, k_e: int, k_c: int, readout_params: int, *, fixed: int) -> Counts:
    recurrent_params = units * (k_e + k_c)
    return Counts(
        k_e=k_e,
        k_c=k_c,
        recurrent_params=recurrent_params,
        readout_params=readout_params,
        trainable_params=recurrent_params + readout_params,
        total_params=recurrent_params + readout_params + fixed,
    )


def mlp_params(n_in: int, width: int, n_out: int, hidden_layers: int) -> int:
    """Count weights and biases of a neuron's MLP with `hidden_layers` hidden layers of `width` units."""
    sizes = [n_in, *[width] * hidden_layers, n_out]
    return sum(a * b + b for a, b in pairwise(sizes))


def _elm_k_e(d_m: int, width: int, hidden_layers: int, config: ElmConfig) -> int:
    """Count one ELM neuron without its synapses: MLP, output weights, bias and, where learnt, timescales."""
    timescales = d_m if config.learn_tau_m else 0
    return mlp_params(config.d_tree + d_m, width, d_m, hidden_layers) + d_m + 1 + timescales


def solve_n_rec(config: ModelConfig, budget: int) -> int:
    """Find the largest n_rec whose network has at most `budget` trainable parameters, all else as in `config`.

    Raises:
        BudgetError: not even one recurrent neuron fits.
    """
    return _largest(config, "n_rec", budget)


def solve_d_m(config: ModelConfig, budget: int) -> int:
    """Find the largest d_m that fits the budget at the given n_rec; an unset d_mlp follows as 2 * d_m.

    Raises:
        BudgetError: d_m = 1 does not fit, or the architecture has no d_m.
    """
    return _largest(config, "d_m", budget)


def solve_d_branch(config: ModelConfig, budget: int) -> int:
    """Find the largest d_branch (synapses per branch) that fits the budget at the given n_rec and d_tree.

    Raises:
        BudgetError: d_branch = 1 does not fit, or the architecture has no d_branch.
    """
    return _largest(config, "d_branch", budget)


def _largest(config: ModelConfig, name: str, budget: int) -> int:
    """Bisect for the largest value of one field within the budget; the count grows strictly with every such field."""
    # Python counts True as the integer 1.
    if isinstance(budget, bool) or not isinstance(budget, int):
        raise BudgetError(f"budget: {budget!r} is not valid; give a whole number of trainable parameters")
    field_names = {field.name for field in fields(config)}
    if name not in field_names:
        size = "n_rec" if "n_rec" in field_names else "d_m"
        raise BudgetError(f"{name}: {type(config).__name__} has none; leave {size} to be solved from the budget")

    def params(value: int) -> int:
        change: dict[str, Any] = {name: value}
        return counts(replace(config, **change)).trainable_params

    # The smallest network decides whether any fits, and its count is what the message can offer.
    if params(1) > budget:
        raise BudgetError(f"budget: {budget} is too small for {name} = 1; the smallest feasible budget is {params(1)}")
    # There is no upper bound to begin with: double `high` until it does not fit (`low` does), then halve the gap.
    low, high = 1, 2
    while params(high) <= budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if params(middle) <= budget else (low, middle)
    return low
