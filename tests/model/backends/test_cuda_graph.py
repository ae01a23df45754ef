"""The passes recorded for a GPU, with a recorder of operations on the processor in the place of CUDA graphs."""

import logging
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model.backends.choose import choose_backend
from model.backends.cuda_graph import Action, CudaGraphBackend
from model.backends.torch.backend import TorchBackend, TorchPlan
from model.backends.torch.sparse_map import Gather, SparseMap
from model.cell.flat import FlatParameters
from model.cell.state import ElmState, detach_state
from model.config import ElmConfig
from model.network import build_network
from model.networks.elm_network import ElmNetwork
from model.networks.stacking import stack_networks

SIZES = {"n_in": 5, "n_out": 3, "n_rec": 6, "d_m": 3, "d_tree": 3, "d_branch": 2}
aten = torch.ops.aten
WAITS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.bincount, aten.lift_fresh,
         aten.rand, aten.randint, aten.bernoulli_, aten.native_dropout, aten._unique2, aten.argsort}  # fmt: skip
"""operations that wait for the device, make a tensor on the processor, or draw numbers"""


@pytest.fixture(autouse=True)
def _no_kept_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU memory comes from torch alone."""
    monkeypatch.setattr("model.backends.scratch._LEAST_BYTES", 1 << 60)


class Operations(TorchDispatchMode):
    """Notes every operation, and refuses those that a CUDA graph cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        devices = {t.device for t in (*args, made) if isinstance(t, Tensor) and t.dim() > 0}
        if func.overloadpacket in WAITS or len(devices) > 1:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        self.calls.append((func, args, kwargs or {}, made))
        return made

    @torch.no_grad()
    def replay(self) -> None:
        """Do everything again, in place: the same operations on the same memory, whatever lies there now."""
        for func, args, kwargs, made in self.calls:
            returns = func._schema.returns
            if func._schema.is_mutable:
                func(*args, **kwargs)
            elif "empty" not in func.__name__ and not any(value.alias_info for value in returns):
                new = func(*args, **kwargs)
                pairs = [(made, new)] if isinstance(new, Tensor) else zip(made, new, strict=True)
                for old, value in pairs:
                    old.copy_(value)


class OperationRecorder:
    """A recorder of operations on the processor."""

    def __init__(self, device: torch.device) -> None:
        self.recorded = 0

    def warm_up(self, action: Action) -> tuple[Tensor, ...]:
        return action()

    def record(self, action: Action) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        with Operations() as operations:
            made = action()
        return made, operations.replay


def recorded_network(config: ElmConfig, **options: Any) -> ElmNetwork:
    network = build_network(config, seed=3, dtype=torch.float64, backend="torch", **options)
    network.backend = CudaGraphBackend(TorchBackend(), recorder=OperationRecorder)
    return network


def batches(config: ElmConfig, count: int, *, text: bool, steps: int = 9) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    if text:
        return [torch.randint(0, config.n_in, (4, steps), generator=generator) for _ in range(count)]
    return [torch.randn(4, steps, config.n_in, generator=generator, dtype=torch.float64) for _ in range(count)]


def train(network: ElmNetwork, data: list[Tensor]) -> list[Tensor]:
    """Some steps of training with carried state, each followed by an evaluation; losses, logits and weights."""
    flat = FlatParameters(network)
    optimizer = torch.optim.Adam([flat.values], lr=1e-2)
    state, found = None, []
    for step, x in enumerate(data):
        torch.manual_seed(step)
        output = network.train()(x, state)
        loss = output.logits.square().mean() + output.mlp_out_magnitude + output.population_activity
        loss.backward()
        flat.clip_grad(1.0)
        optimizer.step()
        state = detach_state(output.state)
        with torch.no_grad():
            found += [loss.detach(), *state, network.eval()(x, state).logits]
    return [*found, flat.values.detach().clone()]


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"tau_r": None, "tau_b": 3.0, "l_mlp": 2}, {"dropout_in": 0.3, "dropout_rec": 0.3, "learn_tau_m": True}],
)
def test_training_and_evaluating_by_replay_equals_the_plain_passes(text: bool, options: dict[str, Any]) -> None:
    config = ElmConfig(**SIZES, **options)
    data = batches(config, 6, text=text)
    network = recorded_network(config)
    found = train(network, data)
    expected = train(build_network(config, seed=3, dtype=torch.float64, backend="torch"), data)
    assert network.backend_name == "cuda_graph"
    made = [recording for recording in network.backend._recordings.values() if recording is not None]
    assert [recording.trains for recording in made] == [True, False]
    for new, old in zip(found, expected, strict=True):
        assert torch.allclose(new, old, rtol=1e-11, atol=1e-12)


def test_stacked_networks_are_recorded_too() -> None:
    config = ElmConfig(**SIZES)
    parts = [build_network(config, seed=seed, dtype=torch.float64, backend="torch") for seed in (1, 2)]
    stack, plain = stack_networks(parts), stack_networks(parts)
    stack.backend = CudaGraphBackend(TorchBackend(), recorder=OperationRecorder)
    for x in batches(config, 3, text=True):
        both = torch.stack([x, x.flip(0)])
        assert torch.allclose(stack(both).logits, plain(both).logits, rtol=1e-12)
    assert [recording is not None for recording in stack.backend._recordings.values()] == [True]


def test_gradients_of_the_state_come_back() -> None:
    config = ElmConfig(**SIZES)
    x, network = batches(config, 1, text=True)[0], recorded_network(config)
    grads = []
    for _ in range(3):
        start = ElmState(*(tensor.requires_grad_() for tensor in network.zero_state(4)))
        network(x, start).logits.sum().backward()
        grads.append(start.memory_BND.grad)
    assert grads[0].abs().max() > 0
    assert torch.allclose(grads[2], grads[0], rtol=1e-12)


def test_results_outlive_the_next_pass() -> None:
    config = ElmConfig(**SIZES)
    network = recorded_network(config)
    with torch.no_grad():
        results = [network(x).logits for x in batches(config, 4, text=True)]
        again = [network(x).logits for x in batches(config, 4, text=True)]
    assert not torch.equal(results[2], results[3])
    assert all(torch.allclose(new, old, rtol=1e-12) for new, old in zip(results, again, strict=True))


def test_a_pass_that_was_overwritten_is_not_differentiated() -> None:
    config = ElmConfig(**SIZES)
    network = recorded_network(config)
    outputs = [network(x) for x in batches(config, 4, text=True)]
    outputs[3].logits.sum().backward()
    with pytest.raises(RuntimeError, match="differentiate each pass before the next"):
        outputs[2].logits.sum().backward()


def test_weights_that_move_and_wiring_that_changes_are_recorded_anew() -> None:
    config = ElmConfig(**SIZES)
    network, plain = recorded_network(config), build_network(config, seed=9, dtype=torch.float64, backend="torch")
    x = batches(config, 1, text=True)[0]
    with torch.no_grad():
        for _ in range(3):
            network(x)
        network.load_state_dict(plain.state_dict())
        for _ in range(3):
            assert torch.allclose(network(x).logits, plain(x).logits, rtol=1e-12)
        network.hidden.bias.data = plain.hidden.bias.data = torch.full_like(plain.hidden.bias, 0.5)
        for _ in range(3):
            assert torch.allclose(network(x).logits, plain(x).logits, rtol=1e-12)


def test_recordings_are_few() -> None:
    config = ElmConfig(**SIZES)
    network = recorded_network(config)
    with torch.no_grad():
        for steps in range(1, 10):
            for x in batches(config, 2, text=True, steps=steps):
                network(x)
    assert len(network.backend._recordings) == 6


class Refuses(OperationRecorder):
    """A recorder on which nothing can be recorded."""

    def record(self, action: Action) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        raise RuntimeError("CUDA error: operation not permitted\nand details")


class Forgets(OperationRecorder):
    """A recorder whose recordings do nothing but spoil."""

    def record(self, action: Action) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        made = action()
        return made, lambda: torch._foreach_add_([made[0].detach()], 1.0)


@pytest.mark.parametrize(("recorder", "reason"), [(Refuses, "operation not permitted"), (Forgets, "differs")])
def test_what_cannot_be_recorded_runs_plainly_and_says_so(
    recorder: type[OperationRecorder], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = ElmConfig(**SIZES)
    network, data = recorded_network(config), batches(config, 4, text=True)
    network.backend = CudaGraphBackend(TorchBackend(), recorder=recorder)
    with caplog.at_level(logging.WARNING):
        found = train(network, data)
    assert network.backend_name == "torch"
    assert [reason in message and "\n" not in message for message in caplog.messages] == [True]
    expected = train(build_network(config, seed=3, dtype=torch.float64, backend="torch"), data)
    assert all(torch.equal(new, old) for new, old in zip(found, expected, strict=True))


def test_kept_activity_and_segments_run_plainly() -> None:
    config = ElmConfig(**SIZES)
    network, data = recorded_network(config), batches(config, 3, text=True)
    assert all(network(x, keep_activity=True).activity is not None for x in data)
    network.segment = 4
    for x in data:
        network(x).logits.sum().backward()
    assert not network.backend._recordings


def test_auto_is_recorded_on_cuda_and_torch_is_not() -> None:
    config, cuda = ElmConfig(**SIZES), torch.device("cuda")
    assert choose_backend("auto", config, torch.float32, cuda).name == "cuda_graph"
    assert choose_backend("torch", config, torch.float32, cuda).name == "torch"
    assert choose_backend("auto", config, torch.float32, torch.device("meta")).name == "torch"


@pytest.mark.parametrize("options", [{}, {"tau_r": None, "tau_b": 3.0, "l_mlp": 0, "dropout_rec": 0.3}])
@pytest.mark.parametrize("text", [True, False])
def test_nothing_in_the_passes_leaves_the_device(text: bool, options: dict[str, Any]) -> None:
    """On torch's device without memory no operation can read values, or mix its tensors with the processor's."""
    config = ElmConfig(**SIZES, **options)
    network = build_network(config, seed=3, backend="torch")
    plan = TorchBackend().plan(network)
    x = batches(config, 1, text=text)[0]
    masks, state = network.draw_masks(4), network.zero_state(4)
    device = torch.device("meta")
    network.to(device)
    x = x.to(device) if text else x.to(device, torch.float32)
    backend, there = TorchBackend(), _moved(plan, device)
    backend.plan = lambda _: there
    state, masks = (given and type(given)(*(tensor.to(device) for tensor in given)) for given in (state, masks))
    with Operations() as operations:
        result = backend.run(network, x, state, masks, False)
        outputs = (result.logits, *result.state, result.mlp_out_BN, result.activity)
        grads = torch.autograd.grad([tensor.sum() for tensor in outputs[:1]], list(network.parameters()))
    assert len(operations.calls) > 200
    assert {tensor.device for tensor in (*outputs, *grads)} == {device}


def _moved(plan: TorchPlan, device: torch.device) -> TorchPlan:
    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device)
        if isinstance(value, SparseMap | Gather):
            return type(value)(*map(moved, value))
        return value

    recurrence = {field.name: moved(getattr(plan.recurrence, field.name)) for field in fields(plan.recurrence)}
    return replace(
        plan,
        recurrence=replace(plan.recurrence, **recurrence),
        readout_place=moved(plan.readout_place),
        readout_memory=moved(plan.readout_memory),
    )
