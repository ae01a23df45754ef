"""The ways to run an ELM Network, by name. All compute the same; they differ in speed and in what they run on."""

import functools
import logging
from typing import Protocol

import torch
from torch import Tensor

from model.backends.cuda_graph import CudaGraphBackend
from model.backends.native.abi import Kernel
from model.backends.native.backend import NativeBackend
from model.backends.native.build import kernel
from model.backends.native.compiler import NativeUnavailable
from model.backends.reference import ReferenceBackend
from model.backends.torch.backend import TorchBackend
from model.backends.triton.backend import TritonBackend, TritonUnavailable, check_installed, check_triton
from model.cell.interface import DropoutMasks, RunResult
from model.cell.parts import NetworkParts
from model.cell.state import ElmState
from model.config import ConfigError, ElmConfig
from model.gpu_choice import gpu_backend

_log = logging.getLogger(__name__)
BACKENDS = ("auto", "reference", "torch", "native", "triton")
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
    it is what `model.gpu_choice` says, torch by default, with its passes recorded as CUDA graphs; anywhere else torch.

    Raises:
        ConfigError: there is none of that name, or it cannot run this network here.
    """
    if name not in BACKENDS:
        raise ConfigError(f"backend: {name!r} is not valid; give one of {', '.join(BACKENDS)}")
    # The reference runs anywhere, so it is asked before anything that could be unavailable.
    if name == "reference":
        return ReferenceBackend()
    if name == "triton":
        return _triton(device)
    # recorded graphs are another path made faster, so they are no name of their own that a grid could ask for
    if name == "auto" and device.type == "cuda":
        return _on_cuda(device)
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
        _announce(f"native kernel unavailable, using the slower torch back end: {error}")
        return TorchBackend()


def _triton(device: torch.device) -> Backend:
    """Make the Triton back end; whether it can run on a network's device it asks when it runs there."""
    # A network is built in main memory and moved afterwards, so that here only what never works is refused.
    try:
        check_installed()
    except TritonUnavailable as error:
        raise ConfigError(f"backend: 'triton' is not valid here ({error}); give auto, torch or reference") from error
    return CudaGraphBackend(TritonBackend(), "triton_graph") if device.type == "cuda" else TritonBackend()


def _on_cuda(device: torch.device) -> Backend:
    """Make what "auto" is on CUDA."""
    if gpu_backend() == "triton":
        try:
            check_triton(device)
            return _triton(device)
        # not silently: the person who asked for Triton reads why their sweep runs on something else
        except TritonUnavailable as error:
            _announce(f"Triton kernels unavailable, using torch in CUDA graphs: {error}")
    return CudaGraphBackend(TorchBackend())


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
def _announce(line: str) -> None:
    """Say once per reason that a slower back end runs."""
    _log.warning("%s", line)
