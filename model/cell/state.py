"""States carried from one segment of a stream to the next: tuples of tensors whose first axis is the batch."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from torch import Tensor


class ElmState(NamedTuple):
    """State of an ELM Network after a time step; traces that are switched off have a zero-size last axis."""

    activity_BN: Tensor
    """the recurrent layer's activity, what its own synapses read next"""
    memory_BND: Tensor
    """memory of the recurrent neurons"""
    readout_average_BN: Tensor
    """running average that the high-pass filter subtracts; [B, 0] without tau_r"""
    branch_BNR: Tensor
    """branch traces of the recurrent neurons; [B, N, 0] without tau_b"""
    readout_memory_BOD: Tensor
    """memory of the read-out neurons"""
    readout_branch_BOR: Tensor
    """branch traces of the read-out neurons; [B, O, 0] without tau_b"""


AnyState = TypeVar("AnyState", bound=tuple[Any, ...])


def rebuilt(state: AnyState, tensors: Iterable[Tensor]) -> AnyState:
    """Return a state of the same kind, a NamedTuple or a plain tuple, with other tensors."""
    return type(state)(*tensors) if hasattr(state, "_fields") else type(state)(tensors)


def detach_state(state: AnyState) -> AnyState:
    """Cut the state off from the graph that made it, so that gradients stop at the segment's border."""
    return rebuilt(state, (tensor.detach() for tensor in state))


def zero_rows(state: AnyState, rows_B: Tensor) -> AnyState:
    """Reset single batch rows to the zero state.

    Args:
        state: any model's state.
        rows_B: booleans [B], True where the row starts afresh.
    """
    # masked_fill and no product with a mask: 0 times a state that is not finite would stay NaN.
    return rebuilt(state, (tensor.masked_fill(rows_B.view(-1, *[1] * (tensor.dim() - 1)), 0) for tensor in state))
