"""Sentences about names that are not known, and paths that are not there."""

from pathlib import Path

import pytest

from cluster.errors import path_hint


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("texts/book.txt", "texts/note.md", "arrays/part.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("texts/bok.txt", "; did you mean 'texts/book.txt'?"),
        ("text/book.txt", "; did you mean 'texts/book.txt'?"),
        ("text", ""),  # a folder, where a file is wanted
        ("texts/something.else", ""),
        ("texts/book.txt/part", ""),
        ("embeded", "; did you mean 'embedded'?"),
    ],
)
def test_a_misspelt_path_is_told_the_nearest_one(folder, written, hint):
    assert path_hint(Path(written), names=["embedded"]) == hint
    assert path_hint(folder / written).removeprefix("; did you mean '") in ("", f"{folder / hint[16:-2]}'?")


def test_what_suits_may_be_a_folder(folder):
    assert path_hint(Path("array"), Path.is_dir) == "; did you mean 'arrays'?"
