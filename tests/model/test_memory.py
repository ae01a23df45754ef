"""Activations kept for the backward pass: measured by torch's hooks, compared with formula and reference."""

import mmap
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model.architectures.elm_neuron import ElmNeuronConfig
from model.backends import scratch
from model.config import ElmConfig
from model.memory import saved_bytes
from model.network import build_network
from model.networks.elm_network import ElmNetwork

TEXT = ElmConfig(n_in=27, n_out=27, n_rec=64, d_m=5, d_tree=8, d_branch=8)
SPEECH = ElmConfig(n_in=700, n_out=19, n_rec=48, d_m=5, d_tree=30, d_branch=10, rho_rec=0.25)
ENWIK8 = ElmConfig(n_in=204, n_out=204, n_rec=128, d_m=15, d_tree=50, d_branch=15)
TRACED = ElmConfig(n_in=20, n_out=9, n_rec=50, d_m=4, d_tree=12, d_branch=4, tau_b=3.0, l_mlp=2)


class Stacks(TorchDispatchMode):
    """Counts calls of torch.stack."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten.stack.default
        return func(*args, **(kwargs or {}))


def measured_bytes(network: ElmNetwork, steps: int, batch: int = 16) -> int:
    """Bytes of distinct storages kept by the graph, without parameters, wiring and ids."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    x = torch.randint(0, network.config.n_in, (batch, steps), generator=torch.Generator().manual_seed(0))
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(x)
        loss = output.logits.square().mean() + output.mlp_out_magnitude + output.population_activity
    assert loss.requires_grad
    own.add(x.untyped_storage().data_ptr())
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


@pytest.mark.parametrize("backend", ["torch", "native", "triton"])
@pytest.mark.parametrize("config", [TEXT, SPEECH, ENWIK8, TRACED], ids=["text", "speech", "enwik8", "traced"])
def test_the_formula_is_within_a_twentieth(config: ElmConfig, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # what is kept does not depend on what a kernel writes there, and Triton's interpreter would take minutes
    for name in ("recurrence.kernels", "readout._kernels"):
        monkeypatch.setattr(f"model.backends.triton.{name}", MagicMock)
    network = build_network(config, seed=0, backend=backend)
    found = measured_bytes(network, steps=60)
    assert saved_bytes(config, backend=backend, batch=16, steps=60) == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize(
    ("config", "backend", "most"),
    [(SPEECH, "torch", 0.15), (SPEECH, "native", 0.14), (ENWIK8, "torch", 0.15), (ENWIK8, "native", 0.15)],
)
def test_the_fast_paths_keep_a_fraction_of_what_the_reference_keeps(
    config: ElmConfig, backend: str, most: float
) -> None:
    fast, reference = (build_network(config, seed=0, backend=name) for name in (backend, "reference"))
    assert measured_bytes(fast, steps=20, batch=8) <= most * measured_bytes(reference, steps=20, batch=8)


def test_segments_bound_what_long_sequences_keep() -> None:
    whole = saved_bytes(SPEECH, backend="native", batch=8, steps=1000)
    assert saved_bytes(SPEECH, backend="native", batch=8, steps=1000, segment=50) < 0.1 * whole
    with pytest.raises(ValueError, match="^backend: 'x' is not valid"):
        saved_bytes(SPEECH, backend="x", batch=8, steps=1000)


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_evaluation_allocates_no_trace(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights want gradients while a network is evaluated; under no_grad, room for their traces must not be made."""
    network = build_network(TEXT, seed=0, backend=backend)
    x = torch.randint(0, TEXT.n_in, (16, 60), generator=torch.Generator().manual_seed(0))
    taken: list[int] = []
    take = scratch._Pool.take

    def counted_take(pool: scratch._Pool, size: int) -> mmap.mmap:
        taken.append(size)
        return take(pool, size)

    monkeypatch.setattr(scratch._Pool, "take", counted_take)
    network(x)
    training = sum(taken)
    taken.clear()
    with torch.no_grad():
        network(x)
    # the torch path's loop reads its steps from one table of inputs, activities and memories, which remains
    assert sum(taken) < (0.6 if backend == "torch" else 0.1) * training


def test_evaluation_of_a_single_neuron_keeps_nothing_of_a_step() -> None:
    config = ElmNeuronConfig(n_in=6, n_out=2, d_m=4, l_mlp=2)
    network = build_network(config, seed=0)
    x = torch.rand(3, 10, 6, generator=torch.Generator().manual_seed(0))

    def stacks() -> int:
        with Stacks() as counted:
            network(x)
        return counted.count

    assert stacks() == 5  # memories; of every step also what is kept, the bounded update and both hidden layers
    with torch.no_grad():
        assert stacks() == 1
