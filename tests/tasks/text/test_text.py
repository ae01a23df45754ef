import dataclasses
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.errors import DataError
from tasks.facts import data_facts
from tasks.loaders import Batch, load_task
from tasks.spec import data_sha256
from tasks.text import corpus
from tasks.text.text import TextTask


def load(**options: object) -> TextTask:
    task = load_task("text", options)
    assert isinstance(task, TextTask)
    return task


@pytest.fixture
def counting(tmp_path: Path) -> TextTask:
    """A text whose character at position i is i modulo 100, so that every batch can be checked by eye."""
    path = tmp_path / "counting.bin"
    path.write_bytes(bytes(range(100)) * 10)
    return load(data=str(path))


def test_y_is_x_one_character_ahead_and_streams_continue(counting: TextTask) -> None:
    first, second = (counting.train_batch(step, seed=3, batch_size=4, length=7) for step in (0, 1))
    for batch in (first, second):
        assert batch.x.dtype == batch.y.dtype == torch.int64
        assert batch.x.shape == batch.y.shape == (4, 7)
        assert torch.equal((batch.x + 1) % 100, batch.y)
        assert batch.weight is None
    assert torch.equal(second.x[:, 0], first.y[:, -1])
    assert (first.starts_fresh, second.starts_fresh) == (True, False)


def test_facts_of_a_text_hold_n_grams_leaks_and_size(counting: TextTask, tmp_path: Path) -> None:
    facts = json.loads(data_facts(counting) or "")
    # After one character of this text the next is certain, but for what the model keeps for unseen ones.
    assert set(facts["yardsticks"]) == {"order-1 n-gram", "order-2 n-gram", "order-3 n-gram"}
    assert max(facts["yardsticks"].values()) < 1
    assert facts["train_size"] == 900
    assert facts["leaks"][1]["split"] == "test"


def test_streams_are_spread_evenly_and_wrap_around(counting: TextTask) -> None:
    batch = counting.train_batch(0, seed=0, batch_size=9, length=5)
    assert (batch.x[:, 0] == batch.x[0, 0]).all()  # 900 characters, 9 streams: 100 apart
    late = counting.train_batch(180, seed=0, batch_size=1, length=5)
    assert torch.equal(late.x, counting.train_batch(0, seed=0, batch_size=1, length=5).x)


def test_batches_are_pure_functions_of_step_and_seed() -> None:
    task, again = load(), load()
    arguments = {"seed": 5, "batch_size": 3, "length": 50}
    later = task.train_batch(10**7, **arguments)
    task.train_batch(3, **arguments)
    assert torch.equal(later.x, again.train_batch(10**7, **arguments).x)
    assert not torch.equal(later.x, task.train_batch(10**7, seed=6, batch_size=3, length=50).x)


def test_the_first_batch_of_seed_zero_is_pinned() -> None:
    task = load(alphabet="letters")
    ids = task.train_batch(0, seed=0, batch_size=2, length=20).x
    text = ["".join(" abcdefghijklmnopqrstuvwxyz"[i] for i in row) for row in ids]
    assert text == [" https books google ", "nds him with a golde"]


def weight_of(batch: Batch) -> torch.Tensor:
    return torch.ones_like(batch.y, dtype=torch.float32) if batch.weight is None else batch.weight


@pytest.mark.parametrize(("batch_size", "length"), [(1, 49), (3, 7), (8, 100), (49, 1), (60, 2)])
def test_evaluation_covers_every_character_once(counting: TextTask, batch_size: int, length: int) -> None:
    batches = list(counting.eval_batches("test", batch_size=batch_size, length=length, max_batches=None))
    weights = torch.cat([weight_of(batch) for batch in batches], dim=1)
    targets = torch.cat([batch.y for batch in batches], dim=1)
    assert all(batch.y.shape == (batch_size, length) for batch in batches)
    assert [batch.starts_fresh for batch in batches] == [True] + [False] * (len(batches) - 1)
    assert targets[weights > 0].tolist() == list(range(51, 100))  # streams one after the other
    assert sum(batch.original_bytes or 0 for batch in batches) == pytest.approx(49)


def test_max_batches_cuts_the_evaluation(counting: TextTask) -> None:
    assert len(list(counting.eval_batches("train", batch_size=2, length=10, max_batches=3))) == 3


def test_the_whole_test_split_reads_as_the_file(cache: Path) -> None:
    task = load()
    raw = corpus.open_text("embedded", cache_dir=cache).path.read_bytes()
    batches = task.eval_batches("test", batch_size=1, length=1000, max_batches=2)
    ids = torch.cat([batch.x for batch in batches], dim=1)[0].numpy()
    expected = np.unique(np.frombuffer(raw, dtype=np.uint8), return_inverse=True)[1][5_785_258:5_787_258]
    assert np.array_equal(ids, expected)


def test_letters_follow_the_manner_of_text8(cache: Path) -> None:
    raw = corpus.open_text("embedded", cache_dir=cache).path.read_bytes()
    borders = corpus.split_borders(len(raw))
    task = load(alphabet="letters")
    for i, split in enumerate(("train", "valid", "test")):
        expected = re.sub(rb"[^a-z]+", b" ", raw[borders[i] : borders[i + 1]].lower())
        stream = task.stream(split)
        assert stream.characters.tobytes() == expected
        assert stream.bytes_per_character == pytest.approx((borders[i + 1] - borders[i]) / len(expected))


def test_runs_across_read_blocks_become_one_space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(corpus, "_BLOCK", 3)
    path = tmp_path / "runs.txt"
    path.write_bytes(b"Ab--  \n\n\xc3\xa9C1 2 d" * 40)
    expected = re.sub(rb"[^a-z]+", b" ", path.read_bytes()[: 40 * 16 * 90 // 100].lower())
    assert load(data=str(path), alphabet="letters").stream("train").characters.tobytes() == expected


def test_dropping_newlines_leaves_the_rest(cache: Path) -> None:
    raw = corpus.open_text("embedded", cache_dir=cache).path.read_bytes()
    task = load(newline="drop")
    assert task.stream("valid").characters.tobytes() == raw[5_480_771:5_785_258].replace(b"\n", b"")
    assert task.data_name == "enwiki-mini/no-newlines"
    assert int(task.ids(task.stream("train").characters).max()) == 199


def test_a_users_file_is_mapped_in_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"hello world " * 200)
    task = load(data=str(path))
    mapped = task.stream("train").characters
    assert isinstance(mapped, np.memmap)
    assert Path(mapped.filename) == path
    assert (task.data_name, len(task.data_sha256)) == ("mine.txt", 64)
    assert data_sha256("text", {"data": str(path)}) == task.data_sha256
    path.write_bytes(b"hello world " * 201)
    assert data_sha256("text", {"data": str(path)}) not in (None, task.data_sha256)
    assert data_sha256("text", {}) is None, "pinned"
    assert data_sha256("text", {"data": str(tmp_path / "gone.txt")}) is None, "nobody can tell any more"


def test_what_a_large_text_holds_now_is_told_once_it_has_been_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "QUICK_BYTES", 100)
    path = tmp_path / "mine.txt"
    path.write_bytes(b"hello world " * 200)
    assert data_sha256("text", {"data": str(path)}) is None
    assert load(data=str(path)).data_sha256 == data_sha256("text", {"data": str(path)})


def test_symbols_that_train_lacks_are_refused_or_allowed(tmp_path: Path) -> None:
    path = tmp_path / "late.txt"
    path.write_bytes(b"ab" * 95 + b"ababababaz")
    with pytest.raises(DataError, match=r"^task\.data: 1 byte values in valid or test of .* \(0x7a\); use alphabet"):
        load(data=str(path))
    assert load(data=str(path), unseen="allow").spec.n_in == 3
    assert load(data=str(path), alphabet="letters").spec.n_in == 27


def test_a_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_bytes(b"abcdefghij")
    with pytest.raises(DataError, match=r"^task\.data: .*short\.txt is too short"):
        load(data=str(path), unseen="allow")


def test_a_torn_stream_in_the_cache_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"hello world " * 200)
    load_task("text", {"data": str(path), "alphabet": "letters"}, cache_dir=tmp_path)
    stream = next((tmp_path / "text").glob("*.u8"))
    whole = stream.read_bytes()
    stream.with_name("torn").write_bytes(whole[:-1])
    stream.with_name("torn").replace(stream)  # what is mapped must not be cut in place
    load_task("text", {"data": str(path), "alphabet": "letters"}, cache_dir=tmp_path)
    assert stream.read_bytes() == whole


def test_real_means_enwik8_from_the_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = b"one two\nthree " * 300
    entry = corpus.DOWNLOADED["real"]
    file = dataclasses.replace(entry.files[0], unpacked_digest=f"sha256:{hashlib.sha256(content).hexdigest()}")
    monkeypatch.setitem(corpus.DOWNLOADED, "real", dataclasses.replace(entry, files=(file,)))
    (tmp_path / "real" / "enwik8").mkdir(parents=True)
    (tmp_path / "real" / "enwik8" / "enwik8").write_bytes(content)
    task = load_task("text", {"data": "real", "newline": "drop"}, cache_dir=tmp_path)
    assert isinstance(task, TextTask)
    assert (task.data_name, task.spec.n_in) == ("enwik8/no-newlines", 204)
    assert task.data_sha256 == hashlib.sha256(content).hexdigest()
    assert task.stream("test").characters.tobytes() == content[-210:].replace(b"\n", b"")


def test_bytes_that_appear_during_training_are_refused(tmp_path: Path) -> None:
    """Their id would be -1, which an embedding takes for the last symbol."""
    path = tmp_path / "mine.txt"
    path.write_bytes(b"hello world " * 200)
    task = load_task("text", {"data": str(path)}, cache_dir=tmp_path)
    with path.open("r+b") as file:
        file.write(b"HELLO" * 480)
    with pytest.raises(DataError, match=r"mine\.txt: holds bytes that it did not hold before"):
        task.train_batch(0, seed=0, batch_size=4, length=32)


@pytest.mark.parametrize("damage", ["{", "[1]", '{"borders": [0, 9]}', '{"sha256": "x", "symbols": [], "unseen": []}'])
def test_damaged_notes_of_a_text_are_made_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"hello world " * 200)

    def read() -> list[int]:
        task = load_task("text", {"data": str(path), "alphabet": "letters"}, cache_dir=tmp_path)
        assert isinstance(task, TextTask)
        return [len(task.stream(split).characters) for split in ("train", "valid", "test")]

    whole = read()
    notes = [note for note in tmp_path.rglob("*.json") if note.parent.name in ("text", "scans", "leaks")]
    assert len(notes) == 3
    for note in notes:
        note.write_text(damage)
    assert read() == whole
    assert not [note for note in notes if note.read_text() == damage]
