"""bfloat16 products: only where they are safe, only when asked for, refused where they cannot be had."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model.cell.interface import Output
from model.config import ConfigError, ElmConfig, LstmConfig
from model.network import build_network
from model.networks.elm_network import ElmNetwork

CONFIG = ElmConfig(n_in=9, n_out=7, n_rec=12, d_m=3, d_tree=3, d_branch=4)
X = torch.randint(0, 9, (8, 25), generator=torch.Generator().manual_seed(0))


class Precisions(TorchDispatchMode):
    """Notes the operations that give bfloat16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.dtype == torch.bfloat16:
            self.names.add(func.overloadpacket.__name__)
        return made


def passes(network: ElmNetwork) -> tuple[Output, dict[str, Tensor]]:
    output = network(X)
    loss = output.logits.square().mean() + output.mlp_out_magnitude + output.population_activity
    loss.backward()
    return output, {name: parameter.grad for name, parameter in network.named_parameters()}


def test_the_recurrence_stays_exact_and_the_rest_close() -> None:
    plain, plain_grads = passes(build_network(CONFIG, seed=1, backend="torch"))
    mixed, mixed_grads = passes(build_network(CONFIG, seed=1, backend="torch", autocast=True))
    assert {tensor.dtype for tensor in (*mixed_grads.values(), mixed.logits, *mixed.state)} == {torch.float32}
    for name in ("activity_BN", "memory_BND", "readout_average_BN"):
        assert torch.equal(getattr(mixed.state, name), getattr(plain.state, name))
    assert torch.equal(mixed.mlp_out_magnitude, plain.mlp_out_magnitude)
    for new, old in ((mixed.logits, plain.logits), *((mixed_grads[name], plain_grads[name]) for name in plain_grads)):
        error = float(((new - old).norm() / old.norm()).detach())
        assert 0 < error < 0.01, error


@pytest.mark.parametrize(("autocast", "expected"), [(True, {"_to_copy", "bmm", "transpose"}), (False, set())])
def test_products_alone_are_taken_in_bfloat16(autocast: bool, expected: set[str]) -> None:
    network = build_network(CONFIG, seed=1, backend="torch", autocast=autocast)
    with Precisions() as precisions:
        passes(network)
    assert precisions.names == expected


def test_native_refuses_and_auto_takes_torch_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"^backend: 'native' is not valid here \(it has no bfloat16 products\)"):
        build_network(CONFIG, seed=1, backend="native", autocast=True)
    from model.backends.choose import _announce

    _announce.cache_clear()
    with caplog.at_level(logging.WARNING):
        network = build_network(CONFIG, seed=1, autocast=True)
    assert network.backend_name == "torch"
    assert "it has no bfloat16 products" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "reference"}, r"^autocast: True is not valid with backend 'reference'; give auto or torch$"),
        ({"dtype": torch.float64}, r"^autocast: True is not valid with torch.float64; give torch.float32$"),
    ],
)
def test_where_it_makes_no_sense_it_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_network(CONFIG, seed=1, autocast=True, **options)


def test_other_architectures_refuse_it() -> None:
    with pytest.raises(ConfigError, match=r"^autocast: True is not valid for LstmConfig"):
        build_network(LstmConfig(n_in=3, n_out=3, n_rec=4), seed=1, autocast=True)
