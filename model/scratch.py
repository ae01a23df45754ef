"""Memory for the native kernel's traces, kept for the next call.

Fresh memory is paid for page by page when it is first touched; measured on the traces of one training step, that took
longer than the arithmetic. A block returns to the pool when the last tensor that uses it is gone.
"""

import mmap
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

_KEPT_BLOCKS = 4
"""free blocks that are kept: the two layers' traces of this step and of the one before"""
_lock = threading.Lock()
_free: list[mmap.mmap] = []


def scratch(count: int, dtype: torch.dtype) -> Tensor:
    """Return `count` numbers of uninitialised memory, aligned to pages."""
    size = max(1, count) * dtype.itemsize
    block = _take(size)
    view = np.frombuffer(block, dtype=np.uint8).view(_Block)
    weakref.finalize(view, _give, block).atexit = False
    return torch.from_numpy(view)[: count * dtype.itemsize].view(dtype)


class _Block(np.ndarray):
    """An array that can be watched; plain arrays cannot."""


def _take(size: int) -> mmap.mmap:
    """Take the smallest free block that is large enough and not wastefully so, or make one."""
    with _lock:
        fitting = [block for block in _free if size <= len(block) <= 2 * size + mmap.PAGESIZE]
        if fitting:
            block = min(fitting, key=len)
            _free.remove(block)
            return block
    block = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


def _give(block: mmap.mmap) -> None:
    with _lock:
        _free.append(block)
        del _free[:-_KEPT_BLOCKS]
