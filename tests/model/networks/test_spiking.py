"""Spiking baseline."""

import torch

from model.architectures.spiking import SnnConfig
from model.network import build_network


def test_spiking_neurons_follow_the_leaky_equation() -> None:
    config = SnnConfig(n_in=2, n_out=1, n_rec=3, tau_m_min=2.0, tau_m_max=8.0)
    network = build_network(config, seed=1, dtype=torch.float64)
    x = 3 * torch.randn(1, 30, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    spikes = network(x, keep_activity=True).activity[0]
    beta = torch.exp(-1 / torch.tensor([2.0, 4.0, 8.0], dtype=torch.float64))
    membrane, before, expected = torch.zeros(3), torch.zeros(3), []
    for current in network.input(x)[0]:
        drive = current + network.recurrent_weight @ before.double()
        membrane = beta * membrane + drive - (membrane > 1).double()
        before = (membrane > 1).double()
        expected.append(before)
    assert torch.equal(spikes, torch.stack(expected))
    assert 0 < spikes.sum() < 90


def test_recurrent_dropout_silences_neurons_for_the_others_and_not_for_themselves() -> None:
    config = SnnConfig(n_in=2, n_out=1, n_rec=6, dropout_rec=0.5)
    network = build_network(config, seed=1, dtype=torch.float64)
    x = 3 * torch.randn(4, 30, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    masks = network.draw_masks(4)
    assert set(masks.recurrent_BN.unique().tolist()) == {0.0, 2.0}
    for row in range(4):
        alone = build_network(SnnConfig(n_in=2, n_out=1, n_rec=6), seed=1, dtype=torch.float64)
        with torch.no_grad():  # a mask of one sequence is a factor of the weights that read the neurons
            alone.recurrent_weight.mul_(masks.recurrent_BN[row])
        expected = alone(x[row : row + 1], keep_activity=True).activity
        assert torch.equal(network(x, masks=masks, keep_activity=True).activity[row : row + 1], expected)
        assert expected.sum() > 0
