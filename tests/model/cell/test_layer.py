"""One layer of neurons: wiring, weights and timescales as published."""

import math
from dataclasses import replace

import pytest
import torch

from model.cell.layer import draw_connectome, log_spaced
from model.config import ConfigError, ElmConfig
from model.network import build_network

CONFIG = ElmConfig(n_in=6, n_out=4, n_rec=8, d_m=3, d_tree=3, d_branch=2)


def test_wiring_follows_rho_rec() -> None:
    config = ElmConfig(n_in=50, n_out=1, n_rec=200, d_m=1, d_tree=20, d_branch=10, rho_rec=0.3)
    connectome = draw_connectome(config, torch.Generator().manual_seed(0))
    reads_neuron = connectome >= 50
    assert reads_neuron.double().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 40_000))
    assert connectome.min() == 0
    assert connectome.max() == 249
    counts_per_target = torch.bincount(connectome.flatten(), minlength=250).double()
    assert counts_per_target[:50].mean().item() == pytest.approx(28_000 / 50, rel=0.05)
    assert counts_per_target[50:].std().item() == pytest.approx(math.sqrt(60), rel=0.3)


def test_weights_are_uniform_within_the_published_bounds() -> None:
    network = build_network(ElmConfig(n_in=50, n_out=40, n_rec=60, d_m=8, d_tree=10, d_branch=9), seed=0)
    fan_in = {
        "hidden.synapse_weight": 9,
        "hidden.mlp.0.weight": 18,
        "hidden.mlp.0.bias": 18,
        "hidden.mlp.1.weight": 16,
        "hidden.mlp.1.bias": 16,
        "hidden.readout_weight": 8,
        "readout.synapse_weight": 9,
        "readout.mlp.0.weight": 13,
        "readout.readout_weight": 3,
        "output.weight": 40,
        "output.bias": 40,
    }
    weights = dict(network.named_parameters())
    for name, value in fan_in.items():
        scaled = weights[name].detach() * math.sqrt(value)
        assert scaled.abs().max() <= 1.0
        assert scaled.abs().max() > 0.9
        assert scaled.var().item() == pytest.approx(1 / 3, rel=0.35)
    assert not weights["hidden.bias"].any()
    assert not weights["readout.bias"].any()


def test_timescales_are_log_spaced_and_learnt_ones_start_there() -> None:
    assert torch.allclose(log_spaced(0.1, 1000.0, 5), torch.tensor([0.1, 1, 10, 100, 1000], dtype=torch.float64))
    fixed = build_network(CONFIG, seed=0, dtype=torch.float64).hidden
    learnt = build_network(ElmConfig(**{**vars(CONFIG), "learn_tau_m": True}), seed=0, dtype=torch.float64).hidden
    assert torch.allclose(learnt.timescales(), fixed.timescales())
    assert fixed.timescales()[3].tolist() == pytest.approx([0.1, math.sqrt(10), 100])


def distances(config: ElmConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every synapse on a neuron: how far away it reads on the ring, and whether within its part."""
    connectome = draw_connectome(config, torch.Generator().manual_seed(0))
    source, own = connectome - config.n_in, torch.arange(config.n_rec).unsqueeze(1).expand_as(connectome)
    far = (source - own).abs()
    inside = source * config.modules // config.n_rec == own * config.modules // config.n_rec
    on_neuron = source >= 0
    return torch.minimum(far, config.n_rec - far)[on_neuron], inside[on_neuron]


WIRED = ElmConfig(n_in=50, n_out=2, n_rec=203, d_m=2, d_tree=4, d_branch=20, rho_rec=0.25)


def test_without_rewiring_synapses_reach_as_many_neighbours_as_there_are_of_them() -> None:
    far, _ = distances(replace(WIRED, rewire=0.0))
    # 0.25 x 80 synapses: 10 neighbours on each side, and the neuron itself, all equally often
    assert far.max() == 10
    found = torch.bincount(far).double() / len(far)
    assert found.tolist() == pytest.approx([1 / 21] + [2 / 21] * 10, abs=0.015)
    assert distances(replace(WIRED, rewire=0.0, n_rec=1))[0].max() == 0
    assert distances(replace(WIRED, rewire=0.0, n_rec=5))[0].max() == 2


@pytest.mark.parametrize("rewire", [0.1, 0.5])
def test_the_share_that_is_rewired_reads_any_neuron(rewire: float) -> None:
    far, _ = distances(replace(WIRED, rewire=rewire))
    assert float((far > 10).double().mean()) == pytest.approx(rewire * (1 - 21 / 203), abs=0.02)


def test_modules_keep_to_themselves_but_for_the_share_that_is_rewired() -> None:
    _, inside = distances(replace(WIRED, rewire=0.0, modules=7))
    assert inside.all()
    _, inside = distances(replace(WIRED, rewire=0.3, modules=7))
    assert float(inside.double().mean()) == pytest.approx(0.7 + 0.3 / 7, abs=0.02)
    # parts that cannot be equal, and more parts than neurons
    connectome = draw_connectome(replace(WIRED, rewire=0.0, modules=7, n_rec=10), torch.Generator().manual_seed(0))
    assert connectome.max() < 60
    far, _ = distances(replace(WIRED, rewire=0.0, modules=20, n_rec=6))
    assert far.max() == 0


def test_modules_without_a_way_to_tell_them_are_refused() -> None:
    with pytest.raises(ConfigError, match="^modules: 2 is not valid; give 1, for uniform wiring has no modules"):
        replace(WIRED, modules=2)
    with pytest.raises(ConfigError, match="^rewire: 1.5 is not valid"):
        replace(WIRED, rewire=1.5)
