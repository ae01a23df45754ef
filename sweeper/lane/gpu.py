"""Whether a trial gave back the GPU memory it took; a lane whose trials did not ends, and a fresh process replaces it.

Driven with a stand-in of torch.cuda in the tests; never run on a GPU.
"""

import gc
from typing import Any, Protocol

import torch

SLACK_BYTES = 256 * 1024**2
"""What may stay: workspaces of cuBLAS (up to 32 MiB per handle and stream) and tables of the libraries (assumption)."""


class CudaMemory(Protocol):
    """The part of torch.cuda that is used."""

    def memory_allocated(self, device: Any = ...) -> int:
        """Bytes in tensors."""

    def memory_reserved(self, device: Any = ...) -> int:
        """Bytes that torch keeps from the driver."""

    def empty_cache(self) -> None:
        """Give back to the driver what no tensor uses."""


class GpuMemory:
    """Compares the memory that this process holds on its GPU with what it held at first.

    Args:
        device: torch device of the trials; anything but CUDA always counts as clean.
        cuda: asks for the memory; torch.cuda when None.
        slack_bytes: growth that is no leak.
    """

    def __init__(self, device: str, cuda: CudaMemory | None = None, *, slack_bytes: int = SLACK_BYTES) -> None:
        self._device, self._slack_bytes = device, slack_bytes
        self._cuda: CudaMemory = cuda or torch.cuda
        self._watched = device.startswith("cuda")
        # Measured before the first trial, when no tensor of a trial can be there yet.
        self._base = self._held() if self._watched else (0, 0)

    def is_back(self) -> bool:
        """Whether what the trials so far took is free again, for this process and for its neighbours on the GPU."""
        if not self._watched:
            return True
        gc.collect()  # networks hold cycles through their hooks
        # Blocks that torch keeps for later are free for this process alone; a neighbour on the GPU cannot take them.
        self._cuda.empty_cache()
        # Tensors that are still referred to show in the first number, blocks that cannot be given back because a piece
        # of each is in use in the second alone.
        return all(now <= base + self._slack_bytes for now, base in zip(self._held(), self._base, strict=True))

    def _held(self) -> tuple[int, int]:
        return self._cuda.memory_allocated(self._device), self._cuda.memory_reserved(self._device)
