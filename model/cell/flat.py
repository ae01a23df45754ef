"""A network's parameters side by side in one tensor: clipping and the optimiser's step are single operations."""

import math

import torch
from torch import Tensor, nn


class FlatParameters:
    """One tensor of which the parameters of a network are views from now on.

    Moving the network or changing its precision afterwards parts them again; its state_dict can be saved and loaded.

    Attributes:
        values: the parameters one after the other, for an optimiser.
    """

    def __init__(self, network: nn.Module) -> None:
        # A list, since the order of the parameters is that of their places in the joint tensor.
        self._parameters = list(network.parameters())
        self.values = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in self._parameters]))
        # views of the same memory: an optimiser that changes `values` changes the network
        parts = torch.split(self.values.detach(), [parameter.numel() for parameter in self._parameters])
        for parameter, part in zip(self._parameters, parts, strict=True):
            parameter.data = part.view_as(parameter)

    def clip_grad(self, most: float) -> float:
        """Move the parameters' gradients to `values` and scale them down where their joint length is above `most`.

        Where backward has not reached a parameter its gradient is zero.

        Returns:
            The length before clipping. Where it is not finite nothing is clipped, so that the caller sees it.
        """
        grad = self.values.grad = self._take_grads()
        norm = float(torch.linalg.vector_norm(grad))
        if norm > most and math.isfinite(norm):
            grad.mul_(most / (norm + 1e-6))  # as torch.nn.utils.clip_grad_norm_ does
        return norm

    def _take_grads(self) -> Tensor:
        """Join the parameters' gradients and remove them, so that the next backward pass does not add to them."""
        grads = []
        for parameter in self._parameters:
            grad, parameter.grad = parameter.grad, None
            grads.append(torch.zeros_like(parameter).flatten() if grad is None else grad.flatten())
        return torch.cat(grads)
