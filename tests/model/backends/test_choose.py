"""Every back end equals the reference: outputs, states, regularisers and all gradients, for every option."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.backends.choose import BACKENDS
from model.cell.interface import InputError
from model.cell.state import ElmState
from model.config import ConfigError, ElmConfig
from model.network import build_network
from model.networks.elm_network import ElmNetwork

FAST = [name for name in BACKENDS if name not in ("auto", "reference", "triton")]  # tests/model/backends/triton
SIZES = {"n_in": 5, "n_out": 3, "n_rec": 6, "d_m": 3, "d_tree": 3, "d_branch": 2}
TAU = st.none() | st.floats(0.3, 9.0)
CASES = st.fixed_dictionaries(
    {
        "n_in": st.integers(1, 7),
        "n_out": st.integers(1, 4),
        "n_rec": st.integers(1, 9),
        "d_m": st.integers(1, 5),
        "d_tree": st.integers(1, 4),
        "d_branch": st.integers(1, 4),
        "d_mlp": st.none() | st.integers(1, 7),
        "l_mlp": st.integers(0, 3),
        "rho_rec": st.sampled_from([0.0, 0.5, 1.0]),
        "tau_r": TAU,
        "tau_b": TAU,
        "lambda_as_ratio": st.booleans(),
        "learn_tau_m": st.booleans(),
        "dropout_in": st.sampled_from([0.0, 0.3]),
        "dropout_rec": st.sampled_from([0.0, 0.3]),
    }
)


def outcomes(network: ElmNetwork, x: Tensor, start: ElmState | None) -> dict[str, Tensor]:
    """Outputs and gradients under a loss that weighs every differentiable output at random."""
    torch.manual_seed(11)
    masks = network.draw_masks(x.shape[0]) if network.training else None
    start = None if start is None else ElmState(*(tensor.detach().clone().requires_grad_() for tensor in start))
    output = network(x, start, masks=masks, keep_activity=True)
    found = {"logits": output.logits, "mlp_out_magnitude": output.mlp_out_magnitude,
             "population_activity": output.population_activity, **output.state._asdict()}  # fmt: skip
    loss = torch.zeros((), dtype=torch.float64)
    for value in found.values():
        weight = torch.rand(value.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        loss = loss + (weight * value).sum()
    network.zero_grad()
    loss.backward()
    found |= {"activity": output.activity, "mlp_out": output.mlp_out}
    found |= {f"grad.{name}": parameter.grad for name, parameter in network.named_parameters()}
    if start is not None:
        found |= {f"grad.start.{name}": tensor.grad for name, tensor in start._asdict().items() if tensor.numel()}
    return {name: value.detach() for name, value in found.items()}


def assert_equal_outcomes(config: ElmConfig, backend: str, x: Tensor, *, carried: bool, training: bool = True) -> None:
    reference = build_network(config, seed=3, dtype=torch.float64, backend="reference").train(training)
    fast = build_network(config, seed=3, dtype=torch.float64, backend=backend).train(training)
    for network in (reference, fast):
        network.hidden.bias.data.uniform_(-1, 1, generator=torch.Generator().manual_seed(2))
    start = reference.eval()(x).state if carried else None
    reference.train(training)
    expected, found = outcomes(reference, x, start), outcomes(fast, x, start)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        scale = max(1.0, float(value.abs().max())) if value.numel() else 1.0
        difference = float((found[name] - value).abs().max()) if value.numel() else 0.0
        assert difference <= 1e-10 * scale, f"{name}: {difference:.2e}"


def real(batch: int, time: int, n_in: int) -> Tensor:
    return torch.randn(batch, time, n_in, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def ids(batch: int, time: int, n_in: int) -> Tensor:
    return torch.randint(0, n_in, (batch, time), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("backend", FAST)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(options=CASES, batch=st.integers(1, 9), time=st.integers(1, 9), text=st.booleans(), carried=st.booleans())
def test_any_option_equals_the_reference(
    backend: str, options: dict[str, Any], batch: int, time: int, text: bool, carried: bool
) -> None:
    config = ElmConfig(**options)
    x = ids(batch, time, config.n_in) if text else real(batch, time, config.n_in)
    assert_equal_outcomes(config, backend, x, carried=carried)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("options", [{}, {"tau_b": 3.0, "l_mlp": 2}, {"dropout_rec": 0.5, "tau_r": None}])
def test_long_sequences_equal_the_reference_across_blocks(backend: str, options: dict[str, Any]) -> None:
    assert_equal_outcomes(ElmConfig(**SIZES, **options), backend, ids(17, 75, 5), carried=True)


@pytest.mark.parametrize("backend", [*FAST, "triton"])
def test_evaluation_without_gradients_equals_the_reference(backend: str) -> None:
    config = ElmConfig(**SIZES, dropout_in=0.4, tau_b=2.0)
    networks = [build_network(config, seed=1, dtype=torch.float64, backend=name) for name in ("reference", backend)]
    steps = 3 if backend == "triton" else 30  # its interpreter is slow
    with torch.no_grad():
        expected, found = (network.eval()(ids(4, steps, 5), keep_activity=True) for network in networks)
    assert torch.allclose(found.logits, expected.logits, atol=1e-12)
    assert torch.allclose(found.mlp_out, expected.mlp_out, atol=1e-12)
    assert not found.logits.requires_grad


@pytest.mark.parametrize("backend", [*FAST, "triton"])
def test_wiring_loaded_later_is_used(backend: str) -> None:
    config = ElmConfig(**SIZES)
    source, target = (build_network(config, seed=seed, backend=backend) for seed in (1, 2))
    before = target(ids(2, 2, 5)).logits
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(ids(2, 2, 5)).logits, source(ids(2, 2, 5)).logits)
    assert not torch.equal(target(ids(2, 2, 5)).logits, before)


@pytest.mark.parametrize("backend", FAST)
def test_same_seed_gives_the_same_bits(backend: str) -> None:
    first, second = (
        outcomes(build_network(ElmConfig(**SIZES), seed=1, dtype=torch.float64, backend=backend), ids(8, 40, 5), None)
        for _ in range(2)
    )
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("backend", [*FAST, "triton"])
def test_input_gradients_are_refused_rather_than_missing(backend: str) -> None:
    network = build_network(ElmConfig(**SIZES), seed=1, dtype=torch.float64, backend=backend)
    with pytest.raises(InputError, match="reference"):
        network(real(2, 3, 5).requires_grad_())


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("name", ["hidden.synapse_weight", "hidden.mlp.0.weight", "hidden.mlp.1.bias",
                                  "hidden.readout_weight", "hidden.bias", "readout.synapse_weight"])  # fmt: skip
def test_what_is_no_number_reaches_the_loss(backend: str, name: str) -> None:
    config = ElmConfig(**SIZES)
    network = build_network(config, seed=1, backend=backend)
    network.get_parameter(name).data.view(-1)[0] = float("nan")
    network.readout.connectome[:, 0] = 0  # every read-out neuron reads the neuron with the number that is none
    output = network(ids(2, 2 if backend == "triton" else 9, 5))
    assert not torch.isfinite(output.logits).all()
    assert not torch.isfinite(output.logits.sum() + output.mlp_out_magnitude + output.population_activity)


@pytest.mark.parametrize("backend", [*FAST, "triton"])
def test_fast_back_ends_keep_their_precision_under_autocast(backend: str) -> None:
    network = build_network(ElmConfig(**SIZES), seed=1, backend=backend)
    expected = network(ids(2, 2, 5))
    with torch.autocast("cpu", torch.bfloat16):
        found = network(ids(2, 2, 5))
    assert found.logits.dtype == torch.float32
    assert torch.equal(found.logits, expected.logits)
    found.logits.sum().backward()


def test_unknown_backend_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"^backend: 'cuda' is not valid; give one of auto, reference, torch, native, triton$"
    ):
        build_network(ElmConfig(**SIZES), seed=1, backend="cuda")
