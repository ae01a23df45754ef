import gc
import subprocess
import sys

import pytest
import torch

from model.backends import scratch as module
from model.backends.scratch import empty_like_kept, scratch
from model.cell.state import ElmState
from model.config import ElmConfig
from model.network import build_network


@pytest.fixture(autouse=True)
def _fresh_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pool", module._Pool())
    monkeypatch.setattr(module, "_torch_pool", module._Pool(excess=1 / 32))


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


def test_kept_tensors_are_large_and_on_the_processor() -> None:
    like = torch.empty(0, dtype=torch.float64)
    large = empty_like_kept(like, 200, 100)
    place, kept = large.data_ptr(), module._torch_pool
    assert (large.shape, large.dtype, kept._in_use > 0) == ((200, 100), torch.float64, True)
    del large
    assert empty_like_kept(like, 100, 200).data_ptr() == place
    assert empty_like_kept(like, 100, 150).data_ptr() != place  # would waste a quarter
    assert empty_like_kept(like, 10, 10).shape == (10, 10)
    assert empty_like_kept(torch.empty(0, device="meta"), 10_000, 100).device.type == "meta"
    assert kept._in_use == 0


@pytest.mark.parametrize("segment", [None, 20])
def test_passes_that_overlap_do_not_share_kept_memory(segment: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAST_BYTES", 1)
    config = ElmConfig(n_in=5, n_out=3, n_rec=6, d_m=3, d_tree=3, d_branch=2, l_mlp=2)
    found = []
    for backend in ("reference", "torch"):
        network = build_network(config, seed=1, dtype=torch.float64, backend=backend)
        network.segment = segment
        generator, results = torch.Generator().manual_seed(0), []
        for _ in range(3):  # the second time memory is there already
            first, second = (torch.randint(0, 5, (17, 75), generator=generator) for _ in range(2))
            start = network(first)
            state = ElmState(*(tensor.detach().clone() for tensor in start.state))
            other = network(second, start.state)
            network.zero_grad()
            (other.logits.square().sum() + other.mlp_out_magnitude).backward()
            network(second)
            results += [start.logits, other.logits, *state, *start.state]
            results += [parameter.grad.clone() for parameter in network.parameters()]
        found.append([tensor.detach() for tensor in results])
    for new, old in zip(*found, strict=True):
        assert torch.allclose(new, old, rtol=1e-10, atol=1e-10)


def test_garbage_collected_while_a_block_is_taken_waits_for_nothing() -> None:
    pool = module._Pool()
    block = pool.take(10_000)
    with pool._lock:  # as within `take`, where a collection may run
        pool.give(block)
    assert pool.free_bytes() == 0
    assert pool.take(10_000) is not block
    assert pool.take(10_000) is block


LIMITED = """
import resource, torch
from model.backends.scratch import scratch
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + (200 << 20), resource.RLIM_INFINITY))
try:
    scratch(400 << 20, torch.uint8)
except MemoryError as error:
    print(error)
"""


def test_kept_memory_counts_against_the_limit_of_a_lane() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    assert done.stdout == f"can't allocate memory: {400 << 20} bytes\n"
