import gc

import pytest
import torch

from model import scratch as module
from model.scratch import scratch


@pytest.fixture(autouse=True)
def _fresh_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pool", module._Pool())


def test_memory_is_aligned_writable_and_typed() -> None:
    tensor = scratch(1000, torch.float64)
    assert tensor.shape == (1000,)
    assert tensor.dtype == torch.float64
    assert tensor.data_ptr() % 4096 == 0
    tensor.fill_(3.0)
    assert float(tensor.sum()) == 3000.0
    assert scratch(0, torch.float32).numel() == 0


def test_a_block_returns_when_the_last_view_of_it_is_gone() -> None:
    first = scratch(10_000, torch.float32)
    place, part = first.data_ptr(), first[5:]
    del first
    other = scratch(10_000, torch.float32)
    assert other.data_ptr() != place
    del part
    gc.collect()
    assert scratch(9_000, torch.float32).data_ptr() == place


def test_small_requests_do_not_take_large_blocks() -> None:
    place = scratch(1_000_000, torch.float32).data_ptr()
    assert scratch(1_000, torch.float32).data_ptr() != place


def test_the_pool_holds_no_more_than_was_in_use_at_once() -> None:
    for _ in range(5):
        both = [scratch(100_000, torch.float32) for _ in range(3)]
        assert module._pool.free_bytes() + sum(tensor.nbytes for tensor in both) <= 3 * 400_000 + 3 * 4096
        del both
    assert module._pool.free_bytes() >= 3 * 400_000
    for _ in range(70):
        scratch(10, torch.float32)
    assert module._pool.free_bytes() < 400_000
