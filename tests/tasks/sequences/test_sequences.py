import dataclasses
import functools

import numpy as np
import pytest
import torch

from tasks.errors import DataError, TaskError
from tasks.losses import MetricAccumulator
from tasks.sequences.sequences import Numbers, SequenceTask, SplitData, shuffled, with_replacement
from tasks.spec import task_spec

SPEC = dataclasses.replace(task_spec("shd", {}), n_in=1, n_out=4, length=3, baseline=None, data_name="made-up")


class Counting:
    def inputs(self, numbers: Numbers) -> torch.Tensor:
        return torch.from_numpy(np.repeat(numbers[:, None, None], 3, axis=1)).float()

    def targets(self, numbers: Numbers) -> Numbers:
        return numbers % 4


def make(**sizes: int) -> SequenceTask:
    counts = {"train": 10, "valid": 4, "test": 7} | sizes
    splits = {split: SplitData(Counting(), np.arange(n) + 100) for split, n in counts.items()}
    return SequenceTask(SPEC, "0" * 64, splits, where="task")  # type: ignore[arg-type]


def test_every_epoch_reads_every_example_once_in_a_new_order() -> None:
    pool = np.arange(10) + 50
    read = np.concatenate([shuffled(pool, step, 1, 4) for step in range(10)])
    epochs = read.reshape(4, 10)
    assert all(sorted(epoch) == pool.tolist() for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert not np.array_equal(read[:10], np.concatenate([shuffled(pool, step, 2, 4) for step in range(3)])[:10])


def test_drawing_with_replacement_is_uniform_and_a_function_of_step_and_seed() -> None:
    drawn = np.concatenate([with_replacement(5, step, 3, 100) for step in range(100)])
    assert np.bincount(drawn) / len(drawn) == pytest.approx([0.2] * 5, abs=0.02)
    assert np.array_equal(with_replacement(5, 8, 3, 100), drawn[800:900])
    assert not np.array_equal(with_replacement(5, 8, 4, 100), drawn[800:900])


def test_training_batches_ignore_what_was_asked_before() -> None:
    task = make()
    later = task.train_batch(7, seed=1, batch_size=3, length=3)
    task.train_batch(0, seed=1, batch_size=3, length=3)
    assert torch.equal(later.x, make().train_batch(7, seed=1, batch_size=3, length=3).x)
    assert later.starts_fresh
    assert torch.equal(later.x[:, 0, 0].long() % 4, later.y)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 8])
def test_evaluation_weights_every_example_once(batch_size: int) -> None:
    accumulator, read = MetricAccumulator(SPEC), []
    for batch in make().eval_batches("test", batch_size=batch_size, length=3, max_batches=None):
        assert len(batch.x) == len(batch.y) == batch_size
        kept = torch.ones(batch_size) if batch.weight is None else batch.weight
        read += batch.x[kept > 0, 0, 0].tolist()
        logits = torch.zeros(batch_size, 3, 4)
        logits[:, -1, 1] = 1.0
        accumulator.update(logits, batch)
    assert read == list(range(100, 107))
    assert accumulator.result()["accuracy"] == pytest.approx(2 / 7)


def test_max_batches_and_majority() -> None:
    task = make()
    assert len(list(task.eval_batches("train", batch_size=2, length=3, max_batches=2))) == 2
    assert task.spec.baseline == task.majority("test") == pytest.approx(2 / 7)


def test_other_lengths_and_empty_splits_are_refused() -> None:
    with pytest.raises(TaskError, match=r"^shd: length 5 is not possible; the sequences of made-up have 3 steps"):
        make().train_batch(0, seed=0, batch_size=2, length=5)
    with pytest.raises(TaskError, match="length 2 is not possible"):
        next(make().eval_batches("test", batch_size=2, length=2, max_batches=None))
    with pytest.raises(DataError, match=r"^task\.data: made-up has nothing in its valid split"):
        make(valid=0)


def test_a_sampler_replaces_the_epochs() -> None:
    splits = {split: SplitData(Counting(), np.arange(4)) for split in ("train", "valid", "test")}
    sampler = functools.partial(with_replacement, 2)
    task = SequenceTask(SPEC, "0" * 64, splits, where="task", sampler=sampler)  # type: ignore[arg-type]
    assert task.train_batch(0, seed=0, batch_size=50, length=3).x.max() == 1
