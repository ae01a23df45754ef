"""What all tests share: one thread, and no test of the native kernel where there is no compiler to build it.

The tests share two cores, and threads that wait for each other take minutes.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

from model.backends.native.build import NativeUnavailable, kernel

torch.set_num_threads(1)


@pytest.fixture
def native_kernel() -> None:
    """For tests that need the native kernel."""
    reason = _why_unavailable()
    if reason is not None:
        pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "native" in callspec.params.values():
            item.fixturenames = [*item.fixturenames, "native_kernel"]  # type: ignore[attr-defined]  # not shared


def _why_unavailable() -> str | None:
    try:
        kernel(torch.float64)
    except NativeUnavailable as error:
        return f"no native kernel: {error}"
    return None
