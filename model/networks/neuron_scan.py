"""The memory of a single ELM neuron over a whole sequence, with its own gradients: what is left of the loop over time.

Branch traces are linear, so the first layer of the MLP reads them before they are summed over time: synapses, branches
and first layer are one matrix product for the whole sequence, and a trace is kept for every hidden unit alone.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.cell.layer import TANH_SLOPE


class MemoryScan(torch.autograd.Function):
    """Memory of every step, [T, B, D].

    With D memory units and H units in the MLP's first layer (D where it is linear), for every step:
    y = kappa_b y + drive; o = MLP behind the first layer's sums y + W kept; m = kept + gain tanh(2/3 o).
    """

    @staticmethod
    def forward(
        ctx: Any,
        drive_TBH: Tensor,
        trace_BH: Tensor,
        memory_BD: Tensor,
        kappa_b: float,
        keep_D: Tensor,
        gain_D: Tensor,
        recurrent_HD: Tensor,
        grad_enabled: bool,
        *rest: Tensor,
    ) -> Tensor:
        """Run over time.

        Args:
            ctx: torch's context.
            drive_TBH: what synapses and biases add to the traces in every step.
            trace_BH: traces before the first step.
            memory_BD: memory before the first step.
            kappa_b: share of a trace that stays.
            keep_D: share of the memory that stays.
            gain_D: height of the update times the share of it that is taken in.
            recurrent_HD: the first layer's weights on the memory.
            grad_enabled: `torch.is_grad_enabled()` where the scan is called; within this method it is always off.
            rest: weight and bias of the MLP's other layers.
        """
        # needs_input_grad says that weights are trained also under no_grad, where nothing needs to be kept.
        trains = grad_enabled and any(ctx.needs_input_grad)
        layers = [(weight.T, bias) for weight, bias in zip(rest[::2], rest[1::2], strict=True)]
        # Where the timescales are learnt, what they act on is needed: the memory before every step.
        ctx.learns_rates = trains and ctx.needs_input_grad[4]
        start_BD = memory_BD
        # Transposed once before the loop, which uses it at every step.
        recurrent_DH = recurrent_HD.T
        kepts, squashed, memories = [], [], []
        hidden: list[list[Tensor]] = [[] for _ in layers]
        for drive_BH in drive_TBH.unbind(0):
            trace_BH = torch.add(drive_BH, trace_BH, alpha=kappa_b)
            kept_BD = keep_D * memory_BD
            signal = torch.addmm(trace_BH, kept_BD, recurrent_DH)
            for (weight, bias), units in zip(layers, hidden, strict=True):
                signal = torch.relu_(signal)
                if trains:
                    units.append(signal)
                signal = torch.addmm(bias, signal, weight)
            # in place: the sums themselves are not needed again, the derivative of tanh is made of its values
            bounded_BD = torch.tanh_(signal.mul_(TANH_SLOPE))
            memory_BD = torch.addcmul(kept_BD, gain_D, bounded_BD)
            memories.append(memory_BD)
            if trains:
                kepts.append(kept_BD)
                squashed.append(bounded_BD)
        if trains:
            ctx.kappa_b, ctx.layers = kappa_b, len(layers)
            before = [torch.stack([start_BD, *memories[:-1]])] if ctx.learns_rates else []
            steps = map(torch.stack, (kepts, squashed, *hidden))
            ctx.save_for_backward(keep_D, gain_D, recurrent_HD, *rest, *steps, *before)
        return torch.stack(memories)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Run back in time; gradients of weights are summed over all steps at once."""
        count = ctx.layers
        keep_D, gain_D, recurrent_HD, *saved = ctx.saved_tensors
        weights, (kept_TBD, squashed_TBD, *hidden) = saved[: 2 * count : 2], saved[2 * count : 3 * count + 2]
        slope_TBD = gain_D * TANH_SLOPE * (1 - squashed_TBD**2)
        # units that were open, for all steps at once: the derivative of relu needs nothing from the way back
        open_units = [(units > 0).to(units.dtype) for units in hidden]
        layer_grads: list[list[Tensor]] = [[] for _ in range(count)]
        drive_grads, rate_grads = [], []
        memory_grad, trace_grad = torch.zeros_like(kept_TBD[0]), None
        for step in reversed(range(len(kept_TBD))):
            taken_grad = memory_grad + grads[0][step]
            signal = taken_grad * slope_TBD[step]
            for layer in reversed(range(count)):
                layer_grads[layer].append(signal)
                signal = (signal @ weights[layer]).mul_(open_units[layer][step])
            # The trace of a step reaches the next one by kappa_b, so its gradients add up on the way back with the same
            # decay.
            trace_grad = signal if trace_grad is None else torch.add(signal, trace_grad, alpha=ctx.kappa_b)
            drive_grads.append((signal, trace_grad))
            # The kept memory reaches the next one through the MLP and directly; both parts decay by the same share.
            kept_grad = torch.addmm(taken_grad, signal, recurrent_HD)
            if ctx.learns_rates:
                rate_grads.append((kept_grad, taken_grad))
            memory_grad = kept_grad * keep_D
        # collected on the way back, hence reversed; weights are then one product over all steps
        drive_TBH = torch.stack([trace for _, trace in reversed(drive_grads)])
        sums_TBH = torch.stack([signal for signal, _ in reversed(drive_grads)])
        rest = []
        for layer in range(count):
            out = torch.stack(layer_grads[layer][::-1]).flatten(0, 1)
            rest += [out.T @ hidden[layer].flatten(0, 1), out.sum(0)]
        recurrent = sums_TBH.flatten(0, 1).T @ kept_TBD.flatten(0, 1)
        keep = gain = None
        if ctx.learns_rates:
            # kept = keep before, and what is taken in is gain squashed; both summed over steps and batch
            kept_TBD, taken_TBD = (torch.stack(column[::-1]) for column in zip(*rate_grads, strict=True))
            keep, gain = (kept_TBD * saved[-1]).sum((0, 1)), (taken_TBD * squashed_TBD).sum((0, 1))
        return drive_TBH, ctx.kappa_b * drive_TBH[0], memory_grad, None, keep, gain, recurrent, None, *rest
