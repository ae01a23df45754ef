import dataclasses
import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.data.fetch import folder_of
from tasks.errors import DataError
from tasks.loaders import load_task
from tasks.spec import packages_of, task_spec
from tasks.text import packaged
from tasks.text.data_sets import ANARCHISM, DOWNLOADED, GCIDE

DICTIONARY = rb"""00-database-info
   Converted on a Tuesday.

0 \0\ adj.
   1. indicating the absence of any or all units; -- representing
      the number {zero}.

   Syn: zero.
        [WordNet 1.5]

A \A\ (named [=a]).
   The first letter. [Obs.]
   [1913 Webster +PJC]

         The letter A.                        --{Anon.}
   [Webster 1913 Suppl.]

Zax \Zax\, n.
   A tool. [Written also {sax}.]
   [1913 Webster]

Zax \Zax\, n.
   A tool. [Written also {sax}.]
   [1913 Webster]

"""
ENTRIES = {
    rb"""0 \0\ adj.
   1. indicating the absence of any or all units; -- representing
      the number zero.

   Syn: zero.""",
    rb"""A \A\ (named [=a]).
   The first letter. [Obs.]

         The letter A.                        --Anon.""",
    rb"""Zax \Zax\, n.
   A tool. [Written also sax.]""",
}
PAGE = """<html><head><title>A.1 | Writers</title></head><body class="page"><div>
<p>What is <b>it</b>? &quot;Nothing
 much,&quot; said \u2018X\u2019 &ndash; caf&eacute;.<!-- <p>not read</p> --></p><BLOCKQUOTE>a &lt; b</BLOCKQUOTE>
<p>\u2039 before up after</p><p>up after \u203a</p></div></body></html>"""


def archive(files: dict[str, bytes]) -> tarfile.TarFile:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as made:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            made.addfile(about, io.BytesIO(content))
    whole.seek(0)
    return tarfile.open(fileobj=whole)


def test_the_dictionary_is_its_entries_without_markup_in_an_order_that_is_not_the_alphabet() -> None:
    content = gzip.compress(DICTIONARY)
    with archive({"./usr/share/dictd/gcide.dict.dz": content}) as package:
        blocks = list(packaged.gcide(package))
    assert {block.removesuffix(b"\n\n") for block in blocks} == ENTRIES
    assert len(blocks) == len(ENTRIES)
    # Z comes first: the hashes begin with 6bdd, 9caa and a8e8
    assert [block[:1] for block in blocks] == [b"Z", b"0", b"A"]


def test_a_page_is_its_paragraphs() -> None:
    folder = "./usr/share/doc/anarchism/html"
    pages = {f"{folder}/secB.html": PAGE.encode(), f"{folder}/secA.html.gz": gzip.compress(b"<p>First</p>\n")}
    with archive({**pages, f"{folder}/style.css": b"p {}", "./usr/share/doc/anarchism/copyright": b"GPL"}) as package:
        text = b"".join(packaged.anarchism(package)).decode()
    assert text == "First\n\nWhat is it? \"Nothing much,\" said 'X' - café.\na < b\n\n"


@pytest.mark.parametrize("extract", [packaged.gcide, packaged.anarchism])
def test_another_package_is_refused(extract) -> None:
    with archive({"./usr/share/doc/other": b""}) as package, pytest.raises(DataError, match="in this package"):
        list(extract(package))


def test_a_dictionary_that_begins_otherwise_is_refused() -> None:
    content = gzip.compress(b"A \\A\\\n   A letter.\n")
    with (
        archive({"./usr/share/dictd/gcide.dict.dz": content}) as package,
        pytest.raises(DataError, match="not the dictionary that was expected"),
    ):
        list(packaged.gcide(package))


@pytest.fixture
def present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory in which `gcide` is another, shorter text."""
    text = b"One, two! " * 400
    file = dataclasses.replace(GCIDE.files[0], unpacked_digest=f"sha256:{hashlib.sha256(text).hexdigest()}")
    monkeypatch.setitem(DOWNLOADED, "gcide", dataclasses.replace(GCIDE, files=(file,)))
    folder = folder_of(GCIDE, tmp_path)
    folder.mkdir(parents=True)
    (folder / "gcide.txt").write_bytes(text)
    return tmp_path


def test_a_text_from_a_package_counts_bits_per_byte_of_its_plain_text(present: Path) -> None:
    task = load_task("text", {"data": "gcide", "alphabet": "letters"}, cache_dir=present)
    assert task.data_name == "gcide/letters"
    for batch in task.eval_batches("test", batch_size=2, length=10, max_batches=None):
        kept = batch.y.numel() if batch.weight is None else int(batch.weight.sum())
        # "one two " is left of "One, two! "; the bytes are those of the text that came out of the package
        assert batch.original_bytes == pytest.approx(kept * 10 / 8, rel=1e-2)


def test_what_unpacks_is_asked_for_until_the_text_is_there(present: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("empty")
    assert packages_of("text", {"data": "gcide"}, cache_dir=elsewhere) == ("arpy",)
    load_task("text", {"data": "gcide", "alphabet": "letters"}, cache_dir=present)
    assert packages_of("text", {"data": "gcide"}, cache_dir=present) == ()
    assert packages_of("text", {"data": "real"}, cache_dir=elsewhere) == ()


@pytest.mark.parametrize("source", [GCIDE, ANARCHISM], ids=lambda source: source.name)
def test_the_texts_are_described_without_being_there(source, tmp_path: Path) -> None:
    for options, name in (({}, source.name), ({"alphabet": "letters"}, f"{source.name}/letters")):
        spec = task_spec("text", {"data": source.name, **options}, cache_dir=tmp_path)
        assert spec.data_name == name
        assert spec.n_in == spec.n_out
        assert spec.baseline is not None
        assert spec.train_size > 5e6
    assert list(tmp_path.iterdir()) == []
