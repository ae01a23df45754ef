"""The interface of a cell of one's own, `Cell`."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import dropout1d

from model.cell.interface import Output


class Cell(nn.Module):
    """A recurrent network as a torch module. Inherit from it, or write a module with the same members.

    The constructor takes `n_in` and `n_out`, which the task decides, and what a grid gives in `model:`, by name. An
    argument that is annotated `int` and has no default is a size; one of them may be left out of the grid and is solved
    from the budget. The number of recurrent units is the argument `n_rec`, or an attribute that the constructor sets.
    Weights are drawn by torch's own functions, which follow the trial's seed.

    `forward` and `zero_state` must be given. The parameters are counted without memory, on torch's `meta` device, so
    the constructor must not look at the values of tensors. The network's state is detached, reset and saved from
    outside: whatever goes from one segment to the next belongs in it.
    """

    n_rec: int
    embedding_scale: float = 3.0
    """Height of the one-hot code of a symbol; values come as they are."""

    def forward(self, x: Tensor, state: Any) -> Output:
        """Run a segment of a sequence.

        Args:
            x: values [B, T, n_in]; symbols arrive as one-hot codes, spikes as counts, in the network's precision.
            state: what `zero_state` or the segment before returned.

        Returns:
            `Output(logits, state)` with logits [B, T, n_out] and the state after the last step.
        """
        raise NotImplementedError

    def zero_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Return the state before the first step: a tuple (or NamedTuple) of zeros [B, ...]."""
        raise NotImplementedError


def drop_channels(values_BTI: Tensor, probability: float, *, training: bool) -> Tensor:
    """Drop channels for whole sequences and scale the others by 1 / (1 - probability), in training alone."""
    return dropout1d(values_BTI.transpose(1, 2), probability, training).transpose(1, 2)


# Not members of `Cell`: a cell has both or neither, and a class that inherits must not seem to have them.
COUNTS = ("k_e", "k_c")
"""Optional methods without arguments: trained scalars of one unit that are no synapses, and its trained synapses (input
and recurrent weights). Without them all parameters count as the units' own."""
