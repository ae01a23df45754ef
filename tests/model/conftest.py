"""Without a C++ compiler there is no native kernel to test; those tests are then skipped, and the summary says so."""

import pytest
import torch

from model.native_build import NativeUnavailable, kernel


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
