"""The memory of the read-out neurons over a whole sequence as one autograd function.

Read-out neurons are linear but for the tanh of their memory, and read nothing of each other. With memory divided by the
share of the update it takes in, a step is s_t = kappa_m s_(t-1) + tanh(2/3 (drive_t + W s_(t-1))).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.layer import TANH_SLOPE
from model.sparse_map import SparseMap, sparse_map


def memory_map(neurons: int, d_m: int, device: torch.device) -> SparseMap:
    """Structure of the block-diagonal matrix W: every memory unit reads all units of its neuron."""
    unit_NDD = torch.arange(neurons * d_m, device=device).view(neurons, d_m, 1).expand(-1, -1, d_m)
    out_row, in_row = unit_NDD.flatten(), unit_NDD.transpose(1, 2).flatten()
    return sparse_map(out_row, in_row, in_row, neurons * d_m, neurons * d_m)


class ReadoutScan(torch.autograd.Function):
    """Scaled memory of the read-out neurons after every step; differentiable once."""

    @staticmethod
    def forward(
        ctx: Any, structure: SparseMap, drive_TODB: Tensor, start_ODB: Tensor, weight_ODD: Tensor, keep_OD: Tensor
    ) -> Tensor:
        """Run the scan.

        Args:
            ctx: torch's context.
            structure: `memory_map` of the read-out neurons of all stacked networks.
            drive_TODB: what branches and bias contribute to the linear map's output; taken over, overwritten.
            start_ODB: scaled memory before the first step.
            weight_ODD: the linear map's weights on the scaled memory, [O, out, in].
            keep_OD: share of the memory that stays.

        Returns:
            Scaled memory [T + 1, O, D, B], the start first.
        """
        slope = 2.0 * TANH_SLOPE
        weights = structure.forward.ordered(slope * weight_ODD.flatten())
        keep_OD1, low, high = keep_OD.unsqueeze(-1), keep_OD.new_full((), -1.0), keep_OD.new_full((), 1.0)
        memory_TODB = drive_TODB.new_empty(drive_TODB.shape[0] + 1, *start_ODB.shape)
        memory_TODB[0] = start_ODB
        memory_t, tanh_t = memory_TODB.unbind(0), drive_TODB.unbind(0)
        batch = start_ODB.shape[-1]
        for t, tanh_ODB in enumerate(tanh_t):
            before_XB = memory_t[t].view(-1, batch)
            own_ODB = structure.forward.apply(before_XB, weights).view_as(tanh_ODB)
            sigmoid_ODB = torch.add(own_ODB, tanh_ODB, alpha=slope).sigmoid_()
            torch.lerp(low, high, sigmoid_ODB, out=tanh_ODB)
            torch.addcmul(tanh_ODB, keep_OD1, memory_t[t], out=memory_t[t + 1])
        ctx.structure = structure
        ctx.save_for_backward(memory_TODB, drive_TODB, weight_ODD, keep_OD)
        return memory_TODB

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TODB: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate the scan; gradients come in the order of forward's arguments."""
        memory_TODB, tanh_TODB, weight_ODD, keep_OD = ctx.saved_tensors
        weights = ctx.structure.transposed.ordered(weight_ODD.flatten())
        keep_OD1 = keep_OD.unsqueeze(-1)
        slope_TODB = TANH_SLOPE * (1.0 - tanh_TODB.square())
        drive_TODB, total_TODB = torch.empty_like(tanh_TODB), torch.empty_like(tanh_TODB)
        carry_ODB = torch.zeros_like(grad_TODB[0])
        for t in reversed(range(len(tanh_TODB))):
            torch.add(grad_TODB[t + 1], carry_ODB, out=total_TODB[t])
            torch.mul(total_TODB[t], slope_TODB[t], out=drive_TODB[t])
            own_XB = ctx.structure.transposed.apply(drive_TODB[t].view(-1, carry_ODB.shape[-1]), weights)
            carry_ODB = torch.addcmul(own_XB.view_as(carry_ODB), keep_OD1, total_TODB[t])
        before_TODB = memory_TODB[:-1]
        weight_grad = torch.einsum("todb,tomb->odm", drive_TODB, before_TODB)
        keep_grad = (total_TODB * before_TODB).sum((0, 3)) if ctx.needs_input_grad[4] else None
        return None, drive_TODB, grad_TODB[0] + carry_ODB, weight_grad, keep_grad


run_readout_scan: Callable[..., Tensor] = ReadoutScan.apply
"""`ReadoutScan` as a function of forward's arguments without ctx"""
