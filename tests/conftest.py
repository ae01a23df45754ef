"""What all tests share: one thread, Triton's interpreter, and no test of a kernel that cannot be built or run here.

The tests share two cores, and threads that wait for each other take minutes.
"""

import gc
import os
import signal
from importlib.util import find_spec

os.environ["OMP_NUM_THREADS"] = "1"
# Triton reads it when it is imported: its kernels then run as Python, on the processor
os.environ["TRITON_INTERPRET"] = "1"

import pytest
import torch

from model.backends.native.build import kernel
from model.backends.native.compiler import NativeUnavailable

# What is imported while tests are collected stays, and looking through it for garbage again and again takes seconds.
gc.disable()

torch.set_num_threads(1)

# `nohup` has HUP ignored by all that it starts, and what is ignored at a start cannot be trapped: launches and shells
# of the tests would not hear it. A handler here is the default for them.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)


@pytest.fixture
def native_kernel() -> None:
    """For tests that need the native kernel."""
    reason = _why_unavailable()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def triton_kernel() -> None:
    """For tests that need the Triton kernels."""
    if find_spec("triton") is None:
        pytest.skip("no Triton kernels: the package triton is not installed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        for name in ("native", "triton"):
            if callspec is not None and name in callspec.params.values():
                item.fixturenames = [*item.fixturenames, f"{name}_kernel"]  # type: ignore[attr-defined]  # not shared


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def _why_unavailable() -> str | None:
    try:
        kernel(torch.float64)
    except NativeUnavailable as error:
        return f"no native kernel: {error}"
    return None
