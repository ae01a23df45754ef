from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.budget import counts
from model.cell.interface import DropoutMasks
from model.cell.state import detach_state
from model.config import ElmConfig
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


@pytest.mark.parametrize("backend", ["reference", "torch", "auto"])
def test_the_unit_of_time_is_free_also_where_timescales_are_learnt(backend: str) -> None:
    """Everything decays with dt / tau, so that both may be given in any unit."""
    steps = {"tau_m_min": 2.0, "tau_m_max": 50.0, "tau_r": 3.0, "tau_b": 4.0}
    found = []
    for unit in (1.0, 4.0):
        scaled = {name: unit * value for name, value in steps.items()}
        config = ElmConfig(**{**vars(CONFIG), **scaled, "dt": unit, "learn_tau_m": True})
        network = build_network(config, seed=0, dtype=torch.float64, backend=backend)
        output = network(ids(time=9))
        output.logits.square().mean().backward()
        found.append([output.logits.detach(), *(p.grad for p in network.parameters()), network.hidden.timescales()])
    *same, tau_m = zip(*found, strict=True)
    for one, other in same:
        assert torch.allclose(one, other, rtol=1e-11, atol=1e-15)
    assert torch.allclose(4.0 * tau_m[0], tau_m[1], rtol=1e-12)
    assert float(network.hidden.tau_logit.grad.abs().max()) > 1e-9


def test_settings_that_came_later_leave_the_stored_form_as_it_was() -> None:
    assert CONFIG.plain().keys().isdisjoint({"dt", "rewire", "modules"})
    changed = ElmConfig(**{**vars(CONFIG), "dt": 2})
    assert changed.plain() == {**CONFIG.plain(), "dt": 2.0}


def test_wiring_changes_what_is_read_and_nothing_else() -> None:
    def built(**wiring: float) -> dict[str, torch.Tensor]:
        config = ElmConfig(**{**vars(CONFIG), **wiring})
        return dict(build_network(config, seed=0, dtype=torch.float64).state_dict())

    uniform, ring, parts = built(), built(rewire=0.1), built(rewire=0.1, modules=2)
    for other in (ring, parts):
        changed = {name for name in uniform if not torch.equal(uniform[name], other[name])}
        assert changed == {"hidden.connectome"}
    counted = [counts(ElmConfig(**{**vars(CONFIG), "rewire": rewire})) for rewire in (1.0, 0.0)]
    assert counted[0] == counted[1]


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
