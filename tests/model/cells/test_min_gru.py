"""minGRU: all steps at once are the recurrence, step by step, and its gradients are those of differences."""

import pytest
import torch

from model.cells.min_gru import MinGru, scan


def reference(gates_BTK, before_BN):
    """The recurrence as the paper defines it (algorithm 5), one step after the other."""
    hidden, steps = before_BN, []
    for step in gates_BTK.unbind(1):
        gate, candidate = step.chunk(2, dim=-1)
        z = torch.sigmoid(gate)
        g = torch.where(candidate >= 0, candidate + 0.5, torch.sigmoid(candidate))
        hidden = (1 - z) * hidden + z * g
        steps.append(hidden)
    return torch.stack(steps, 1)


def drawn(steps, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    gates = scale * torch.randn(2, steps, 6, generator=generator, dtype=dtype)
    return gates, torch.rand(2, 3, generator=generator, dtype=dtype)


@pytest.mark.parametrize("steps", [1, 2, 7, 300])
@pytest.mark.parametrize("zero", [True, False], ids=["from the zero state", "from another state"])
def test_the_scan_is_the_recurrence(steps, zero):
    gates, before = drawn(steps)
    before = torch.zeros_like(before) if zero else before
    torch.testing.assert_close(scan(gates, before), reference(gates, before), rtol=1e-10, atol=1e-12)


def test_gates_that_are_nearly_shut_or_open_lose_nothing_in_single_precision():
    gates, before = drawn(200, dtype=torch.float32, scale=20.0)
    exact = reference(gates.double(), before.double())
    torch.testing.assert_close(scan(gates, before).double(), exact, rtol=1e-3, atol=1e-5)


def test_gradients_are_those_of_differences():
    gates, before = (tensor.requires_grad_() for tensor in drawn(5))
    assert torch.autograd.gradcheck(scan, (gates, before))


def test_segments_continue_each_other():
    network = MinGru(4, 3, 5, layers=2).double()
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    zero = tuple(tensor.double() for tensor in network.zero_state(2))
    whole, first = network(x, zero), network(x[:, :4], zero)
    second = network(x[:, 4:], first.state)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), whole.logits)
    torch.testing.assert_close(second.state, whole.state)


def test_the_counts_are_those_of_its_formulas():
    network = MinGru(4, 3, 5, layers=3)
    recurrent = sum(p.numel() for p in network.gates.parameters())
    assert 5 * (network.k_e() + network.k_c()) == recurrent == 2 * 5 * (4 + 5 + 5) + 3 * 2 * 5


def test_a_layer_is_the_least():
    with pytest.raises(ValueError, match="layers: 0 is not valid"):
        MinGru(4, 3, 5, layers=0)


def test_dropout_keeps_one_mask_per_sequence_and_is_off_when_evaluating():
    network = MinGru(4, 3, 5, layers=2, dropout_in=0.5).double()
    x = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zero = tuple(tensor.double() for tensor in network.zero_state(3))
    seen = []
    for layer in [*network.gates, network.output]:
        layer.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    network(x, zero)
    for read in seen:
        dropped = (read == 0).all(1)
        assert torch.equal(dropped, (read == 0).any(1)), "a channel is dropped for the whole sequence or not at all"
        assert 0 < dropped.sum() < dropped.numel()
    kept = (seen[0] != 0).all(1)
    torch.testing.assert_close(seen[0], 2 * x * kept.unsqueeze(1))
    plain = MinGru(4, 3, 5, layers=2)
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(x, zero).logits, plain.double()(x, zero).logits)


def test_a_dropout_that_drops_all_is_refused():
    with pytest.raises(ValueError, match="dropout_in: 1.0 is not valid"):
        MinGru(4, 3, 5, dropout_in=1.0)
