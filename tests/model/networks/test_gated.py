"""Gated baselines."""

import pytest
import torch

from model.architectures.gated import ChronoLstmConfig
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
