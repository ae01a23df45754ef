"""The backward pass of the recurrent layer: a loop back through time, block by block."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.backends.scratch import empty_like_kept
from model.backends.torch.plan import RecurrencePlan, drive_weights
from model.backends.torch.weight_grads import Block, Trace, WeightGrads, Weights, new_block
from model.cell.layer import TANH_SCALE, TANH_SLOPE

_MOST_COLUMNS = 512
"""time steps times batch rows that share one product of weight gradients; more gained nothing when measured"""
_MOST_BYTES = 1 << 24
"""what the MLPs' inputs of a block may take; larger blocks lost more in the caches than the product gained"""


class OutputGrads(NamedTuple):
    """Gradients that arrive, one for each output of the forward pass; None where it was not used."""

    activity_TNB: Tensor | None
    memory_NDB: Tensor | None
    average_NB: Tensor | None
    branch_NRB: Tensor | None
    magnitude_NB: Tensor | None


def steps_per_block(plan: RecurrencePlan, batch: int, itemsize: int) -> int:
    """Count the time steps that share one product of weight gradients."""
    column_bytes = plan.n * (plan.d_tree + plan.d_m) * itemsize
    return max(1, min(_MOST_COLUMNS, _MOST_BYTES // column_bytes) // batch)


def differentiate(
    plan: RecurrencePlan, trace: Trace, weights: Weights, grads: OutputGrads, needs_rates: bool
) -> tuple[Tensor | None, ...]:
    """Differentiate the layer.

    Returns:
        Gradients of the start state (activity, memory, average, branch traces) and of the fields of `Weights`, with
        `mlp` spread out; those of keep and absorb are None unless `needs_rates`.
    """
    steps, batch = trace.activity_TNB.shape[0], trace.activity_TNB.shape[2]
    stride = min(steps, steps_per_block(plan, batch, trace.activity_TNB.itemsize))
    block = new_block(plan, trace, stride)
    loop = _BackwardLoop(plan, trace, weights, grads, block)
    sums = WeightGrads(plan, weights, trace, block, needs_rates)
    # Latest block first, as gradients flow, and weight gradients while the block is still in the caches.
    for first in reversed(range(0, steps, stride)):
        last = min(first + stride, steps)
        loop.run(first, last)
        sums.add(first, last)
    return *loop.start_grads(), *sums.result()


class _BackwardLoop:
    """The loop back through time; `run` takes a block of steps, latest block first."""

    def __init__(self, plan: RecurrencePlan, trace: Trace, weights: Weights, grads: OutputGrads, block: Block) -> None:
        self.plan, self.trace, self.grads, self.block = plan, trace, grads, block
        _, n, self.batch = trace.activity_TNB.shape
        self.drive = plan.drive.transposed.ordered(
            drive_weights(weights.synapse_NC, weights.keep_ND, weights.absorb_ND)
        )
        matrices = weights.mlp[::2]
        # the derivative of relu(h)^2 is 2 relu(h): the 2 is put into the weights
        self.later_transposed = [2.0 * weight.transpose(1, 2).contiguous() for weight in matrices[1:]]
        self.first_transposed = matrices[0].transpose(1, 2).contiguous()
        self.update_ND1 = 4.0 * TANH_SCALE * TANH_SLOPE * weights.absorb_ND.unsqueeze(-1)  # 1 - tanh^2 is 4 s (1 - s)
        self.readout_ND1 = weights.readout_ND.unsqueeze(-1)
        new_zeros = trace.activity_TNB.new_zeros
        # gradients of the state, carried from step to step; those of the last state are where they start
        self.activity_N1B = new_zeros(n, 1, self.batch)
        self.memory_NDB = _or_zeros(grads.memory_NDB, new_zeros(n, plan.d_m, self.batch))
        self.average_N1B = _or_zeros(grads.average_NB, new_zeros(n, self.batch)).view(-1, 1, self.batch)
        self.branch_NRB = _or_zeros(grads.branch_NRB, torch.zeros_like(trace.branch_TNRB[0]))
        self.hidden_t = [hidden_TNHB.unbind(0) for hidden_TNHB in trace.hidden_TNHB]
        self.views = _Views(plan, block)
        memory_SNDB = block.memory_SNDB
        self.slope_SNDB = empty_like_kept(memory_SNDB, *memory_SNDB.shape)
        self.regulariser_SNDB = empty_like_kept(memory_SNDB, *memory_SNDB.shape)

    def start_grads(self) -> tuple[Tensor, ...]:
        """Gradients of the state before the first step, once every block has run."""
        drop_NB, activity_NB = self.trace.drop_NB, self.activity_N1B.squeeze(1)
        activity_NB = activity_NB if drop_NB is None else activity_NB * drop_NB
        average_NB = self.average_N1B.squeeze(1) if self.plan.kappa_r is not None else self.average_N1B[:0, 0]
        return activity_NB, self.memory_NDB, average_NB, self.branch_NRB

    def run(self, first: int, last: int) -> None:
        """Go back from step last - 1 to step first."""
        trace, grads = self.trace, self.grads
        sigmoid_TNDB, activity_TNB = trace.sigmoid_TNDB[first:last], trace.activity_TNB[first:last]
        passes_TNB = (~(activity_TNB <= 0)).to(activity_TNB.dtype)  # as relu does, also where it is no number
        arriving_TNB = torch.zeros_like(passes_TNB)
        if grads.activity_TNB is not None:
            arriving_TNB = grads.activity_TNB[first:last] * passes_TNB
        if trace.drop_NB is not None:
            passes_TNB = passes_TNB * trace.drop_NB
        # what needs no other step is computed for the whole block: a few large operations instead of many small ones
        slope_TNDB = self.slope_SNDB[: last - first]
        torch.addcmul(sigmoid_TNDB, sigmoid_TNDB, sigmoid_TNDB, value=-1.0, out=slope_TNDB).mul_(self.update_ND1)
        arriving_t, passes_t, slope_t = (
            arriving_TNB.unsqueeze(2).unbind(0),
            passes_TNB.unsqueeze(2).unbind(0),
            slope_TNDB.unbind(0),
        )
        regulariser_t: Sequence[Tensor | None] = [None] * len(slope_t)
        if grads.magnitude_NB is not None:
            # the gradient of abs(o) is the sign of o, and the sigmoid is above 1/2 where o is positive
            regulariser_TNDB = torch.sub(sigmoid_TNDB, 0.5, out=self.regulariser_SNDB[: last - first]).sign_()
            regulariser_t = regulariser_TNDB.mul_(grads.magnitude_NB.unsqueeze(1)).unbind(0)
        for i in reversed(range(last - first)):
            torch.addcmul(arriving_t[i], self.activity_N1B, passes_t[i], out=self.views.emitted[i])
            self._step(first, i, slope_t[i], regulariser_t[i])

    def _step(self, first: int, i: int, slope_NDB: Tensor, regulariser_NDB: Tensor | None) -> None:
        plan, n, views = self.plan, self.plan.n, self.views
        y_N1B = views.emitted[i]
        if plan.kappa_r is not None:  # of y, then of the average before: see `emit_weights`
            # z = kappa (y - r) and r' = kappa r + (1 - kappa) y; with gradients written like their variables, that of y
            # is kappa z + (1 - kappa) r', a lerp, and that of r is kappa (r' - z), which is r' less that of y
            y_N1B = torch.lerp(self.average_N1B, y_N1B, plan.kappa_r, out=views.y[i])
            self.average_N1B = self.average_N1B - y_N1B
        memory_NDB = torch.addcmul(self.memory_NDB, self.readout_ND1, y_N1B, out=views.memory[i])
        if regulariser_NDB is None:
            grad_NHB = torch.mul(memory_NDB, slope_NDB, out=views.grads[-1][i])
        else:
            grad_NHB = torch.addcmul(regulariser_NDB, memory_NDB, slope_NDB, out=views.grads[-1][i])
        for layer in reversed(range(len(self.hidden_t))):
            squared_NHB = torch.bmm(self.later_transposed[layer], grad_NHB)
            grad_NHB = torch.mul(squared_NHB, self.hidden_t[layer][first + i], out=views.grads[layer][i])
        signal_NPB = torch.bmm(self.first_transposed, grad_NHB, out=views.signal[i])
        if plan.kappa_b is not None:
            views.branch[i].add_(self.branch_NRB)
            self.branch_NRB = plan.kappa_b * views.branch[i]
        views.kept[i].add_(memory_NDB)  # the kept memory reaches the next one through the MLP and directly
        back_YB = plan.drive.transposed.apply(signal_NPB.view(-1, self.batch), self.drive)
        self.activity_N1B = back_YB[:n].unsqueeze(1)
        self.memory_NDB = back_YB[n:].view(n, plan.d_m, self.batch)


class _Views:
    """The tensors of a block at its every step, cut once."""

    def __init__(self, plan: RecurrencePlan, block: Block) -> None:
        self.emitted = block.emitted_SN1B.unbind(0)
        self.y = block.y_SN1B.unbind(0)
        self.memory = block.memory_SNDB.unbind(0)
        self.grads = [grad_NHSB.unbind(2) for grad_NHSB in block.grads_NHSB]
        self.signal = block.signal_SNPB.unbind(0)
        self.branch = block.signal_SNPB[:, :, : plan.d_tree].unbind(0)
        self.kept = block.signal_SNPB[:, :, plan.d_tree :].unbind(0)


def _or_zeros(grad: Tensor | None, zeros: Tensor) -> Tensor:
    return zeros if grad is None else grad
