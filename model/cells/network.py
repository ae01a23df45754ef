"""A cell as a network like any other: input, precision and state are taken care of around it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cluster.errors import CodeError
from model.architectures.cells import CellConfig
from model.cell.interface import Output, check_input, dense_input
from model.cell.state import rebuilt
from model.cells.counting import Place, construct


class CellNetwork(nn.Module):
    """Reads symbols, spikes or values, and hands them to a cell in the network's precision."""

    backend_name = "torch"

    def __init__(self, cell: Any, config: CellConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.config, self.dtype = config, dtype
        # not `to`, which would turn complex buffers into real ones
        self.cell = cell._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)

    def zero_state(self, batch_size: int) -> Any:
        """State before the first step: all zero."""
        state = self.cell.zero_state(batch_size)
        like = next(self.cell.parameters())
        tensors = (t.to(device=like.device, dtype=like.dtype if t.is_floating_point() else None) for t in state)
        return rebuilt(state, tensors)

    def forward(self, x: Tensor, state: Any = None, *, keep_activity: bool = False) -> Output:
        """Run a segment of a sequence.

        Args:
            x: symbol ids [B, T], or values [B, T, n_in] (floating point or uint8 spikes).
            state: state to start from; None is the zero state.
            keep_activity: has no effect: what a cell's activity is, is not known.

        Raises:
            InputError: see `model.cell.interface.check_input`.
        """
        x = check_input(x, self.config.n_in, self.dtype)
        x_BTI = dense_input(x, self.config.n_in, getattr(self.cell, "embedding_scale", 3.0), self.dtype)
        output: Output = self.cell(x_BTI, self.zero_state(len(x)) if state is None else state)
        return output


def build_cell(
    kind: Any, config: CellConfig, values: Mapping[str, Any], place: Place, seed: int, dtype: torch.dtype
) -> CellNetwork:
    """Build the network of a cell; the seed alone fixes its weights.

    Args:
        kind: the class.
        config: what was counted.
        values: arguments of the constructor but n_in and n_out.
        place: what messages begin with.
        seed: of torch's global generator, which is put back afterwards.
        dtype: precision.

    Raises:
        CodeError: the constructor fails, or a parameter is of another kind than torch.float32 or torch.float64.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        cell = construct(kind, {"n_in": config.n_in, "n_out": config.n_out, **values}, place, device="cpu", seed=seed)
    finally:
        torch.set_default_dtype(before)
    odd = [name for name, p in cell.named_parameters() if p.dtype not in (torch.float32, torch.float64)]
    if odd:
        raise CodeError(f"{place[0]}: {place[1]}: parameter {odd[0]} is no real number; keep two for a complex one")
    return CellNetwork(cell, config, dtype)
