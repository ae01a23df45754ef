"""A compiled layer of ELM neurons over a whole sequence, as one autograd function."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.config import ElmConfig
from model.layer import TANH_SLOPE
from model.native_abi import Kernel, LayerStruct
from model.scratch import scratch


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """What of a layer stays the same from call to call."""

    kernel: Kernel
    """the compiled layer in its precision"""
    recurrent: bool
    """True for the recurrent layer; the read-out layer reads its input only and is not rectified"""
    wiring: tuple[Tensor, ...]
    """the tensors that `description` points to"""
    reader_synapse: Tensor
    """which synapse, counted through [N, C], each reader of a source reads with, source by source"""
    description: LayerStruct
    """sizes, switches, constants and wiring filled in, the rest empty"""


def layer_plan(config: ElmConfig, connectome_NC: Tensor, kernel: Kernel, recurrent: bool) -> LayerPlan:
    """Invert a layer's wiring: the recurrent layer's activity gets gradients, and the read-out layer's input does."""
    first_graded, graded = (config.n_in, config.n_rec) if recurrent else (0, config.n_in)
    source = connectome_NC.flatten() - first_graded
    synapse = torch.nonzero(source >= 0).squeeze(1)
    synapse = synapse[torch.argsort(source[synapse], stable=True)]
    first_reader = torch.zeros(graded + 1, dtype=torch.int64)
    first_reader[1:] = torch.bincount(source[synapse], minlength=graded).cumsum(0)
    source_NC, readers = connectome_NC.int().contiguous(), (synapse // config.d_branch).int()
    description = _description(config, recurrent)
    description.point(source=source_NC, readers=readers, first_reader=first_reader)
    return LayerPlan(
        kernel=kernel,
        recurrent=recurrent,
        wiring=(source_NC, readers, first_reader),
        reader_synapse=synapse,
        description=description,
    )


def _description(config: ElmConfig, recurrent: bool) -> LayerStruct:
    layer = LayerStruct()
    layer.n, layer.d_m, layer.d_tree, layer.d_branch = config.n_rec, config.d_m, config.d_tree, config.d_branch
    layer.n_in = config.n_in
    layer.matrices = config.l_mlp + 1
    sizes = [config.d_tree + config.d_m, *[config.mlp_width] * config.l_mlp, config.d_m]
    for place, size in enumerate(sizes):
        layer.dims[place] = size
    layer.recurrent = layer.rectified = recurrent
    layer.filtered, layer.traced = config.tau_r is not None, config.tau_b is not None
    layer.kappa_r = 0.0 if config.tau_r is None else math.exp(-1.0 / config.tau_r)
    layer.kappa_b = 0.0 if config.tau_b is None else math.exp(-1.0 / config.tau_b)
    layer.input_scale, layer.embedding_scale, layer.tanh_slope = config.input_scale, config.embedding_scale, TANH_SLOPE
    return layer


class NativeLayer(torch.autograd.Function):
    """A layer of ELM neurons, T steps at once; differentiable once."""

    @staticmethod
    def forward(
        ctx: Any, plan: LayerPlan, masks: tuple[Tensor | None, Tensor | None], keep_mlp_out: bool, *tensors: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Run the layer.

        Args:
            ctx: torch's context.
            plan: configuration and wiring.
            masks: dropout masks [B, I] on the channels that ids name (values come masked) and [B, N] on the layer's own
                previous activity, or None.
            keep_mlp_out: whether to return the MLPs' outputs of every step.
            tensors: input (ids [B, T], values [B, T, I]; activity [T, I, B] for the read-out layer); state before the
                first step (activity, memory, average, branch traces), batch first; synaptic weights, share kept, gain
                of the update, output weights, bias; weight and bias of the MLP's layers in turn.

        Returns:
            Activity [T, N, B]; memory, average and branch traces after the last step, batch first; sum over time and
            memory of abs(o) [N, B]; o [B, T, N, D] or None.
        """
        trains = any(ctx.needs_input_grad)
        tensors = tuple(tensor.contiguous() for tensor in tensors)
        masks = (_contiguous(masks[0]), _contiguous(masks[1]))
        layer = _describe(plan, masks, tensors)
        layer.stored = trains
        memory_0, average_0, branch_0 = tensors[2:5]
        batch, steps, n, d_m = layer.batch, layer.steps, layer.n, layer.d_m
        new_empty = memory_0.new_empty
        activity = new_empty(steps, n, batch)
        final = torch.empty_like(memory_0), torch.empty_like(average_0), torch.empty_like(branch_0)
        magnitude = new_empty(n, batch)
        mlp_out = new_empty(batch, steps, n, d_m) if keep_mlp_out else None
        trace = scratch(plan.kernel.trace_size(layer), memory_0.dtype)
        layer.point(activity=activity, memory_T=final[0], average_T=final[1], branch_T=final[2], magnitude=magnitude,
                    mlp_out=mlp_out, trace=trace)  # fmt: skip
        plan.kernel.forward(layer)
        if trains:
            ctx.plan = plan
            ctx.save_for_backward(trace, activity, *masks, *tensors)
        ctx.set_materialize_grads(False)
        if mlp_out is not None:
            ctx.mark_non_differentiable(mlp_out)
        return activity, *final, magnitude, mlp_out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Differentiate the layer; gradients come in the order of forward's arguments."""
        saved = ctx.saved_tensors
        trace, activity, input_mask, recurrent_mask = saved[:4]
        tensors = saved[4:]
        layer = _describe(ctx.plan, (input_mask, recurrent_mask), tensors)
        layer.stored = True
        reader_weight = tensors[5].flatten()[ctx.plan.reader_synapse]
        needs = ctx.needs_input_grad[3:]
        layer.input_grad, layer.rate_grads = needs[0], any(needs[6:8])
        given = [_contiguous(grad) for grad in grads[:5]]
        layer.point(
            trace=trace,
            activity=activity,
            reader_weight=reader_weight,
            d_activity=given[0],
            d_memory_T=given[1],
            d_average_T=given[2],
            d_branch_T=given[3],
            d_magnitude=given[4],
        )
        d_x = torch.empty_like(tensors[0]) if needs[0] else None
        d_states = [torch.empty_like(tensor) for tensor in tensors[1:5]]
        d_weights = [torch.empty_like(tensor) for tensor in tensors[5:]]
        layer.point(d_x=d_x, d_activity_0=d_states[0], d_memory_0=d_states[1], d_average_0=d_states[2],
                    d_branch_0=d_states[3], d_synapse=d_weights[0], d_keep=d_weights[1], d_gain=d_weights[2],
                    d_readout=d_weights[3], d_out_bias=d_weights[4])  # fmt: skip
        layer.point_each("d_weight", d_weights[5::2])
        layer.point_each("d_bias", d_weights[6::2])
        ctx.plan.kernel.backward(layer)
        return None, None, None, d_x, *d_states, *d_weights


run_native_layer: Callable[..., tuple[Any, ...]] = NativeLayer.apply
"""`NativeLayer` as a function of forward's arguments without ctx"""


def _describe(plan: LayerPlan, masks: tuple[Tensor | None, ...], tensors: tuple[Tensor, ...]) -> LayerStruct:
    """Add input, weights and state to the plan's description; all tensors are contiguous."""
    x = tensors[0]
    layer = LayerStruct.from_buffer_copy(plan.description)
    if plan.recurrent:
        layer.batch, layer.steps, layer.input_kind = x.shape[0], x.shape[1], 1 if x.is_floating_point() else 0
    else:
        layer.steps, layer.batch, layer.input_kind = x.shape[0], x.shape[2], 2
    names = ("x", "activity_0", "memory_0", "average_0", "branch_0", "synapse", "keep", "gain", "readout", "out_bias")
    layer.point(input_mask=masks[0], recurrent_mask=masks[1], **dict(zip(names, tensors[:10], strict=True)))
    layer.point_each("weight", tensors[10::2])
    layer.point_each("bias", tensors[11::2])
    return layer


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()
