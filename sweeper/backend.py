"""Which back end would train networks here, for `sweeper doctor`. Loads torch, which may not be installed."""

from collections.abc import Iterator

import torch

from cluster.doctor.finding import Finding, ok, warning
from model.backends.native.build import kernel
from model.backends.native.compiler import NativeUnavailable


def backend_findings() -> Iterator[Finding]:
    """Name the back end of trials on the processor, and why it is not the fast one; compiled where it is missing."""
    try:
        kernel(torch.float32)
    except NativeUnavailable as error:
        yield warning("back end", f"torch: {error}", "trials run, several times slower; mend that, or go on")
    else:
        yield ok("back end", "native")
