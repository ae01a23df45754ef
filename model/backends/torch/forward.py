"""The recurrent layer over a whole sequence as one autograd function, in plain torch operations.

Batch comes last in every tensor here, so that a neuron's small matrix products and its gathers read whole rows. The
loops hold only what depends on the neighbouring step; weight gradients are made afterwards, many steps in one product.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.backends.scratch import empty_like_kept
from model.backends.torch.backward import OutputGrads, differentiate, steps_per_block
from model.backends.torch.plan import RecurrencePlan, drive_weights, emit_weights
from model.backends.torch.weight_grads import Trace, Weights
from model.cell.layer import TANH_SCALE, TANH_SLOPE


class Carried(NamedTuple):
    """State of the layer between two steps, batch last."""

    activity_NB: Tensor
    memory_NDB: Tensor
    average_NB: Tensor
    """[0, B] without high-pass"""
    branch_NRB: Tensor
    """[N, 0, B] without branch traces"""


class Recurrence(torch.autograd.Function):
    """A recurrent layer of ELM neurons, T steps at once; differentiable once, not with respect to its input."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: RecurrencePlan,
        table_TXB: Tensor,
        drop_NB: Tensor | None,
        keep_mlp_out: bool,
        grad_enabled: bool,
        *tensors: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """Run the layer.

        Args:
            ctx: torch's context.
            plan: layout, wiring and decays.
            table_TXB: T + 1 tables with their ones and input rows; taken over, everything else is filled in here.
            drop_NB: dropout mask on the layer's own previous activity, or None.
            keep_mlp_out: whether to return the MLPs' outputs of every step.
            grad_enabled: `torch.is_grad_enabled()` where the layer is called. `ctx.needs_input_grad` says that weights
                are trained even under `no_grad`, and within this method the mode is always off.
            tensors: the fields of `Carried` before the first step, then those of `Weights` with `mlp` spread out.

        Returns:
            Activity [T, N, B]; memory, average and branch traces after the last step; sum over time and memory of
            abs(o) [N, B]; o [T, N, D, B] or None.
        """
        # autograd functions take tensors one by one, so they are sorted into their names here.
        weights = Weights.of(tensors[4:])
        trains = grad_enabled and any(ctx.needs_input_grad)
        trace = _allocate(plan, table_TXB, drop_NB, weights, trains)
        loop = _ForwardLoop(plan, trace, Carried(*tensors[:4]), weights, keep_mlp_out)
        final = loop.run()
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        if trains:
            ctx.save_for_backward(*trace[:5], *trace.hidden_TNHB, *tensors[4:])
        mlp_out_TNDB = loop.mlp_out() if keep_mlp_out else None
        if mlp_out_TNDB is not None:
            ctx.mark_non_differentiable(mlp_out_TNDB)
        return trace.activity_TNB, *final[1:], loop.magnitude_NB, mlp_out_TNDB

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Differentiate the layer; gradients come in the order of forward's arguments."""
        saved = ctx.saved_tensors
        # five fields of the trace, then for L hidden layers their units, then five weights and, of L + 1 layers, weight
        # and bias: 12 + 3 L tensors
        layers = (len(saved) - 12) // 3
        trace = Trace(saved[0], saved[1], saved[2], saved[3], saved[4], tuple(saved[5 : 5 + layers]))
        weights = Weights.of(saved[5 + layers :])
        needs_rates = any(ctx.needs_input_grad[10:12])  # keep and absorb: behind 5 switches, 4 states and the synapses
        no_grads = (None,) * 5  # of plan, table, dropout mask and both switches
        return *no_grads, *differentiate(ctx.plan, trace, weights, OutputGrads(*grads[:5]), needs_rates)


run_recurrence: Callable[..., tuple[Any, ...]] = Recurrence.apply
"""`Recurrence` as a function of forward's arguments without ctx"""


def _allocate(plan: RecurrencePlan, table_TXB: Tensor, drop_NB: Tensor | None, weights: Weights, trains: bool) -> Trace:
    """Make room for what the backward pass needs; without one, for a single step."""
    steps, batch = table_TXB.shape[0] - 1, table_TXB.shape[2]
    stored = steps if trains else 1  # every step then writes over the one before, see `slot` in `_step`
    traced = plan.d_tree if plan.kappa_b is not None else 0
    return Trace(
        table_TXB=table_TXB,
        drop_NB=drop_NB,
        # an output, which the caller may hold for as long as it likes; kept memory should come back soon
        activity_TNB=table_TXB.new_empty(steps, plan.n, batch),
        branch_TNRB=empty_like_kept(table_TXB, stored, plan.n, traced, batch),
        sigmoid_TNDB=empty_like_kept(table_TXB, stored, plan.n, plan.d_m, batch),
        hidden_TNHB=tuple(empty_like_kept(table_TXB, stored, *bias.shape, batch) for bias in weights.mlp[1:-1:2]),
    )


class _ForwardLoop:
    """The loop over time: fills a trace, step by step."""

    def __init__(
        self, plan: RecurrencePlan, trace: Trace, start: Carried, weights: Weights, keep_mlp_out: bool
    ) -> None:
        self.plan, self.trace, self.branch_NRB = plan, trace, start.branch_NRB
        self.steps, n, self.batch = trace.activity_TNB.shape
        self.views = _Views(plan, trace)
        # step t reads table t and writes its activity, average and memory into table t + 1
        self.views.activity[0].copy_(start.activity_NB)
        if trace.drop_NB is not None:
            self.views.activity[0].mul_(trace.drop_NB)
        self.views.average[0].copy_(start.average_NB)
        self.views.memory[0].copy_(start.memory_NDB)
        self.drive = plan.drive.forward.ordered(drive_weights(weights.synapse_NC, weights.keep_ND, weights.absorb_ND))
        self.emit = plan.emit.forward.ordered(emit_weights(weights.readout_ND, weights.bias_N, plan.kappa_r))
        # biases are weights on a row of ones: torch.baddbmm would first spread them over its result
        layers = [
            torch.cat([weight, bias.unsqueeze(-1)], 2)
            for weight, bias in zip(weights.mlp[::2], weights.mlp[1::2], strict=True)
        ]
        new_ones = trace.table_TXB.new_ones
        squares = [new_ones(n, hidden_TNHB.shape[2] + 1, self.batch) for hidden_TNHB in trace.hidden_TNHB]
        # tanh(x) is taken as 2 sigmoid(2 x) - 1, for torch's sigmoid needs an eighth of its tanh's time; the 1 is in
        # `drive_weights`, and the first layer, which reads what they make, puts it back
        gain_ND1 = TANH_SCALE * weights.absorb_ND.unsqueeze(-1)
        layers[0][:, :, -1:] += torch.bmm(weights.mlp[0][:, :, plan.d_tree :], gain_ND1)
        self.twice_ND1, self.last_weight = 2.0 * gain_ND1, 2.0 * TANH_SLOPE * layers[-1]
        self.hidden_layers = [
            (weight, hidden_t, square_NHB, square_NHB[:, :-1])
            for weight, hidden_t, square_NHB in zip(layers[:-1], self.views.hidden, squares, strict=True)
        ]
        # activities are at least 0, averages any number: one torch.maximum then rectifies the one and copies the other
        self.least_X1 = new_ones(plan.memory_row - plan.activity_row, 1).mul_(-math.inf)
        self.least_X1[:n].zero_()
        # the MLPs' outputs are wanted for one sum only; summed a block at a time they stay in the cache
        stored_steps = (
            self.steps if keep_mlp_out else min(self.steps, steps_per_block(plan, self.batch, new_ones(()).itemsize))
        )
        self.scaled_out_TNDB = empty_like_kept(trace.table_TXB, stored_steps, n, plan.d_m, self.batch)
        self.scaled_out_t = self.scaled_out_TNDB.unbind(0)
        self.magnitude_NB = trace.table_TXB.new_zeros(n, self.batch)

    def run(self) -> Carried:
        """Take every step and return the state after the last."""
        stored_steps, trace, views = len(self.scaled_out_t), self.trace, self.views
        for t in range(self.steps):
            self._step(t)
            if t + 1 == self.steps or (t + 1) % stored_steps == 0:
                block_TNDB = self.scaled_out_TNDB[: t % stored_steps + 1]
                self.magnitude_NB += block_TNDB.abs().sum((0, 2)) / (2.0 * TANH_SLOPE)
        if trace.drop_NB is None:  # else `_step` has put it aside before the mask was laid over the table
            trace.activity_TNB.copy_(trace.table_TXB[1:, self.plan.activity_row : self.plan.average_row])
        return Carried(
            trace.activity_TNB[-1], views.memory[-1].clone(), views.average[-1].clone(), self.branch_NRB.clone()
        )

    def mlp_out(self) -> Tensor:
        """Return the MLPs' outputs of all steps [T, N, D, B], where they were kept."""
        return self.scaled_out_TNDB / (2.0 * TANH_SLOPE)

    def _step(self, t: int) -> None:
        # in a small network a step is some 20 operations of 1 to 5 microseconds, most of it not arithmetic: hence views
        # cut beforehand, and results written with out= to where the backward pass reads them
        plan, trace, views, d_tree = self.plan, self.trace, self.views, self.plan.d_tree
        slot = t % len(views.sigmoid)
        signal_NPB = plan.drive.forward.apply(views.table[t], self.drive).view(plan.n, -1, self.batch)
        kept_NDB = signal_NPB[:, d_tree:-1]
        if plan.kappa_b is not None:
            # a copy, because `signal_NPB` is the gather's own result and gone after this step
            signal_NPB[:, :d_tree].add_(self.branch_NRB, alpha=plan.kappa_b)
            self.branch_NRB = trace.branch_TNRB[slot].copy_(signal_NPB[:, :d_tree])
        for weight, hidden_t, square_and_one, square in self.hidden_layers:
            hidden_NHB = torch.bmm(weight, signal_NPB, out=hidden_t[slot]).relu_()
            torch.mul(hidden_NHB, hidden_NHB, out=square)
            signal_NPB = square_and_one
        out_NDB = torch.bmm(self.last_weight, signal_NPB, out=self.scaled_out_t[t % len(self.scaled_out_t)])
        sigmoid_NDB = torch.sigmoid(out_NDB, out=views.sigmoid[slot])
        torch.addcmul(kept_NDB, self.twice_ND1, sigmoid_NDB, out=views.memory[t + 1])
        emitted_XB = plan.emit.forward.apply(views.pair[t], self.emit)
        torch.maximum(emitted_XB, self.least_X1, out=views.emitted[t + 1])
        if trace.drop_NB is not None:
            trace.activity_TNB[t].copy_(views.activity[t + 1])
            views.activity[t + 1].mul_(trace.drop_NB)


class _Views:
    """The tensors of a trace at its every step, cut once."""

    def __init__(self, plan: RecurrencePlan, trace: Trace) -> None:
        table_TXB = trace.table_TXB
        steps, rows, batch = table_TXB.shape
        self.table = table_TXB.unbind(0)
        # overlapping: a neuron's output depends on the average before the step and the memory after it, which stand in
        # neighbouring tables; seen as one table of twice the rows they are one gather
        self.pair = table_TXB.as_strided((steps - 1, 2 * rows, batch), (rows * batch, batch, 1)).unbind(0)
        self.activity = table_TXB[:, plan.activity_row : plan.average_row].unbind(0)
        self.average = table_TXB[:, plan.average_row : plan.memory_row].unbind(0)
        self.emitted = table_TXB[:, plan.activity_row : plan.memory_row].unbind(0)
        self.memory = table_TXB[:, plan.memory_row :].view(steps, plan.n, plan.d_m, batch).unbind(0)
        self.sigmoid = trace.sigmoid_TNDB.unbind(0)
        self.hidden = [hidden_TNHB.unbind(0) for hidden_TNHB in trace.hidden_TNHB]
