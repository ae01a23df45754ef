"""Build any architecture's network from its configuration and a seed."""

from typing import Any, overload

import torch
from torch import Generator

from model.cell.interface import Output
from model.config import ConfigError, ElmConfig, ModelConfig
from model.networks.elm_network import ElmNetwork
from model.registry import architecture_of

__all__ = ["ElmNetwork", "Output", "build_network"]


@overload
def build_network(
    config: ElmConfig, *, seed: int, dtype: torch.dtype = torch.float32, backend: str = "auto"
) -> ElmNetwork: ...


@overload
def build_network(
    config: ModelConfig, *, seed: int, dtype: torch.dtype = torch.float32, backend: str = "auto"
) -> Any: ...


def build_network(config: ModelConfig, *, seed: int, dtype: torch.dtype = torch.float32, backend: str = "auto") -> Any:
    """Build the network that `config` describes; `seed` alone fixes its wiring and its weights.

    Every network is called as `network(x, state)` and returns an `Output`; it has `config`, `backend_name` and
    `zero_state(batch_size)`.

    Args:
        config: the architecture.
        seed: from 0 to 2**63 - 1.
        dtype: precision of weights and arithmetic, torch.float32 or torch.float64.
        backend: how to run an ELM Network, one of `model.backends.choose.BACKENDS`, or a single neuron, one of
            `model.networks.neuron.NEURON_BACKENDS`; "auto" takes the fastest there is. Other architectures know "auto"
            alone.

    Raises:
        ConfigError: an argument has none of these values.
        CodeError: an architecture that is not ours cannot be built.
    """
    # torch maps negative seeds to others and takes True for 1, so that two seeds would stand for one network.
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError(f"seed: {seed!r} is not valid; give an integer from 0 to 2**63 - 1")
    # Half precision is refused here, before a back end would meet it in one of its kernels.
    if dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"dtype: {dtype} is not valid; give torch.float32 or torch.float64")
    # A generator of its own, so that building a network neither depends on the global one nor moves it.
    generator = Generator().manual_seed(seed)
    return architecture_of(config).network(config, generator=generator, dtype=dtype, backend=backend)
