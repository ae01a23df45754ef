"""Where the bytes of the text task come from: the embedded Wikipedia XML or a user's file."""

import bz2
import hashlib
import importlib.util
import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cluster.errors import path_hint
from tasks.data.cache import (
    QUICK_BYTES,
    build_verified,
    data_directory,
    identity_of,
    read_note,
    sealed,
    sha256_of,
    write_atomically,
)
from tasks.data.fetch import fetch
from tasks.errors import DataError
from tasks.text.data_sets import DOWNLOADED, ENWIKI_MINI

# A genuine MediaWiki export of May 2016 that the gensim wheel ships as test data, byte-identical from 3.8.3 to 4.4.0.
_MEMBER = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_PACKED_SHA256 = "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d"
_PLAIN_SHA256 = "34c1c63050c87cc8477b9ae36b1cb0edf372612c92938b742e579a7109c20fa4"
_BLOCK = 1 << 24
"""Bytes read at a time, so that a file larger than the memory can be read."""
LEAST_CHARACTERS = 2
"""Characters that a split needs: one to read and one to predict."""
SPLITS_NEED = f"every split (90/5/5) needs at least {LEAST_CHARACTERS} characters"
_NOT_TEXT = (
    # Archives and compressed files by their first bytes (the formats' own specifications), and what unpacks each.
    (b"PK\x03\x04", "a ZIP archive", "unzip"),
    (b"PK\x05\x06", "an empty ZIP archive", "unzip"),
    (b"\x1f\x8b", "a gzip file", "gunzip"),
    (b"BZh", "a bzip2 file", "bunzip2"),
    (b"\xfd7zXZ\x00", "an xz file", "unxz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x"),
    (b"Rar!", "a RAR archive", "unrar x"),
    (b"PAR1", "a Parquet file", None),
    (b"%PDF-", "a PDF file", "pdftotext"),
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_TAR_MAGIC = slice(257, 262)
"""where a tar archive says `ustar`"""


class TextFile(NamedTuple):
    """A file whose bytes are the text, and what one pass over it found out."""

    name: str
    """Name that results carry."""
    path: Path
    """Plain bytes on disk."""
    sha256: str
    """Hash of those bytes."""
    size: int
    """Number of bytes."""
    symbols: tuple[int, ...]
    """Distinct byte values in rising order."""
    unseen: tuple[int, ...]
    """Byte values of valid or test that train lacks."""


def split_borders(size: int) -> tuple[int, int, int, int]:
    """Return the byte positions that bound train, valid and test: 90, 5 and 5 per cent, as is usual for enwik8."""
    # Whole numbers throughout, so that borders are the same on every machine.
    return 0, size * 90 // 100, size * 95 // 100, size


def open_text(data: str, *, cache_dir: str | Path | None = None, where: str = "task.data") -> TextFile:
    """Find the text and check it. A file is read once; later calls, in any process, use the cached note.

    Args:
        data: "embedded", a name of `DOWNLOADED` ("real" is enwik8) or a path.
        cache_dir: data directory; None for the default one.
        where: path of the option in the grid file, for messages.

    Raises:
        DataError: missing, damaged, empty or unreadable file.
    """
    directory = data_directory(cache_dir)
    if data in DOWNLOADED:
        source = DOWNLOADED[data]
        (file,) = source.files
        return _scanned(source.name, fetch(source, cache_dir=cache_dir) / file.unpacked, directory, where)
    if data != "embedded":
        # A file of one's own is named after itself; its hash stands beside the name in every row.
        return _scanned(Path(data).name, Path(data), directory, where)
    plain = embedded_path(cache_dir)
    # Unpacked once, which takes about a second, and mapped by every trial.
    build_verified(plain, lambda: _unpack_embedded(plain))
    # The unpacked text is hashed as well, since it lies where others may write.
    text = _scanned(ENWIKI_MINI.name, plain, directory, where)
    if text.sha256 != _PLAIN_SHA256:
        raise DataError(
            f"{plain}: damaged (SHA-256 {text.sha256}, expected {_PLAIN_SHA256}); delete it and start again"
        )
    return text


def quick_sha256_of_text(data: str, *, cache_dir: str | Path | None = None, where: str = "task.data") -> str | None:
    """Return the SHA-256 of a person's own text where the file is noted or small; None for one that takes long to read.

    Raises:
        DataError: missing, empty or unreadable file.
    """
    path, directory = Path(data), data_directory(cache_dir)
    if path.is_file() and path.stat().st_size > QUICK_BYTES and not _scan_note(path, directory).is_file():
        return None
    return _scanned(path.name, path, directory, where).sha256


def embedded_path(cache_dir: str | Path | None = None) -> Path:
    """Return where the embedded text lies once it has been unpacked."""
    return data_directory(cache_dir) / "text" / f"{ENWIKI_MINI.name}.xml"


def _scanned(name: str, path: Path, directory: Path, where: str) -> TextFile:
    if not path.is_file():
        names = ("embedded", *DOWNLOADED)
        hint = path_hint(path, names=names) or f" (valid: {', '.join(map(repr, names))} or the path of a file)"
        raise DataError(f"{where}: no such file: {path.absolute()}{hint}")
    stat = path.stat()
    if stat.st_size == 0:
        raise DataError(f"{where}: {path} is empty")
    _refuse_other_formats(path, where)
    # Asked before the file is read: a text this short would fail later with an empty split.
    if min(b - a for a, b in itertools.pairwise(split_borders(stat.st_size))) < LEAST_CHARACTERS:
        raise DataError(f"{where}: {path} is too short; {SPLITS_NEED}")
    note = _scan_note(path, directory)
    sha256, symbols, unseen = read_note(note, lambda: _write_scan(path, stat.st_size, note, where), _read_scan)
    return TextFile(name, path.absolute(), sha256, stat.st_size, symbols, unseen)


def _scan_note(path: Path, directory: Path) -> Path:
    # known again by size and time: reading the whole file at every start of a trial is what the note is to spare
    return directory / "text" / "scans" / f"{hashlib.sha256(identity_of(path).encode()).hexdigest()[:24]}.json"


def _read_scan(note: Any) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Hash, distinct bytes and those that train lacks, as `_write_scan` noted them."""
    sha256, symbols, unseen = note["sha256"], tuple(note["symbols"]), tuple(note["unseen"])
    if len(bytes.fromhex(sha256)) != 32 or not symbols or not set(unseen) <= set(symbols) <= set(range(256)):
        raise ValueError("not what a scan finds")
    return sha256, symbols, unseen


def _refuse_other_formats(path: Path, where: str) -> None:
    """Refuse what is not the text itself: a network would learn the bytes of the packing instead."""
    try:
        with path.open("rb") as file:
            # The first block of a tar archive, in which its mark stands.
            head = file.read(512)
    except OSError as error:
        raise DataError(f"{where}: cannot read {path} ({error.strerror})") from error
    for magic, kind, unpack in _NOT_TEXT:
        if head.startswith(magic):
            remedy = f"unpack it first ({unpack} {shlex.quote(str(path))})" if unpack else "give the text itself"
            raise DataError(f"{where}: {path} is {kind}, not text; {remedy}")
    if head[_TAR_MAGIC] == b"ustar":
        raise DataError(
            f"{where}: {path} is a tar archive, not text; unpack it first (tar -xf {shlex.quote(str(path))})"
        )
    # Such a file would train, and half of its symbols are zeros: the bits per character would look far too good.
    if head.startswith(_UTF16):
        raise DataError(
            f"{where}: {path} is UTF-16, in which every other byte of plain text is 0; convert it first "
            f"(iconv -f UTF-16 -t UTF-8 {shlex.quote(str(path))})"
        )


def read_blocks(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from `start` to `end` of a file in blocks of at most 16 MiB."""
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            block = file.read(min(_BLOCK, end - start))
            if not block:
                raise DataError(f"{path}: ended {end - start} bytes early; it was changed while being read")
            yield block
            start += len(block)


def _write_scan(path: Path, size: int, note: Path, where: str) -> None:
    digest, borders = hashlib.sha256(), split_borders(size)
    by_split: list[set[int]] = []
    try:
        for start, end in itertools.pairwise(borders):
            symbols: set[int] = set()
            for block in read_blocks(path, start, end):
                # One pass for the hash and the alphabet: a large file is read once.
                digest.update(block)
                # what is known already is deleted at C speed, so that the set sees few bytes
                symbols.update(block.translate(None, bytes(symbols)))
            by_split.append(symbols)
    except OSError as error:
        raise DataError(f"{where}: cannot read {path} ({error.strerror})") from error
    everything = set.union(*by_split)
    scan = {
        "sha256": digest.hexdigest(),
        "symbols": sorted(everything),
        # Relative to train, which is all that a network learns symbols from.
        "unseen": sorted(everything - by_split[0]),
    }
    with write_atomically(note) as file:
        file.write(sealed(scan))


def _unpack_embedded(plain: Path) -> None:
    packed = check_packed_corpus()
    with write_atomically(plain) as file:
        file.write(bz2.decompress(packed.read_bytes()))


def check_packed_corpus() -> Path:
    """Find the compressed corpus and check its hash.

    Raises:
        DataError: missing or damaged.
    """
    packed = packed_corpus()
    sha256 = sha256_of(packed)
    # Another version of the package may ship another text, on which results could not be compared.
    if sha256 != _PACKED_SHA256:
        raise DataError(
            f"{packed}: damaged or another version (SHA-256 {sha256}, expected {_PACKED_SHA256}); "
            "pip install --force-reinstall 'gensim>=4.3,<5' or give data: the path of any text file"
        )
    return packed


def packed_corpus() -> Path:
    """Find the compressed corpus inside the installed gensim package without importing gensim.

    Raises:
        DataError: gensim is not installed or no longer ships the file.
    """
    # Importing gensim would load all of it for the sake of one file that lies beside its code.
    spec = importlib.util.find_spec("gensim")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        packed = Path(folder) / _MEMBER
        if packed.is_file():
            return packed
    state = "this gensim ships no test data" if spec else "gensim is not installed"
    raise DataError(
        f"{ENWIKI_MINI.name}: {state}; pip install 'elm-sweeper[data]' or give data: the path of any text file"
    )
