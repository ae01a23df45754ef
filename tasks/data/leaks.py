"""What a network is trained on and then tested on: looked for once per data set, and kept with its hash.

A test score says little where the test repeats the training data. Labelled sequences are compared whole; of a text,
which is one long sequence, blocks of 64 characters are looked for at every position of the training split.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.data.cache import read_note, sealed, write_atomically
from tasks.errors import DataError

Hashes = npt.NDArray[np.uint64]

LEAST_TEXT_SHARE = 0.05
"""Share of a text's blocks below which nothing is said: an assumption. Encyclopaedia articles share one block in a
hundred, their markup and stock phrases."""
BLOCK = 64
"""Characters of a text that count as copied when they stand in the training split as well. An assumption: long enough
that English prose does not repeat them by chance, short enough to find quotations and boilerplate."""
_CHUNK = 1 << 22
"""Positions of the training text that are hashed at a time: 32 MiB of hashes."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that no power of it vanishes modulo 2^64; 2^64 divided by the golden ratio, as Fibonacci hashing takes it."""
_TABLE_BITS = 22
"""Leading bits that index the table of wanted hashes: 4 MiB of booleans."""
_TABLE_SHIFT = np.uint64(64 - _TABLE_BITS)
_log = logging.getLogger(__name__)
_announced: set[str] = set()
_found: dict[str, list["Leak"]] = {}
"""What the last load of each data set found, by its name."""


class Leak(NamedTuple):
    """How much of one split stands in the training split."""

    split: str
    """`valid` or `test`."""
    repeated: int
    """Sequences, or blocks of text, of the split that the training split holds too."""
    total: int
    """Sequences, or blocks of text, that the split has."""
    unit: str
    """What was compared, in the plural."""

    @property
    def share(self) -> float:
        """Repeated part, 0 to 1."""
        return self.repeated / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.repeated:,} of {self.total:,} {self.unit} of {self.split} ({self.share:.1%}) also stand in train"


def sequence_hashes(sequences: Iterable[npt.NDArray[np.generic]]) -> Hashes:
    """Hash whole sequences.

    Args:
        sequences: arrays of any shape; equal content of equal type gives equal hashes.

    Returns:
        Hashes, uint64 [n].
    """
    # 64 bits: among a million sequences the chance that two unlike ones share a hash is 3 in 100 million
    digests = [hashlib.blake2b(np.ascontiguousarray(part).tobytes(), digest_size=8).digest() for part in sequences]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def sequence_leaks(hashes: Mapping[str, Hashes], unit: str) -> list[Leak]:
    """Compare the splits of a set of sequences with its training split.

    Args:
        hashes: of every split, `train` among them.
        unit: what a sequence is called, in the plural.
    """
    # A sorted array of distinct hashes, in which the other splits are then looked up.
    train = np.unique(hashes["train"])
    return [
        Leak(split, int(np.isin(of_split, train).sum()), len(of_split), unit)
        for split, of_split in hashes.items()
        if split != "train"
    ]


def text_leaks(characters: Mapping[str, npt.NDArray[np.uint8]]) -> list[Leak]:
    """Look for the blocks of validation and test at every position of the training text.

    Args:
        characters: byte values of every split, `train` among them, uint8 [n]; may be memory-mapped.
    """
    # Blocks of validation and test stand side by side, so that each character counts once; the training text is
    # searched at every position, because a copy need not begin at a multiple of the block.
    blocks = {split: _window_hashes(text)[::BLOCK] for split, text in characters.items() if split != "train"}
    copied = {split: np.zeros(len(hashes), dtype=bool) for split, hashes in blocks.items()}
    # A table of the hashes' leading bits tells most positions of the training text apart from all blocks at once, so
    # that only the few left have to be sorted: a second instead of a quarter of a minute for 5 MB.
    table = np.zeros(1 << _TABLE_BITS, dtype=bool)
    for hashes in blocks.values():
        table[hashes >> _TABLE_SHIFT] = True
    train = characters["train"]
    for start in range(0, max(len(train) - BLOCK + 1, 0), _CHUNK):
        # Chunks overlap by a block less one, so that no window is lost between them.
        windows = _window_hashes(train[start : start + _CHUNK + BLOCK - 1])
        windows = windows[table[windows >> _TABLE_SHIFT]]
        for split, hashes in blocks.items():
            copied[split] |= np.isin(hashes, windows)
    return [Leak(split, int(mask.sum()), len(mask), f"blocks of {BLOCK} characters") for split, mask in copied.items()]


def _window_hashes(text: npt.NDArray[np.uint8]) -> Hashes:
    """Hash the BLOCK characters from every position on, uint64 [n - BLOCK + 1].

    The hash is a polynomial modulo 2^64. Windows of twice the length are made of two of half the length, so that it
    takes log2(BLOCK) passes over the text instead of BLOCK.
    """
    if len(text) < BLOCK:
        return np.zeros(0, dtype=np.uint64)
    hashes = text.astype(np.uint64) + np.uint64(1)  # a run of zero bytes must depend on its length too
    factor, length = _MULTIPLIER, 1
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is what is wanted
        while length < BLOCK:
            hashes = hashes[:-length] * factor + hashes[length:]
            factor, length = factor * factor, 2 * length
    return hashes


def noted_leaks(name: str, directory: Path, find: Callable[[], list[Leak]]) -> list[Leak]:
    """Look for leaks once per data set; a note in the data directory spares every later trial the search.

    Args:
        name: of the note; must change with the data and with how they are split.
        directory: data directory.
        find: looks for them.
    """
    note = directory / "leaks" / f"{name}.json"
    searches: list[list[Leak]] = []  # what this process found, also where it found none

    def build() -> None:
        searches.append(find())
        with write_atomically(note) as file:
            file.write(sealed([leak._asdict() for leak in searches[0]]))

    try:
        noted = read_note(note, build, _read_leaks)
    except DataError:  # a data directory that others own may be read-only; the search then costs its time again
        return searches[0] if searches else find()
    return searches[0] if searches else noted


def _read_leaks(entries: Any) -> list[Leak]:
    leaks = [Leak(**leak) for leak in entries]
    if not all(0 <= leak.repeated <= leak.total for leak in leaks):
        raise ValueError("not what a search finds")
    return leaks


def warn_of_leaks(
    data_name: str, name: str, directory: Path, find: Callable[[], list[Leak]], *, above: float = 0.0
) -> None:
    """Say once per process that a split repeats more of the training data than a share `above`, 0 to 1.

    Args:
        data_name: of the data set, for people.
        name: see `noted_leaks`.
        directory: data directory.
        find: looks for leaks.
        above: share up to which nothing is said.
    """
    _found[data_name] = noted_leaks(name, directory, find)
    for leak in _found[data_name]:
        line = f"{data_name}: {leak}"
        if leak.share > above and line not in _announced:
            # Every trial of a process loads the data again, and one warning is enough.
            _announced.add(line)
            _log.warning("%s; scores on it tell less about new data than they seem to", line)


def known_leaks(data_name: str) -> list[Leak] | None:
    """Return what was found when this process last loaded a data set; None where nothing was looked for."""
    return _found.get(data_name)
