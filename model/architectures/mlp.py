"""Sizes of an ELM neuron's MLP."""

from itertools import pairwise


def mlp_params(n_in: int, width: int, n_out: int, hidden_layers: int) -> int:
    """Count weights and biases of an MLP with `hidden_layers` hidden layers of `width` units."""
    sizes = [n_in, *[width] * hidden_layers, n_out]
    return sum(a * b + b for a, b in pairwise(sizes))


def mlp_weights(branches: int, d_m: int, width: int, hidden_layers: int) -> int:
    """Count the weights, without biases, of a neuron's MLP."""
    sizes = [branches + d_m, *[width] * hidden_layers, d_m]
    return sum(before * after for before, after in pairwise(sizes))
