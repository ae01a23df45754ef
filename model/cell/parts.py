"""What a back end sees of an ELM Network, so that back ends need not know the module that chooses among them."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor, nn

from model.cell.layer import DrawnLinear, ElmLayer
from model.config import ElmConfig


class NetworkParts(Protocol):
    """An ELM Network's configuration, layers and parameters; `model.networks.elm_network.ElmNetwork` is one.

    A Protocol rather than a base class: the network imports the back ends, and naming it here would close a circle.
    """

    config: ElmConfig
    stacked: bool
    """whether every parameter and input has a leading axis K of stacked networks"""
    segment: int | None
    """steps after which the state alone is kept for differentiation, or None"""
    hidden: ElmLayer
    readout: ElmLayer
    output: DrawnLinear

    def parameters(self) -> Iterator[nn.Parameter]:
        """All trained tensors."""

    def buffers(self) -> Iterator[Tensor]:
        """All tensors that are not trained: wiring and fixed timescales."""
