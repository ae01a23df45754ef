"""A tiny real sweep that trains in seconds."""

import pytest

TINY = """
name: tiny
task: {name: text, alphabet: letters}
budgets: [3000, 4000]
model: {d_m: [1, 2, 4], d_tree: 4, d_branch: 4, rho_rec: 0.5}
training: {steps: 30, batch_size: 8, length: 16, warmup_steps: 5, learning_rate: 3e-3, eval_every: 10, eval_batches: 1,
           final_eval_batches: 2, eval_batch_size: 8}
"""


@pytest.fixture
def tiny_grid(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def slow_text():
    """The same sweep with trials that take about a second, so that it can be disturbed half-way."""
    return TINY.replace("steps: 30", "steps: 200").replace("eval_every: 10", "eval_every: 100")


@pytest.fixture
def slow_grid(tmp_path, slow_text):
    path = tmp_path / "slow.yaml"
    path.write_text(slow_text)
    return path


@pytest.fixture(scope="session")
def tiny_text():
    return TINY
