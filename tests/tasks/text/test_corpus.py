import bz2
import gzip
import importlib.machinery
import importlib.util
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.errors import DataError
from tasks.text import corpus
from tasks.text.corpus import open_text, packed_corpus, split_borders


def test_the_embedded_corpus_is_the_pinned_one(cache: Path) -> None:
    text = open_text("embedded", cache_dir=cache)
    assert (text.size, len(text.symbols), text.unseen) == (6_089_746, 201, ())
    assert text.sha256 == "34c1c63050c87cc8477b9ae36b1cb0edf372612c92938b742e579a7109c20fa4"
    assert split_borders(text.size) == (0, 5_480_771, 5_785_258, 6_089_746)


def test_gensim_is_found_but_not_imported() -> None:
    code = "import sys; from tasks.text.corpus import packed_corpus; packed_corpus(); print('gensim' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_without_gensim_the_error_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"^enwiki-mini: gensim is not installed; pip install 'elm-sweeper\[data\]' or"):
        open_text("embedded", cache_dir=tmp_path)


def test_a_gensim_without_test_data_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.machinery.ModuleSpec("gensim", None, is_package=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(DataError, match="this gensim ships no test data"):
        packed_corpus()


def test_a_corrupt_packed_corpus_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.bz2"
    damaged.write_bytes(bz2.compress(b"not the corpus"))
    monkeypatch.setattr(corpus, "packed_corpus", lambda: damaged)
    with pytest.raises(DataError, match=r"damaged\.bz2: damaged or another version \(SHA-256 .*, expected a53f4648"):
        open_text("embedded", cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.xml"))


def test_a_corrupt_unpacked_corpus_is_unpacked_anew(cache: Path, tmp_path: Path) -> None:
    plain = open_text("embedded", cache_dir=cache).path
    copy = tmp_path / "text" / plain.name
    copy.parent.mkdir()
    content = bytearray(plain.read_bytes())
    content[1_000_000] ^= 1
    copy.write_bytes(content)
    assert open_text("embedded", cache_dir=tmp_path).path.read_bytes() == plain.read_bytes()


def test_bytes_that_train_lacks_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "late.txt"
    path.write_bytes(b"ab" * 95 + b"abcabcabcd")
    text = open_text(str(path), cache_dir=tmp_path)
    assert text.symbols == tuple(b"abcd")
    assert text.unseen == tuple(b"cd")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + b"x" * 600, r"is a ZIP archive, not text; unpack it first \(unzip '.*my text'\)"),
        (gzip.compress(b"abc" * 400), "is a gzip file, not text"),
        (bz2.compress(b"abc" * 400), "is a bzip2 file, not text"),
        (lzma.compress(b"abc" * 400), "is an xz file, not text"),
        (b"\0" * 257 + b"ustar" + b"\0" * 300, "is a tar archive, not text"),
        ("plain words".encode("utf-16"), "is UTF-16, in which every other byte of plain text is 0; convert it first"),
    ],
)
def test_what_is_packed_or_encoded_otherwise_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "my text"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_text(str(path), cache_dir=tmp_path)
    assert str(caught.value).startswith("task.data: ")
