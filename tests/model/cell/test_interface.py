"""What every network takes, and what it refuses."""

import math

import pytest
import torch
from torch import Tensor

from model.cell.interface import InputError
from model.config import ElmConfig
from model.network import build_network

CONFIG = ElmConfig(n_in=6, n_out=4, n_rec=8, d_m=3, d_tree=3, d_branch=2)


def ids(batch: int = 2, time: int = 5, n_in: int = 6) -> Tensor:
    return torch.randint(0, n_in, (batch, time), generator=torch.Generator().manual_seed(3))


def test_ids_equal_scaled_one_hot_values() -> None:
    network = build_network(CONFIG, seed=0)
    x = ids()
    values = torch.nn.functional.one_hot(x, 6) * CONFIG.embedding_scale
    assert torch.equal(network(x).logits, network(values).logits)
    assert torch.equal(network(x.to(torch.uint8)).logits, network(x).logits)


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
