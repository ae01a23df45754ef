"""Plain text out of Debian packages: markup is taken away, and what is left is the same bytes everywhere.

Patterns and not Python's parser of HTML, whose reading of broken markup changes between versions: the texts are pinned
by their hashes.
"""

import gzip
import hashlib
import html
import re
import tarfile
from collections.abc import Iterator

from tasks.errors import DataError

_DICTIONARY = "./usr/share/dictd/gcide.dict.dz"
_FIRST_ENTRY = b"\n0 \\0\\"
"""The first headword; what stands before it describes the dictionary."""
_NEXT_ENTRY = re.compile(rb"\n(?=\S)")
"""An entry begins in the first column, and all that belongs to it is indented."""
# A line that says nothing but which edition the paragraph is from: two hundred thousand of them.
_SOURCE_LINE = re.compile(rb"\n[ \t]*\[[^\]\n]*(?:Webster|WordNet|PJC|RDH|Century)[^\]\n]*\](?=\n)")

_PAGES = re.compile(r"\./usr/share/doc/anarchism/html/[^/]+\.html(?:\.gz)?")
_UNREAD = re.compile(r"<!--.*?-->|<(head|style|script)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_BREAK = re.compile(
    r"</?(?:p|div|h[1-6]|li|ul|ol|dl|dt|dd|br|hr|blockquote|pre|table|tr)\b[^>]*>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^>]*>")
_NAVIGATION = ("\u2039", "\u203a")
"""The quotation marks with which the links to the pages before and after begin and end."""
# Typographic marks occur a few dozen times, so that a network could not learn their bytes.
_PLAIN_MARKS = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2026": "..."}
    | {"\xad": ""}
)


def gcide(package: tarfile.TarFile) -> Iterator[bytes]:
    """Yield the dictionary's entries, without cross-reference braces and lines that name the edition.

    They stand in the order of their SHA-256: in alphabetical order the last tenth, on which a network is tested, would
    begin with other letters than the rest. Entries that are the same are kept once.

    Raises:
        DataError: the package holds something else.
    """
    whole = gzip.decompress(_member(package, _DICTIONARY))
    start = whole.find(_FIRST_ENTRY)
    if start < 0:
        raise DataError(f"{_DICTIONARY}: not the dictionary that was expected")
    body = _SOURCE_LINE.sub(b"", whole[start + 1 :]).translate(None, b"{}")
    entries = {entry.strip(b"\n") for entry in _NEXT_ENTRY.split(body)}
    for entry in sorted(entries, key=lambda entry: hashlib.sha256(entry).digest()):
        yield entry + b"\n\n"


def anarchism(package: tarfile.TarFile) -> Iterator[bytes]:
    """Yield the pages of the FAQ in the order of their names, one line a paragraph, UTF-8.

    Raises:
        DataError: the package holds something else.
    """
    names = sorted(name for name in package.getnames() if _PAGES.fullmatch(name))
    if not names:
        raise DataError("usr/share/doc/anarchism/html: no pages in this package")
    for name in names:
        content = _member(package, name)
        page = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
        # Line ends mean nothing in HTML, so that only tags make new lines.
        page = _BREAK.sub("\n", " ".join(_UNREAD.sub("", page).split()))
        plain = html.unescape(_TAG.sub("", page))
        lines = (" ".join(line.split()) for line in plain.translate(_PLAIN_MARKS).split("\n"))
        kept = (line for line in lines if line and not line.startswith(_NAVIGATION) and not line.endswith(_NAVIGATION))
        yield ("\n".join(kept) + "\n\n").encode()


def _member(package: tarfile.TarFile, name: str) -> bytes:
    try:
        file = package.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise DataError(f"{name}: not in this package")
    return file.read()
