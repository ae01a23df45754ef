"""LSTM, Chrono-LSTM, GRU and spiking network: the same interface and the same exact counts as the ELM Network."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.architecture import BudgetError
from model.architectures.gated import ChronoLstmConfig, GruConfig, LstmConfig
from model.architectures.spiking import SnnConfig
from model.budget import counts, solve_d_m, solve_n_rec
from model.cell.state import detach_state, zero_rows
from model.config import ConfigError, ElmConfig
from model.network import build_network
from model.registry import architecture, architecture_names

SIZES = {"n_in": 5, "n_out": 3, "n_rec": 7}
ELM = ElmConfig(**SIZES, d_m=2, d_tree=3, d_branch=2)
BASELINES = [architecture(name).config(**SIZES) for name in ("lstm", "chrono_lstm", "gru", "snn")]
ALL = [ELM, *BASELINES]


def ids(batch: int = 4, time: int = 9) -> Tensor:
    return torch.randint(0, 5, (batch, time), generator=torch.Generator().manual_seed(0))


def name_of(config: Any) -> str:
    return type(config).__name__


def test_the_table_names_every_architecture() -> None:
    assert architecture_names() == ("elm", "elm_neuron", "lstm", "chrono_lstm", "gru", "snn", "lru", "min_gru")


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from([LstmConfig, ChronoLstmConfig, GruConfig, SnnConfig]), n_in=st.integers(1, 20),
       n_out=st.integers(1, 9), n_rec=st.integers(1, 12), learns=st.booleans())  # fmt: skip
def test_counts_equal_the_built_network(kind: Any, n_in: int, n_out: int, n_rec: int, learns: bool) -> None:
    config = kind(n_in=n_in, n_out=n_out, n_rec=n_rec)
    if kind is SnnConfig:
        config = replace(config, learn_tau_m=learns)
    found, network = counts(config), build_network(config, seed=1)
    readout = sum(parameter.numel() for parameter in network.output.parameters())
    assert found.trainable_params == sum(parameter.numel() for parameter in network.parameters())
    assert found.readout_params == readout
    assert found.recurrent_params == n_rec * (found.k_e + found.k_c)


@settings(max_examples=40, deadline=None)
@given(config=st.sampled_from(BASELINES), budget=st.integers(1, 300_000))
def test_n_rec_is_the_largest_that_fits(config: Any, budget: int) -> None:
    if counts(replace(config, n_rec=1)).trainable_params > budget:
        with pytest.raises(BudgetError, match="the smallest feasible budget is"):
            solve_n_rec(config, budget)
        return
    n_rec = solve_n_rec(config, budget)
    assert counts(replace(config, n_rec=n_rec)).trainable_params <= budget
    assert counts(replace(config, n_rec=n_rec + 1)).trainable_params > budget


def test_sizes_that_an_architecture_lacks_cannot_be_solved() -> None:
    with pytest.raises(BudgetError, match="^d_m: LstmConfig has none; leave n_rec"):
        solve_d_m(LstmConfig(**SIZES), 10_000)


@pytest.mark.parametrize("config", ALL, ids=name_of)
def test_every_architecture_has_the_same_interface(config: Any) -> None:
    network = build_network(config, seed=1, dtype=torch.float64)
    x = ids()
    output = network(x, keep_activity=True)
    assert output.logits.shape == (4, 9, 3)
    assert output.logits.dtype == torch.float64
    assert output.activity.shape == (4, 9, 7)
    assert output.mlp_out_magnitude.shape == output.population_activity.shape == ()
    assert isinstance(network.backend_name, str)
    assert type(output.state) is type(network.zero_state(4))
    for tensor, zero in zip(output.state, network.zero_state(4), strict=True):
        assert tensor.shape == zero.shape
        assert tensor.shape[0] == 4
    (output.logits.sum() + output.population_activity + output.mlp_out_magnitude).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    values = torch.nn.functional.one_hot(x, 5) * config.embedding_scale
    assert torch.allclose(network(values.double()).logits, output.logits)


@pytest.mark.parametrize("config", ALL, ids=name_of)
def test_carried_state_continues_the_sequence(config: Any) -> None:
    network = build_network(config, seed=1, dtype=torch.float64)
    x = ids()
    first = network(x[:, :4])
    second = network(x[:, 4:], detach_state(first.state))
    assert torch.allclose(second.logits, network(x).logits[:, 4:], atol=1e-12)
    fresh = network(x[:, 4:], zero_rows(first.state, torch.tensor([True, False, True, False])))
    assert torch.allclose(fresh.logits[[0, 2]], network(x[:, 4:]).logits[[0, 2]], atol=1e-12)
    assert torch.allclose(fresh.logits[[1, 3]], second.logits[[1, 3]], atol=1e-12)


@pytest.mark.parametrize("config", ALL, ids=name_of)
def test_the_seed_alone_fixes_the_weights(config: Any) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second = build_network(config, seed=4).state_dict(), build_network(config, seed=4).state_dict()
    assert torch.equal(torch.rand(3), expected)
    other = build_network(config, seed=5).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["output.weight"], other["output.weight"])


@pytest.mark.parametrize("config", BASELINES, ids=name_of)
def test_dropout_keeps_one_mask_per_sequence_and_is_off_when_evaluating(config: Any) -> None:
    network = build_network(replace(config, dropout_in=0.5), seed=1)
    x = torch.rand(4, 9, 5, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    masks = network.draw_masks(4)
    torch.manual_seed(3)
    assert torch.equal(network(x).logits, network(x, masks=masks).logits)
    assert set(masks.input_BI.unique().tolist()) == {0.0, 2.0}
    only_input = masks._replace(readout_BN=torch.ones(4, 7))
    expected = network.eval()(x * masks.input_BI.unsqueeze(1)).logits
    assert torch.allclose(network(x, masks=only_input).logits, expected, atol=1e-6)
    assert torch.equal(network(x).logits, build_network(config, seed=1).eval()(x).logits)


@pytest.mark.parametrize(
    ("kind", "change", "field"),
    [
        (LstmConfig, {"n_rec": 0}, "n_rec"),
        (GruConfig, {"dropout_in": 1.0}, "dropout_in"),
        (ChronoLstmConfig, {"tau_m_min": 1.0}, "tau_m_min"),
        (ChronoLstmConfig, {"tau_m_max": 1.5}, "tau_m_max"),
        (SnnConfig, {"surrogate_slope": 0.0}, "surrogate_slope"),
        (SnnConfig, {"learn_tau_m": 1}, "learn_tau_m"),
    ],
)
def test_impossible_values_are_named(kind: Any, change: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}: .*give "):
        kind(**{**SIZES, **change})


@pytest.mark.parametrize(("seed", "dtype"), [(-1, torch.float32), (True, torch.float32), (0, torch.bfloat16)])
def test_seed_and_dtype_are_checked(seed: int, dtype: torch.dtype) -> None:
    with pytest.raises(ConfigError, match=r"^(seed|dtype): "):
        build_network(ELM, seed=seed, dtype=dtype)
