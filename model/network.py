"""The ELM Network as a module: parameters, what goes in, what comes out. The loop over time lives in the back ends."""

from collections.abc import Callable
from typing import NamedTuple, Self

import torch
from torch import Generator, Tensor, nn

from model.backends import choose_backend
from model.config import ConfigError, ElmConfig
from model.layer import DrawnLinear, ElmLayer, readout_config
from model.state import ElmState


class InputError(ValueError):
    """Input that the network cannot read; the message names what is wrong with it."""


class Output(NamedTuple):
    """What every model returns for a segment of a sequence."""

    logits: Tensor
    """[B, T, O]"""
    state: tuple[Tensor, ...]
    """state after the last step, to be handed to the next call"""
    mlp_out_magnitude: Tensor
    """regulariser term: mean over batch and neurons of (mean over time and memory of abs(o))^2; 0 where no MLP is"""
    population_activity: Tensor
    """regulariser term: mean of relu(activity) over batch, time and neurons; 0 where it has no meaning"""
    activity: Tensor | None = None
    """the recurrent layer's activity [B, T, N], without gradient, when asked for"""
    mlp_out: Tensor | None = None
    """the neurons' MLP outputs [B, T, N, D], without gradient, when asked for"""


class DropoutMasks(NamedTuple):
    """One mask per sequence, kept for all its steps; survivors are already scaled by 1 / (1 - p)."""

    input_BI: Tensor
    """on the recurrent layer's input channels"""
    recurrent_BN: Tensor
    """on the recurrent layer's own previous activity"""
    readout_BN: Tensor
    """on the read-out layer's input, which is the recurrent layer's activity"""


class ElmNetwork(nn.Module):
    """Recurrent layer of ELM neurons -> read-out layer of ELM neurons -> dense linear map."""

    def __init__(self, config: ElmConfig, generator: Generator, dtype: torch.dtype, backend: str) -> None:
        super().__init__()
        self.config = config
        self.stacked = False
        self._backend_wanted = backend
        self.backend = choose_backend(backend, config, dtype, torch.device("cpu"))
        self.hidden = ElmLayer(config, generator, dtype)
        self.readout = ElmLayer(readout_config(config), generator, dtype)
        self.output = DrawnLinear(config.n_out, config.n_out, generator, dtype)

    def forward(
        self,
        x: Tensor,
        state: ElmState | None = None,
        *,
        masks: DropoutMasks | None = None,
        keep_activity: bool = False,
    ) -> Output:
        """Run a segment of a sequence.

        Args:
            x: symbol ids [B, T] (any integer type), or values [B, T, n_in] (floating point or uint8 spikes).
            state: state to start from; None is the zero state.
            masks: dropout masks to use; None draws them from torch's global generator in training mode.
            keep_activity: whether to return `activity` and `mlp_out`.

        Raises:
            InputError: x has another shape or type, an id outside the alphabet, a value that is not finite, or wants a
                gradient that the back end does not give.
        """
        x = check_input(x, self.config.n_in, self.output.weight.dtype)
        if x.requires_grad and self.backend_name != "reference":
            raise InputError("x: gradients with respect to the input need the network built with backend='reference'")
        if state is None:
            state = self.zero_state(x.shape[0])
        if masks is None and self.training:
            masks = self.draw_masks(x.shape[0])
        return Output(*self.backend.run(self, x, state, masks, keep_activity))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Choose the back end anew where the network was moved to another device or precision."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch
        like = self.output.weight
        self.backend = choose_backend(self._backend_wanted, self.config, like.dtype, like.device)
        return self

    @property
    def backend_name(self) -> str:
        """How this network is run, to be recorded with its results."""
        return self.backend.name

    def zero_state(self, batch_size: int) -> ElmState:
        """State before the first step: all zero."""
        config, like = self.config, self.output.weight
        traced = config.tau_b is not None
        return ElmState(
            activity_BN=like.new_zeros(batch_size, config.n_rec),
            memory_BND=like.new_zeros(batch_size, config.n_rec, config.d_m),
            readout_average_BN=like.new_zeros(batch_size, config.n_rec if config.tau_r is not None else 0),
            branch_BNR=like.new_zeros(batch_size, config.n_rec, config.d_tree if traced else 0),
            readout_memory_BOD=like.new_zeros(batch_size, config.n_out, self.readout.config.d_m),
            readout_branch_BOR=like.new_zeros(batch_size, config.n_out, config.d_tree if traced else 0),
        )

    def draw_masks(self, batch_size: int) -> DropoutMasks | None:
        """Draw dropout masks for one sequence from torch's global generator; None where nothing is dropped."""
        config, like = self.config, self.output.weight
        if config.dropout_in == 0.0 and config.dropout_rec == 0.0:
            return None
        ones_BI, ones_BN = like.new_ones(batch_size, config.n_in), like.new_ones(batch_size, config.n_rec)
        return DropoutMasks(
            input_BI=nn.functional.dropout(ones_BI, config.dropout_in),
            recurrent_BN=nn.functional.dropout(ones_BN, config.dropout_rec),
            readout_BN=nn.functional.dropout(ones_BN, config.dropout_in),
        )


def build_network(
    config: ElmConfig, *, seed: int, dtype: torch.dtype = torch.float32, backend: str = "auto"
) -> ElmNetwork:
    """Build the network that `config` describes; `seed` alone fixes its wiring and its weights.

    Args:
        config: the architecture.
        seed: from 0 to 2**63 - 1.
        dtype: precision of weights and arithmetic, torch.float32 or torch.float64.
        backend: how to run it, one of `model.backends.BACKENDS`; "auto" takes the fastest there is.

    Raises:
        ConfigError: an argument has none of these values.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError(f"seed: {seed!r} is not valid; give an integer from 0 to 2**63 - 1")
    if dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"dtype: {dtype} is not valid; give torch.float32 or torch.float64")
    return ElmNetwork(config, torch.Generator().manual_seed(seed), dtype, backend)


def check_input(x: Tensor, n_in: int, dtype: torch.dtype) -> Tensor:
    """Check a model's input; ids come back as int64, values in the network's precision.

    Raises:
        InputError: see `ElmNetwork.forward`.
    """
    is_integer = not x.is_floating_point() and not x.is_complex() and x.dtype != torch.bool
    if x.dim() == 2 and is_integer:
        x = x.long()
        if x.numel() and not 0 <= int(x.min()) <= int(x.max()) < n_in:
            raise InputError(
                f"x: ids from {int(x.min())} to {int(x.max())} are not valid; give ids from 0 to {n_in - 1}"
            )
        return x
    if x.dim() != 3 or x.shape[2] != n_in or not (x.is_floating_point() or x.dtype == torch.uint8):
        raise InputError(
            f"x: {x.dtype} of shape {list(x.shape)} is not valid; "
            f"give integer ids [batch, time] or float or uint8 values [batch, time, {n_in}]"
        )
    x = x.to(dtype)
    # one sum is an eighth of the work of looking at every value, and finite unless a value is not (or all are huge)
    if not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
        raise InputError("x: contains values that are not finite; clean the data before it reaches the network")
    return x
