"""Exact parameter counts of a configuration and the integer solvers that fill a budget. Standard library only."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from model.config import READOUT_D_M, READOUT_L_MLP, ElmConfig


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


def counts(config: ElmConfig) -> Counts:
    """Count the parameters of `config` exactly.

    Returns:
        The counts; `trainable_params` equals `sum(p.numel() for p in network.parameters())` of the built network.
    """
    k_c = config.k_c
    k_e = _elm_k_e(config.d_m, config.mlp_width, config.l_mlp, config)
    readout_k_e = _elm_k_e(READOUT_D_M, 0, READOUT_L_MLP, config)
    recurrent_params = config.n_rec * (k_e + k_c)
    readout_params = config.n_out * (readout_k_e + k_c) + config.n_out * config.n_out + config.n_out
    wiring = (config.n_rec + config.n_out) * k_c
    fixed_tau = 0 if config.learn_tau_m else config.n_rec * config.d_m + config.n_out * READOUT_D_M
    return Counts(
        k_e=k_e,
        k_c=k_c,
        recurrent_params=recurrent_params,
        readout_params=readout_params,
        trainable_params=recurrent_params + readout_params,
        total_params=recurrent_params + readout_params + wiring + fixed_tau,
    )


def mlp_params(n_in: int, width: int, n_out: int, hidden_layers: int) -> int:
    """Count weights and biases of a neuron's MLP with `hidden_layers` hidden layers of `width` units."""
    sizes = [n_in, *[width] * hidden_layers, n_out]
    return sum(a * b + b for a, b in pairwise(sizes))


def _elm_k_e(d_m: int, width: int, hidden_layers: int, config: ElmConfig) -> int:
    """Count one ELM neuron without its synapses: MLP, output weights, bias and, where learnt, timescales."""
    timescales = d_m if config.learn_tau_m else 0
    return mlp_params(config.d_tree + d_m, width, d_m, hidden_layers) + d_m + 1 + timescales


def solve_n_rec(config: ElmConfig, budget: int) -> int:
    """Find the largest n_rec whose network has at most `budget` trainable parameters, all else as in `config`.

    Raises:
        BudgetError: not even one recurrent neuron fits.
    """
    return _largest("n_rec", lambda value: replace(config, n_rec=value), budget)


def solve_d_m(config: ElmConfig, budget: int) -> int:
    """Find the largest d_m that fits the budget at the given n_rec; an unset d_mlp follows as 2 * d_m.

    Raises:
        BudgetError: d_m = 1 does not fit.
    """
    return _largest("d_m", lambda value: replace(config, d_m=value), budget)


def solve_d_branch(config: ElmConfig, budget: int) -> int:
    """Find the largest d_branch (synapses per branch) that fits the budget at the given n_rec and d_tree.

    Raises:
        BudgetError: d_branch = 1 does not fit.
    """
    return _largest("d_branch", lambda value: replace(config, d_branch=value), budget)


def _largest(name: str, build: Callable[[int], ElmConfig], budget: int) -> int:
    """Bisect for the largest value of one field within the budget; the count grows strictly with every such field."""
    if isinstance(budget, bool) or not isinstance(budget, int):
        raise BudgetError(f"budget: {budget!r} is not valid; give a whole number of trainable parameters")

    def fits(value: int) -> bool:
        return counts(build(value)).trainable_params <= budget

    if not fits(1):
        smallest = counts(build(1)).trainable_params
        raise BudgetError(f"budget: {budget} is too small for {name} = 1; the smallest feasible budget is {smallest}")
    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
