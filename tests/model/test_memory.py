"""Activations kept for the backward pass: measured by torch's hooks, compared with formula and reference."""

import pytest
import torch

from model.config import ElmConfig
from model.memory import saved_bytes
from model.network import build_network
from model.networks.elm_network import ElmNetwork

TEXT = ElmConfig(n_in=27, n_out=27, n_rec=64, d_m=5, d_tree=8, d_branch=8)
SPEECH = ElmConfig(n_in=700, n_out=19, n_rec=48, d_m=5, d_tree=30, d_branch=10, rho_rec=0.25)
ENWIK8 = ElmConfig(n_in=204, n_out=204, n_rec=128, d_m=15, d_tree=50, d_branch=15)
TRACED = ElmConfig(n_in=20, n_out=9, n_rec=50, d_m=4, d_tree=12, d_branch=4, tau_b=3.0, l_mlp=2)


def measured_bytes(network: ElmNetwork, steps: int, batch: int = 16) -> int:
    """Bytes of distinct storages kept by the graph, without parameters, wiring and ids."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    x = torch.randint(0, network.config.n_in, (batch, steps), generator=torch.Generator().manual_seed(0))
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(x)
        loss = output.logits.square().mean() + output.mlp_out_magnitude + output.population_activity
    assert loss.requires_grad
    own.add(x.untyped_storage().data_ptr())
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


@pytest.mark.parametrize("backend", ["torch", "native"])
@pytest.mark.parametrize("config", [TEXT, SPEECH, ENWIK8, TRACED], ids=["text", "speech", "enwik8", "traced"])
def test_the_formula_is_within_a_twentieth(config: ElmConfig, backend: str) -> None:
    network = build_network(config, seed=0, backend=backend)
    found = measured_bytes(network, steps=60)
    assert saved_bytes(config, backend=backend, batch=16, steps=60) == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize(
    ("config", "backend", "most"),
    [(SPEECH, "torch", 0.15), (SPEECH, "native", 0.14), (ENWIK8, "torch", 0.15), (ENWIK8, "native", 0.15)],
)
def test_the_fast_paths_keep_a_fraction_of_what_the_reference_keeps(
    config: ElmConfig, backend: str, most: float
) -> None:
    fast, reference = (build_network(config, seed=0, backend=name) for name in (backend, "reference"))
    assert measured_bytes(fast, steps=20, batch=8) <= most * measured_bytes(reference, steps=20, batch=8)


def test_segments_bound_what_long_sequences_keep() -> None:
    whole = saved_bytes(SPEECH, backend="native", batch=8, steps=1000)
    assert saved_bytes(SPEECH, backend="native", batch=8, steps=1000, segment=50) < 0.1 * whole
    with pytest.raises(ValueError, match="^backend: 'x' is not valid"):
        saved_bytes(SPEECH, backend="x", batch=8, steps=1000)
