"""Which path "auto" is on a GPU. Standard library only, so that the cost model asks it without torch."""

import os

from model.config import ConfigError

VARIABLE = "ELM_SWEEPER_GPU"
"""environment variable that names the path"""
GPU_BACKENDS = ("torch", "triton")
"""what it may name; the first is the default, until `python -m model.gpu_check` has measured both"""


def gpu_backend() -> str:
    """Read the path's name from the environment.

    Raises:
        ConfigError: there is none of that name.
    """
    name = os.environ.get(VARIABLE) or GPU_BACKENDS[0]
    if name not in GPU_BACKENDS:
        raise ConfigError(f"{VARIABLE}: {name!r} is not valid; give one of {', '.join(GPU_BACKENDS)}")
    return name
