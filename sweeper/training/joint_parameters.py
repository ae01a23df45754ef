"""Parameters and gradients of K networks of one shape as the rows of two matrices: clipped and stepped all at once."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from model.networks.elm_network import ElmNetwork
from sweeper.training.optimizer import Optimizer
from sweeper.training.schedule import learning_rate_at
from sweeper.training.training import TrialRun


class JointParameters:
    """Rows of numbers that the parameters of K runs are views of, and one optimiser for all.

    Args:
        runs: runs of one shape at the same step, whose optimisers' state is taken over; those with equal settings have
            to be neighbours to share a step of the optimiser.
    """

    def __init__(self, runs: Sequence[TrialRun]) -> None:
        self._shapes = [parameter.shape for parameter in runs[0].network.parameters()]
        self.values_KP = torch.stack([run.flat.values.detach() for run in runs])
        self.grads_KP = torch.zeros_like(self.values_KP)
        for run, value_P, grad_P in zip(runs, self.values_KP, self.grads_KP, strict=True):
            run.flat.values.data = value_P
            for parameter, value, grad in zip(
                run.network.parameters(), self._views(value_P), self._views(grad_P), strict=True
            ):
                # Through `.data`, so that the parameters stay the objects that networks and optimisers refer to.
                parameter.data, parameter.grad = value, grad
        self._stacked: list[nn.Parameter] = []
        self._clip_K = self.values_KP.new_tensor([run.training.clip_norm for run in runs])
        self._blocks = [list(same) for _, same in groupby(runs, key=lambda run: run.training)]
        # Of the first run's kind for all: the optimiser is among the settings that a group has in common.
        training = runs[0].training
        self._optimizer = Optimizer(self._block_groups(), kind=training.optimizer, lr=training.learning_rate)
        self._take_state()

    def share(self, stack: ElmNetwork) -> None:
        """Make the parameters of a stack of the networks views of the rows too."""
        self._stacked = list(stack.parameters())
        for parameter, value in zip(self._stacked, self._views(self.values_KP), strict=True):
            parameter.data = value

    def backward(self, loss: Tensor) -> None:
        """Differentiate a sum of the networks' losses."""
        if not self._stacked:  # autograd adds to the views
            self.grads_KP.zero_()
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            return
        # The stack's parameters are leaves of their own, so that no gradient reaches the runs' views by itself.
        # Parameters that a pass does not reach get zeros instead of None, as `FlatParameters` gives them.
        grads = torch.autograd.grad(loss, self._stacked, materialize_grads=True)
        for view, grad in zip(self._views(self.grads_KP), grads, strict=True):
            view.copy_(grad)

    def clip(self) -> Tensor:
        """Clip each row of the gradient to its norm, as `torch.nn.utils.clip_grad_norm_` does; the norms [K] before."""
        norms_K: Tensor = torch.linalg.vector_norm(self.grads_KP, dim=1)
        # 1e-6 keeps a gradient of 0 from being divided by its length.
        self.grads_KP.mul_((self._clip_K / (norms_K + 1e-6)).clamp(max=1.0).unsqueeze(1))
        return norms_K

    def step(self, step: int) -> None:
        """Take an optimiser step, each row with its own learning rate."""
        for group, block in zip(self._optimizer.param_groups, self._blocks, strict=True):
            group["lr"] = learning_rate_at(step, block[0].training)
        self._optimizer.step()

    def give_state(self) -> None:
        """Hand the optimiser's state to the runs' own optimisers; what is handed over shares memory."""
        # "step" is one number for a block, and everything else a matrix with a row for each run.
        for group, block in zip(self._optimizer.param_groups, self._blocks, strict=True):
            state = self._optimizer.state[group["params"][0]]
            for row, run in enumerate(block):
                state_of_run = {key: value.clone() if key == "step" else value[row] for key, value in state.items()}
                run.optimizer.state[run.flat.values] = state_of_run

    def _views(self, numbers: Tensor) -> list[Tensor]:
        """Cut numbers [..., P] into tensors [..., *shape] like the parameters of one network; they share memory."""
        parts = torch.split(numbers, [shape.numel() for shape in self._shapes], dim=-1)
        return [part.view(*numbers.shape[:-1], *shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _block_groups(self) -> list[dict[str, Any]]:
        groups, first = [], 0
        for block in self._blocks:
            # Runs with equal settings share a parameter group, whose one step is a single call for all of their rows.
            rows = nn.Parameter(self.values_KP[first : first + len(block)])
            rows.grad = self.grads_KP[first : first + len(block)]
            groups.append({"params": [rows]})
            first += len(block)
        return groups

    def _take_state(self) -> None:
        """Take over the state of the runs' own optimisers; before the first step there is none."""
        for group, block in zip(self._optimizer.param_groups, self._blocks, strict=True):
            states = [run.optimizer.state[run.flat.values] for run in block]
            if states[0]:
                joined = {
                    key: value.clone() if key == "step" else torch.stack([state[key] for state in states])
                    for key, value in states[0].items()
                }
                self._optimizer.state[group["params"][0]] = joined
