import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.data import leaks as under_test
from tasks.data.leaks import BLOCK, Leak, noted_leaks, sequence_hashes, sequence_leaks, text_leaks
from tasks.errors import DataError
from tasks.loaders import load_task


def random_text(seed: int, length: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(97, 123, size=length).astype(np.uint8)


def test_repeated_sequences_are_counted() -> None:
    train = [np.arange(5), np.arange(6), np.arange(0)]
    other = [np.arange(6), np.arange(7), np.arange(6)]
    assert sequence_leaks({"train": sequence_hashes(train), "test": sequence_hashes(other)}, "recordings") == [
        Leak("test", 2, 3, "recordings")
    ]


@pytest.mark.parametrize("shift", [0, 1, 37])
def test_a_block_is_recognised_wherever_it_stands_in_the_training_text(
    shift: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "_CHUNK", 300)  # so that windows cross the borders of chunks
    train, test = random_text(0, 5000), random_text(1, 20 * BLOCK)
    test[3 * BLOCK : 5 * BLOCK] = train[700 + shift : 700 + shift + 2 * BLOCK]
    assert text_leaks({"train": train, "valid": random_text(2, 10 * BLOCK), "test": test}) == [
        Leak("valid", 0, 10, "blocks of 64 characters"),
        Leak("test", 2, 20, "blocks of 64 characters"),
    ]


def test_texts_shorter_than_a_block_hold_none() -> None:
    short = random_text(0, 10)
    assert [leak.total for leak in text_leaks({"train": short, "test": short})] == [0]


def test_the_search_is_done_once(tmp_path: Path) -> None:
    leak = Leak("test", 1, 4, "images")
    assert noted_leaks("a", tmp_path, lambda: [leak]) == [leak]
    assert noted_leaks("a", tmp_path, lambda: pytest.fail("searched again")) == [leak]
    assert str(leak) == "1 of 4 images of test (25.0%) also stand in train"


def test_a_data_directory_that_cannot_be_written_costs_the_search_alone(tmp_path: Path) -> None:
    (tmp_path / "leaks").write_text("a file where the folder should be")
    leak = Leak("test", 1, 4, "images")
    assert noted_leaks("a", tmp_path, lambda: [leak]) == [leak]


def test_a_text_that_repeats_itself_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "twice.txt"
    path.write_bytes(random_text(3, 4000).tobytes() * 2)
    with caplog.at_level(logging.WARNING):
        load_task("text", {"data": str(path)}, cache_dir=tmp_path)
        load_task("text", {"data": str(path)}, cache_dir=tmp_path)
    valid, test = caplog.messages  # once each, although the task was loaded twice
    assert " of test (100.0%)" in test
    assert valid.startswith("twice.txt: 6 of 6 blocks of 64 characters of valid (100.0%) also stand in train")


def test_a_recording_in_two_splits_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("shd_train.h5", "shd_test.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            times = file.create_dataset("spikes/times", (20,), dtype=h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (20,), dtype=h5py.vlen_dtype(np.uint16))
            for number in range(20):
                random = np.random.default_rng(number + 100 * (name == "shd_test.h5" and number > 2))
                times[number] = np.sort(random.uniform(0, 1, 50)).astype(np.float16)
                units[number] = random.integers(0, 700, 50).astype(np.uint16)
            file["labels"] = np.arange(20)
            file["extra/speaker"] = np.arange(20) % 5
    with caplog.at_level(logging.WARNING):
        load_task("shd", {"data": str(tmp_path)}, cache_dir=tmp_path / "cache")
    assert [line for line in caplog.messages if " of test" in line] == [
        f"{tmp_path.name}: 3 of 20 recordings of test (15.0%) also stand in train; "
        "scores on it tell less about new data than they seem to"
    ]


@pytest.mark.parametrize("task", ["text", "shd", "images", "neuronio"])
def test_embedded_data_repeat_nothing_worth_naming(task: str, caplog: pytest.LogCaptureFixture) -> None:
    under_test._announced.clear()
    with caplog.at_level(logging.WARNING):
        load_task(task, {})
    assert caplog.messages == []


def test_a_search_that_finds_nothing_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its note cannot be written: nothing found is not the same as not looked for."""

    def refuse(target: Path) -> None:
        raise DataError(f"{target}: cannot write")

    monkeypatch.setattr(under_test, "write_atomically", refuse)
    searches: list[int] = []
    assert noted_leaks("a", tmp_path, lambda: searches.append(1) or []) == []
    assert searches == [1]
