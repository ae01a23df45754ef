from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from model.config import ConfigError, ElmConfig
from model.network import build_network
from model.networks.elm_network import ElmNetwork
from model.networks.stacking import stack_networks

CONFIG = ElmConfig(n_in=5, n_out=3, n_rec=6, d_m=3, d_tree=3, d_branch=2)


def networks(backend: str, config: ElmConfig = CONFIG) -> list[ElmNetwork]:
    return [build_network(config, seed=seed, dtype=torch.float64, backend=backend) for seed in (1, 2, 3)]


def losses(output: Any) -> Tensor:
    """One number for each network: [K] of a stack, a scalar of a single network."""
    logits = output.logits.square().flatten(-3).mean(-1)
    return logits + output.mlp_out_magnitude + output.population_activity + output.state.memory_BND.flatten(-3).sum(-1)


@pytest.mark.parametrize("backend", ["torch", "native"])
@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("options", [{}, {"tau_b": 2.0, "tau_r": None, "learn_tau_m": True}, {"dropout_in": 0.3}])
def test_a_stack_equals_its_networks(backend: str, text: bool, options: dict[str, Any]) -> None:
    singles = networks(backend, replace(CONFIG, **options))
    stack = stack_networks(singles)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 5, (3, 4, 9), generator=generator)
    if not text:
        x = torch.randn(3, 4, 9, 5, generator=generator, dtype=torch.float64)
    torch.manual_seed(5)
    masks = stack.draw_masks(4)
    output = stack(x, masks=masks, keep_activity=True)
    losses(output).sum().backward()
    for k, network in enumerate(singles):
        own = None if masks is None else type(masks)(*(mask[k] for mask in masks))
        single = network(x[k], masks=own, keep_activity=True)
        losses(single).backward()
        for found, expected in zip(
            (output.logits, *output.state, output.activity, output.mlp_out),
            (single.logits, *single.state, single.activity, single.mlp_out),
            strict=True,
        ):
            assert torch.allclose(found[k], expected, atol=1e-12)
        for (name, found), (_, expected) in zip(stack.named_parameters(), network.named_parameters(), strict=True):
            assert torch.allclose(found.grad[k], expected.grad, atol=1e-12), name


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_state_is_carried_by_a_stack(backend: str) -> None:
    stack = stack_networks(networks(backend))
    x = torch.randint(0, 5, (3, 2, 8), generator=torch.Generator().manual_seed(0))
    second = stack(x[:, :, 4:], stack(x[:, :, :4]).state)
    assert torch.allclose(second.logits, stack(x).logits[:, :, 4:], atol=1e-12)


def test_unlike_networks_are_refused() -> None:
    single, other = networks("torch")[0], build_network(replace(CONFIG, d_m=2), seed=1, dtype=torch.float64)
    with pytest.raises(ConfigError, match=r"^networks: d_m 2 beside 3"):
        stack_networks([single, other])
    with pytest.raises(ConfigError, match="precision"):
        stack_networks([single, build_network(CONFIG, seed=1)])
    with pytest.raises(ConfigError, match="none given"):
        stack_networks([])
    with pytest.raises(ConfigError, match="a stack already"):
        stack_networks([stack_networks([single])])
