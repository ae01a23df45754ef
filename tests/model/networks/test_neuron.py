import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.architecture import BudgetError
from model.architectures.elm_neuron import ElmNeuronConfig
from model.budget import counts, solve_d_m, solve_n_rec
from model.cell.interface import InputError
from model.config import ConfigError
from model.network import build_network
from model.networks.neuron import ElmNeuron, synapse_channels

DATA = Path(__file__).parents[1] / "data"
NEURONIO = ElmNeuronConfig(n_in=1278, n_out=2, d_m=1, d_tree=45, d_branch=100, interleaved=True)


def test_published_neurons_are_reproduced_to_the_unit() -> None:
    rows = list(csv.DictReader((DATA / "neuronio_neuron_complexity.csv").read_text().splitlines()))
    for row in rows:
        found = counts(ElmNeuronConfig(**{**vars(NEURONIO), "d_m": int(row["d_m"])}))
        assert found.trainable_params == int(row["trainable_params"])
        assert found.total_params == int(row["total_params"])
    assert len(rows) == 12


@pytest.mark.parametrize(
    "config",
    [
        ElmNeuronConfig(n_in=12, n_out=2, d_m=3),
        ElmNeuronConfig(n_in=12, n_out=2, d_m=3, d_tree=4),
        ElmNeuronConfig(n_in=12, n_out=1, d_m=3, d_tree=4, d_branch=5, l_mlp=2, d_mlp=7),
        ElmNeuronConfig(n_in=12, n_out=1, d_m=3, d_tree=1, d_branch=12, l_mlp=0),
        ElmNeuronConfig(n_in=12, n_out=1, d_m=3, d_tree=4, learn_tau_m=True),
    ],
)
def test_counts_equal_the_built_neuron(config: ElmNeuronConfig) -> None:
    neuron = build_network(config, seed=1)
    assert counts(config).trainable_params == sum(p.numel() for p in neuron.parameters())
    fixed = counts(replace(config, learn_tau_m=False))
    learnt = config.d_m if config.learn_tau_m else 0
    assert counts(config).k_e == fixed.k_e + learnt
    assert counts(config).total_params == fixed.total_params
    assert counts(config).k_c == neuron.synapse_weight.numel() == len(neuron.channel)


def test_d_m_is_the_largest_that_fits_and_there_is_no_n_rec_to_solve() -> None:
    for budget in (5000, 54_001, 54_002):
        found = replace(NEURONIO, d_m=solve_d_m(NEURONIO, budget))
        assert counts(found).trainable_params <= budget < counts(replace(found, d_m=found.d_m + 1)).trainable_params
    assert found.d_m == 100
    assert found.n_rec == 1
    with pytest.raises(BudgetError, match="^n_rec: ElmNeuronConfig has none; leave d_m to be solved"):
        solve_n_rec(NEURONIO, 9000)


def test_windows_cover_the_channels_evenly_and_interleave_the_halves() -> None:
    channels = synapse_channels(NEURONIO).view(45, 100)
    assert channels.unique().tolist() == list(range(1278))
    assert channels[0, :4].tolist() == [0, 639, 1, 640]
    assert channels[-1, -1] == 1277
    shared = len(set(channels[0].tolist()) & set(channels[1].tolist()))
    assert shared == 100 - round((1278 - 100) / 44)


def test_carried_state_continues_the_sequence() -> None:
    neuron: ElmNeuron = build_network(ElmNeuronConfig(n_in=6, n_out=2, d_m=3, d_tree=2), seed=1, dtype=torch.float64)
    x = torch.rand(2, 10, 6, generator=torch.Generator().manual_seed(0))
    second = neuron(x[:, 4:], neuron(x[:, :4]).state)
    assert torch.allclose(second.logits, neuron(x).logits[:, 4:], atol=1e-13)


def test_counts_of_spikes_are_read_like_values() -> None:
    neuron: ElmNeuron = build_network(ElmNeuronConfig(n_in=6, n_out=2, d_m=3, d_tree=2), seed=1)
    spikes = torch.randint(0, 3, (2, 10, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert torch.equal(neuron(spikes).logits, neuron(spikes.float()).logits)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"d_tree": 4, "lambda_as_ratio": False},
        {"d_tree": 4, "d_branch": 5, "l_mlp": 2, "d_mlp": 7, "interleaved": True},
        {"d_tree": 1, "d_branch": 12, "l_mlp": 0},
        {"d_tree": 4, "learn_tau_m": True, "dt": 2.0},
        {"learn_tau_m": True, "l_mlp": 2, "lambda_as_ratio": False},
        {"learn_tau_m": True, "l_mlp": 0},
    ],
)
def test_the_scan_gives_the_states_and_gradients_of_the_definition(change: dict[str, Any]) -> None:
    """Weights of either sign, so that rectified synapses are silent; the second segment starts from a state."""
    config = ElmNeuronConfig(**{"n_in": 12, "n_out": 2, "d_m": 3, "tau_m_max": 30.0, **change})
    neurons = [build_network(config, seed=1, dtype=torch.float64, backend=name) for name in ("reference", "torch")]
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(config.k_c, generator=generator, dtype=torch.float64)
    x = torch.randn(3, 17, 12, generator=generator, dtype=torch.float64)
    found = []
    for neuron in neurons:
        neuron.synapse_weight.data.copy_(weight)
        values = x.clone().requires_grad_()
        output = neuron(values[:, 5:], neuron(values[:, :5]).state)
        loss = (output.logits**2).mean() + sum((part**2).mean() for part in output.state)
        grads = torch.autograd.grad(loss, [values, *neuron.parameters()])
        found.append([output.logits.detach(), *(part.detach() for part in output.state), *grads])
    assert [neuron.backend_name for neuron in neurons] == ["reference", "torch"]
    assert ("tau_logit" in neurons[0].state_dict()) == change.get("learn_tau_m", False)
    assert min(float(part.abs().max()) for part in found[0]) > 1e-6
    for reference, own in zip(*found, strict=True):
        assert torch.allclose(reference, own, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_tree": 5}, "^d_branch: None is not valid; .*d_tree does not divide n_in = 12"),
        ({"d_tree": 2, "d_branch": 5}, "^d_branch: 5 .* d_tree \\* d_branch >= 12"),
        ({"d_branch": 3}, "^d_branch: 3"),
        ({"d_m": 0}, "^d_m: 0"),
        ({"tau_b": 0}, "^tau_b: 0"),
        ({"dt": 0}, "^dt: 0.0 is not valid; give a number > 0"),
        ({"learn_tau_m": True, "tau_m_max": 1}, "^tau_m_max: 1.0 .* a number above tau_m_min = 1.0, or learn_tau_m: f"),
        ({"n_in": 13, "interleaved": True}, "^interleaved: True .*even n_in"),
    ],
)
def test_impossible_neurons_are_named(change: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ElmNeuronConfig(**{"n_in": 12, "n_out": 2, "d_m": 3, **change})


def test_learnt_timescales_begin_at_the_fixed_ones_and_stay_within_their_bounds() -> None:
    """The authors' code begins a millionth inside of either bound."""
    config = ElmNeuronConfig(n_in=6, n_out=2, d_m=5, learn_tau_m=True)
    learnt = build_network(config, seed=1, dtype=torch.float64)
    fixed = build_network(replace(config, learn_tau_m=False), seed=1, dtype=torch.float64)
    assert torch.allclose(learnt.timescales(), fixed.timescales(), rtol=0, atol=1.001e-6)
    assert learnt.timescales()[[0, -1]].tolist() == pytest.approx([1 + 1e-6, 150 - 1e-6], abs=1e-9)
    with torch.no_grad():
        learnt.tau_logit.copy_(torch.tensor([-1e3, -1, 0, 1, 1e3]))
    assert learnt.timescales()[[0, 2, -1]].tolist() == [1.0, 75.5, 150.0]
    assert config.plain().keys() - replace(config, learn_tau_m=False).plain().keys() == {"learn_tau_m"}


def test_ids_and_other_back_ends_are_refused() -> None:
    config = ElmNeuronConfig(n_in=6, n_out=2, d_m=3)
    with pytest.raises(InputError, match="reads values"):
        build_network(config, seed=1)(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ConfigError, match="^backend: 'native' is not valid for ElmNeuronConfig; give auto, torch, ref"):
        build_network(config, seed=1, backend="native")
