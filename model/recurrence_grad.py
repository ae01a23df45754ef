"""The backward pass of the recurrent layer: a loop back through time, then the weight gradients, block by block."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from model.large_product import large_product
from model.layer import TANH_SCALE, TANH_SLOPE
from model.recurrence_plan import RecurrencePlan, drive_weights, emit_weights

_MOST_COLUMNS = 512
"""time steps times batch rows that share one product of weight gradients; more gained nothing when measured"""
_MOST_BYTES = 1 << 24
"""what the MLPs' inputs of a block may take; larger blocks lost more in the caches than the product gained"""


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
    tanh_TNDB: Tensor
    """tanh of the scaled MLP output"""
    hidden_TNHB: tuple[Tensor, ...]
    """rectified, not yet squared, hidden units of every hidden layer"""


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
    loop = _BackwardLoop(plan, trace, weights, grads)
    sums = _WeightGrads(plan, weights, needs_rates)
    steps, batch = trace.activity_TNB.shape[0], trace.activity_TNB.shape[2]
    stride = steps_per_block(plan, batch, trace.activity_TNB.itemsize)
    for first in reversed(range(0, steps, stride)):
        block = loop.run(first, min(first + stride, steps))
        sums.add(trace, block)
    return *loop.start_grads(), *sums.result()


class _Block(NamedTuple):
    """Gradients of a block of steps, from which the weight gradients follow."""

    first: int
    emitted_TYB: Tensor
    """of the emitted rows: outputs, then averages"""
    memory_TNDB: Tensor
    """of the memory after the step"""
    mlp_out_TNDB: Tensor
    """of the MLPs' outputs"""
    hidden_TNHB: list[Tensor]
    """of the hidden units before rectification"""
    signal_TNPB: Tensor
    """of what the MLPs read, [b_t ; kappa_m m_(t-1)]"""


class _BackwardLoop:
    """The loop back through time; `run` takes a block of steps, latest block first."""

    def __init__(self, plan: RecurrencePlan, trace: Trace, weights: Weights, grads: OutputGrads) -> None:
        self.plan, self.trace, self.grads = plan, trace, grads
        _, n, self.batch = trace.activity_TNB.shape
        self.drive = plan.drive.transposed.ordered(drive_weights(weights.synapse_NC, weights.keep_ND))
        self.emit = plan.emit.transposed.ordered(emit_weights(weights.readout_ND, weights.bias_N, plan.kappa_r))
        matrices = weights.mlp[::2]
        # the derivative of relu(h)^2 is 2 relu(h): the 2 is put into the weights
        self.later_transposed = [2.0 * weight.transpose(1, 2).contiguous() for weight in matrices[1:]]
        self.first_transposed = matrices[0].transpose(1, 2).contiguous()
        self.update_ND1 = TANH_SCALE * TANH_SLOPE * weights.absorb_ND.unsqueeze(-1)
        new_zeros = trace.activity_TNB.new_zeros
        self.activity_NB = new_zeros(n, self.batch)
        self.memory_NDB = _or_zeros(grads.memory_NDB, new_zeros(n, plan.d_m, self.batch))
        self.average_NB = _or_zeros(grads.average_NB, trace.table_TXB[0, plan.average_row :].new_zeros(
            plan.rows - plan.average_row, self.batch))  # fmt: skip
        self.branch_NRB = _or_zeros(grads.branch_NRB, torch.zeros_like(trace.branch_TNRB[0]))

    def start_grads(self) -> tuple[Tensor, ...]:
        """Gradients of the state before the first step, once every block has run."""
        drop_NB = self.trace.drop_NB
        activity_NB = self.activity_NB if drop_NB is None else self.activity_NB * drop_NB
        return activity_NB, self.memory_NDB, self.average_NB, self.branch_NRB

    def run(self, first: int, last: int) -> _Block:
        """Go back from step last - 1 to step first."""
        trace, grads, plan = self.trace, self.grads, self.plan
        tanh_TNDB, activity_TNB = trace.tanh_TNDB[first:last], trace.activity_TNB[first:last]
        passes_TNB = (~(activity_TNB <= 0)).to(activity_TNB.dtype)  # as relu does, also where it is no number
        given_TNB = torch.zeros_like(passes_TNB)
        if grads.activity_TNB is not None:
            given_TNB = grads.activity_TNB[first:last] * passes_TNB
        if trace.drop_NB is not None:
            passes_TNB = passes_TNB * trace.drop_NB
        slope_TNDB = self.update_ND1 * (1.0 - tanh_TNDB.square())
        given_out_TNDB = None
        if grads.magnitude_NB is not None:
            given_out_TNDB = torch.sign(tanh_TNDB) * grads.magnitude_NB.unsqueeze(1)
        block = self._new_block(first, last)
        emitted_rows = block.emitted_TYB[:, : plan.n], block.emitted_TYB[:, plan.n :]
        for i in reversed(range(last - first)):
            torch.addcmul(given_TNB[i], self.activity_NB, passes_TNB[i], out=emitted_rows[0][i])
            emitted_rows[1][i].copy_(self.average_NB)
            self._step(block, i, slope_TNDB[i], None if given_out_TNDB is None else given_out_TNDB[i])
        return block

    def _new_block(self, first: int, last: int) -> _Block:
        trace, plan, steps = self.trace, self.plan, last - first
        new_empty = trace.tanh_TNDB.new_empty
        rows = plan.n if plan.kappa_r is None else 2 * plan.n
        return _Block(
            first=first,
            emitted_TYB=new_empty(steps, rows, self.batch),
            memory_TNDB=new_empty(steps, plan.n, plan.d_m, self.batch),
            mlp_out_TNDB=new_empty(steps, plan.n, plan.d_m, self.batch),
            hidden_TNHB=[new_empty(steps, *hidden.shape[1:]) for hidden in trace.hidden_TNHB],
            signal_TNPB=new_empty(steps, plan.n, plan.d_tree + plan.d_m, self.batch),
        )

    def _step(self, block: _Block, i: int, slope_NDB: Tensor, given_out_NDB: Tensor | None) -> None:
        plan, n, batch = self.plan, self.plan.n, self.batch
        back_YB = plan.emit.transposed.apply(block.emitted_TYB[i], self.emit)
        emitted_NDB = back_YB[: n * plan.d_m].view(n, plan.d_m, batch)
        memory_NDB = torch.add(self.memory_NDB, emitted_NDB, out=block.memory_TNDB[i])
        self.average_NB = back_YB[n * plan.d_m :]
        if given_out_NDB is None:
            grad_NHB = torch.mul(memory_NDB, slope_NDB, out=block.mlp_out_TNDB[i])
        else:
            grad_NHB = torch.addcmul(given_out_NDB, memory_NDB, slope_NDB, out=block.mlp_out_TNDB[i])
        for layer in reversed(range(len(block.hidden_TNHB))):
            squared_NHB = torch.bmm(self.later_transposed[layer], grad_NHB)
            hidden_NHB = self.trace.hidden_TNHB[layer][block.first + i]
            grad_NHB = torch.mul(squared_NHB, hidden_NHB, out=block.hidden_TNHB[layer][i])
        signal_NPB = torch.bmm(self.first_transposed, grad_NHB, out=block.signal_TNPB[i])
        if plan.kappa_b is not None:
            signal_NPB[:, : plan.d_tree].add_(self.branch_NRB)
            self.branch_NRB = plan.kappa_b * signal_NPB[:, : plan.d_tree]
        signal_NPB[:, plan.d_tree :].add_(memory_NDB)
        back_YB = plan.drive.transposed.apply(signal_NPB.view(-1, batch), self.drive)
        self.activity_NB = back_YB[:n]
        self.memory_NDB = back_YB[n:].view(n, plan.d_m, batch)


class _WeightGrads:
    """Sums of the weight gradients over the blocks; time and batch become the inner axis of every product."""

    def __init__(self, plan: RecurrencePlan, weights: Weights, needs_rates: bool) -> None:
        self.plan, self.weights, self.needs_rates = plan, weights, needs_rates
        self.synapse_NC = torch.zeros_like(weights.synapse_NC)
        self.keep_ND = torch.zeros_like(weights.keep_ND)
        self.absorb_ND = torch.zeros_like(weights.absorb_ND)
        self.readout_ND = torch.zeros_like(weights.readout_ND)
        self.bias_N = torch.zeros_like(weights.bias_N)
        self.mlp = [torch.zeros_like(tensor) for tensor in weights.mlp]

    def result(self) -> tuple[Tensor | None, ...]:
        """The gradients in the order of `Weights`, with `mlp` spread out."""
        rates = (self.keep_ND, self.absorb_ND) if self.needs_rates else (None, None)
        return self.synapse_NC, *rates, self.readout_ND, self.bias_N, *self.mlp

    def add(self, trace: Trace, block: _Block) -> None:
        """Add what a block of steps contributes."""
        plan, first = self.plan, block.first
        last = first + block.emitted_TYB.shape[0]
        memory_TNDB = trace.table_TXB[first : last + 1, plan.memory_row : plan.average_row]
        memory_TNDB = memory_TNDB.view(-1, plan.n, plan.d_m, memory_TNDB.shape[-1])
        self._add_readout(block.emitted_TYB, memory_TNDB[1:])
        branch_NRL = self._add_synapses(trace, block, last)
        kept_NDL = _columns(memory_TNDB[:-1]) * self.weights.keep_ND.unsqueeze(-1)
        signal_NPL = torch.cat([branch_NRL, kept_NDL], 1)
        grads_TNHB = [*block.hidden_TNHB, block.mlp_out_TNDB]
        for layer, grad_TNHB in enumerate(grads_TNHB):
            grad_NHL = _columns(grad_TNHB)
            self.mlp[2 * layer] = large_product(
                self.mlp[2 * layer], grad_NHL, signal_NPL.transpose(1, 2), plan.autocast
            )
            self.mlp[2 * layer + 1] += grad_NHL.sum(-1)
            if layer < len(trace.hidden_TNHB):
                signal_NPL = _columns(trace.hidden_TNHB[layer][first:last]).square()
        if self.needs_rates:
            self.keep_ND += (block.signal_TNPB[:, :, plan.d_tree :] * memory_TNDB[:-1]).sum((0, 3))
            self.absorb_ND += TANH_SCALE * (block.memory_TNDB * trace.tanh_TNDB[first:last]).sum((0, 3))

    def _add_readout(self, emitted_TYB: Tensor, memory_TNDB: Tensor) -> None:
        n, kappa_r = self.plan.n, self.plan.kappa_r
        self.bias_N += emitted_TYB[:, :n].sum((0, 2))
        y_TNB = emitted_TYB[:, :n]
        if kappa_r is not None:
            y_TNB = kappa_r * y_TNB + (1.0 - kappa_r) * emitted_TYB[:, n:]
        self.readout_ND += torch.bmm(_columns(memory_TNDB), _columns(y_TNB.unsqueeze(2)).transpose(1, 2)).squeeze(2)

    def _add_synapses(self, trace: Trace, block: _Block, last: int) -> Tensor:
        """Add the synapses' gradients and return the branch traces [N, R, L], which need the same gather."""
        plan, n, first = self.plan, self.plan.n, block.first
        u_XL = _columns(trace.table_TXB[first:last, : plan.memory_row].unsqueeze(2)).squeeze(1)
        grad_XL = _columns(block.signal_TNPB[:, :, : plan.d_tree]).reshape(n * plan.d_tree, -1)
        with torch.enable_grad():
            weight_XS = self.weights.synapse_NC.detach().reshape(plan.synapse_source.shape).requires_grad_()
            sums_XL = embedding_bag(plan.synapse_source, u_XL, mode="sum", per_sample_weights=weight_XS)
            (synapse_XS,) = torch.autograd.grad(sums_XL, weight_XS, grad_XL)
        self.synapse_NC += synapse_XS.view_as(self.synapse_NC)
        if plan.kappa_b is not None:
            return _columns(trace.branch_TNRB[first:last])
        return sums_XL.detach().view(n, plan.d_tree, -1)


def _columns(x_TNXB: Tensor) -> Tensor:
    """Bring time beside the batch: [T, N, X, B] to [N, X, T * B]."""
    return x_TNXB.permute(1, 2, 0, 3).flatten(2)


def _or_zeros(grad: Tensor | None, zeros: Tensor) -> Tensor:
    return zeros if grad is None else grad
