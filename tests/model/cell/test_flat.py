"""Flat parameters: the same training as with separate ones, through the same modules and files."""

import math

import pytest
import torch
from torch import nn

from model.architectures.gated import LstmConfig
from model.cell.flat import FlatParameters
from model.config import ElmConfig
from model.network import build_network

CONFIGS = [ElmConfig(n_in=5, n_out=3, n_rec=6, d_m=3, d_tree=3, d_branch=2), LstmConfig(n_in=5, n_out=3, n_rec=4)]


def x() -> torch.Tensor:
    return torch.randint(0, 5, (4, 7), generator=torch.Generator().manual_seed(0))


def loss_of(network: nn.Module) -> torch.Tensor:
    loss: torch.Tensor = network(x()).logits.square().mean()
    return loss


@pytest.mark.parametrize("most", [1e-3, 1e3])
@pytest.mark.parametrize("config", CONFIGS, ids=["elm", "lstm"])
def test_training_equals_that_of_separate_parameters(config: ElmConfig | LstmConfig, most: float) -> None:
    apart, joined = (build_network(config, seed=1, dtype=torch.float64) for _ in range(2))
    flat = FlatParameters(joined)
    optimizers = torch.optim.Adam(apart.parameters()), torch.optim.Adam([flat.values])
    for _ in range(3):
        apart.zero_grad()
        loss_of(apart).backward()
        loss_of(joined).backward()
        expected = nn.utils.clip_grad_norm_(apart.parameters(), most)
        assert flat.clip_grad(most) == pytest.approx(float(expected), rel=1e-12)
        for optimizer in optimizers:
            optimizer.step()
    for (name, found), (_, wanted) in zip(joined.named_parameters(), apart.named_parameters(), strict=True):
        assert torch.allclose(found, wanted, atol=1e-12), name


def test_values_follow_what_is_loaded_and_the_network_follows_the_values() -> None:
    first, second = (build_network(CONFIGS[0], seed=seed) for seed in (1, 2))
    flat = FlatParameters(first)
    first.load_state_dict(second.state_dict())
    assert torch.equal(flat.values, torch.cat([parameter.flatten() for parameter in second.parameters()]))
    assert torch.equal(first(x()).logits, second(x()).logits)
    with torch.no_grad():
        flat.values.zero_()
    assert not first.output.weight.any()


def test_a_parameter_without_gradient_gets_zeros_and_no_gradient_stays_behind() -> None:
    network = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 1)])
    flat = FlatParameters(network)
    network[0](torch.ones(1, 2)).sum().backward()
    assert flat.clip_grad(100.0) == pytest.approx(math.sqrt(6))
    assert flat.values.grad is not None
    assert flat.values.grad.tolist() == [1.0] * 6 + [0.0] * 3
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_gradient_that_is_no_number_is_reported_not_clipped() -> None:
    network = nn.Linear(1, 1)
    flat = FlatParameters(network)
    (network(torch.ones(1, 1)) * torch.tensor([[math.inf]])).sum().backward()
    assert math.isinf(flat.clip_grad(1.0))
