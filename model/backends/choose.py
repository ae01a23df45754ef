"""The ways to run an ELM Network, by name. All compute the same; they differ in speed and in what they run on."""

import functools
import logging
from typing import Protocol

import torch
from torch import Tensor

from model.backends.native.abi import Kernel
from model.backends.native.backend import NativeBackend
from model.backends.native.build import NativeUnavailable, kernel
from model.backends.reference import ReferenceBackend
from model.backends.torch.backend import TorchBackend
from model.backends.torch.cuda_graph import CudaGraphBackend
from model.cell.interface import DropoutMasks, RunResult
from model.cell.parts import NetworkParts
from model.cell.state import ElmState
from model.config import ConfigError, ElmConfig

_log = logging.getLogger(__name__)
BACKENDS = ("auto", "reference", "torch", "native")
"""names that `build_network` takes for an ELM Network"""


class Backend(Protocol):
    """One way to run an ELM Network."""

    name: str
    """recorded with a trial's results"""

    def run(
        self, network: NetworkParts, x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool
    ) -> RunResult:
        """Run a segment of a sequence.

        Args:
            network: holds the parameters.
            x: checked input, ids [B, T] or values [B, T, I].
            state: state before the first step.
            masks: dropout masks, or None.
            keep_activity: whether to return activity and MLP outputs.

        Returns:
            Outputs, state and what the regularisers need.
        """


def choose_backend(name: str, config: ElmConfig, dtype: torch.dtype, device: torch.device) -> Backend:
    """Make the back end called `name`.

    "auto" is the native kernel for a network on the processor, or torch where there is none (the log says why); on CUDA
    it is torch with its passes recorded as CUDA graphs, anywhere else torch.

    Raises:
        ConfigError: there is none of that name, or it cannot run this network here.
    """
    if name not in BACKENDS:
        raise ConfigError(f"backend: {name!r} is not valid; give one of {', '.join(BACKENDS)}")
    # The reference runs anywhere, so it is asked before anything that could be unavailable.
    if name == "reference":
        return ReferenceBackend()
    # recorded graphs are torch's path made faster, so they are no name of their own that a grid could ask for
    if name == "auto" and device.type == "cuda":
        return CudaGraphBackend()
    # A device that is neither has no kernel and no graphs.
    if name == "torch" or (name == "auto" and device.type != "cpu"):
        return TorchBackend()
    # under "auto" a machine without a compiler is no error: the sweep runs, slower, and the rows say on what
    try:
        return NativeBackend(_kernel(config, dtype, device))
    # A grid that names the kernel asks for its numbers, so another back end is not put in its place unasked.
    except NativeUnavailable as error:
        if name == "native":
            raise ConfigError(
                f"backend: 'native' is not valid here ({error}); give auto, torch or reference"
            ) from error
        _announce(str(error))
        return TorchBackend()


def _kernel(config: ElmConfig, dtype: torch.dtype, device: torch.device) -> Kernel:
    if device.type != "cpu":
        raise NativeUnavailable(f"it runs on the processor, not on {device}")
    if dtype not in (torch.float32, torch.float64):
        raise NativeUnavailable(f"it computes in torch.float32 or torch.float64, not in {dtype}")
    # The kernel's structure has room for a fixed number of matrices, as a C structure must.
    if config.l_mlp + 1 > Kernel.max_matrices:
        raise NativeUnavailable(f"it takes l_mlp up to {Kernel.max_matrices - 1}, not {config.l_mlp}")
    return kernel(dtype)


# cached by its argument: a sweep builds thousands of networks, and one line is enough
@functools.cache
def _announce(reason: str) -> None:
    """Say once per reason that a slower back end runs."""
    _log.warning("native kernel unavailable, using the slower torch back end: %s", reason)
