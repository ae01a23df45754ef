import errno
import hashlib
import itertools
import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from tasks.data import cache
from tasks.data.cache import (
    build_once,
    build_verified,
    data_directory,
    noted_sha256,
    read_note,
    sealed,
    sha256_of,
    write_atomically,
)
from tasks.errors import DataError


def test_the_directory_follows_argument_then_environment_then_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ELM_DATA_DIR", str(tmp_path / "a"))
    assert data_directory(tmp_path / "b") == tmp_path / "b"
    assert data_directory() == tmp_path / "a"
    monkeypatch.delenv("ELM_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert data_directory().name == "elm-sweeper"


def write_half(target: Path) -> None:
    with write_atomically(target) as file:
        file.write(b"half")
        file.write(None)  # type: ignore[arg-type]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_half(target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"


def test_a_full_disk_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.os, "fsync", full)
    message = r"cannot write \(No space left on device\).*ELM_DATA_DIR"
    with pytest.raises(DataError, match=message), write_atomically(tmp_path / "file") as file:
        file.write(b"x")
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_bytes(b"a file where a directory should be")
    with pytest.raises(DataError, match="cannot write"):
        build_once(tmp_path / "blocked" / "file", lambda: None)


def test_hashes_follow_changes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert sha256_of(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    path.write_bytes(b"a")
    assert sha256_of(path).startswith("ca978112ca1bbdca")


def _build_slowly(directory: Path) -> None:
    def build() -> None:
        with (directory / "builders").open("a") as log:
            log.write("x")
        time.sleep(0.2)
        with write_atomically(directory / "target") as file:
            file.write(b"done")

    assert build_once(directory / "target", build).read_bytes() == b"done"


def test_racing_processes_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    racers = [context.Process(target=_build_slowly, args=(tmp_path,)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert (tmp_path / "builders").read_text() == "x"


def test_a_file_replaced_by_one_of_equal_size_and_time_is_another_file(tmp_path: Path) -> None:
    """The rows of the new file would carry the old one's hash."""
    path = tmp_path / "text"
    path.write_text("abc")
    first, times = noted_sha256(path, tmp_path), path.stat()
    path.write_text("xyz")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert noted_sha256(path, tmp_path) == hashlib.sha256(b"xyz").hexdigest() != first


@pytest.mark.parametrize("damage", [b"", b"other"])
def test_a_damaged_file_is_made_anew_once(damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target, made = tmp_path / "large", []

    def build() -> None:
        made.append(1)
        with write_atomically(target) as file:
            file.write(b"whole")

    build_verified(target, build)
    target.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        build_verified(target, build)
        build_verified(target, build)
    assert (target.read_bytes(), len(made)) == (b"whole", 2)
    assert caplog.messages == [f"{target}: damaged, making it anew"]


def test_a_disk_that_keeps_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, digests = tmp_path / "large", itertools.count()
    monkeypatch.setattr(cache, "sha256_of", lambda path: str(next(digests)))  # reads something else every time
    with pytest.raises(DataError, match="large: damaged right after it was made; is the disk in order"):
        build_verified(target, lambda: target.write_bytes(b"x") and None)


@pytest.mark.parametrize("damage", [b"{", b"[]", b"", b"\xff", b'{"size": "many"}', b'{"other": 1}'])
def test_a_damaged_note_is_made_anew(damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    note = tmp_path / "note.json"

    def build() -> None:
        with write_atomically(note) as file:
            file.write(b'{"size": 7}')

    note.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert read_note(note, build, lambda held: int(held["size"])) == 7
    assert f"{note}: damaged, making it anew" in caplog.text
    caplog.clear()
    assert read_note(note, build, lambda held: int(held["size"])) == 7
    assert caplog.text == ""


def test_no_flipped_bit_of_a_note_becomes_another_number(tmp_path: Path) -> None:
    note, content = tmp_path / "note.json", {"size": 75, "share": 0.25}

    def build() -> None:
        note.write_bytes(sealed(content))

    build()
    whole = note.read_bytes()
    for place in range(len(whole)):
        note.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert read_note(note, build, lambda held: {name: held[name] for name in content}) == content


def test_a_damaged_note_of_a_hash_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"xyz")
    sha256 = noted_sha256(tmp_path / "data", tmp_path)
    (note,) = (tmp_path / "hashes").glob("*.json")
    for damage in (b"", b"\xff\xfe", note.read_bytes()[:40], b"[" * 100_000, b'"12"'):
        note.write_bytes(damage)
        assert noted_sha256(tmp_path / "data", tmp_path) == sha256


def test_a_note_that_cannot_be_made_whole_is_named(tmp_path: Path) -> None:
    note = tmp_path / "note.json"
    with pytest.raises(DataError, match=r"note\.json: damaged right after it was made"):
        read_note(note, lambda: note.write_text("{") and None, lambda held: held)
