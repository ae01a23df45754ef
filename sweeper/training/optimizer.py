"""Adam and Adamax by torch's own functions, without what torch's classes load with their first step.

Every class of `torch.optim` imports `torch._dynamo` when it is made, in each lane, which takes as long as torch itself;
and nothing here is compiled. The functions behind the classes, `torch.optim.adam.adam` and
`torch.optim.adamax.adamax`, do without. The numbers are the same, and so is the layout of what is saved.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamax import adamax

ADAM, ADAMAX = "adam", "adamax"
_MOMENTS = {ADAM: ("exp_avg", "exp_avg_sq"), ADAMAX: ("exp_avg", "exp_inf")}
_FIXED = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
"""Torch's defaults."""


class Optimizer:
    """Adam (fused) or Adamax, with torch's default moments.

    Args:
        parameters: what is changed, or groups of it as ``{"params": [...]}``.
        kind: `adam` or `adamax`.
        lr: learning rate of every group, until somebody sets another in `param_groups`.
    """

    def __init__(self, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], *, kind: str, lr: float) -> None:
        given = list(parameters)
        groups = [entry if isinstance(entry, dict) else {"params": [entry]} for entry in given]
        if given and not isinstance(given[0], dict):
            groups = [{"params": given}]
        self.kind = kind
        self.param_groups: list[dict[str, Any]] = [{"lr": lr, **group} for group in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in parameters:
                if not self.state[parameter]:
                    self.state[parameter] = self._begun(parameter)
            names = (*_MOMENTS[self.kind], "step")
            first, second, steps = ([self.state[one][name] for one in parameters] for name in names)
            grads = [parameter.grad for parameter in parameters]
            fixed: Any = _FIXED
            if self.kind == ADAM:
                # One kernel for the whole step; torch has no fused Adamax.
                fixed = {**_FIXED, "fused": True, "amsgrad": False, "maximize": False}
                adam(parameters, grads, first, second, [], steps, lr=group["lr"], **fixed)
            else:
                adamax(parameters, grads, first, second, steps, lr=group["lr"], **fixed)

    def state_dict(self) -> dict[str, Any]:
        """What the next steps depend on, in the layout of `torch.optim.Optimizer.state_dict`."""
        numbers: dict[Tensor, int] = {parameter: i for i, parameter in enumerate(self._parameters())}
        return {
            "state": {numbers[parameter]: dict(state) for parameter, state in self.state.items() if state},
            "param_groups": [
                {**group, "params": [numbers[parameter] for parameter in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of an optimiser of the same parameters returned."""
        parameters = self._parameters()
        self.state.clear()
        for number, state in saved["state"].items():
            parameter = parameters[number]
            self.state[parameter] = {
                name: value.to(parameter.device if name != "step" or self.kind == ADAM else "cpu")
                for name, value in state.items()
            }
        for group, kept in zip(self.param_groups, saved["param_groups"], strict=True):
            group["lr"] = kept["lr"]

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _begun(self, parameter: Tensor) -> dict[str, Tensor]:
        # The fused kernel reads the number of steps where the parameters are.
        device = parameter.device if self.kind == ADAM else "cpu"
        moments = {name: torch.zeros_like(parameter) for name in _MOMENTS[self.kind]}
        return {"step": torch.zeros((), dtype=torch.float32, device=device), **moments}
