"""States carried between segments."""

import torch
from torch import Tensor

from model.cell.state import detach_state, zero_rows
from model.config import ElmConfig
from model.network import build_network

CONFIG = ElmConfig(n_in=6, n_out=4, n_rec=8, d_m=3, d_tree=3, d_branch=2)


def ids(batch: int = 2, time: int = 5, n_in: int = 6) -> Tensor:
    return torch.randint(0, n_in, (batch, time), generator=torch.Generator().manual_seed(3))


def test_states_can_be_reset_by_row() -> None:
    network = build_network(CONFIG, seed=0)
    state = network(ids(batch=3)).state
    reset = zero_rows(state, torch.tensor([False, True, False]))
    for before, after in zip(state, reset, strict=True):
        assert torch.equal(after[[0, 2]], before[[0, 2]])
        assert not after[1].any()
    assert all(tensor.grad_fn is None for tensor in detach_state(state))
