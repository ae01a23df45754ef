from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.architectures.elm_neuron import ElmNeuronConfig
from model.architectures.gated import ChronoLstmConfig, GruConfig, LstmConfig
from model.architectures.spiking import SnnConfig
from model.config import ConfigError, ElmConfig
from model.flops import flops
from model.network import build_network

BATCH, TIME = 3, 4
SIZES = {"n_in": 5, "n_out": 3, "n_rec": 7}
ELMS = [
    ElmConfig(**SIZES, d_m=2, d_tree=3, d_branch=4),
    ElmConfig(**SIZES, d_m=4, d_tree=1, d_branch=2, l_mlp=0, tau_r=None),
    ElmConfig(**SIZES, d_m=3, d_tree=2, d_branch=5, l_mlp=2, d_mlp=9),
]
NEURONS = [ElmNeuronConfig(n_in=6, n_out=2, d_m=3, d_tree=2), ElmNeuronConfig(n_in=6, n_out=2, d_m=3)]
BASELINES = [LstmConfig(**SIZES), ChronoLstmConfig(**SIZES), GruConfig(**SIZES), SnnConfig(**SIZES)]


def weighted_sums(input_shape: Any, axis: Any = None, *_: Any, **__: Any) -> int:
    """A product summed over an axis: one multiplication and one addition for every term. Sums of all are checks."""
    return 0 if axis is None else 2 * torch.Size(input_shape).numel()


def counter(*, sums: bool) -> FlopCounterMode:
    mapping = {torch.ops.aten.sum: weighted_sums} if sums else {}
    return FlopCounterMode(display=False, custom_mapping=mapping)


def network_and_input(config: Any) -> tuple[Any, torch.Tensor]:
    backend = "reference" if isinstance(config, ElmConfig | ElmNeuronConfig) else "auto"
    network = build_network(config, seed=1, dtype=torch.float64, backend=backend)
    return network, torch.rand(BATCH, TIME, config.n_in, dtype=torch.float64)


@pytest.mark.parametrize("config", ELMS + NEURONS, ids=lambda config: type(config).__name__)
def test_forward_operations_equal_torchs_counter_with_sums_of_products(config: Any) -> None:
    network, x = network_and_input(config)
    with counter(sums=True) as found, torch.no_grad():
        network(x)
    assert found.get_total_flops() == BATCH * TIME * flops(config).forward


@pytest.mark.parametrize("config", BASELINES, ids=lambda config: type(config).__name__)
def test_forward_operations_of_baselines_equal_torchs_counter(config: Any) -> None:
    network, x = network_and_input(config)
    with counter(sums=False) as found, torch.no_grad():
        network(x)
    assert found.get_total_flops() == BATCH * TIME * flops(config).forward


@pytest.mark.parametrize("config", ELMS, ids=lambda config: type(config).__name__)
def test_training_takes_three_times_the_products_of_the_forward_pass(config: Any) -> None:
    network, x = network_and_input(config)
    with counter(sums=False) as forward, torch.no_grad():
        network(x)
    with counter(sums=False) as training:
        network(x).logits.sum().backward()
    assert training.get_total_flops() == 3 * forward.get_total_flops()
    assert flops(config).training == 3 * flops(config).forward


def test_published_operations() -> None:
    enwik8 = flops(ElmConfig(n_in=204, n_out=204, n_rec=1024, d_m=15, d_tree=50, d_branch=15))
    assert round(enwik8.synapses / 1e6, 2) == 1.54
    assert round(enwik8.mlps / 1e6, 2) == 4.95
    assert round(enwik8.readout / 1e6, 3) == 0.455


def test_unknown_configurations_are_named() -> None:
    with pytest.raises(ConfigError, match="^config: str is of no known architecture$"):
        flops("lstm")  # type: ignore[arg-type]
