"""The recurrent layer over a whole sequence as one autograd function around the kernels."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.backends.triton.plan import Tiling, TritonPlan, power_of_two

_COLUMNS = 128
"""steps times batch rows that a program of the synapses' gradients reads at a time"""


class Weights(NamedTuple):
    """Trained quantities of the recurrent layer, neurons of all stacked networks along the first axis."""

    synapse_NC: Tensor
    """synaptic weights times the input scale"""
    keep_ND: Tensor
    """share of the memory that stays"""
    gain_ND: Tensor
    """what the tanh of the MLP's output is multiplied by"""
    readout_ND: Tensor
    """output weights"""
    bias_N: Tensor
    """bias of the output"""
    mlp: tuple[Tensor, ...]
    """weight [N, out, in] and bias [N, out] of the MLP's layers in turn"""

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "Weights":
        """Gather the fields, `mlp` spread out last, each in one piece of memory as the kernels read them."""
        whole = [tensor.contiguous() for tensor in tensors]
        return cls(whole[0], whole[1], whole[2], whole[3], whole[4], tuple(whole[5:]))

    def matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """First, middle [L - 1, N, H, H] and last matrices; what a shallow MLP lacks is any tensor."""
        matrices = self.mlp[::2]
        middle = torch.stack(matrices[1:-1]) if len(matrices) > 2 else matrices[0]
        return matrices[0], middle, matrices[-1]

    def biases(self) -> tuple[Tensor, Tensor, Tensor]:
        """Likewise the biases."""
        biases = self.mlp[1::2]
        middle = torch.stack(biases[1:-1]) if len(biases) > 2 else biases[0]
        return biases[0], middle, biases[-1]


class Trace(NamedTuple):
    """What the forward pass leaves for the backward pass, beside the activity; of one step without one."""

    table_XTB: Tensor
    """what synapses read, [channels + N, T + 1, B]: x_t and the masked a_(t-1) at place t"""
    signal_NPTB: Tensor
    """what the MLPs read: branches, and what is left of the memory"""
    hidden_LNHTB: Tensor
    """rectified, not yet squared, hidden units"""
    tanh_NDTB: Tensor
    memory_NDTB: Tensor
    """memory before the first step and after every one, [N, D, T + 1, B]"""


class Recurrence(torch.autograd.Function):
    """A recurrent layer of ELM neurons, T steps at once; differentiable once, not with respect to its input."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: TritonPlan,
        tiling: Tiling,
        table_XTB: Tensor,
        drop_NB: Tensor | None,
        keep_mlp_out: bool,
        grad_enabled: bool,
        *tensors: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """Run the layer.

        Args:
            ctx: torch's context.
            plan: sizes and wiring.
            tiling: how the work is cut into programs.
            table_XTB: see `Trace`; its input rows are filled in, everything else is written here.
            drop_NB: dropout mask on the layer's own previous activity, or None.
            keep_mlp_out: whether to return the MLPs' outputs of every step.
            grad_enabled: `torch.is_grad_enabled()` where the layer is called; within this method it is always off.
            tensors: activity, memory, average and branch traces before the first step, then `Weights`.

        Returns:
            Activity [N, T, B]; memory, average and branch traces after the last step; sum over time and memory of
            abs(o) [N, B]; o [N, D, T, B] or None.
        """
        activity_NB, memory_NDB, average_NB, branch_NRB = tensors[:4]
        weights = Weights.of(tensors[4:])
        trains = grad_enabled and any(ctx.needs_input_grad)
        steps, batch = table_XTB.shape[1] - 1, table_XTB.shape[2]
        stored, new = steps if trains else 1, table_XTB.new_empty
        trace = Trace(
            table_XTB=table_XTB,
            signal_NPTB=new(plan.n, plan.d_tree + plan.d_m, stored, batch),
            hidden_LNHTB=new(plan.layers, plan.n, plan.width, stored, batch),
            tanh_NDTB=new(plan.n, plan.d_m, stored, batch),
            memory_NDTB=new(plan.n, plan.d_m, stored + 1 if trains else 1, batch),
        )
        table_XTB[plan.channels :, 0] = activity_NB if drop_NB is None else activity_NB * drop_NB
        trace.memory_NDTB[:, :, 0] = memory_NDB
        # the kernel carries these from step to step, in place
        average_NB, branch_NRB = average_NB.clone(), branch_NRB.clone()
        magnitude_NB = table_XTB.new_zeros(plan.n, batch)
        activity_NTB = new(plan.n, steps, batch)
        mlp_out_NDTB = new(plan.n, plan.d_m, steps, batch) if keep_mlp_out else None
        firsts, middles, lasts = zip(weights.matrices(), weights.biases(), strict=True)
        arguments = (
            table_XTB, plan.source, weights.synapse_NC, *firsts, *middles, *lasts, weights.keep_ND, weights.gain_ND,
            weights.readout_ND, weights.bias_N, plan.decays, _or_any(drop_NB, table_XTB),
            *trace[1:], average_NB, branch_NRB, magnitude_NB, activity_NTB, _or_any(mlp_out_NDTB, table_XTB),
            plan.n, _per_program(plan, tiling), batch, plan.d_branch, plan.d_tree + plan.d_m, plan.d_tree, plan.d_m,
            plan.width, plan.channels, (steps + 1) * batch, stored * batch, batch if trains else 0,
            trace.memory_NDTB.shape[2] * batch, batch if trains else 0,
        )  # fmt: skip
        _launch(
            "forward_kernel",
            plan,
            tiling,
            batch,
            arguments,
            range(steps),
            DROPPED=drop_NB is not None,
            KEEP_OUT=keep_mlp_out,
        )
        ctx.plan, ctx.tiling = plan, tiling
        ctx.set_materialize_grads(False)
        if trains:
            ctx.save_for_backward(activity_NTB, drop_NB, *trace, *tensors[4:])
        if mlp_out_NDTB is not None:
            ctx.mark_non_differentiable(mlp_out_NDTB)
        return activity_NTB, trace.memory_NDTB[:, :, -1].clone(), average_NB, branch_NRB, magnitude_NB, mlp_out_NDTB

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Differentiate the layer; gradients come in the order of forward's arguments."""
        activity_NTB, drop_NB, *saved = ctx.saved_tensors
        trace, weights = Trace(*saved[:5]), Weights.of(saved[5:])
        pass_ = _BackwardPass(ctx.plan, ctx.tiling, activity_NTB, drop_NB, trace, weights)
        # behind 6 arguments that have none: activity first among the states, then keep and gain among the weights
        needs_rates, needs_start = any(ctx.needs_input_grad[11:13]), ctx.needs_input_grad[6]
        state = pass_.run(grads, needs_rates, needs_start)
        return *(None,) * 6, *state, *pass_.weight_grads(needs_rates)


run_recurrence: Callable[..., tuple[Any, ...]] = Recurrence.apply
"""`Recurrence` as a function of forward's arguments without ctx"""


class _BackwardPass:
    """The loop back through time, then the weight gradients as products over the whole sequence."""

    def __init__(
        self,
        plan: TritonPlan,
        tiling: Tiling,
        activity_NTB: Tensor,
        drop_NB: Tensor | None,
        trace: Trace,
        weights: Weights,
    ) -> None:
        self.plan, self.tiling, self.activity_NTB, self.drop_NB = plan, tiling, activity_NTB, drop_NB
        self.trace, self.weights = trace, weights
        # of z, of y (the same without high-pass), of the MLPs' outputs, of the hidden units, of the branches
        self.z_NTB = torch.empty_like(activity_NTB)
        self.y_NTB = self.z_NTB if plan.kappa_r is None else torch.empty_like(activity_NTB)
        self.out_NDTB = torch.empty_like(trace.tanh_NDTB)
        self.hidden_LNHTB = torch.empty_like(trace.hidden_LNHTB)
        self.branch_NRTB = activity_NTB.new_empty(plan.n, plan.d_tree, *activity_NTB.shape[1:])

    def run(self, grads: Sequence[Tensor | None], needs_rates: bool, needs_start: bool) -> tuple[Tensor | None, ...]:
        """Go back from the last step to the first; gradients of the state before it."""
        plan, weights, trace, (n, steps, batch) = self.plan, self.weights, self.trace, self.activity_NTB.shape
        zeros = self.activity_NTB.new_zeros
        activity_NTB = _or_zeros(grads[0], zeros, n, steps, batch)
        # the kernel changes these in place
        memory_NDB = _or_zeros(grads[1], zeros, n, plan.d_m, batch).clone()
        average_NB = _or_zeros(grads[2], zeros, n if plan.kappa_r is not None else 0, batch).clone()
        branch_NRB = _or_zeros(grads[3], zeros, n, plan.d_tree if plan.kappa_b is not None else 0, batch).clone()
        magnitude_NB = _or_zeros(grads[4], zeros, n, batch)
        # of the memory after a step and of what is left of it, which only trained timescales ask for
        self.after_NDTB = torch.empty_like(trace.tanh_NDTB) if needs_rates else self.out_NDTB
        self.kept_NDTB = torch.empty_like(trace.tanh_NDTB) if needs_rates else self.out_NDTB
        reader_weight = weights.synapse_NC.flatten()[plan.order]
        drop = _or_any(self.drop_NB, self.z_NTB)
        arguments = (
            trace.tanh_NDTB, trace.hidden_LNHTB, self.activity_NTB, activity_NTB, magnitude_NB, plan.start,
            plan.reader, reader_weight, *weights.matrices(), weights.keep_ND, weights.gain_ND, weights.readout_ND,
            plan.decays, drop, self.z_NTB, self.y_NTB, self.after_NDTB, self.out_NDTB, self.hidden_LNHTB,
            self.branch_NRTB, self.kept_NDTB, memory_NDB, average_NB, branch_NRB, n,
            _per_program(plan, self.tiling), batch, plan.d_tree + plan.d_m, plan.d_tree, plan.d_m, plan.width,
            steps * batch,
        )  # fmt: skip
        dropped = self.drop_NB is not None
        _launch(
            "backward_kernel", plan, self.tiling, batch, arguments, range(steps - 1, -1, -1),
            EB=self.tiling.listed, DROPPED=dropped, RATES=needs_rates,
        )  # fmt: skip
        start_NB = self.activity_NTB.new_empty(n, batch) if needs_start else None
        if start_NB is not None:
            tiling = self.tiling
            grid = (-(-n // tiling.neurons), -(-batch // tiling.batch))
            kernels().start_kernel[grid](
                plan.start, plan.reader, reader_weight, self.branch_NRTB, drop, start_NB, n, batch, steps * batch, 1,
                NB=tiling.neurons, BB=tiling.batch, EB=tiling.listed, DROPPED=dropped, num_warps=tiling.warps,
            )  # fmt: skip
        return start_NB, memory_NDB, average_NB, branch_NRB

    def weight_grads(self, needs_rates: bool) -> tuple[Tensor | None, ...]:
        """Gradients in the order of `Weights`, `mlp` spread out: time and batch are the inner axis of every product."""
        trace, memory_NDTB = self.trace, self.trace.memory_NDTB
        keep = (self.kept_NDTB * memory_NDTB[:, :, :-1]).sum((2, 3)) if needs_rates else None
        gain = (self.after_NDTB * trace.tanh_NDTB).sum((2, 3)) if needs_rates else None
        readout = (self.y_NTB.unsqueeze(1) * memory_NDTB[:, :, 1:]).sum((2, 3))
        grads = [*self.hidden_LNHTB.flatten(3).unbind(0), self.out_NDTB.flatten(2)]
        inputs = [trace.signal_NPTB.flatten(2), *trace.hidden_LNHTB.square().flatten(3).unbind(0)]
        mlp = [
            result
            for grad_NXL, input_NXL in zip(grads, inputs, strict=True)
            for result in (torch.bmm(grad_NXL, input_NXL.mT), grad_NXL.sum(2))
        ]
        return self._synapse_grad(), keep, gain, readout, self.z_NTB.sum((1, 2)), *mlp

    def _synapse_grad(self) -> Tensor:
        table_XTB, count = self.trace.table_XTB, self.plan.source.numel()
        grad_NC = torch.empty_like(self.weights.synapse_NC)
        columns = self.branch_NRTB.shape[2] * self.branch_NRTB.shape[3]
        wide = min(_COLUMNS, power_of_two(columns))
        # 16 numbers a thread of four warps
        rows = max(1, 2048 // wide)
        kernels().synapse_kernel[(-(-count // rows),)](
            table_XTB, self.plan.source, self.branch_NRTB, grad_NC, count, self.plan.d_branch,
            table_XTB.shape[1] * table_XTB.shape[2], columns, XB=rows, LB=wide, num_warps=4,
        )  # fmt: skip
        return grad_NC


def kernels() -> Any:
    """The module of the kernels, loaded when a network first runs, for Triton is not installed everywhere."""
    return importlib.import_module("model.backends.triton.kernels")


def _launch(
    name: str, plan: TritonPlan, tiling: Tiling, batch: int, arguments: tuple[Any, ...], order: range, **switches: Any
) -> None:
    """Launch a kernel for all steps at once, or once for each of them in the order in which they depend on another."""
    launched = getattr(kernels(), name)
    programs = plan.networks if tiling.persistent else -(-plan.n // tiling.neurons)
    grid = (programs, -(-batch // tiling.batch))
    sizes = {"R": plan.d_tree, "H": plan.width, "D": plan.d_m}
    for first, steps in [(order[0], len(order))] if tiling.persistent else [(step, 1) for step in order]:
        launched[grid](
            *arguments, 1, first, steps, LAYERS=plan.layers, NB=tiling.neurons, BB=tiling.batch,
            FILTERED=plan.kappa_r is not None, TRACED=plan.kappa_b is not None, num_warps=tiling.warps,
            **{size: power_of_two(value) for size, value in sizes.items()}, **switches,
        )  # fmt: skip


def _per_program(plan: TritonPlan, tiling: Tiling) -> int:
    return plan.n // plan.networks if tiling.persistent else tiling.neurons


def _or_any(tensor: Tensor | None, other: Tensor) -> Tensor:
    """A kernel that does not read an argument takes any tensor in its place."""
    return other if tensor is None else tensor


def _or_zeros(grad: Tensor | None, zeros: Callable[..., Tensor], *sizes: int) -> Tensor:
    return zeros(*sizes) if grad is None else grad.contiguous()
