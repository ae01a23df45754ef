"""Build any architecture's network from its configuration and a seed."""

import torch

from model.config import ConfigError, ElmConfig
from model.elm_network import ElmNetwork
from model.interface import Output

__all__ = ["ElmNetwork", "Output", "build_network"]


def build_network(
    config: ElmConfig, *, seed: int, dtype: torch.dtype = torch.float32, backend: str = "auto"
) -> ElmNetwork:
    """Build the network that `config` describes; `seed` alone fixes its wiring and its weights.

    Args:
        config: the architecture.
        seed: from 0 to 2**63 - 1.
        dtype: precision of weights and arithmetic, torch.float32 or torch.float64.
        backend: how to run it, one of `model.backends.BACKENDS`; "auto" takes the fastest there is.

    Raises:
        ConfigError: an argument has none of these values.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError(f"seed: {seed!r} is not valid; give an integer from 0 to 2**63 - 1")
    if dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"dtype: {dtype} is not valid; give torch.float32 or torch.float64")
    return ElmNetwork(config, torch.Generator().manual_seed(seed), dtype, backend)
