import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.budget import counts
from model.cell.interface import DropoutMasks, InputError
from model.cell.layer import draw_connectome, log_spaced
from model.cell.state import detach_state, zero_rows
from model.config import ConfigError, ElmConfig
from model.network import build_network

CONFIG = ElmConfig(n_in=6, n_out=4, n_rec=8, d_m=3, d_tree=3, d_branch=2)
SMALL = st.integers(1, 6)
OPTIONS = st.fixed_dictionaries(
    {
        **dict.fromkeys(("n_in", "n_out", "n_rec", "d_m", "d_tree", "d_branch"), SMALL),
        "d_mlp": st.none() | SMALL,
        "l_mlp": st.integers(0, 3),
        "learn_tau_m": st.booleans(),
        "tau_r": st.none() | st.floats(0.5, 9),
        "tau_b": st.none() | st.floats(0.5, 9),
        "rho_rec": st.floats(0, 1),
    }
)


def ids(batch: int = 2, time: int = 5, n_in: int = 6) -> Tensor:
    return torch.randint(0, n_in, (batch, time), generator=torch.Generator().manual_seed(3))


@settings(max_examples=60, deadline=None)
@given(options=OPTIONS)
def test_counts_equal_the_built_network(options: dict[str, Any]) -> None:
    config = ElmConfig(**options)
    network = build_network(config, seed=1)
    hidden = sum(p.numel() for p in network.hidden.parameters())
    found = counts(config)
    assert found.trainable_params == sum(p.numel() for p in network.parameters())
    assert found.recurrent_params == hidden == config.n_rec * (found.k_e + found.k_c)
    assert found.total_params == found.trainable_params + sum(b.numel() for b in network.buffers())


def test_the_seed_alone_fixes_wiring_and_weights() -> None:
    torch.manual_seed(1)
    first = build_network(CONFIG, seed=5).state_dict()
    torch.manual_seed(2)
    same, other = build_network(CONFIG, seed=5).state_dict(), build_network(CONFIG, seed=6).state_dict()
    double = build_network(CONFIG, seed=5, dtype=torch.float64).state_dict()
    for name, value in first.items():
        assert torch.equal(value, same[name])
        assert torch.equal(value, double[name].to(value.dtype))
    assert not torch.equal(first["hidden.connectome"], other["hidden.connectome"])
    assert not torch.equal(first["output.weight"], other["output.weight"])


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build_network(CONFIG, seed=5)
    assert torch.equal(torch.rand(3), expected)


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


@pytest.mark.parametrize("tau_b", [None, 4.0])
def test_two_segments_with_carried_state_equal_one(tau_b: float | None) -> None:
    network = build_network(ElmConfig(**{**vars(CONFIG), "tau_b": tau_b}), seed=0, dtype=torch.float64)
    whole = network(ids(time=9), keep_activity=True)
    first = network(ids(time=9)[:, :4])
    second = network(ids(time=9)[:, 4:], detach_state(first.state))
    assert torch.allclose(torch.cat([first.logits, second.logits], 1), whole.logits, atol=1e-13)
    for found, expected in zip(second.state, whole.state, strict=True):
        assert torch.allclose(found, expected, atol=1e-13)
    assert torch.equal(whole.state.activity_BN, whole.activity[:, -1])


def test_states_can_be_reset_by_row() -> None:
    network = build_network(CONFIG, seed=0)
    state = network(ids(batch=3)).state
    reset = zero_rows(state, torch.tensor([False, True, False]))
    for before, after in zip(state, reset, strict=True):
        assert torch.equal(after[[0, 2]], before[[0, 2]])
        assert not after[1].any()
    assert all(tensor.grad_fn is None for tensor in detach_state(state))


def test_ids_equal_scaled_one_hot_values() -> None:
    network = build_network(CONFIG, seed=0)
    x = ids()
    values = torch.nn.functional.one_hot(x, 6) * CONFIG.embedding_scale
    assert torch.equal(network(x).logits, network(values).logits)
    assert torch.equal(network(x.to(torch.uint8)).logits, network(x).logits)


def test_dropout_keeps_one_mask_per_sequence_and_is_off_when_evaluating() -> None:
    config = ElmConfig(**{**vars(CONFIG), "dropout_in": 0.5, "dropout_rec": 0.25})
    network = build_network(config, seed=0)
    x = torch.rand(2, 7, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    masks = network.draw_masks(2)
    assert masks is not None
    assert set(masks.input_BI.unique().tolist()) == {0.0, 2.0}
    assert masks.recurrent_BN.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert masks.readout_BN.shape == (2, 8)
    torch.manual_seed(3)
    assert torch.equal(network(x).logits, network(x, masks=masks).logits)
    no_recurrence = masks._replace(recurrent_BN=torch.ones(2, 8), readout_BN=torch.ones(2, 8))
    assert torch.allclose(network(x, masks=no_recurrence).logits,
                          network.eval()(x * masks.input_BI.unsqueeze(1)).logits)  # fmt: skip
    assert torch.equal(network(x).logits, network(x, masks=DropoutMasks(*map(torch.ones_like, masks))).logits)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.tensor([[0, 6]]), "ids from 0 to 6 .* from 0 to 5"),
        (torch.tensor([[-1, 2]]), "ids from -1 to 2"),
        (torch.zeros(2, 5), "float32 of shape"),
        (torch.zeros(2, 5, 7), "values \\[batch, time, 6\\]"),
        (torch.zeros(2, 5, 6, dtype=torch.bool), "torch.bool"),
        (torch.full((1, 1, 6), math.nan), "not finite"),
        (torch.full((1, 1, 6), math.inf), "not finite"),
    ],
)
def test_unreadable_input_is_named(x: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_network(CONFIG, seed=0)(x)


@pytest.mark.parametrize(("seed", "dtype"), [(-1, torch.float32), (True, torch.float32), (0, torch.bfloat16)])
def test_seed_and_dtype_are_checked(seed: int, dtype: torch.dtype) -> None:
    with pytest.raises(ConfigError, match=r"^(seed|dtype): "):
        build_network(CONFIG, seed=seed, dtype=dtype)
