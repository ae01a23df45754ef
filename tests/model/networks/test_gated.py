"""Gated baselines."""

from dataclasses import replace

import pytest
import torch

from model.architectures.gated import ChronoLstmConfig, GruConfig, LstmConfig
from model.cell.interface import DropoutMasks
from model.network import build_network


def test_chrono_gates_start_at_timescales_of_the_range() -> None:
    config = ChronoLstmConfig(n_in=2, n_out=1, n_rec=400, tau_m_min=5.0, tau_m_max=50.0)
    lstm = build_network(config, seed=1).recurrent
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach()
    input_gate, forget_gate = bias[:400], bias[400:800]
    tau = 1 / (1 - torch.sigmoid(forget_gate))
    assert torch.allclose(input_gate, -forget_gate)
    assert 5.0 <= tau.min() < 6.0
    assert 49.0 < tau.max() <= 50.001
    assert tau.mean().item() == pytest.approx(27.5, abs=2.5)


def reference(layer, kind, x_BTI, mask_BN):
    """torch's equations written out for each unit's gates, with one mask on what the recurrent weights read."""
    n = layer.hidden_size

    def gate(place, x_BI, hidden_BN):
        rows = slice(place * n, (place + 1) * n)
        over_x = x_BI @ layer.weight_ih_l0[rows].T + layer.bias_ih_l0[rows]
        return over_x, (hidden_BN * mask_BN) @ layer.weight_hh_l0[rows].T + layer.bias_hh_l0[rows]

    hidden, cell, steps = torch.zeros(len(x_BTI), n).double(), torch.zeros(len(x_BTI), n).double(), []
    for x_BI in x_BTI.unbind(1):
        sums = [gate(place, x_BI, hidden) for place in range(3 if kind is GruConfig else 4)]
        if kind is GruConfig:
            reset, update = (torch.sigmoid(a + b) for a, b in sums[:2])
            new = torch.tanh(sums[2][0] + reset * sums[2][1])
            hidden = (1 - update) * new + update * hidden
        else:
            take, keep, candidate, show = (a + b for a, b in sums)
            cell = torch.sigmoid(keep) * cell + torch.sigmoid(take) * torch.tanh(candidate)
            hidden = torch.sigmoid(show) * torch.tanh(cell)
        steps.append(hidden)
    return torch.stack(steps, 1), hidden


@pytest.mark.parametrize("kind", [LstmConfig, ChronoLstmConfig, GruConfig])
def test_recurrent_dropout_is_one_mask_on_what_the_recurrent_weights_read(kind) -> None:
    network = build_network(kind(n_in=4, n_out=2, n_rec=6, dropout_rec=0.5), seed=1, dtype=torch.float64)
    x = torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.manual_seed(3)
    masks = network.draw_masks(3)
    assert set(masks.recurrent_BN.unique().tolist()) == {0.0, 2.0}, "survivors are scaled by 1 / (1 - p)"
    assert (masks.input_BI == 1).all()
    assert (masks.readout_BN == 1).all()
    torch.manual_seed(3)
    output = network(x)
    hidden, last = reference(network.recurrent, kind, x, masks.recurrent_BN)
    expected = network.output(hidden)
    torch.testing.assert_close(output.logits, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(output.state[0], last, rtol=1e-12, atol=1e-12)
    weights = list(network.parameters())
    ours, theirs = (torch.autograd.grad(logits.square().sum(), weights) for logits in (output.logits, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [LstmConfig, GruConfig])
def test_the_network_is_evaluated_without_masks_and_a_mask_of_ones_changes_nothing(kind) -> None:
    config = kind(n_in=4, n_out=2, n_rec=6, dropout_rec=0.5)
    network, plain = (build_network(c, seed=1, dtype=torch.float64) for c in (config, replace(config, dropout_rec=0.0)))
    x = torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = plain.eval()(x)
    assert torch.equal(network.eval()(x).logits, expected.logits)
    ones = DropoutMasks(*(torch.ones(3, size, dtype=torch.float64) for size in (4, 6, 6)))
    torch.testing.assert_close(network(x, masks=ones).logits, expected.logits, rtol=1e-12, atol=1e-12)
    first = network(x[:, :5], masks=ones)
    second = network(x[:, 5:], first.state, masks=ones)
    torch.testing.assert_close(second.logits, expected.logits[:, 5:], rtol=1e-12, atol=1e-12)


def test_without_recurrent_dropout_the_draws_are_those_of_the_input_and_of_the_read_out_alone() -> None:
    network = build_network(LstmConfig(n_in=4, n_out=2, n_rec=6, dropout_in=0.3), seed=1)
    torch.manual_seed(5)
    masks = network.draw_masks(3)
    torch.manual_seed(5)
    assert torch.equal(masks.input_BI, torch.nn.functional.dropout(torch.ones(3, 4), 0.3))
    assert torch.equal(masks.readout_BN, torch.nn.functional.dropout(torch.ones(3, 6), 0.3))
