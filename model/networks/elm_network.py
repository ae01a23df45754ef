"""The ELM Network as a module: parameters, what goes in, what comes out. The loop over time lives in the back ends."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn

from model.backends.choose import choose_backend
from model.cell.interface import DropoutMasks, InputError, Output, RunResult, check_input
from model.cell.layer import DrawnLinear, ElmLayer, readout_config
from model.cell.state import ElmState
from model.config import ElmConfig
from model.networks.segments import run_in_segments


class ElmNetwork(nn.Module):
    """Recurrent layer of ELM neurons -> read-out layer of ELM neurons -> dense linear map.

    Attributes:
        config: the architecture.
        stacked: whether this is K networks of one shape run as one (see `model.networks.stacking`); every parameter,
            input and result then has a leading axis K.
        segment: steps after which the state alone is kept for differentiation, at the price of a second forward pass;
            None keeps the activations of all steps.
    """

    def __init__(self, config: ElmConfig, generator: Generator, dtype: torch.dtype, backend: str) -> None:
        super().__init__()
        self.config = config
        self.stacked = False
        self.segment: int | None = None
        # The name that was asked for is kept, because a network that is moved to another device may need another back
        # end.
        self._requested_backend = backend
        self.hidden = ElmLayer(config, generator, dtype)
        # The order of construction is the order of the draws: another one would give every seed other weights.
        self.readout = ElmLayer(readout_config(config), generator, dtype)
        self.output = DrawnLinear(config.n_out, config.n_out, generator, dtype)
        self._choose_backend()

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
        x = check_input(x, self.config.n_in, self.output.weight.dtype, stacked=self.stacked)
        # the fast back ends would leave this gradient out without a word
        if x.requires_grad and self.backend_name != "reference":
            raise InputError("x: gradients with respect to the input need the network built with backend='reference'")
        time_axis = 2 if self.stacked else 1
        batch, steps = x.shape[time_axis - 1], x.shape[time_axis]
        state = self.zero_state(batch) if state is None else state
        masks = self.draw_masks(batch) if masks is None and self.training else masks

        def run(x: Tensor, state: ElmState) -> RunResult:
            return self._run(x, state, masks, keep_activity)

        # without gradients nothing is kept, so there is nothing to compute again
        if self.segment is None or self.segment >= steps or not torch.is_grad_enabled():
            result = run(x, state)
        else:
            result = run_in_segments(run, x, state, axis=time_axis, length=self.segment)
        return Output(
            logits=result.logits,
            state=result.state,
            # Squared after the mean over time and memory and before that over batch and neurons, as published.
            mlp_out_magnitude=result.mlp_out_BN.square().mean((-2, -1)),
            population_activity=result.activity,  # rectified already
            activity=result.activity_BTN,
            mlp_out=result.mlp_out_BTND,
        )

    def _run(self, x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool) -> RunResult:
        device = self.output.weight.device.type
        # The reference is plain operations, which autocast handles as it does any module's.
        if self.backend_name == "reference" or not torch.is_autocast_enabled(device):
            return self.backend.run(self, x, state, masks, keep_activity)
        # autocast would reach some of a fast back end's operations and not its compiled or hand-differentiated ones
        with torch.autocast(device, enabled=False):
            return self.backend.run(self, x, state, masks, keep_activity)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Choose the back end anew where the network was moved to another device or precision."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch
        self._choose_backend()
        return self

    def _choose_backend(self) -> None:
        like = self.output.weight
        self.backend = choose_backend(self._requested_backend, self.config, like.dtype, like.device)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the back end, which may point into a library, when the network is copied or saved."""
        return {name: value for name, value in self.__dict__.items() if name != "backend"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # untyped in torch
        self._choose_backend()

    @property
    def _lead(self) -> tuple[int, ...]:
        """Leading axes of everything: the number of networks in a stack."""
        return tuple(self.output.weight.shape[:-2])

    @property
    def backend_name(self) -> str:
        """How this network is run, to be recorded with its results."""
        return self.backend.name

    def zero_state(self, batch_size: int) -> ElmState:
        """State before the first step: all zero."""
        config, traced = self.config, self.config.tau_b is not None

        def zeros(*sizes: int) -> Tensor:
            return self.output.weight.new_zeros(*self._lead, batch_size, *sizes)

        return ElmState(
            activity_BN=zeros(config.n_rec),
            memory_BND=zeros(config.n_rec, config.d_m),
            # Traces that are switched off have no elements, so that states of all networks have the same fields.
            readout_average_BN=zeros(config.n_rec if config.tau_r is not None else 0),
            branch_BNR=zeros(config.n_rec, config.d_tree if traced else 0),
            readout_memory_BOD=zeros(config.n_out, self.readout.config.d_m),
            readout_branch_BOR=zeros(config.n_out, config.d_tree if traced else 0),
        )

    def draw_masks(self, batch_size: int) -> DropoutMasks | None:
        """Draw dropout masks for one sequence from torch's global generator; None where nothing is dropped."""
        return DropoutMasks.draw(self.output.weight, (*self._lead, batch_size), self.config)
