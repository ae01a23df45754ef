"""Weight gradients of the recurrent layer, a block of time steps at a time; time stands beside the batch in them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from model.backends.scratch import empty_like_kept
from model.backends.torch.plan import RecurrencePlan
from model.cell.layer import TANH_SCALE


class Weights(NamedTuple):
    """Trained quantities of the recurrent layer, neurons of all stacked networks along the first axis."""

    synapse_NC: Tensor
    """synaptic weights times the input scale"""
    keep_ND: Tensor
    """share of the memory that stays"""
    absorb_ND: Tensor
    """share of the update that is taken in"""
    readout_ND: Tensor
    """output weights"""
    bias_N: Tensor
    """bias of the output"""
    mlp: tuple[Tensor, ...]
    """weight [N, out, in] and bias [N, out] of the MLP's layers in turn"""

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "Weights":
        """Gather the fields, `mlp` spread out last."""
        return cls(tensors[0], tensors[1], tensors[2], tensors[3], tensors[4], tuple(tensors[5:]))


class Trace(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    table_TXB: Tensor
    """the tables of all steps, which hold input, masked activity, memory and average"""
    drop_NB: Tensor | None
    """dropout mask on the layer's own previous activity"""
    activity_TNB: Tensor
    """activity, not masked"""
    branch_TNRB: Tensor
    """branch traces; [T, N, 0, B] without"""
    sigmoid_TNDB: Tensor
    """sigmoid of the twice scaled MLP output, (1 + tanh) / 2"""
    hidden_TNHB: tuple[Tensor, ...]
    """rectified, not yet squared, hidden units of every hidden layer"""


class Block(NamedTuple):
    """Gradients of a block of S steps, from which the weight gradients follow; filled anew for every block."""

    emitted_SN1B: Tensor
    """of the outputs"""
    y_SN1B: Tensor
    """of the outputs before the high-pass filter; the same tensor without one"""
    memory_SNDB: Tensor
    """of the memory after the step"""
    grads_NHSB: list[Tensor]
    """of the hidden units before rectification, layer by layer, and of the MLPs' outputs"""
    signal_SNPB: Tensor
    """of what the MLPs read, [b_t ; kappa_m m_(t-1)]"""


def new_block(plan: RecurrencePlan, trace: Trace, steps: int) -> Block:
    """Make room for the gradients of a block of steps."""
    like, n, batch = trace.sigmoid_TNDB, plan.n, trace.sigmoid_TNDB.shape[3]
    emitted_SN1B = empty_like_kept(like, steps, n, 1, batch)
    sizes = [hidden_TNHB.shape[2] for hidden_TNHB in trace.hidden_TNHB] + [plan.d_m]
    return Block(
        emitted_SN1B=emitted_SN1B,
        y_SN1B=emitted_SN1B if plan.kappa_r is None else torch.empty_like(emitted_SN1B),
        memory_SNDB=empty_like_kept(like, steps, n, plan.d_m, batch),
        grads_NHSB=[empty_like_kept(like, n, size, steps, batch) for size in sizes],
        signal_SNPB=empty_like_kept(like, steps, n, plan.d_tree + plan.d_m, batch),
    )


class WeightGrads:
    """Sums of the weight gradients over the blocks; time and batch are the inner axis of every product."""

    def __init__(self, plan: RecurrencePlan, weights: Weights, trace: Trace, block: Block, needs_rates: bool) -> None:
        self.plan, self.weights, self.trace, self.block, self.needs_rates = plan, weights, trace, block, needs_rates
        self.synapse_NC = torch.zeros_like(weights.synapse_NC)
        self.keep_ND = torch.zeros_like(weights.keep_ND)
        self.absorb_ND = torch.zeros_like(weights.absorb_ND)
        self.readout_ND = torch.zeros_like(weights.readout_ND)
        self.bias_N = torch.zeros_like(weights.bias_N)
        # transposed: products of what the first layer reads with its gradients come out as [P, H]
        first_NPH = torch.zeros_like(weights.mlp[0].mT)
        self.branch_NRH, self.kept_NDH = first_NPH[:, : plan.d_tree], first_NPH[:, plan.d_tree :]
        self.later = [torch.zeros_like(weight) for weight in weights.mlp[2::2]]
        self.biases = [torch.zeros_like(bias) for bias in weights.mlp[1::2]]
        like, (steps, n, _, batch) = trace.sigmoid_TNDB, block.memory_SNDB.shape
        # Rooms for the rearranged tensors of a block are made once and filled anew for every block.
        self.memory_NDSB = empty_like_kept(like, n, plan.d_m, steps + 1, batch)
        self.squares_NHSB = [empty_like_kept(like, *grad_NHSB.shape) for grad_NHSB in block.grads_NHSB[:-1]]
        self.seen_XSB = empty_like_kept(like, plan.average_row, steps, batch)
        self.branch_grad_NRSB = empty_like_kept(like, n, plan.d_tree, steps, batch)

    def result(self) -> tuple[Tensor | None, ...]:
        """The gradients in the order of `Weights`, with `mlp` spread out."""
        rates = (self.keep_ND, self.absorb_ND) if self.needs_rates else (None, None)
        # the products were taken with m_(t-1); the MLP reads kappa_m m_(t-1), and kappa_m is the same in every step
        kept_NDH = self.kept_NDH * self.weights.keep_ND.unsqueeze(2)
        matrices = [torch.cat([self.branch_NRH, kept_NDH], 1).mT, *self.later]
        mlp = [tensor for pair in zip(matrices, self.biases, strict=True) for tensor in pair]
        return self.synapse_NC, *rates, self.readout_ND, self.bias_N, *mlp

    def add(self, first: int, last: int) -> None:
        """Add what the block of steps from `first` to before `last` contributes."""
        plan, trace, steps = self.plan, self.trace, last - first
        table_TXB = trace.table_TXB[first : last + 1, plan.memory_row :]
        # One more step than the block has, for every step's memory before and after.
        memory_TNDB = table_TXB.view(-1, plan.n, plan.d_m, table_TXB.shape[-1])
        memory_NDSB = _to_columns(memory_TNDB, self.memory_NDSB)
        before_NDL, after_NDL = memory_NDSB[:, :, :-1].flatten(2), memory_NDSB[:, :, 1:].flatten(2)
        self.bias_N += self.block.emitted_SN1B[:steps].sum((0, 2, 3))
        # the last block may be shorter than the room; columns beyond `steps` hold an earlier block's numbers
        grads_NHL = [grad_NHSB[:, :, :steps].flatten(2) for grad_NHSB in self.block.grads_NHSB]
        for bias_NH, grad_NHL in zip(self.biases, grads_NHL, strict=True):
            bias_NH += grad_NHL.sum(-1)
        branch_NRL = self._add_synapses(first, last)
        self.branch_NRH = torch.baddbmm(self.branch_NRH, branch_NRL, grads_NHL[0].mT)
        self.kept_NDH = torch.baddbmm(self.kept_NDH, before_NDL, grads_NHL[0].mT)
        for layer, hidden_TNHB in enumerate(trace.hidden_TNHB):
            hidden_NHTB = hidden_TNHB[first:last].permute(1, 2, 0, 3)
            # squared again: keeping both the unit and its square would double the trace
            square_NHTB = torch.mul(hidden_NHTB, hidden_NHTB, out=self.squares_NHSB[layer][:, :, :steps])
            self.later[layer] = torch.baddbmm(self.later[layer], grads_NHL[layer + 1], square_NHTB.flatten(2).mT)
        y_N1L = self.block.y_SN1B[:steps].permute(1, 2, 0, 3).flatten(2)
        # a product with a vector takes torch.bmm six times as long; the memory's columns are not read any more
        self.readout_ND += after_NDL.mul_(y_N1L).sum(-1)
        # Timescales are rarely trained, and these sums read three tensors of a block's size.
        if self.needs_rates:
            tanh_SNDB = 2.0 * trace.sigmoid_TNDB[first:last] - 1.0
            kept_SNDB = self.block.signal_SNPB[:steps, :, plan.d_tree :]
            self.keep_ND += (kept_SNDB * memory_TNDB[:-1]).sum((0, 3))
            self.absorb_ND += TANH_SCALE * (self.block.memory_SNDB[:steps] * tanh_SNDB).sum((0, 3))

    def _add_synapses(self, first: int, last: int) -> Tensor:
        """Add the synapses' gradients and return the branch traces [N, R, L], which need the same gather."""
        plan, n, steps = self.plan, self.plan.n, last - first
        seen_XSB = self.seen_XSB[:, :steps]
        seen_XSB.copy_(self.trace.table_TXB[first:last, : plan.average_row].transpose(0, 1))
        seen_XL = seen_XSB.flatten(1)
        grad_NRSB = _to_columns(self.block.signal_SNPB[:steps, :, : plan.d_tree], self.branch_grad_NRSB)
        # torch's kernel for inner products at the wiring's places is reached through autograd only; a dense product
        # would compute all pairs of branches and sources, of which the wiring has few
        with torch.enable_grad():
            weight_XS = self.weights.synapse_NC.detach().reshape(plan.synapse_source.shape).requires_grad_()
            sums_XL = embedding_bag(plan.synapse_source, seen_XL, mode="sum", per_sample_weights=weight_XS)
            (synapse_XS,) = torch.autograd.grad(sums_XL, weight_XS, grad_NRSB.reshape(n * plan.d_tree, -1))
        self.synapse_NC += synapse_XS.view_as(self.synapse_NC)
        # without traces the gather's sums are what the MLPs read; with them the trace holds that
        if plan.kappa_b is not None:
            return self.trace.branch_TNRB[first:last].permute(1, 2, 0, 3).flatten(2)
        return sums_XL.detach().view(n, plan.d_tree, -1)


def _to_columns(x_TNXB: Tensor, room_NXSB: Tensor) -> Tensor:
    """Bring time beside the batch: [T, N, X, B] to [N, X, T, B], in the room given."""
    return room_NXSB[:, :, : x_TNXB.shape[0]].copy_(x_TNXB.permute(1, 2, 0, 3))
