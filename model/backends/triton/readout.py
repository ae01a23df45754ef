"""The read-out neurons over a whole sequence as one autograd function: a launch forward, a launch back.

Read-out neurons are linear but for the tanh of their memory, and read nothing of each other: what their branches
contribute is one product over the sequence, made beforehand, and the scan adds up traces and memory.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.backends.triton.plan import power_of_two

_THREADS = 64
"""of a program, one for each neuron and batch row: few, so that a small network's scan meets many multiprocessors"""


class ReadoutScan(torch.autograd.Function):
    """Outputs of the read-out neurons at every step, and their memory after the last; differentiable once."""

    @staticmethod
    def forward(
        ctx: Any,
        decays: Tensor,
        traced: bool,
        grad_enabled: bool,
        drive_ODTB: Tensor,
        start_ODB: Tensor,
        branch_ODB: Tensor | None,
        weight_ODD: Tensor,
        mlp_bias_OD: Tensor,
        keep_OD: Tensor,
        gain_OD: Tensor,
        readout_OD: Tensor,
        bias_O: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Run the scan.

        Args:
            ctx: torch's context.
            decays: see `model.backends.triton.plan.TritonPlan`.
            traced: whether branches have traces.
            grad_enabled: `torch.is_grad_enabled()` where the scan is called.
            drive_ODTB: what the branches' sums of a step contribute to the linear map's output.
            start_ODB: memory before the first step.
            branch_ODB: what the branch traces before the first step contribute; None without them.
            weight_ODD: the linear map's weights on what is left of the memory, [O, out, in].
            mlp_bias_OD: the linear map's bias.
            keep_OD: share of the memory that stays.
            gain_OD: what the tanh of the map's output is multiplied by.
            readout_OD: output weights.
            bias_O: bias of the outputs.

        Returns:
            Outputs [O, T, B], and the memory [O, D, B].
        """
        o, d_m, steps, batch = drive_ODTB.shape
        weights = [tensor.contiguous() for tensor in (weight_ODD, mlp_bias_OD, keep_OD, gain_OD, readout_OD, bias_O)]
        drive_ODTB, start_ODB = drive_ODTB.contiguous(), start_ODB.contiguous()
        trains = grad_enabled and any(ctx.needs_input_grad)
        new, kept = drive_ODTB.new_empty, steps if trains else 0
        memory_ODTB, tanh_ODTB = new(o, d_m, kept + 1, batch), new(o, d_m, kept, batch)
        last_ODB, y_OTB = new(o, d_m, batch), new(o, steps, batch)
        grid, tiles = _tiles(o, batch)
        _kernels().scan_kernel[grid](
            drive_ODTB, *weights, decays, start_ODB, start_ODB if branch_ODB is None else branch_ODB.contiguous(),
            memory_ODTB, tanh_ODTB, last_ODB, y_OTB, o, batch, d_m, steps,
            D=power_of_two(d_m), TRACED=traced, TRAINS=trains, **tiles,
        )  # fmt: skip
        ctx.set_materialize_grads(False)
        ctx.traced = traced
        if trains:
            ctx.save_for_backward(memory_ODTB, tanh_ODTB, decays, weights[0], *weights[2:5])
        return y_OTB, last_ODB

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, y_OTB: Tensor | None, last_ODB: Tensor | None) -> tuple[Tensor | None, ...]:
        """Differentiate the scan; gradients come in the order of forward's arguments."""
        memory_ODTB, tanh_ODTB, decays, *weights = ctx.saved_tensors
        o, d_m, steps, batch = tanh_ODTB.shape
        new = tanh_ODTB.new_empty
        y_OTB = tanh_ODTB.new_zeros(o, steps, batch) if y_OTB is None else y_OTB.contiguous()
        last_ODB = tanh_ODTB.new_zeros(o, d_m, batch) if last_ODB is None else last_ODB.contiguous()
        # for each batch row: of the matrix, and of its bias, the rates and the output weights
        sums = [new(o, d_m, d_m, batch), *(new(o, d_m, batch) for _ in range(4))]
        drive_ODTB, start_ODB, branch_ODB = torch.empty_like(tanh_ODTB), new(o, d_m, batch), new(o, d_m, batch)
        grid, tiles = _tiles(o, batch)
        _kernels().scan_back_kernel[grid](
            memory_ODTB, tanh_ODTB, *weights, decays, y_OTB, last_ODB, *sums, drive_ODTB, start_ODB, branch_ODB,
            o, batch, d_m, steps, D=power_of_two(d_m), TRACED=ctx.traced, **tiles,
        )  # fmt: skip
        grads = [tensor.sum(-1) for tensor in sums]
        branch = branch_ODB if ctx.traced else None
        return None, None, None, drive_ODTB, start_ODB, branch, *grads, y_OTB.sum((1, 2))


run_readout_scan: Callable[..., tuple[Tensor, Tensor]] = ReadoutScan.apply
"""`ReadoutScan` as a function of forward's arguments without ctx"""


def _tiles(o: int, batch: int) -> tuple[tuple[int, int], dict[str, int]]:
    columns = min(32, power_of_two(batch))
    neurons = min(_THREADS // columns, power_of_two(o))
    return (-(-o // neurons), -(-batch // columns)), {"NB": neurons, "BB": columns, "num_warps": _THREADS // 32}


def _kernels() -> Any:
    """The module of the kernels, loaded when a network first runs, for Triton is not installed everywhere."""
    return importlib.import_module("model.backends.triton.readout_kernels")
