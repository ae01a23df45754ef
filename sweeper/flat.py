"""Parameters and gradients of K networks of one shape as the rows of two matrices: clipped and stepped all at once."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from model.elm_network import ElmNetwork
from sweeper.optimizer import learning_rate_at, make_optimizer
from sweeper.trial import TrainingConfig


class FlatParameters:
    """Rows of numbers that the networks' own parameters are views of.

    Args:
        networks: K networks of one shape; their parameters and gradients become views of the rows.
        optimizers: their own optimisers, whose state is taken over.
        trainings: how each of them is trained; equal ones have to be neighbours to share a step of the optimiser.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        optimizers: Sequence[torch.optim.Optimizer],
        trainings: Sequence[TrainingConfig],
    ) -> None:
        self._sizes = [parameter.shape for parameter in networks[0].parameters()]
        rows = [torch.cat([p.detach().flatten() for p in network.parameters()]) for network in networks]
        self.values_KP = torch.stack(rows)
        self.grads_KP = torch.zeros_like(self.values_KP)
        for k, network in enumerate(networks):
            for parameter, value, grad in zip(
                network.parameters(), self.views(self.values_KP[k]), self.views(self.grads_KP[k]), strict=True
            ):
                parameter.data, parameter.grad = value, grad
        self._stacked: list[nn.Parameter] = []
        self._clip_K = self.values_KP.new_tensor([training.clip_norm for training in trainings])
        self._blocks = [(training, len(list(same))) for training, same in groupby(trainings)]
        self._optimizer = make_optimizer(self._block_groups(), trainings[0])
        self._load_state(optimizers)

    def views(self, numbers: Tensor) -> list[Tensor]:
        """Cut numbers [..., P] into tensors [..., *shape] like the parameters of one network; they share memory."""
        parts = torch.split(numbers, [size.numel() for size in self._sizes], dim=-1)
        return [part.view(*numbers.shape[:-1], *size) for part, size in zip(parts, self._sizes, strict=True)]

    def share(self, stack: ElmNetwork) -> None:
        """Make the parameters of a stack of the networks views of the rows too."""
        self._stacked = list(stack.parameters())
        for parameter, value in zip(self._stacked, self.views(self.values_KP), strict=True):
            parameter.data = value

    def backward(self, loss: Tensor) -> None:
        """Differentiate a sum of the networks' losses."""
        if not self._stacked:  # autograd adds to the views
            self.grads_KP.zero_()
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            return
        found = torch.autograd.grad(loss, self._stacked, materialize_grads=True)
        for view, grad in zip(self.views(self.grads_KP), found, strict=True):
            view.copy_(grad)

    def clip(self) -> Tensor:
        """Clip each row of the gradient to its norm, as `torch.nn.utils.clip_grad_norm_` does; the norms [K] before."""
        norms_K: Tensor = torch.linalg.vector_norm(self.grads_KP, dim=1)
        self.grads_KP.mul_((self._clip_K / (norms_K + 1e-6)).clamp(max=1.0).unsqueeze(1))
        return norms_K

    def step(self, step: int) -> None:
        """Take an optimiser step, each row with its own learning rate."""
        for group, (training, _) in zip(self._optimizer.param_groups, self._blocks, strict=True):
            group["lr"] = learning_rate_at(step, training)
        self._optimizer.step()

    def save_state(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Hand the optimiser's state to the networks' own optimisers; what is handed over shares memory."""
        rows: list[dict[str, Any]] = []
        for group in self._optimizer.param_groups:
            state = self._optimizer.state[group["params"][0]]
            rows += [
                {key: value if key == "step" else value[i] for key, value in state.items()}
                for i in range(len(group["params"][0]))
            ]
        for optimizer, row in zip(optimizers, rows, strict=True):
            parts = {key: self.views(value) for key, value in row.items() if key != "step"}
            for i, parameter in enumerate(optimizer.param_groups[0]["params"]):
                own = {key: part[i] for key, part in parts.items()}  # a step of its own: it is counted up in place
                optimizer.state[parameter] = {"step": row["step"].clone(), **own}

    def _block_groups(self) -> list[dict[str, Any]]:
        groups, first = [], 0
        for _, count in self._blocks:
            block = nn.Parameter(self.values_KP[first : first + count])
            block.grad = self.grads_KP[first : first + count]
            groups.append({"params": [block]})
            first += count
        return groups

    def _load_state(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Take over the state of the networks' own optimisers, which are all at the same step."""
        states = [[o.state[p] for p in o.param_groups[0]["params"]] for o in optimizers]
        if not states[0][0]:  # before the first step
            return
        first = 0
        for group, (_, count) in zip(self._optimizer.param_groups, self._blocks, strict=True):
            block = states[first : first + count]
            joined: dict[str, Any] = {
                key: torch.stack([torch.cat([part[key].flatten() for part in row]) for row in block])
                for key in block[0][0]
                if key != "step"
            }
            self._optimizer.state[group["params"][0]] = {"step": block[0][0]["step"].clone(), **joined}
            first += count
