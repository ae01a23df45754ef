"""The backward pass of the recurrent layer: a loop back through time, then the weight gradients, block by block."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from model.layer import TANH_SCALE, TANH_SLOPE
from model.recurrence_plan import RecurrencePlan, drive_weights, emit_weights
from model.scratch import room

_COLUMNS = 64, 1024
"""fewest and most time steps times batch rows that share one product of weight gradients"""
_BLOCK_BYTES = 1 << 20
"""what the MLPs' inputs of a block may take between these: larger blocks outgrow the caches, and the C library takes
their memory from the system anew each time, which cost a third of a step when measured"""


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
    """sigmoid of the MLP output times twice the tanh's slope"""
    hidden_NHTB: tuple[Tensor, ...]
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
    fewest, most = _COLUMNS
    return max(1, min(most, max(fewest, _BLOCK_BYTES // column_bytes)) // batch)


def beside_time(like: Tensor, sizes: Sequence[int], steps: int, batch: int) -> Tensor:
    """Make room [N, X, T, B] in which the last two axes are one.

    Rows are a little longer than that, for rows a power of two apart fall on the same few lines of the caches.
    """
    n, width = sizes
    row = steps * batch + 16
    return room(like, n * width * row).as_strided((n, width, steps, batch), (width * row, row, batch, 1))


def differentiate(
    plan: RecurrencePlan, trace: Trace, weights: Weights, grads: OutputGrads, needs_rates: bool
) -> tuple[Tensor | None, ...]:
    """Differentiate the layer.

    Returns:
        Gradients of the start state (activity, memory, average, branch traces) and of the fields of `Weights`, with
        `mlp` spread out; those of keep and absorb are None unless `needs_rates`.
    """
    loop = _BackwardLoop(plan, trace, weights, grads, needs_rates)
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
    memory_TNDB: Tensor | None
    """of the memory after the step, where the timescales are trained"""
    mlp_out_NDTB: Tensor
    """of the MLPs' outputs"""
    hidden_NHTB: list[Tensor]
    """of the hidden units before rectification"""
    signal_TNPB: Tensor
    """of what the MLPs read, [b_t ; kappa_m m_(t-1)]"""


class _BackwardLoop:
    """The loop back through time; `run` takes a block of steps, latest block first."""

    def __init__(
        self, plan: RecurrencePlan, trace: Trace, weights: Weights, grads: OutputGrads, needs_rates: bool
    ) -> None:
        self.plan, self.trace, self.grads = plan, trace, grads
        _, n, self.batch = trace.activity_TNB.shape
        self.drive = plan.drive.transposed.ordered(
            drive_weights(weights.synapse_NC, weights.keep_ND, weights.absorb_ND)
        )
        self.emit = plan.emit.transposed.ordered(emit_weights(weights.readout_ND, weights.bias_N, plan.kappa_r))
        matrices = weights.mlp[::2]
        # the derivative of relu(h)^2 is 2 relu(h): the 2 is put into the weights
        self.later_transposed = [2.0 * weight.transpose(1, 2).contiguous() for weight in matrices[1:]]
        self.first_transposed = matrices[0].transpose(1, 2).contiguous()
        self.update_ND1 = 4.0 * TANH_SCALE * TANH_SLOPE * weights.absorb_ND.unsqueeze(-1)
        self.needs_rates = needs_rates
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
        sigmoid_TNDB, activity_TNB = trace.sigmoid_TNDB[first:last], trace.activity_TNB[first:last]
        passes_TNB = (~(activity_TNB <= 0)).to(activity_TNB.dtype)  # as relu does, also where it is no number
        given_TNB = torch.zeros_like(passes_TNB)
        if grads.activity_TNB is not None:
            given_TNB = grads.activity_TNB[first:last] * passes_TNB
        if trace.drop_NB is not None:
            passes_TNB = passes_TNB * trace.drop_NB
        # the derivative of tanh(x) = 2 s - 1 is 1 - tanh(x)^2 = 4 s (1 - s)
        slope_TNDB = torch.addcmul(sigmoid_TNDB, sigmoid_TNDB, sigmoid_TNDB, value=-1.0).mul_(self.update_ND1)
        given_out_t: Sequence[Tensor | None] = [None] * (last - first)
        if grads.magnitude_NB is not None:
            given_out_t = ((sigmoid_TNDB - 0.5).sign_() * grads.magnitude_NB.unsqueeze(1)).unbind(0)
        block = self._new_block(first, last)
        views = _views(block, trace, slope_TNDB)
        emitted_t = [torch.split(emitted_YB, plan.n) for emitted_YB in views.emitted_t]
        given_t, passes_t = given_TNB.unbind(0), passes_TNB.unbind(0)
        for i in reversed(range(last - first)):
            torch.addcmul(given_t[i], self.activity_NB, passes_t[i], out=emitted_t[i][0])
            if plan.kappa_r is not None:
                emitted_t[i][1].copy_(self.average_NB)
            self._step(views, i, given_out_t[i])
        return block

    def _new_block(self, first: int, last: int) -> _Block:
        trace, plan, steps = self.trace, self.plan, last - first
        table_TXB = trace.table_TXB
        rows = plan.n if plan.kappa_r is None else 2 * plan.n
        return _Block(
            first=first,
            emitted_TYB=room(table_TXB, steps, rows, self.batch),
            memory_TNDB=room(table_TXB, steps, plan.n, plan.d_m, self.batch) if self.needs_rates else None,
            mlp_out_NDTB=beside_time(table_TXB, (plan.n, plan.d_m), steps, self.batch),
            hidden_NHTB=[beside_time(table_TXB, hidden.shape[:2], steps, self.batch) for hidden in trace.hidden_NHTB],
            signal_TNPB=room(table_TXB, steps, plan.n, plan.d_tree + plan.d_m, self.batch),
        )

    def _step(self, views: "_Views", i: int, given_out_NDB: Tensor | None) -> None:
        plan, n, batch = self.plan, self.plan.n, self.batch
        back_YB = plan.emit.transposed.apply(views.emitted_t[i], self.emit)
        if plan.kappa_r is not None:
            back_YB, self.average_NB = torch.split(back_YB, [n * plan.d_m, n])
        memory_NDB = back_YB.view(n, plan.d_m, batch).add_(self.memory_NDB)
        if views.memory_t is not None:
            views.memory_t[i].copy_(memory_NDB)
        if given_out_NDB is None:
            grad_NHB = torch.mul(memory_NDB, views.slope_t[i], out=views.mlp_out_t[i])
        else:
            grad_NHB = torch.addcmul(given_out_NDB, memory_NDB, views.slope_t[i], out=views.mlp_out_t[i])
        for later_transposed, hidden_t, grad_t in self.later_layers(views):
            squared_NHB = torch.bmm(later_transposed, grad_NHB)
            grad_NHB = torch.mul(squared_NHB, hidden_t[i], out=grad_t[i])
        signal_NPB = torch.bmm(self.first_transposed, grad_NHB, out=views.signal_t[i])
        if plan.kappa_b is not None:
            signal_NPB[:, : plan.d_tree].add_(self.branch_NRB)
            self.branch_NRB = plan.kappa_b * signal_NPB[:, : plan.d_tree]
        views.kept_t[i].add_(memory_NDB)
        back_YB = plan.drive.transposed.apply(views.signal_rows_t[i], self.drive)
        self.activity_NB, memory_YB = torch.split(back_YB, [n, n * plan.d_m])
        self.memory_NDB = memory_YB.view(n, plan.d_m, batch)

    def later_layers(self, views: "_Views") -> Iterator[tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]]:
        """Of the MLPs' layers from the last to the second: weights, what they read, and its gradient, by step."""
        return zip(reversed(self.later_transposed), reversed(views.hidden_t), reversed(views.grad_t), strict=True)


class _Views(NamedTuple):
    """The steps of a block; cutting them out all at once takes a third of the time."""

    emitted_t: Sequence[Tensor]
    memory_t: Sequence[Tensor] | None
    mlp_out_t: Sequence[Tensor]
    slope_t: Sequence[Tensor]
    hidden_t: Sequence[Sequence[Tensor]]
    grad_t: Sequence[Sequence[Tensor]]
    signal_t: Sequence[Tensor]
    signal_rows_t: Sequence[Tensor]
    kept_t: Sequence[Tensor]


def _views(block: _Block, trace: Trace, slope_TNDB: Tensor) -> _Views:
    steps, batch = len(block.signal_TNPB), block.signal_TNPB.shape[-1]
    d_m = block.mlp_out_NDTB.shape[1]
    return _Views(
        emitted_t=block.emitted_TYB.unbind(0),
        memory_t=None if block.memory_TNDB is None else block.memory_TNDB.unbind(0),
        mlp_out_t=block.mlp_out_NDTB.unbind(2),
        slope_t=slope_TNDB.unbind(0),
        hidden_t=[hidden[:, :, block.first : block.first + steps].unbind(2) for hidden in trace.hidden_NHTB],
        grad_t=[grad.unbind(2) for grad in block.hidden_NHTB],
        signal_t=block.signal_TNPB.unbind(0),
        signal_rows_t=block.signal_TNPB.view(steps, -1, batch).unbind(0),
        kept_t=block.signal_TNPB[:, :, -d_m:].unbind(0),
    )


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
        batch = memory_TNDB.shape[-1]
        memory_NDL = _columns(memory_TNDB)  # one step more than the block has
        self._add_readout(block.emitted_TYB, memory_NDL[:, :, batch:])
        branch_NRL = self._add_synapses(trace, block, last)
        kept_NDL = memory_NDL[:, :, :-batch] * self.weights.keep_ND.unsqueeze(-1)
        signal_NPL = torch.cat([branch_NRL, kept_NDL], 1)
        grads_NHTB = [*block.hidden_NHTB, block.mlp_out_NDTB]
        for layer, grad_NHTB in enumerate(grads_NHTB):
            grad_NHL = grad_NHTB.flatten(2)
            self.mlp[2 * layer].baddbmm_(grad_NHL, signal_NPL.transpose(1, 2))
            self.mlp[2 * layer + 1] += grad_NHL.sum(-1)
            if layer < len(trace.hidden_NHTB):
                hidden_NHL = trace.hidden_NHTB[layer][:, :, first:last].flatten(2)
                signal_NPL = hidden_NHL * hidden_NHL
        if self.needs_rates:
            self.keep_ND += (block.signal_TNPB[:, :, plan.d_tree :] * memory_TNDB[:-1]).sum((0, 3))
            assert block.memory_TNDB is not None
            tanh_TNDB = 2.0 * trace.sigmoid_TNDB[first:last] - 1.0
            self.absorb_ND += TANH_SCALE * (block.memory_TNDB * tanh_TNDB).sum((0, 3))

    def _add_readout(self, emitted_TYB: Tensor, memory_NDL: Tensor) -> None:
        n, kappa_r = self.plan.n, self.plan.kappa_r
        self.bias_N += emitted_TYB[:, :n].sum((0, 2))
        y_TNB = emitted_TYB[:, :n]
        if kappa_r is not None:
            y_TNB = kappa_r * y_TNB + (1.0 - kappa_r) * emitted_TYB[:, n:]
        self.readout_ND += torch.bmm(memory_NDL, _columns(y_TNB.unsqueeze(2)).transpose(1, 2)).squeeze(2)

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
