import dataclasses
import math

import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score
from torch.nn import functional

from tasks.base import TaskSpec
from tasks.batch import Batch
from tasks.errors import TaskError
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


SPIKES = task_spec("neuronio", {})


def spikes_and_voltage(weight: torch.Tensor | None) -> tuple[torch.Tensor, Batch]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 50, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    spikes = (torch.rand(4, 50, generator=generator) < 0.2).float()
    y = torch.stack([spikes, torch.randn(4, 50, generator=generator)], dim=-1)
    return logits, Batch(y, y, weight, True)


@pytest.mark.parametrize("weight", [None, (torch.arange(50) >= 20).float().repeat(4, 1)])
def test_spikes_and_voltage_have_equal_parts_in_the_loss(weight: torch.Tensor | None) -> None:
    logits, batch = spikes_and_voltage(weight)
    start = 0 if weight is None else 20
    bce = functional.binary_cross_entropy_with_logits(logits[:, start:, 0], batch.y[:, start:, 0].double())
    mse = functional.mse_loss(logits[:, start:, 1], batch.y[:, start:, 1].double())
    assert training_loss(SPIKES, logits, batch).item() == pytest.approx(((bce + mse) / 2).item())


def test_spike_metrics_equal_scikit_learn_over_all_batches() -> None:
    weight = (torch.arange(50) >= 20).float().repeat(4, 1)
    accumulator, kept_logits, kept_y = MetricAccumulator(SPIKES), [], []
    for part in (weight, None):
        logits, batch = spikes_and_voltage(part)
        accumulator.update(logits, batch)
        start = 0 if part is None else 20
        kept_logits.append(logits[:, start:].reshape(-1, 2).detach())
        kept_y.append(batch.y[:, start:].reshape(-1, 2).double())
    logits, y = torch.cat(kept_logits), torch.cat(kept_y)
    result = accumulator.result()
    assert result["auc"] == pytest.approx(roc_auc_score(y[:, 0], logits[:, 0]))
    error = (logits[:, 1] - y[:, 1]) * 10
    assert result["mae_mv"] == pytest.approx(error.abs().mean().item())
    assert result["rmse_mv"] == pytest.approx(error.square().mean().sqrt().item())
    aligned = (logits[:, 1] - logits[:, 1].mean()) / logits[:, 1].std(correction=0) * y[:, 1].std(correction=0)
    expected = (aligned + y[:, 1].mean() - y[:, 1]).square().mean().sqrt().item() * 10
    assert result["rmse_aligned_mv"] == pytest.approx(expected)
    batch = Batch(y[None], y[None], None, True)
    assert result["loss"] == pytest.approx(training_loss(SPIKES, logits[None], batch).item())


def test_without_output_spikes_the_area_is_missing() -> None:
    logits, batch = spikes_and_voltage(None)
    silent = batch.y.clone()
    silent[..., 0] = 0
    accumulator = MetricAccumulator(SPIKES)
    accumulator.update(logits, batch._replace(y=silent))
    assert math.isnan(accumulator.result()["auc"])


def test_smoothing_needs_classes() -> None:
    with pytest.raises(TaskError, match=r"^neuronio: label_smoothing must be 0, not 0\.1; the task has no classes"):
        training_loss(SPIKES, *spikes_and_voltage(None), label_smoothing=0.1)


def test_an_empty_spike_evaluation_is_an_error() -> None:
    with pytest.raises(TaskError, match="no targets to evaluate"):
        MetricAccumulator(SPIKES).result()


VALUES = dataclasses.replace(TEXT, n_out=3, loss="mse", metric="mse", chance=None)
ANSWERS = dataclasses.replace(TEXT, n_out=3, loss="bce", metric="accuracy", direction="max", chance=0.5)


def values(*, last: bool, seed: int = 5, size: int = 6) -> tuple[torch.Tensor, Batch]:
    """Answers and targets of three outputs; targets lie around 1000, where squares around 0 lose their digits."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(size, *([] if last else [4]), 3, generator=generator)
    weight = (torch.rand(y.shape[:-1], generator=generator) < 0.7).float()
    return logits + 1000, Batch(y, y + 1000, weight, True)


@pytest.mark.parametrize("last", [False, True])
def test_metrics_of_values_equal_scikit_learn_over_all_batches(last: bool) -> None:
    spec = dataclasses.replace(VALUES, loss_on="last_step" if last else "every_step")
    accumulator, guesses, wanted, weights = MetricAccumulator(spec), [], [], []
    for seed, size in ((5, 6), (6, 2)):
        logits, batch = values(last=last, seed=seed, size=size)
        accumulator.update(logits, batch)
        guesses.append((logits[:, -1] if last else logits).reshape(-1, 3).detach())
        wanted.append(batch.y.reshape(-1, 3))
        weights.append(batch.weight.flatten())
    guess, want, weight = torch.cat(guesses), torch.cat(wanted), torch.cat(weights)
    result = accumulator.result()
    squared = ((guess - want) ** 2).mean(-1)
    assert result["mse"] == result["loss"] == pytest.approx(float((squared * weight).sum() / weight.sum()))
    assert result["mae"] == pytest.approx(mean_absolute_error(want, guess, sample_weight=weight))
    assert result["r2"] == pytest.approx(r2_score(want, guess, sample_weight=weight))


@pytest.mark.parametrize("last", [False, True])
def test_the_loss_of_values_is_the_weighted_squared_error(last: bool) -> None:
    spec = dataclasses.replace(VALUES, loss_on="last_step" if last else "every_step")
    logits, batch = values(last=last)
    accumulator = MetricAccumulator(spec)
    accumulator.update(logits, batch)
    assert training_loss(spec, logits, batch).item() == pytest.approx(accumulator.result()["loss"])


def test_r2_of_a_target_that_never_changes_is_missing() -> None:
    logits, batch = values(last=False)
    accumulator = MetricAccumulator(VALUES)
    accumulator.update(logits, batch._replace(y=torch.full_like(batch.y, 7.0)))
    assert math.isnan(accumulator.result()["r2"])


def test_yes_or_no_answers_are_measured_per_output() -> None:
    logits, batch = values(last=False)
    logits, batch = logits - 1000, batch._replace(y=(batch.x > 0).float())
    kept = batch.weight > 0
    expected = functional.binary_cross_entropy_with_logits(logits[kept], batch.y[kept].double())
    accumulator = MetricAccumulator(ANSWERS)
    accumulator.update(logits, batch)
    right = ((logits > 0) == (batch.y > 0.5))[kept].double().mean()
    assert accumulator.result() == pytest.approx({"loss": expected.item(), "accuracy": right.item()})
    assert training_loss(ANSWERS, logits, batch).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("spec", [VALUES, ANSWERS])
def test_a_split_without_values_is_an_error(spec: TaskSpec) -> None:
    with pytest.raises(TaskError, match="no targets to evaluate"):
        MetricAccumulator(spec).result()
    with pytest.raises(TaskError, match=r"label_smoothing must be 0"):
        training_loss(spec, *values(last=False), label_smoothing=0.1)
