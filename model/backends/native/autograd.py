"""An ELM Network over a whole sequence through the compiled layers, as one autograd function.

Tensors of K stacked networks have a leading axis K, which the shapes below leave out.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.backends.native.abi import Kernel, LayerStruct
from model.backends.native.layer import LayerPlan
from model.backends.scratch import scratch
from model.cell.interface import DropoutMasks

_READOUT_TENSORS = 7
"""tensors of a read-out layer: the five of every layer and, for an MLP, weight and bias of one linear map"""


class NetworkPlan(NamedTuple):
    """Plans of a network's two layers."""

    hidden: LayerPlan
    readout: LayerPlan


class Inputs(NamedTuple):
    """What the function differentiates with respect to, and its input, all contiguous."""

    x: Tensor
    """ids [B, T] or values [B, T, I]"""
    state: tuple[Tensor, ...]
    """the fields of `ElmState` before the first step"""
    hidden: tuple[Tensor, ...]
    """what the recurrent layer trains: synaptic weights, share kept, share absorbed, output weights, bias, MLP"""
    readout: tuple[Tensor, ...]
    """the same of the read-out layer"""
    output: tuple[Tensor, ...]
    """weight and bias of the dense linear map"""

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "Inputs":
        """Sort the tensors that the function takes, in the order of the fields."""
        readout = len(tensors) - 2 - _READOUT_TENSORS
        state, hidden = tuple(tensors[1:7]), tuple(tensors[7:readout])
        return cls(tensors[0], state, hidden, tuple(tensors[readout:-2]), tuple(tensors[-2:]))


class Kept(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    hidden_trace: Tensor
    readout_trace: Tensor
    activity_TNB: Tensor
    y_BTO: Tensor
    """what the dense linear map reads"""


class NativeNetwork(torch.autograd.Function):
    """K networks of one shape, T steps at once; differentiable once, not with respect to their input."""

    @staticmethod
    def forward(
        ctx: Any,
        plans: Sequence[NetworkPlan],
        masks: DropoutMasks | None,
        keep_mlp_out: bool,
        grad_enabled: bool,
        *tensors: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """Run the networks.

        Args:
            ctx: torch's context.
            plans: configuration and wiring of every network.
            masks: dropout masks, or None.
            keep_mlp_out: whether to return the activity and the MLPs' outputs of every step.
            grad_enabled: `torch.is_grad_enabled()` where the networks are called; within this method it is always off.
            tensors: the fields of `Inputs`, spread out.

        Returns:
            Logits [B, T, O]; the fields of `ElmState` after the last step; mean over time and memory of abs(o) [B, N];
            mean of the activity; activity [T, N, B] and o [B, T, N, D], or None.
        """
        ctx.set_materialize_grads(False)
        # the kernel computes addresses from shapes alone
        tensors = tuple(tensor.contiguous() for tensor in tensors)
        masks = None if masks is None else DropoutMasks(*(mask.contiguous() for mask in masks))
        inputs = Inputs.of(tensors)
        memory = inputs.state[1]
        # The memory has all axes but time, so the other sizes are read off it.
        lead, (batch, n, d_m) = memory.shape[:-3], memory.shape[-3:]
        networks, steps, magnitude_NB = len(plans), inputs.x.shape[len(lead) + 1], memory.new_empty(*lead, n, batch)
        mlp_out = memory.new_empty(*lead, batch, steps, n, d_m) if keep_mlp_out else None
        final = [torch.empty_like(tensor) for tensor in inputs.state]
        # needs_input_grad alone would not do: it says that weights are trained also under no_grad
        trains = grad_enabled and any(ctx.needs_input_grad)
        layers = [_layers(plans, k, inputs, masks, trains) for k in range(networks)]
        kept = _allocate(plans[0].hidden.kernel, layers[0], inputs, networks, steps)
        for k, (hidden, readout) in enumerate(layers):
            hidden.point(k, networks, activity_T=final[0], memory_T=final[1], average_T=final[2], branch_T=final[3],
                         magnitude=magnitude_NB, mlp_out=mlp_out)  # fmt: skip
            readout.point(k, networks, memory_T=final[4], branch_T=final[5])
            _point_kept(hidden, readout, k, networks, kept)
            # the read-out layer reads the whole activity of the recurrent one, which does not depend on it
            plans[k].hidden.kernel.forward(hidden)
            plans[k].readout.kernel.forward(readout)
        if trains:
            ctx.plans, ctx.masks = plans, masks
            ctx.save_for_backward(*kept, *tensors)
        activity = kept.activity_TNB if keep_mlp_out else None
        ctx.mark_non_differentiable(*(tensor for tensor in (activity, mlp_out) if tensor is not None))
        mean = kept.activity_TNB.flatten(len(lead)).mean(-1)
        return _logits(inputs, kept, networks), *final, magnitude_NB.mT / (steps * d_m), mean, activity, mlp_out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Differentiate the networks; gradients come in the order of forward's arguments."""
        saved, needs = ctx.saved_tensors, ctx.needs_input_grad[4:]
        kept, inputs = Kept(*saved[:4]), Inputs.of(saved[4:])
        plans, networks = ctx.plans, len(ctx.plans)
        d_y, d_output = _output_grads(networks, inputs, kept, grads[0])
        d_final = [None if grad is None else grad.contiguous() for grad in grads[1:7]]
        d_magnitude, d_means = _regulariser_grads(inputs, networks, kept.activity_TNB, grads[7], grads[8])
        d_state = [
            torch.empty_like(start) if need else None for start, need in zip(inputs.state, needs[1:7], strict=True)
        ]
        # The shares kept and absorbed are second and third of a layer's tensors. The recurrent layer's begin behind the
        # input and six states; the read-out's end before the two of the output map.
        d_hidden = _empty_grads(inputs.hidden, any(needs[8:10]))
        d_readout = _empty_grads(inputs.readout, any(needs[-_READOUT_TENSORS - 1 : -_READOUT_TENSORS + 1]))
        # one room for all networks, which run one after the other
        d_seen = torch.empty_like(kept.activity_TNB if networks == 1 else kept.activity_TNB[0])
        for k in range(networks):
            # described anew: what the forward pass pointed to beyond `kept` and the inputs may be gone
            hidden, readout = _layers(plans, k, inputs, ctx.masks, True)
            _point_kept(hidden, readout, k, networks, kept)
            _point_weight_grads(hidden, k, networks, d_hidden)
            _point_weight_grads(readout, k, networks, d_readout)
            readout.point(0, 1, d_x=d_seen)
            readout.input_grad = True  # the recurrent layer's output is what it reads
            readout.point(k, networks, d_activity=d_y, d_memory_T=d_final[4], d_branch_T=d_final[5],
                          d_memory_0=d_state[4], d_branch_0=d_state[5])  # fmt: skip
            plans[k].readout.kernel.backward(readout)
            hidden.point(0, 1, d_activity=d_seen)
            hidden.d_any_activity = d_means[k]  # the same for every activity, so no tensor is filled with it
            hidden.point(k, networks, d_activity_T=d_final[0], d_memory_T=d_final[1], d_average_T=d_final[2],
                         d_branch_T=d_final[3], d_magnitude=d_magnitude, d_activity_0=d_state[0],
                         d_memory_0=d_state[1], d_average_0=d_state[2], d_branch_0=d_state[3])  # fmt: skip
            plans[k].hidden.kernel.backward(hidden)
        return None, None, None, None, None, *d_state, *d_hidden, *d_readout, *d_output


run_native_network: Callable[..., tuple[Any, ...]] = NativeNetwork.apply
"""`NativeNetwork` as a function of forward's arguments without ctx"""


def _layers(
    plans: Sequence[NetworkPlan], k: int, inputs: Inputs, masks: DropoutMasks | None, stored: bool
) -> tuple[LayerStruct, LayerStruct]:
    """Describe both layers of network k: weights, input, masks and start state, not yet what they make."""
    networks, x, state = len(plans), inputs.x, inputs.state
    hidden = plans[k].hidden.describe(k, networks, inputs.hidden)
    readout = plans[k].readout.describe(k, networks, inputs.readout)
    is_ids = not x.is_floating_point()
    batch, steps = x.shape[-2:] if is_ids else x.shape[-3:-1]
    for layer in (hidden, readout):
        layer.batch, layer.steps, layer.stored = batch, steps, stored
    # as layer.h numbers them: ids, values with the batch first, values with the batch last (the activity)
    hidden.input_kind, readout.input_kind = 0 if is_ids else 1, 2
    hidden.point(k, networks, x=x, activity_0=state[0], memory_0=state[1], average_0=state[2], branch_0=state[3])
    readout.point(k, networks, memory_0=state[4], branch_0=state[5])
    if masks is not None:
        hidden.point(k, networks, input_mask=masks.input_BI, recurrent_mask=masks.recurrent_BN)
        readout.point(k, networks, input_mask=masks.readout_BN)
    return hidden, readout


def _allocate(kernel: Kernel, layers: Sequence[LayerStruct], inputs: Inputs, networks: int, steps: int) -> Kept:
    """Make room for what the forward pass leaves; `layers` are the two of any of the networks."""
    *lead, batch, n, _ = inputs.state[1].shape
    new_empty, dtype = inputs.state[1].new_empty, inputs.state[1].dtype
    # traces are large and go back to a pool (see scratch.py); what may be returned is torch's own memory
    hidden_trace, readout_trace = (scratch(networks * kernel.trace_size(layer), dtype) for layer in layers)
    n_out = inputs.output[1].shape[-1]
    return Kept(hidden_trace, readout_trace, new_empty(*lead, steps, n, batch), new_empty(*lead, batch, steps, n_out))


def _logits(inputs: Inputs, kept: Kept, networks: int) -> Tensor:
    """Take the dense linear map of every network, for all steps at once."""
    weight, bias = inputs.output
    n_out = bias.shape[-1]
    maps = weight.view(networks, n_out, n_out).transpose(1, 2)
    logits = torch.baddbmm(bias.view(networks, 1, n_out), kept.y_BTO.view(networks, -1, n_out), maps)
    return logits.view_as(kept.y_BTO)


def _point_kept(hidden: LayerStruct, readout: LayerStruct, k: int, networks: int, kept: Kept) -> None:
    hidden.point(k, networks, trace=kept.hidden_trace, activity=kept.activity_TNB)
    readout.point(k, networks, trace=kept.readout_trace, x=kept.activity_TNB, activity=kept.y_BTO)


def _point_weight_grads(layer: LayerStruct, k: int, networks: int, grads: Sequence[Tensor | None]) -> None:
    d_synapse, d_keep, d_absorb, d_readout, d_out_bias, *d_mlp = grads
    layer.rate_grads = d_keep is not None
    layer.point(k, networks, d_synapse=d_synapse, d_keep=d_keep, d_absorb=d_absorb, d_readout=d_readout,
                d_out_bias=d_out_bias)  # fmt: skip
    layer.point_each("d_weight", k, networks, d_mlp[::2])
    layer.point_each("d_bias", k, networks, d_mlp[1::2])


def _empty_grads(tensors: Sequence[Tensor], rates: bool) -> list[Tensor | None]:
    """Room for a layer's gradients, which the kernel clears; those of both shares only where `rates` are trained."""
    shares = (1, 2)  # places of the shares kept and absorbed
    return [torch.empty_like(t) if place not in shares or rates else None for place, t in enumerate(tensors)]


def _output_grads(
    networks: int, inputs: Inputs, kept: Kept, d_logits: Tensor | None
) -> tuple[Tensor | None, tuple[Tensor | None, ...]]:
    """Gradients of what the dense linear map reads, and of its weight and bias."""
    weight, bias = inputs.output
    if d_logits is None:
        return None, (None, None)
    n_out = bias.shape[-1]
    d_logits_KLO = d_logits.reshape(networks, -1, n_out)
    d_y = torch.bmm(d_logits_KLO, weight.view(networks, n_out, n_out))
    d_weight = torch.bmm(d_logits_KLO.transpose(1, 2), kept.y_BTO.view(networks, -1, n_out))
    return d_y, (d_weight.view_as(weight), d_logits_KLO.sum(1).view_as(bias))


def _regulariser_grads(
    inputs: Inputs, networks: int, activity_TNB: Tensor, d_mlp_out_BN: Tensor | None, d_mean: Tensor | None
) -> tuple[Tensor | None, list[float]]:
    """Gradients of the sum of abs(o) [N, B], and of every single activity, a number for each network."""
    steps, n, batch = activity_TNB.shape[-3:]
    d_magnitude = None
    if d_mlp_out_BN is not None:
        d_magnitude = (d_mlp_out_BN.mT / (steps * inputs.state[1].shape[-1])).contiguous()
    # the mean's gradient is the same number for every activity, so the kernel gets a number and no tensor
    if d_mean is None:
        return d_magnitude, [0.0] * networks
    return d_magnitude, [value / (steps * n * batch) for value in d_mean.view(networks).tolist()]
