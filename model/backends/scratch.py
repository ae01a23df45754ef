"""Large pieces of memory, kept for the next call.

Fresh memory is paid for page by page when it is first touched; measured on the traces of one training step, that took
longer than the arithmetic. A block returns to the pool when the last tensor that uses it is gone. The pool and what is
in use together never hold more than the most that was in use at once in the last few dozen calls.
"""

import math
import mmap
import threading
import weakref
from collections import deque

import numpy as np
import torch
from torch import Tensor

_LEAST_BYTES = 1 << 17
"""from here on the C library asks the system for fresh pages (the default of glibc's M_MMAP_THRESHOLD)"""


class _Pool:
    """Blocks of anonymous memory that nobody uses at the moment, the longest unused first."""

    def __init__(self, excess: float = 1.0) -> None:
        """Make an empty pool whose blocks may be larger than what they are taken for, by this share of it."""
        self._excess = excess
        self._lock = threading.Lock()
        self._returned: deque[mmap.mmap] = deque()
        self._free: list[mmap.mmap] = []
        self._in_use = 0
        self._recently_in_use: deque[int] = deque(maxlen=64)

    def take(self, size: int) -> mmap.mmap:
        """Take the smallest free block that is large enough and not wastefully so, or make one."""
        # A much larger block would be missing for whom it fits.
        most = size + int(self._excess * size) + mmap.PAGESIZE
        with self._lock:
            fitting = [block for block in self._free if size <= len(block) <= most]
            # The smallest that fits leaves the larger ones to those who need them.
            block = min(fitting, key=len) if fitting else _new_block(size)
            if fitting:
                self._free.remove(block)
            self._in_use += len(block)
            self._recently_in_use.append(self._in_use)
        self._settle()
        return block

    def give(self, block: mmap.mmap) -> None:
        """Take a block back. May be called anywhere garbage is collected, also within this class: waits for nothing."""
        self._returned.append(block)
        self._settle()

    def _settle(self) -> None:
        """Put away what came back, unless somebody is at it, and let go of the longest unused that are too many."""
        while self._returned and self._lock.acquire(blocking=False):
            try:
                while self._returned:
                    block = self._returned.popleft()
                    self._in_use -= len(block)
                    self._free.append(block)
                # A peak of the last calls is what the next ones may need again; more than that is kept for nobody.
                excess = self._in_use + self.free_bytes() - max(self._recently_in_use)
                while excess > 0:
                    excess -= len(self._free.pop(0))
            finally:
                self._lock.release()

    def free_bytes(self) -> int:
        """Bytes of the blocks that nobody uses."""
        return sum(map(len, self._free))


_pool = _Pool()
_torch_pool = _Pool(excess=1 / 32)
"""the torch path's own: its many blocks and the native kernel's few would push each other out"""


def scratch(count: int, dtype: torch.dtype, pool: _Pool | None = None) -> Tensor:
    """Return `count` numbers of uninitialised memory, aligned to pages."""
    pool = _pool if pool is None else pool
    block = pool.take(max(1, count) * dtype.itemsize)
    # torch holds on to this array for as long as a tensor uses its memory, so its end is the end of the last of them
    view = np.frombuffer(block, dtype=np.uint8)
    # at exit the memory goes with the process, whatever is left of the pool by then
    weakref.finalize(view, pool.give, block).atexit = False
    return torch.from_numpy(view)[: count * dtype.itemsize].view(dtype)


def empty_like_kept(like: Tensor, *sizes: int) -> Tensor:
    """Return an uninitialised tensor of a precision and device; large ones on the processor are kept memory."""
    count = math.prod(sizes)
    if like.device.type != "cpu" or count * like.itemsize < _LEAST_BYTES:
        return like.new_empty(sizes)
    return scratch(count, like.dtype, _torch_pool).view(sizes)


def _new_block(size: int) -> mmap.mmap:
    try:  # private, or the data limit of a lane would not count it, and huge pages would be those of shared memory
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"can't allocate memory: {size} bytes") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux: fewer and larger pages to touch
        block.madvise(mmap.MADV_HUGEPAGE)
    return block
