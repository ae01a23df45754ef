"""Networks that run through the compiled kernel."""

from pathlib import Path

import pytest
import torch

from model.config import ElmConfig
from model.network import build_network

CONFIG = ElmConfig(n_in=5, n_out=3, n_rec=6, d_m=3, d_tree=3, d_branch=2)


@pytest.mark.usefixtures("native_kernel")
def test_networks_can_be_copied_moved_and_saved(tmp_path: Path) -> None:
    network = build_network(CONFIG, seed=1)
    x = torch.randint(0, 5, (2, 4))
    torch.save(network, tmp_path / "network.pt")
    loaded = torch.load(tmp_path / "network.pt", weights_only=False)
    assert loaded.backend_name == network.backend_name
    assert torch.equal(loaded(x).logits, network(x).logits)
    double = network.double()
    assert double.backend_name == "native"
    assert double(x).logits.dtype == torch.float64


@pytest.mark.usefixtures("native_kernel")
def test_threads_change_nothing_but_rounding() -> None:
    network = build_network(ElmConfig(**{**vars(CONFIG), "n_rec": 23}), seed=1, dtype=torch.float64, backend="native")
    x = torch.randint(0, 5, (5, 30), generator=torch.Generator().manual_seed(0))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            network.zero_grad()
            output = network(x)
            output.logits.square().sum().backward()
            found.append([output.logits.detach(), *(parameter.grad.clone() for parameter in network.parameters())])
    finally:
        torch.set_num_threads(threads)
    for one, three in zip(*found, strict=True):
        assert torch.allclose(one, three, atol=1e-13, rtol=1e-12)
