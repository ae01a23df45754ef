import dataclasses
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from tasks.base import DataSet, RemoteFile
from tasks.data import debian
from tasks.data.fetch import fetch, folder_of, is_present
from tasks.errors import DataError

WORDS = b"0 \\0\\\n   Nothing.\n\nOne \\One\\\n   A number.\n"
MEMBER = "./usr/share/words"


def words(package: tarfile.TarFile):
    """What the data set of these tests takes out of its package."""
    file = package.extractfile(MEMBER)
    assert file is not None
    yield file.read()


def deb(files: dict[str, bytes], *, compression: str = "xz", member: str = "data.tar.xz") -> bytes:
    """A Debian package, as deb(5) and ar(5) describe it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{compression}") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", member: packed.getvalue()}
    whole = b"!<arch>\n"
    for name, content in members.items():
        whole += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        whole += b"\n" * (len(content) % 2)
    return whole


def data_set(package: bytes, plain: bytes = WORDS) -> DataSet:
    file = RemoteFile(
        name="words_1.0_all.deb",
        package="words=1.0",
        size=len(package),
        digest=f"sha256:{hashlib.sha256(package).hexdigest()}",
        packing="deb",
        extract=f"{__name__}:words",
        unpacked="words.txt",
        unpacked_digest=f"sha256:{hashlib.sha256(plain).hexdigest()}",
    )
    return DataSet(name="words", summary="", tasks=(), kind="download", licence="", citation="", files=(file,))


@pytest.fixture
def apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get that notes what it is asked for and then runs `script`, which a test writes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "apt-get"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n. {tmp_path}/script\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def offers(apt_get: Path, package: bytes) -> None:
    (apt_get / "offered.deb").write_bytes(package)
    (apt_get / "script").write_text(f"cp {apt_get}/offered.deb words_1.0_all.deb\n")


@pytest.mark.parametrize(("compression", "member"), [("xz", "data.tar.xz"), ("gz", "data.tar.gz"), ("", "data.tar")])
def test_a_package_is_fetched_by_apt_get_and_unpacked_once(apt_get: Path, compression: str, member: str) -> None:
    package = deb({MEMBER: WORDS, "./usr/share/other": b"other"}, compression=compression, member=member)
    offers(apt_get, package)
    entry = data_set(package)
    for _ in range(2):
        folder = fetch(entry, cache_dir=apt_get / "data")
    assert (folder / "words.txt").read_bytes() == WORDS
    assert sorted(path.name for path in folder.iterdir()) == [".lock", ".words.txt.checked", "words.txt"]
    assert (apt_get / "asked").read_text() == "--quiet download words=1.0\n"
    assert is_present(entry, apt_get / "data")


def test_a_package_that_a_person_brought_needs_no_apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = deb({MEMBER: WORDS})
    entry = data_set(package)
    folder = folder_of(entry, tmp_path)
    folder.mkdir(parents=True)
    (folder / "words_1.0_all.deb").write_bytes(package)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (fetch(entry, cache_dir=tmp_path) / "words.txt").read_bytes() == WORDS


def test_a_machine_without_apt_get_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError) as caught:
        fetch(data_set(b"?"), cache_dir=tmp_path)
    folder = tmp_path / "real" / "words"
    assert str(caught.value) == (
        "words: could not download words_1.0_all.deb (apt-get download words=1.0: this machine has no apt-get); when "
        f"offline, download it elsewhere, put it into {folder} and run 'sweeper data fetch words'"
    )


def test_an_error_of_apt_get_is_one_sentence(apt_get: Path) -> None:
    script = "echo 'W: an old list' >&2\necho 'E: Version 1.0 was not found' >&2\nexit 100\n"
    (apt_get / "script").write_text(script)
    with pytest.raises(DataError, match=r"words=1\.0: Version 1\.0 was not found; 'apt-get update' renews") as caught:
        fetch(data_set(b"?"), cache_dir=apt_get / "data")
    assert "\n" not in str(caught.value)
    assert "an old list" not in str(caught.value)
    assert [path.name for path in (apt_get / "data/real/words").iterdir()] == [".lock"]


def test_an_apt_get_that_brings_nothing_is_an_error(apt_get: Path) -> None:
    (apt_get / "script").write_text("exit 0\n")
    with pytest.raises(DataError, match=r"words=1\.0: code 0"):
        fetch(data_set(b"?"), cache_dir=apt_get / "data")


def test_another_package_is_refused(apt_get: Path) -> None:
    offers(apt_get, deb({MEMBER: b"other words"}))
    with pytest.raises(DataError, match=r"words_1\.0_all\.deb: damaged"):
        fetch(data_set(deb({MEMBER: WORDS})), cache_dir=apt_get / "data")


def test_a_text_that_came_out_otherwise_is_refused(apt_get: Path) -> None:
    package = deb({MEMBER: WORDS})
    offers(apt_get, package)
    with pytest.raises(DataError, match=r"words\.txt: damaged"):
        fetch(data_set(package, plain=b"other words"), cache_dir=apt_get / "data")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no archive at all", "not a Debian package, or damaged"),
        (deb({}, member="another.tar.xz"), r"no member data\.tar"),
        (deb({MEMBER: bytes(range(256)) * 99})[:-200], "not a Debian package, or damaged"),
        (deb({MEMBER: WORDS}, compression="xz").replace(b"\xfd7zXZ", b"zstd!"), "not a Debian package, or damaged"),
    ],
    ids=["text", "no data", "cut", "another compression"],
)
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "odd.deb"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason), debian.opened(path) as archive:
        list(words(archive))


def test_a_file_by_url_still_comes_by_url(apt_get: Path) -> None:
    entry = data_set(b"?")
    file = dataclasses.replace(entry.files[0], package="", urls=("http://127.0.0.1:9/words.deb",))
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9"):
        fetch(dataclasses.replace(entry, files=(file,)), cache_dir=apt_get / "data")
    assert not (apt_get / "asked").exists()
