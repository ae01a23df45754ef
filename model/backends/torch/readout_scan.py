"""The read-out neurons over a whole sequence as one autograd function.

Read-out neurons are linear but for the tanh of their memory, and read nothing of each other. With memory divided by the
share of the update it takes in, a step is s_t = kappa_m s_(t-1) + tanh(2/3 (drive_t + W s_(t-1))).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.backends.torch.sparse_map import SparseMap, sparse_map
from model.cell.layer import TANH_SLOPE


def memory_map(neurons: int, d_m: int, device: torch.device) -> SparseMap:
    """Structure of the block-diagonal matrix W: every memory unit reads all units of its neuron."""
    unit_NDD = torch.arange(neurons * d_m, device=device).view(neurons, d_m, 1).expand(-1, -1, d_m)
    out_row, in_row = unit_NDD.flatten(), unit_NDD.transpose(1, 2).flatten()
    return sparse_map(out_row, in_row, in_row, neurons * d_m, neurons * d_m)


class ReadoutScan(torch.autograd.Function):
    """Outputs of the read-out neurons at every step, and their scaled memory after the last; differentiable once."""

    @staticmethod
    def forward(
        ctx: Any,
        structure: SparseMap,
        drive_ODTB: Tensor,
        start_ODB: Tensor,
        weight_ODD: Tensor,
        keep_OD: Tensor,
        readout_OD: Tensor,
        bias_O: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Run the scan.

        Args:
            ctx: torch's context.
            structure: `memory_map` of the read-out neurons of all stacked networks.
            drive_ODTB: what branches and bias contribute to the linear map's output.
            start_ODB: scaled memory before the first step.
            weight_ODD: the linear map's weights on the scaled memory, [O, out, in].
            keep_OD: share of the memory that stays.
            readout_OD: output weights on the scaled memory.
            bias_O: bias of the outputs.

        Returns:
            Outputs [T, O, B], and the scaled memory [O, D, B].
        """
        ctx.set_materialize_grads(False)
        # tanh(x) as 2 sigmoid(2 x) - 1, as in forward.py: torch's sigmoid takes an eighth of its tanh's time
        slope = 2.0 * TANH_SLOPE
        weights = structure.forward.ordered(slope * weight_ODD.flatten())
        keep_OD1, low, high = keep_OD.unsqueeze(-1), keep_OD.new_full((), -1.0), keep_OD.new_full((), 1.0)
        # time first, so that a step is one run of memory; each step's drive is then overwritten by its tanh
        tanh_TODB = drive_ODTB.permute(2, 0, 1, 3).clone(memory_format=torch.contiguous_format)
        steps, batch = tanh_TODB.shape[0], tanh_TODB.shape[3]
        memory_TODB = drive_ODTB.new_empty(steps + 1, *start_ODB.shape)
        memory_TODB[0] = start_ODB
        memory_t, tanh_t = memory_TODB.unbind(0), tanh_TODB.unbind(0)
        table_t = memory_TODB.view(steps + 1, -1, batch).unbind(0)
        for t, tanh_ODB in enumerate(tanh_t):
            recurrent_ODB = structure.forward.apply(table_t[t], weights).view_as(tanh_ODB)
            sigmoid_ODB = torch.add(recurrent_ODB, tanh_ODB, alpha=slope, out=recurrent_ODB).sigmoid_()
            torch.lerp(low, high, sigmoid_ODB, out=tanh_ODB)
            torch.addcmul(tanh_ODB, keep_OD1, memory_t[t], out=memory_t[t + 1])
        ctx.structure = structure
        ctx.save_for_backward(memory_TODB, tanh_TODB, weight_ODD, keep_OD, readout_OD)
        # nothing in the loop needs the outputs, so they are one sum over all steps
        y_TOB = (readout_OD.unsqueeze(-1) * memory_TODB[1:]).sum(2).add_(bias_O.unsqueeze(-1))
        return y_TOB, memory_t[steps].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TOB: Tensor | None, last_ODB: Tensor | None) -> tuple[Tensor | None, ...]:
        """Differentiate the scan; gradients come in the order of forward's arguments."""
        memory_TODB, tanh_TODB, weight_ODD, keep_OD, readout_OD = ctx.saved_tensors
        steps, o, _, batch = tanh_TODB.shape
        weights = ctx.structure.transposed.ordered(weight_ODD.flatten())
        keep_OD1, readout_OD1 = keep_OD.unsqueeze(-1), readout_OD.unsqueeze(-1)
        grad_TOB = tanh_TODB.new_zeros(steps, o, batch) if grad_TOB is None else grad_TOB
        carry_ODB = torch.zeros_like(tanh_TODB[0]) if last_ODB is None else last_ODB
        slope_TODB = torch.mul(tanh_TODB, tanh_TODB).mul_(-TANH_SLOPE).add_(TANH_SLOPE)
        # the gradient of the drive takes the slope's place, step by step
        drive_TODB, total_TODB = slope_TODB, torch.empty_like(tanh_TODB)
        grad_t, slope_t, total_t = grad_TOB.unsqueeze(2).unbind(0), slope_TODB.unbind(0), total_TODB.unbind(0)
        drive_t = drive_TODB.view(steps, -1, batch).unbind(0)
        for t in reversed(range(steps)):
            total_ODB = torch.addcmul(carry_ODB, readout_OD1, grad_t[t], out=total_t[t])
            slope_t[t].mul_(total_ODB)
            recurrent_XB = ctx.structure.transposed.apply(drive_t[t], weights)
            # The memory reaches the next step through W and directly, by the share that stays.
            carry_ODB = torch.addcmul(recurrent_XB.view_as(total_ODB), keep_OD1, total_ODB)
        # Only where timescales are trained: a product over the whole sequence that fixed ones need not pay for.
        keep_grad = (total_TODB * memory_TODB[:-1]).sum((0, 3)) if ctx.needs_input_grad[4] else None
        drive_ODTB = drive_TODB.permute(1, 2, 0, 3).contiguous()
        memory_ODTB = memory_TODB.permute(1, 2, 0, 3).contiguous()
        # Time and batch become one axis, so that the gradient is one product for each neuron.
        before_OLD, after_ODL = memory_ODTB[:, :, :-1].flatten(2).mT, memory_ODTB[:, :, 1:].flatten(2)
        weight_grad = torch.bmm(drive_ODTB.flatten(2), before_OLD)
        # a product and a sum: torch.bmm takes six times as long for a product with a vector
        readout_grad = (after_ODL * grad_TOB.transpose(0, 1).reshape(o, 1, -1)).sum(-1)
        return None, drive_ODTB, carry_ODB, weight_grad, keep_grad, readout_grad, grad_TOB.sum((0, 2))


run_readout_scan: Callable[..., tuple[Tensor, Tensor]] = ReadoutScan.apply
"""`ReadoutScan` as a function of forward's arguments without ctx"""
