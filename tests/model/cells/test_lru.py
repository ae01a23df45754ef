"""LRU: the scan is the recurrence, its start is the paper's ring, and its gradients are those of differences."""

import math

import pytest
import torch

from model.cells.lru import Lru, scan


def drawn(*sizes, seed=0):
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def factors(count):
    """Complex factors of magnitudes up to 0.99."""
    return torch.polar(torch.linspace(0.1, 0.99, count).double(), torch.linspace(0.0, 3.0, count).double())


def reference(decay, drive, before):
    steps = []
    for step in drive.unbind(1):
        before = decay * before + step
        steps.append(before)
    return torch.stack(steps, 1)


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 300])
def test_the_scan_is_the_recurrence(steps):
    decay, drive, before = factors(4), drawn(2, steps, 4), drawn(2, 4, seed=1)
    torch.testing.assert_close(scan(decay, drive, before), reference(decay, drive, before), rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_differences():
    tensors = (factors(3), drawn(2, 5, 3), drawn(2, 3, seed=1))
    assert torch.autograd.gradcheck(scan, tuple(tensor.requires_grad_() for tensor in tensors))


def test_the_network_is_the_equations_step_by_step():
    network = Lru(4, 3, 6).double()
    x = torch.randn(2, 7, 4, dtype=torch.float64)
    b, c = (torch.view_as_complex(weight.detach()) for weight in (network.b, network.c))
    gamma, state, logits = network.log_gamma.exp(), torch.zeros(2, 6, dtype=torch.complex128), []
    for step in x.unbind(1):
        state = network.eigenvalues() * state + gamma * (step.to(b.dtype) @ b.T)
        y = (state @ c.T).real + step @ network.d.T
        logits.append(network.output(torch.nn.functional.gelu(y)))
    output = network(x, tuple(tensor.double() for tensor in network.zero_state(2)))
    torch.testing.assert_close(output.logits, torch.stack(logits, 1))
    torch.testing.assert_close(torch.view_as_complex(output.state[0]), state)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = network(x[:, :3], (torch.zeros(2, 6, 2, dtype=torch.float64),))
    torch.testing.assert_close(network(x[:, 3:], first.state).logits, output.logits[:, 3:])


def test_it_starts_on_the_ring_with_inputs_scaled_to_the_state():
    torch.manual_seed(0)
    network = Lru(3, 2, 4000, r_min=0.6, r_max=0.9, max_phase=math.pi / 4)
    decay = network.eigenvalues().detach()
    squares, angles = decay.abs() ** 2, decay.angle()
    assert 0.36 <= float(squares.min()) < 0.365
    assert 0.805 < float(squares.max()) <= 0.81
    # uniform on the ring: the squares of the magnitudes and the angles are uniform
    assert float(squares.mean()) == pytest.approx((0.36 + 0.81) / 2, abs=0.01)
    assert float(angles.max()) <= math.pi / 4
    assert float(angles.mean()) == pytest.approx(math.pi / 8, abs=0.02)
    torch.testing.assert_close(network.log_gamma.exp().detach(), torch.sqrt(1 - squares))


def test_it_is_stable_whatever_is_learnt():
    network = Lru(3, 2, 5)
    with torch.no_grad():
        network.log_nu.uniform_(-20, 3)
    assert float(network.eigenvalues().detach().abs().max()) <= 1.0


def test_the_counts_are_those_of_its_formulas():
    network = Lru(4, 3, 5)
    recurrent = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("output"))
    assert 5 * (network.k_e() + network.k_c()) == recurrent


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"r_min": 0.9, "r_max": 0.5}, "r_min, r_max: 0.9, 0.5"), ({"max_phase": 7.0}, "max_phase: 7.0 is not valid")],
)
def test_a_ring_that_is_none_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Lru(4, 3, 5, **settings)


def test_dropout_keeps_one_mask_per_sequence_and_is_off_when_evaluating():
    network = Lru(4, 3, 5, dropout_in=0.5).double()
    x = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zero = tuple(tensor.double() for tensor in network.zero_state(3))
    seen = []
    for layer in [network.output]:
        layer.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    network(x, zero)
    for read in seen:
        dropped = (read == 0).all(1)
        assert torch.equal(dropped, (read == 0).any(1)), "a channel is dropped for the whole sequence or not at all"
        assert 0 < dropped.sum() < dropped.numel()
    torch.manual_seed(1)
    thinned = network(x, zero).state
    torch.manual_seed(1)
    masked = x * torch.nn.functional.dropout1d(torch.ones(3, 4, 1, dtype=torch.float64), 0.5).transpose(1, 2)
    torch.testing.assert_close(thinned, network.eval()(masked, zero).state)
    plain = Lru(4, 3, 5)
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(x, zero).logits, plain.double()(x, zero).logits)


def test_a_dropout_that_drops_all_is_refused():
    with pytest.raises(ValueError, match="dropout_in: 1.0 is not valid"):
        Lru(4, 3, 5, dropout_in=1.0)
