from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from model.config import ElmConfig
from model.network import build_network
from model.networks.elm_network import ElmNetwork

CONFIG = ElmConfig(n_in=5, n_out=3, n_rec=6, d_m=3, d_tree=3, d_branch=2)


def ids(time: int) -> Tensor:
    return torch.randint(0, 5, (4, time), generator=torch.Generator().manual_seed(0))


def run(network: ElmNetwork, x: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(3)
    output = network(x, keep_activity=True)
    network.zero_grad()
    (output.logits.square().mean() + output.mlp_out_magnitude + output.population_activity).backward()
    grads = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {**output._asdict(), **output.state._asdict(), **grads, "state": output.logits}


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
@pytest.mark.parametrize("options", [{}, {"dropout_in": 0.3, "dropout_rec": 0.2}, {"tau_b": 2.0, "learn_tau_m": True}])
@pytest.mark.parametrize("segment", [1, 4, 11, 50])
def test_segments_give_what_the_whole_sequence_gives(backend: str, options: dict[str, Any], segment: int) -> None:
    network = build_network(replace(CONFIG, **options), seed=1, dtype=torch.float64, backend=backend)
    expected = run(network, ids(11))
    network.segment = segment
    found = run(network, ids(11))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-12), name


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
def test_segments_keep_less(backend: str) -> None:
    network = build_network(CONFIG, seed=1, backend=backend)
    kept = {}
    for segment in (None, 8):
        network.segment = segment
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = network(ids(128))
        kept[segment] = sum(sizes.values())
        assert output.logits.shape == (4, 128, 3)
    assert kept[8] < 0.35 * kept[None]
