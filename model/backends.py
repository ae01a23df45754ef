"""The ways to run an ELM Network, by name. All compute the same; they differ in speed and in what they run on."""

from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from model.config import ConfigError
from model.reference import ReferenceBackend
from model.state import ElmState
from model.torch_path import TorchBackend

if TYPE_CHECKING:
    from model.network import DropoutMasks, ElmNetwork

BACKENDS = ("auto", "reference", "torch")
"""names that `build_network` takes"""


class Backend(Protocol):
    """One way to run an ELM Network."""

    @property
    def name(self) -> str:
        """Name recorded with a trial's results."""

    def run(
        self, network: "ElmNetwork", x: Tensor, state: ElmState, masks: "DropoutMasks | None", keep_activity: bool
    ) -> tuple[Any, ...]:
        """Run a segment of a sequence.

        Args:
            network: holds the parameters.
            x: checked input, ids [B, T] or values [B, T, I].
            state: state before the first step.
            masks: dropout masks, or None.
            keep_activity: whether to return activity and MLP outputs.

        Returns:
            The fields of `model.network.Output`.
        """


def choose_backend(name: str) -> Backend:
    """Make the back end called `name`.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in BACKENDS:
        raise ConfigError(f"backend: {name!r} is not valid; give one of {', '.join(BACKENDS)}")
    return ReferenceBackend() if name == "reference" else TorchBackend()
