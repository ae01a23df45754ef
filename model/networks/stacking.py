"""K networks of one shape run and trained as one: every parameter, input and result gets a leading axis K."""

import copy
from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import nn

from model.config import ConfigError
from model.networks.elm_network import ElmNetwork


def stack_networks(networks: Sequence[ElmNetwork]) -> ElmNetwork:
    """Join networks of one shape, such as one configuration under several seeds.

    Each of them runs, and is differentiated, exactly as it would alone: nothing is shared. What a training loop does
    across parameters (clipping by global norm, say) it must do along the leading axis.

    Args:
        networks: at least one; they keep their own parameters.

    Returns:
        A network that takes x as [K, B, T] or [K, B, T, n_in] and returns every field of `Output` with the axis K.

    Raises:
        ConfigError: there are none, one is a stack already, or their configurations or precisions differ.
    """
    if not networks:
        raise ConfigError("networks: none given; give at least one")
    first = networks[0]
    for network in networks:
        _check_same(first, network)
    stack = copy.deepcopy(first)  # keeps back end, modes and segment; every tensor in it is replaced below
    stack.stacked = True
    modules = [dict(network.named_modules()) for network in networks]
    for name, module in stack.named_modules():
        parts = [named[name] for named in modules]
        # Module by module, so that parameters keep their names and a stack is saved and loaded like a single network.
        for key in dict(module.named_parameters(recurse=False)):
            values = torch.stack([part.get_parameter(key).detach() for part in parts])
            setattr(module, key, nn.Parameter(values))
        for key in dict(module.named_buffers(recurse=False)):
            setattr(module, key, torch.stack([part.get_buffer(key) for part in parts]))
    return stack


def _check_same(first: ElmNetwork, other: ElmNetwork) -> None:
    if other.stacked:
        raise ConfigError("networks: one is a stack already; give single networks")
    if other.output.weight.dtype != first.output.weight.dtype:
        raise ConfigError(
            f"networks: {other.output.weight.dtype} beside {first.output.weight.dtype}; give one precision"
        )
    # Field by field, so that the message names the one that differs.
    for field in fields(first.config):
        mine, theirs = getattr(first.config, field.name), getattr(other.config, field.name)
        if mine != theirs:
            raise ConfigError(f"networks: {field.name} {theirs!r} beside {mine!r}; give networks of one configuration")
