"""Exact parameter counts of a configuration and the integer solvers that fill a budget. Standard library only."""

from dataclasses import fields
from typing import Any

from model.architecture import BudgetError, Counts
from model.config import ModelConfig
from model.registry import architecture_of


def counts(config: ModelConfig) -> Counts:
    """Count the parameters of a configuration exactly.

    A recurrent unit's synapses (k_c) are its input and recurrent weights, of all gates; k_e is what else it trains.

    Returns:
        The counts; `trainable_params` equals `sum(p.numel() for p in network.parameters())` of the built network.

    Raises:
        ConfigError: the configuration is of no known architecture.
    """
    return architecture_of(config).counts(config)


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


def _largest(config: ModelConfig, name: str, budget: int) -> int:
    # Python counts True as the integer 1.
    if isinstance(budget, bool) or not isinstance(budget, int):
        raise BudgetError(f"budget: {budget!r} is not valid; give a whole number of trainable parameters")
    values: dict[str, Any] = {field.name: getattr(config, field.name) for field in fields(config)}
    if name not in values:
        size = "n_rec" if "n_rec" in values else "d_m"
        raise BudgetError(f"{name}: {type(config).__name__} has none; leave {size} to be solved from the budget")
    return architecture_of(config).solve(values, name, budget)
