"""What every model takes and returns, whatever its architecture."""

from typing import NamedTuple

import torch
from torch import Tensor

from model.architectures.gated import LstmConfig
from model.cell.state import ElmState
from model.config import ElmConfig


class InputError(ValueError):
    """Input that the network cannot read; the message names what is wrong with it."""


class Output(NamedTuple):
    """What every model returns for a segment of a sequence."""

    logits: Tensor
    """[B, T, O]"""
    state: tuple[Tensor, ...]
    """state after the last step, to be handed to the next call"""
    mlp_out_magnitude: Tensor | float = 0.0
    """regulariser term: mean over batch and neurons of (mean over time and memory of abs(o))^2; 0 where no MLP is"""
    population_activity: Tensor | float = 0.0
    """regulariser term: mean of relu(activity) over batch, time and neurons; 0 where it has no meaning"""
    activity: Tensor | None = None
    """the recurrent layer's activity [B, T, N], without gradient, when asked for"""
    mlp_out: Tensor | None = None
    """the neurons' MLP outputs [B, T, N, D], without gradient, when asked for"""


class RunResult(NamedTuple):
    """What a back end makes of a segment; of K stacked networks every tensor has a leading axis K."""

    logits: Tensor
    """[B, T, O]"""
    state: ElmState
    """state after the last step"""
    mlp_out_BN: Tensor
    """mean over time and memory of abs(o)"""
    activity: Tensor
    """mean of the activity over batch, time and neurons"""
    activity_BTN: Tensor | None
    """activity, without gradient, when asked for"""
    mlp_out_BTND: Tensor | None
    """the MLPs' outputs, without gradient, when asked for"""

    def single(self) -> "RunResult":
        """Drop the leading axis of a stack of one."""
        activity, mlp_out = self.activity_BTN, self.mlp_out_BTND
        return RunResult(
            logits=self.logits.squeeze(0),
            state=ElmState(*(tensor.squeeze(0) for tensor in self.state)),
            mlp_out_BN=self.mlp_out_BN.squeeze(0),
            activity=self.activity.squeeze(0),
            activity_BTN=None if activity is None else activity.squeeze(0),
            mlp_out_BTND=None if mlp_out is None else mlp_out.squeeze(0),
        )


class DropoutMasks(NamedTuple):
    """One mask per sequence, kept for all its steps; survivors are already scaled by 1 / (1 - p)."""

    input_BI: Tensor
    """on the recurrent layer's input channels"""
    recurrent_BN: Tensor
    """on the recurrent layer's own previous activity"""
    readout_BN: Tensor
    """on the read-out layer's input, which is the recurrent layer's activity"""

    @classmethod
    def draw(cls, like: Tensor, rows: tuple[int, ...], config: ElmConfig | LstmConfig) -> "DropoutMasks | None":
        """Draw masks from torch's global generator; None where nothing is dropped.

        Args:
            like: a tensor of the precision and on the device that the masks shall have.
            rows: leading axes: the sequences of a batch, behind the networks of a stack.
            config: sizes and probabilities.
        """
        # No draw at all, so that dropout that is switched off leaves the global generator where it was. A probability
        # of 0 beside another draws nothing either.
        if config.dropout_in == 0.0 and config.dropout_rec == 0.0:
            return None
        ones_BI, ones_BN = like.new_ones(*rows, config.n_in), like.new_ones(*rows, config.n_rec)
        # Always in this order, since all draw from one generator.
        return cls(
            input_BI=torch.nn.functional.dropout(ones_BI, config.dropout_in),
            recurrent_BN=torch.nn.functional.dropout(ones_BN, config.dropout_rec),
            readout_BN=torch.nn.functional.dropout(ones_BN, config.dropout_in),
        )


def check_input(x: Tensor, n_in: int, dtype: torch.dtype, *, stacked: bool = False) -> Tensor:
    """Check a model's input; ids come back as int64, values in the network's precision.

    Raises:
        InputError: x has another shape or type, an id outside the alphabet, or a value that is not finite.
    """
    # Booleans are left out: a mask is not meant to be read as ids 0 and 1.
    is_integer = not x.is_floating_point() and not x.is_complex() and x.dtype != torch.bool
    ids_dim, lead = (3, "network, ") if stacked else (2, "")
    # checked here, once for all networks: a back end would index beyond its tables or train on NaN
    if 0 in x.shape:
        raise InputError(f"x: shape {list(x.shape)} is not valid; give at least one row and one time step")
    # Shape and type together tell ids from values: spike counts are whole numbers too.
    if x.dim() == ids_dim and is_integer:
        x = x.long()
        if not 0 <= int(x.min()) <= int(x.max()) < n_in:
            raise InputError(
                f"x: ids from {int(x.min())} to {int(x.max())} are not valid; give ids from 0 to {n_in - 1}"
            )
        return x
    if x.dim() != ids_dim + 1 or x.shape[-1] != n_in or not (x.is_floating_point() or x.dtype == torch.uint8):
        raise InputError(
            f"x: {x.dtype} of shape {list(x.shape)} is not valid; "
            f"give integer ids [{lead}batch, time] or float or uint8 values [{lead}batch, time, {n_in}]"
        )
    # Spike counts arrive as bytes, a quarter of the size on their way from the loader.
    x = x.to(dtype)
    # one sum is an eighth of the work of looking at every value, and finite unless a value is not (or all are huge)
    if not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
        raise InputError("x: contains values that are not finite; clean the data before it reaches the network")
    return x


def dense_input(x: Tensor, n_in: int, embedding_scale: float, dtype: torch.dtype) -> Tensor:
    """Turn ids [B, T] into one-hot codes [B, T, I] of height `embedding_scale`; values pass unchanged."""
    if x.dim() == 3:
        return x
    # Dense, because torch's modules take no ids; the ELM Network's own back ends never make this tensor.
    return torch.nn.functional.one_hot(x, n_in).to(dtype) * embedding_scale
