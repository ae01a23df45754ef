"""The Triton kernels, run as Python by Triton's interpreter, equal the reference: small shapes, every option."""

from collections import defaultdict
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model.backends.choose import choose_backend
from model.backends.triton import backend as module
from model.backends.triton.backend import TritonBackend, triton_plan
from model.backends.triton.plan import choose_tiling, tiling_of
from model.cell.state import ElmState
from model.config import ConfigError, ElmConfig
from model.golden import golden_network, load_golden, network_differences
from model.gpu_choice import VARIABLE
from model.network import build_network
from model.networks.elm_network import ElmNetwork
from model.networks.stacking import stack_networks

pytestmark = pytest.mark.usefixtures("triton_kernel")
SIZES = {"n_in": 5, "n_out": 3, "n_rec": 5, "d_m": 3, "d_tree": 3, "d_branch": 2}
TRACED = {"tau_b": 2.0, "l_mlp": 2, "learn_tau_m": True, "rho_rec": 1.0, "d_mlp": 5, "lambda_as_ratio": False}
BARE = {"tau_r": None, "l_mlp": 0, "rho_rec": 0.0, "learn_tau_m": True}
DROPPED = {"dropout_in": 0.3, "dropout_rec": 0.3, "l_mlp": 3, "tau_b": 3.0, "tau_r": None, "d_m": 1, "d_tree": 1}
GOLDEN = Path(__file__).parents[3] / "golden"


def built(config: ElmConfig, backend: str, *, persistent: bool | None = None, **options: Any) -> ElmNetwork:
    network = build_network(config, seed=3, backend=backend, **options)
    # drawn in one precision for all, which would else draw different numbers
    bias = torch.rand(config.n_rec, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    network.hidden.bias.data.copy_(2.0 * bias - 1.0)
    if backend == "triton":
        network.backend = TritonBackend(persistent=persistent)
    return network


def outcomes(network: ElmNetwork, x: Tensor, start: ElmState) -> dict[str, Tensor]:
    """Outputs and gradients under a loss that weighs every differentiable output at random."""
    torch.manual_seed(11)
    start = ElmState(*(tensor.detach().clone().requires_grad_() for tensor in start))
    output = network(x, start, masks=network.draw_masks(x.shape[0]), keep_activity=True)
    results = {"logits": output.logits, "mlp_out_magnitude": output.mlp_out_magnitude,
               "population_activity": output.population_activity, **output.state._asdict()}  # fmt: skip
    loss = output.logits.new_zeros(())
    for value in results.values():
        weight = torch.rand(value.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        loss = loss + (weight.to(value.dtype) * value).sum()
    loss.backward()
    results |= {"activity": output.activity, "mlp_out": output.mlp_out}
    results |= {f"grad.{name}": parameter.grad for name, parameter in network.named_parameters()}
    results |= {f"grad.start.{name}": tensor.grad for name, tensor in start._asdict().items() if tensor.numel()}
    return {name: value.detach() for name, value in results.items()}


def assert_equal(config: ElmConfig, x: Tensor, persistent: bool, dtype: torch.dtype, tolerance: float) -> None:
    reference = built(config, "reference", dtype=torch.float64)
    start = reference.eval()(x.double() if x.is_floating_point() else x).state
    expected = outcomes(reference.train(), x, start)
    kernels = built(config, "triton", persistent=persistent, dtype=dtype)
    results = outcomes(kernels, x, ElmState(*(tensor.to(dtype) for tensor in start)))
    assert expected.keys() == results.keys()
    for name, value in expected.items():
        assert results[name].shape == value.shape, name
        if value.numel():
            scale = max(1.0, float(value.abs().max()))
            difference = float((results[name] - value).abs().max())
            assert difference <= tolerance * scale, f"{name}: {difference:.2e}"


def ids(batch: int, steps: int) -> Tensor:
    return torch.randint(0, 5, (batch, steps), generator=torch.Generator().manual_seed(5))


def real(batch: int, steps: int) -> Tensor:
    return torch.randn(batch, steps, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize(
    ("options", "x", "persistent"),
    [
        ({}, ids(3, 3), True),
        ({}, real(9, 2), False),
        (TRACED, real(2, 3), True),
        ({**TRACED, "dt": 2.5}, ids(3, 2), False),
        (BARE, ids(3, 3), True),
        (DROPPED, real(3, 3), True),
        (DROPPED, ids(2, 2), False),
    ],
    ids=["whole", "steps", "traced whole", "traced steps", "bare", "dropped whole", "dropped steps"],
)
def test_every_option_equals_the_reference(options: dict[str, Any], x: Tensor, persistent: bool) -> None:
    assert_equal(ElmConfig(**{**SIZES, **options}), x, persistent, torch.float64, 1e-10)


def test_single_precision_is_single_precision() -> None:
    assert_equal(ElmConfig(**SIZES), ids(3, 3), True, torch.float32, 3e-6)


def test_tiles_that_cut_neurons_and_batch_equal_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    # 3 neurons in tiles of 2 and 3 rows in tiles of 2: whatever lies beyond the edges must count for nothing
    def small(plan: Any, batch: int, *, persistent: bool) -> Any:
        return replace(tiling_of(plan, batch, persistent=persistent), neurons=2, batch=2)

    monkeypatch.setattr(module, "tiling_of", small)
    assert_equal(ElmConfig(**{**SIZES, "n_rec": 3}), ids(3, 2), True, torch.float64, 1e-10)


def test_the_published_formulation_agrees() -> None:
    arrays = load_golden(GOLDEN / "elm_network_lm.npz")
    assert max(network_differences(arrays, golden_network(arrays, "triton")).values()) <= 1e-10


def test_a_stack_equals_its_networks() -> None:
    config = ElmConfig(**{**SIZES, "tau_b": 2.0, "d_mlp": 2})
    singles = [build_network(config, seed=seed, dtype=torch.float64, backend="reference") for seed in (1, 2)]
    stack = stack_networks([build_network(config, seed=s, dtype=torch.float64, backend="triton") for s in (1, 2)])
    x = torch.stack([ids(2, 3), ids(2, 3).flip(0)])
    output = stack(x)
    (output.logits.square().sum() + output.mlp_out_magnitude.sum()).backward()
    for k, network in enumerate(singles):
        single = network(x[k])
        (single.logits.square().sum() + single.mlp_out_magnitude).backward()
        assert torch.allclose(output.logits[k], single.logits, atol=1e-12)
        for (name, stacked), (_, alone) in zip(stack.named_parameters(), network.named_parameters(), strict=True):
            assert torch.allclose(stacked.grad[k], alone.grad, atol=1e-12), name


def test_segments_give_what_the_whole_sequence_gives() -> None:
    network = build_network(ElmConfig(**SIZES), seed=1, dtype=torch.float64, backend="triton")
    results = []
    for segment in (None, 1):
        network.segment = segment
        network.zero_grad()
        output = network(ids(2, 2))
        output.logits.square().sum().backward()
        results.append([output.logits.detach(), *(parameter.grad for parameter in network.parameters())])
    assert all(torch.allclose(whole, parts, atol=1e-12) for whole, parts in zip(*results, strict=True))


class Launches:
    """Takes the kernels' place and notes their launches."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return defaultdict(lambda: lambda *args, **switches: self.names.append(name))


class Operations(TorchDispatchMode):
    """Refuses operations that a CUDA graph cannot hold: those that read values back, or bring them from elsewhere."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten = torch.ops.aten
        assert func.overloadpacket not in (aten._local_scalar_dense, aten.nonzero, aten.lift_fresh, aten.bincount)
        made = func(*args, **(kwargs or {}))
        assert len({t.device for t in (*args, made) if isinstance(t, Tensor) and t.dim() > 0}) <= 1, func
        return made


@pytest.mark.parametrize("persistent", [True, False])
def test_nothing_between_the_kernels_leaves_the_device(monkeypatch: pytest.MonkeyPatch, persistent: bool) -> None:
    """On torch's device without memory no operation can read values, or mix its tensors with the processor's."""
    launches = Launches()
    monkeypatch.setattr("model.backends.triton.recurrence.kernels", lambda: launches)
    monkeypatch.setattr("model.backends.triton.readout._kernels", lambda: launches)
    network = built(ElmConfig(**SIZES, tau_b=2.0, dropout_in=0.2), "triton", persistent=persistent)
    plan, x, masks, state = triton_plan(network), ids(3, 4), network.draw_masks(3), network.zero_state(3)
    device = torch.device("meta")
    moved = {f.name: getattr(plan, f.name) for f in fields(plan)}
    there = replace(plan, **{name: v.to(device) for name, v in moved.items() if isinstance(v, Tensor)})
    network.to(device)
    backend = TritonBackend(persistent=persistent)
    monkeypatch.setattr(backend, "plan", lambda _: there)
    state, masks = (type(parts)(*(tensor.to(device) for tensor in parts)) for parts in (state, masks))
    x = x.to(device)
    with Operations():
        result = backend.run(network, x, state, masks, False)
        outputs = (result.logits, *result.state, result.mlp_out_BN, result.activity)
        grads = torch.autograd.grad([tensor.sum() for tensor in outputs], list(network.parameters()))
    assert {tensor.device for tensor in (*outputs, *grads)} == {device}
    steps = 1 if persistent else 4
    launched = [*["forward_kernel"] * steps, "scan_kernel", "scan_back_kernel", *["backward_kernel"] * steps]
    assert launches.names == [*launched, "synapse_kernel"]


def test_one_program_a_network_where_they_are_many_or_tiny() -> None:
    def tiling(networks: int, **sizes: int) -> Any:
        config = ElmConfig(n_in=27, n_out=27, d_tree=8, d_branch=8, **sizes)
        single = build_network(config, seed=1, backend="reference")
        plan = replace(triton_plan(single), networks=networks, n=networks * config.n_rec)
        return choose_tiling(plan, 16, 132)

    assert tiling(1, n_rec=16, d_m=3).persistent
    assert tiling(264, n_rec=64, d_m=5).persistent
    assert not tiling(1, n_rec=1024, d_m=15).persistent
    # a single small network is cut along its batch, so that more than one multiprocessor works
    assert tiling(1, n_rec=64, d_m=5).batch < 16 or not tiling(1, n_rec=64, d_m=5).persistent


def test_what_cannot_run_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(ElmConfig(**SIZES), seed=1, backend="triton")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_MOST_NUMBERS", 100)
        with pytest.raises(ConfigError, match=r"^backend: 'triton' is not valid for 5 neurons, .* segment"):
            network(ids(2, 2))
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ConfigError, match=r"^backend: 'triton' is not valid here \(it runs on CUDA, .*"):
        network(ids(2, 2))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^backend: 'triton' is not valid here \(the package triton, "):
        build_network(ElmConfig(**SIZES), seed=1, backend="triton")


def test_the_environment_chooses_the_path_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def name(backend: str = "auto") -> str:
        return choose_backend(backend, ElmConfig(**SIZES), torch.float32, torch.device("cuda")).name

    assert (name(), name("triton")) == ("cuda_graph", "triton_graph")
    monkeypatch.setenv(VARIABLE, "triton")
    assert name() == "triton_graph"
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert name() == "cuda_graph"
    assert ["Triton kernels unavailable" in message for message in caplog.messages] == [True]
    monkeypatch.setenv(VARIABLE, "cudnn")
    with pytest.raises(ConfigError, match=r"^ELM_SWEEPER_GPU: 'cudnn' is not valid; give one of torch, triton$"):
        name()
