"""A sparse matrix with fixed structure and changing weights, applied to tables of rows from either side."""

from typing import NamedTuple

import torch
from torch import Tensor


class Gather(NamedTuple):
    """How to form rows as weighted sums of a table's rows."""

    source: Tensor
    """table rows to read, grouped by the row they are summed into, [L]"""
    offsets: Tensor
    """where each group starts, and the end of the last, [rows made + 1]"""
    entry: Tensor
    """which entry of the sparse matrix each row read belongs to, [L]"""

    def ordered(self, weights: Tensor) -> Tensor:
        """Bring the weights of the matrix's entries into the order of this gather, [L]."""
        # Reordered once per pass and not at every step.
        return weights[self.entry]

    def apply(self, table_XB: Tensor, weights_L: Tensor) -> Tensor:
        """Sum rows of the table with the weights that `ordered` made.

        Called at every time step: torch.embedding_bag is the fastest kernel torch has for this product (three to eight
        times a gather, product and sum), and the functional wrapper around it costs a third more per call.
        """
        rows: Tensor = torch.embedding_bag(
            table_XB, self.source, self.offsets, False, 0, False, weights_L, include_last_offset=True
        )[0]
        return rows


class SparseMap(NamedTuple):
    """Both directions of a sparse matrix; entries that share a place add up."""

    forward: Gather
    """makes output rows from a table"""
    transposed: Gather
    """makes the gradients of the table's rows from those of the output rows"""


def sparse_map(out_row: Tensor, in_row: Tensor, grad_row: Tensor, n_out: int, n_grad: int) -> SparseMap:
    """Order the entries of a sparse matrix for both directions.

    Args:
        out_row: the output row of every entry.
        in_row: the table row that it reads.
        grad_row: the row in which the gradient of that table row is wanted, -1 where it is not.
        n_out: number of output rows.
        n_grad: number of gradient rows.
    """
    # entries whose gradient nobody wants (inputs, constants) are left out of the way back altogether
    with_grad = torch.nonzero(grad_row >= 0).squeeze(1)
    forward = _gather(out_row, in_row, n_out)
    # Backward, the roles of the rows are exchanged, while every entry keeps its weight.
    backward = _gather(grad_row[with_grad], out_row[with_grad], n_grad)
    return SparseMap(forward, backward._replace(entry=with_grad[backward.entry]))


def _gather(group: Tensor, source: Tensor, groups: int) -> Gather:
    """Group entries by the row they are summed into; stable, so that the order of a sum never changes."""
    # Sorting once per wiring pays for thousands of steps that then read rows in order.
    order = torch.argsort(group, stable=True)
    offsets = torch.zeros(groups + 1, dtype=torch.int64, device=group.device)
    # The end of the last group stands there too, so that a group's length needs no case for the last.
    offsets[1:] = torch.bincount(group, minlength=groups).cumsum(0)
    return Gather(source[order].contiguous(), offsets, order)
