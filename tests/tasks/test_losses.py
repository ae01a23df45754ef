import dataclasses
import math

import pytest
import torch
from torch.nn import functional

from tasks.batch import Batch
from tasks.losses import MetricAccumulator, training_loss
from tasks.spec import task_spec

TEXT = dataclasses.replace(task_spec("text", {"alphabet": "letters"}), n_in=5, n_out=5)
LAST = dataclasses.replace(TEXT, loss_on="last_step", metric="accuracy", direction="max")


def make(weight: torch.Tensor | None, *, last: bool = False) -> tuple[torch.Tensor, Batch]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randint(5, (3,) if last else (3, 4), generator=generator)
    return logits, Batch(y, y, weight, True, 24.0)


def test_the_loss_is_the_mean_over_all_targets() -> None:
    logits, batch = make(None)
    expected = functional.cross_entropy(logits.reshape(-1, 5), batch.y.reshape(-1), label_smoothing=0.1)
    assert training_loss(TEXT, logits, batch, label_smoothing=0.1).item() == pytest.approx(expected.item(), rel=1e-12)


def test_padding_counts_for_nothing() -> None:
    weight = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.float32)
    logits, batch = make(weight)
    kept = weight.bool()
    expected = functional.cross_entropy(logits[kept], batch.y[kept])
    loss = training_loss(TEXT, logits, batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[~kept] == 0).all()
    assert (gradient[kept] != 0).all()


def test_the_last_step_decides_where_the_spec_says_so() -> None:
    logits, batch = make(None, last=True)
    expected = functional.cross_entropy(logits[:, -1], batch.y)
    assert training_loss(LAST, logits, batch).item() == pytest.approx(expected.item(), rel=1e-12)
    accumulator = MetricAccumulator(LAST)
    accumulator.update(logits, batch)
    correct = (logits[:, -1].argmax(-1) == batch.y).double().mean().item()
    assert accumulator.result() == pytest.approx({"loss": expected.item(), "accuracy": correct})


def test_metrics_weight_targets_not_batches() -> None:
    full, short = make(None), make(torch.tensor([[1.0, 0, 0, 0]] * 3))
    accumulator = MetricAccumulator(TEXT)
    for logits, batch in (full, short):
        accumulator.update(logits, batch)
    total = 12 * training_loss(TEXT, *full).item() + 3 * training_loss(TEXT, *short).item()
    result = accumulator.result()
    assert result["loss"] == pytest.approx(total / 15)
    assert result["bpc"] == pytest.approx(total / 15 / math.log(2))
    assert result["bits_per_original_byte"] == pytest.approx(total / math.log(2) / 48)


def test_a_uniform_guess_scores_chance() -> None:
    _, batch = make(None)
    accumulator = MetricAccumulator(TEXT)
    accumulator.update(torch.zeros(3, 4, 5), batch)
    assert accumulator.result()["bpc"] == pytest.approx(math.log2(5))


def test_an_empty_evaluation_is_an_error() -> None:
    with pytest.raises(ValueError, match="no targets to evaluate"):
        MetricAccumulator(TEXT).result()
