"""The optimiser takes torch's steps, to the bit, and loads nothing that a training does not need."""

import copy
import subprocess
import sys

import pytest
import torch

from sweeper.training.optimizer import ADAM, ADAMAX, Optimizer

OF_TORCH = {ADAM: lambda groups, lr: torch.optim.Adam(groups, lr=lr, fused=True), ADAMAX: torch.optim.Adamax}


def parameters() -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in ((3, 2), (5,))]


def steps(optimizer, values, *, count: int, seed: int) -> None:
    """Steps with drawn gradients and a rate that changes; the last parameter has a gradient now and then."""
    torch.manual_seed(seed)
    for step in range(count):
        for value in values:
            value.grad = torch.randn_like(value)
        values[-1].grad = values[-1].grad if step % 2 else None
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        optimizer.step()


@pytest.mark.parametrize("kind", OF_TORCH)
@pytest.mark.parametrize("grouped", [False, True])
def test_steps_are_those_of_torch(kind, grouped):
    ours, theirs = parameters(), parameters()
    optimizer, reference = (
        make([{"params": [value]} for value in values] if grouped else values, 0.1)
        for make, values in ((lambda groups, lr: Optimizer(groups, kind=kind, lr=lr), ours), (OF_TORCH[kind], theirs))
    )
    for chosen, values in ((optimizer, ours), (reference, theirs)):
        steps(chosen, values, count=7, seed=1)
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("kind", OF_TORCH)
def test_what_either_of_them_saved_the_other_goes_on_from(kind):
    """Checkpoints of earlier versions were written by torch's classes."""
    first, whole = parameters(), parameters()
    uninterrupted = OF_TORCH[kind](whole, lr=0.1)
    steps(uninterrupted, whole, count=3, seed=1)
    old = OF_TORCH[kind](first, lr=0.1)
    steps(old, first, count=3, seed=1)
    second = [torch.nn.Parameter(value.detach().clone()) for value in first]
    new = Optimizer(second, kind=kind, lr=0.7)
    new.load_state_dict(copy.deepcopy(old.state_dict()))
    assert new.param_groups[0]["lr"] == old.param_groups[0]["lr"]
    for optimizer, values in ((new, second), (uninterrupted, whole)):
        steps(optimizer, values, count=3, seed=2)
    assert all(map(torch.equal, second, whole))
    third = Optimizer(second, kind=kind, lr=0.7)
    third.load_state_dict(copy.deepcopy(new.state_dict()))
    assert third.state_dict()["state"].keys() == old.state_dict()["state"].keys()
    for number, state in new.state_dict()["state"].items():
        assert all(torch.equal(value, third.state_dict()["state"][number][name]) for name, value in state.items())


def test_a_training_does_without_the_compiler_of_torch(tmp_path):
    """It would take as long to load as torch itself, in every lane."""
    trains = """
import sys
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.training.training import train_trial

grid = parse_grid('''
name: tiny
task: {name: listops, train_examples: 8, valid_examples: 2, test_examples: 2}
training: {steps: 1, batch_size: 2, length: 100}
seeds: 2
blocks:
  - {model: {n_rec: 4, d_m: 1, d_tree: 2, d_branch: 2}}
  - {architecture: lstm, model: {n_rec: 4, dropout_rec: 0.1}}
''')
for row in expand(grid).trials.values():
    train_trial(row.spec)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", trains], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
