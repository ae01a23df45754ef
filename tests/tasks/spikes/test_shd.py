import numpy as np
import pytest
import torch

from tasks.loaders import load_task
from tasks.sequences.sequences import SequenceTask
from tasks.spikes.events import read_recordings
from tasks.spikes.recordings import EMBEDDED_FILE, Prepared, prepare
from tasks.spikes.shd import DigitPairs, spike_counts

SMALL = {"bin_ms": 10, "valid_pairs": 300, "test_pairs": 500}


def tiny() -> Prepared:
    return Prepared(
        sha256="",
        cells=np.array([0, 0, 700 + 3, 699, 2 * 700], dtype=np.int32),
        offsets=np.array([0, 3, 3, 5]),
        label=np.array([3, 14, 9]),
        members={},
    )


def test_spikes_are_counted_where_they_belong() -> None:
    counts = spike_counts(tiny(), np.array([[0, 2], [1, 0]]), 3)
    assert counts.shape == (2, 6, 700)
    expected = torch.zeros(2, 6, 700, dtype=torch.uint8)
    expected[0, 0, 0] = expected[1, 3, 0] = 2
    expected[0, 1, 3] = expected[1, 4, 3] = 1
    expected[0, 3, 699] = expected[0, 5, 0] = 1
    assert torch.equal(counts, expected)


def test_pairs_add_digits_of_either_language() -> None:
    pairs = DigitPairs(tiny(), np.array([0, 1, 2]), 3)
    assert pairs.targets(np.array([0, 1, 3, 8])).tolist() == [6, 7, 7, 18]
    assert torch.equal(pairs.inputs(np.array([2])), spike_counts(tiny(), np.array([[0, 2]]), 3))


@pytest.fixture(scope="module")
def adding() -> SequenceTask:
    task = load_task("shd_adding", SMALL)
    assert isinstance(task, SequenceTask)
    return task


def test_sums_are_drawn_from_the_triangular_law(adding: SequenceTask) -> None:
    drawn = torch.cat([adding.train_batch(step, seed=0, batch_size=100, length=200).y for step in range(60)])
    share = torch.bincount(drawn, minlength=19) / len(drawn)
    expected = torch.tensor([min(s, 18 - s) + 1 for s in range(19)]) / 100
    assert share.tolist() == pytest.approx(expected.tolist(), abs=0.02)


def test_evaluation_pairs_do_not_depend_on_the_batch_size(adding: SequenceTask) -> None:
    for split, count in (("valid", 300), ("test", 500)):
        targets = [
            torch.cat([batch.y for batch in adding.eval_batches(split, batch_size=size, length=200, max_batches=None)])
            for size in (50, 20)
        ]
        assert torch.equal(*targets)
        assert len(targets[0]) == count


def test_the_same_step_gives_the_same_batch_in_a_new_process_or_task(adding: SequenceTask) -> None:
    batch = adding.train_batch(5, seed=2, batch_size=4, length=200)
    again = load_task("shd_adding", SMALL).train_batch(5, seed=2, batch_size=4, length=200)
    assert torch.equal(batch.x, again.x)
    assert torch.equal(batch.y, again.y)
    assert batch.x.shape == (4, 200, 700)


def test_shd_mini_is_what_it_says() -> None:
    task = load_task("shd", {"bin_ms": 10})
    assert isinstance(task, SequenceTask)
    assert task.data_name == "shd-mini"
    sizes = {
        split: sum(1 for _ in task.eval_batches(split, batch_size=1, length=100, max_batches=None))
        for split in ("train", "valid", "test")
    }
    assert sizes == {"train": 680, "valid": 140, "test": 140}
    assert task.spec.baseline == pytest.approx(task.majority("test"))
    batch = next(task.eval_batches("train", batch_size=200, length=100, max_batches=1))
    assert 5_000 < batch.x.sum(dtype=torch.int64).item() / 200 < 9_000
    assert (batch.x.sum((0, 1), dtype=torch.int64) > 0).sum() > 650


def test_shd_mini_tests_voices_that_train_lacks() -> None:
    members = prepare("embedded", bin_ms=10, validation="speakers", cache_dir=None, where="task").members
    speaker = read_recordings(EMBEDDED_FILE).speaker
    heard = {split: set(speaker[numbers].tolist()) for split, numbers in members.items()}
    assert {split: len(voices) for split, voices in heard.items()} == {"train": 18, "valid": 4, "test": 4}
    assert not heard["train"] & heard["valid"]
    assert not heard["test"] & (heard["train"] | heard["valid"])
    shared = prepare("embedded", bin_ms=10, validation="random", cache_dir=None, where="task").members
    assert np.array_equal(shared["test"], members["test"])
    assert set(speaker[shared["valid"]].tolist()) & set(speaker[shared["train"]].tolist())
