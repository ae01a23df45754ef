"""Long sequences in segments: activations are kept for one segment at a time and computed again when differentiated."""

from collections.abc import Callable
from functools import reduce
from operator import add

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from model.cell.interface import RunResult
from model.cell.state import ElmState


def run_in_segments(
    run: Callable[[Tensor, ElmState], RunResult], x: Tensor, state: ElmState, *, axis: int, length: int
) -> RunResult:
    """Run a sequence segment by segment, keeping the state between segments and nothing else for differentiation.

    Args:
        run: runs a segment from a state.
        x: the whole input.
        state: state before the first step.
        axis: axis of time in x.
        length: steps of a segment; the last may be shorter.

    Returns:
        The same as `run(x, state)`, to rounding.
    """
    results: list[RunResult] = []
    segments = torch.split(x, length, axis)
    for segment in segments:
        # masks are drawn before and kept, so no generator needs to be wound back for the second run
        result = checkpoint(run, segment, state, use_reentrant=False, preserve_rng_state=False)
        results.append(result)
        state = result.state
    # means over time become means of means, weighted by length: the last segment may be shorter
    shares = [segment.shape[axis] / x.shape[axis] for segment in segments]
    return RunResult(
        logits=torch.cat([result.logits for result in results], axis),
        state=state,
        mlp_out_BN=_weighted([result.mlp_out_BN for result in results], shares),
        activity=_weighted([result.activity for result in results], shares),
        activity_BTN=_joined([result.activity_BTN for result in results], axis),
        mlp_out_BTND=_joined([result.mlp_out_BTND for result in results], axis),
    )


def _weighted(values: list[Tensor], shares: list[float]) -> Tensor:
    return reduce(add, (share * value for share, value in zip(shares, values, strict=True)))


def _joined(values: list[Tensor | None], axis: int) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.cat(present, axis) if present else None
