"""The `text` task: predict the next byte or letter of a text that is read as contiguous streams."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tasks.base import TaskSpec
from tasks.batch import SPLITS, Batch, Split
from tasks.data.cache import build_verified, data_directory, read_note, sealed, write_atomically
from tasks.data.leaks import LEAST_TEXT_SHARE, text_leaks, warn_of_leaks
from tasks.errors import DataError
from tasks.options import OptionValue
from tasks.text.corpus import LEAST_CHARACTERS, SPLITS_NEED, TextFile, open_text, read_blocks, split_borders
from tasks.text.ngrams import ngram_yardsticks

# ASCII letters differ between the cases by this one bit; every other byte becomes a space
_TO_LETTERS = bytes(c | 0x20 if chr(c).isascii() and chr(c).isalpha() else 0x20 for c in range(256))
_LETTERS = tuple(b" abcdefghijklmnopqrstuvwxyz")
_DROPPED = {"plain": b"", "no-newlines": b"\n", "letters": b""}
_SPACES = re.compile(b" +")


class Stream(NamedTuple):
    """Characters of one split, memory-mapped."""

    characters: npt.NDArray[np.uint8]
    """Byte values, [n]."""
    bytes_per_character: float
    """Bytes of the source for one remaining character (1 when nothing was dropped)."""


class TextTask:
    """Byte-level or letter-level language modelling.

    Training reads `batch_size` streams that are spread evenly over the train split, rotated by an offset that depends
    on the seed, and wrap around at its end. Evaluation covers every character of a split but its first exactly once.
    """

    def __init__(
        self, spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
    ) -> None:
        self.spec = spec
        source = open_text(str(options["data"]), cache_dir=cache_dir, where=f"{where}.data")
        self.data_name, self.data_sha256, self._path = spec.data_name, source.sha256, source.path
        transform = _transform_name(options)
        if transform != "letters" and options["unseen"] == "refuse":
            _refuse_unseen(source, dropped=_DROPPED[transform], where=f"{where}.data")
        self._directory, self._note = data_directory(cache_dir), f"{source.sha256[:24]}-{transform}"
        self._streams = _streams(source, transform, self._directory, f"{where}.data")
        warn_of_leaks(
            spec.data_name,
            self._note,
            self._directory,
            lambda: text_leaks({split: stream.characters for split, stream in self._streams.items()}),
            above=LEAST_TEXT_SHARE,
        )
        self._ids = _byte_table(_LETTERS if transform == "letters" else source.symbols, dropped=_DROPPED[transform])

    def stream(self, split: Split) -> Stream:
        """Return the characters of a split."""
        return self._streams[split]

    def ids(self, characters: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return the symbol ids (0..n_in-1, in the order of byte values) of characters, in the same shape.

        Raises:
            DataError: a character that the text did not have when it was read as a whole.
        """
        # A table of 256 entries turns a whole batch of bytes into ids in one indexing.
        ids = self._ids[characters]
        if ids.size and ids.min() < 0:
            raise DataError(f"{self._path}: holds bytes that it did not hold before; it was changed during training")
        return ids

    def facts(self) -> Mapping[str, Any]:
        """Return what n-grams reach on the test split and how many characters there are to train on."""
        yardsticks = ngram_yardsticks(
            self._note,
            self._directory,
            lambda train, test: (
                self.ids(self._streams["train"].characters[-train:]),
                self.ids(self._streams["test"].characters[:test]),
            ),
            self.spec.n_in,
        )
        return {"yardsticks": yardsticks, "train_size": len(self._streams["train"].characters)}

    def train_batch(self, step: int, *, seed: int, batch_size: int, length: int) -> Batch:
        """Return segment `step` of every stream: x and y int64 [B, T], y one character ahead of x."""
        text = self._streams["train"]
        n = len(text.characters)
        # a function of step and seed alone, so that a resumed trial needs no state of an iterator
        shift = int(np.random.default_rng([seed, 0]).integers(n))
        # The seed moves where all streams begin, so that seeds see the text in another order though the text is the
        # same.
        starts = (shift + np.arange(batch_size, dtype=np.int64) * n // batch_size + step * length) % n
        ids = self.ids(text.characters[(starts[:, None] + np.arange(length + 1)) % n])
        return self._batch(ids, None, starts_fresh=step == 0, text=text)

    def eval_batches(self, split: Split, *, batch_size: int, length: int, max_batches: int | None) -> Iterator[Batch]:
        """Yield consecutive segments of `batch_size` contiguous streams; padding has weight 0."""
        text = self._streams[split]
        targets = len(text.characters) - 1  # nothing comes before the first character that could predict it
        # one contiguous stream a row, because the state is carried along it; the last one may be shorter
        per_stream = math.ceil(targets / batch_size)
        starts = np.arange(batch_size, dtype=np.int64)[:, None] * per_stream
        count = math.ceil(per_stream / length)
        for index in range(count if max_batches is None else min(count, max_batches)):
            offset = index * length + np.arange(length + 1)
            # a stream's last segment may reach into the next one, and the last stream beyond the text: weight 0 there
            position = starts + offset
            inside = (offset[:-1] < per_stream) & (position[:, :-1] < targets)
            ids = self.ids(text.characters[np.minimum(position, targets)])
            yield self._batch(ids, None if inside.all() else inside, starts_fresh=index == 0, text=text)

    def _batch(
        self, ids: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_] | None, *, starts_fresh: bool, text: Stream
    ) -> Batch:
        both = torch.from_numpy(ids)
        x, y = both[:, :-1].contiguous(), both[:, 1:].contiguous()
        weight = None if inside is None else torch.from_numpy(inside.astype(np.float32))
        characters = y.numel() if inside is None else int(inside.sum())
        return Batch(x, y, weight, starts_fresh, characters * text.bytes_per_character)


def _transform_name(options: Mapping[str, OptionValue]) -> str:
    if options["alphabet"] == "letters":
        return "letters"
    return "no-newlines" if options["newline"] == "drop" else "plain"


def _streams(source: TextFile, transform: str, directory: Path, where: str) -> dict[Split, Stream]:
    """Memory-map the three splits; a transformed text is written to the cache once."""
    original = split_borders(source.size)
    path, borders = source.path, list(original)
    if transform != "plain":
        # Named by the hash of the source, so that a changed file gets a transformed text of its own.
        path = directory / "text" / f"{source.sha256[:24]}-{transform}.u8"
        note = path.with_suffix(".json")

        def build() -> None:
            _write_transformed(source.path, original, transform, path, note)

        build_verified(path, build)
        # the split is by bytes of the source, so that every variant of a text trains on the same part of it
        borders = read_note(note, build, _read_borders)
    if min(np.diff(borders)) < LEAST_CHARACTERS:
        raise DataError(f"{where}: {source.path} is too short; {SPLITS_NEED}")
    # Mapped and not read, so that the trials of one machine share the pages.
    characters = np.memmap(path, dtype=np.uint8, mode="r")
    if len(characters) != borders[-1]:
        raise DataError(f"{path}: holds {len(characters)} bytes instead of {borders[-1]}; delete it and start again")
    return {
        split: Stream(characters[a:b], (original[i + 1] - original[i]) / (b - a))
        for i, (split, a, b) in enumerate(zip(SPLITS, borders[:-1], borders[1:], strict=True))
    }


def _read_borders(note: Any) -> list[int]:
    borders = [int(border) for border in note["borders"]]
    if len(borders) != len(SPLITS) + 1 or borders[0] != 0 or borders != sorted(borders):
        raise ValueError("not the borders of three splits")
    return borders


def _write_transformed(plain: Path, original: tuple[int, ...], transform: str, path: Path, note: Path) -> None:
    borders = [0]
    with write_atomically(path) as file:
        for start, end in itertools.pairwise(original):
            blocks = read_blocks(plain, start, end)
            # Written block by block, since a text may be larger than the memory.
            written = sum(map(file.write, _letters(blocks) if transform == "letters" else _without_newlines(blocks)))
            borders.append(borders[-1] + written)
    with write_atomically(note) as file:
        file.write(sealed({"borders": borders}))


def _without_newlines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    return (block.translate(None, b"\n") for block in blocks)


def _letters(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Keep a-z without case and turn every run of other bytes, also across blocks, into one space (as text8 does)."""
    after_space = False
    for block in blocks:
        spaced = _SPACES.sub(b" ", block.translate(_TO_LETTERS))
        yield spaced[1:] if after_space and spaced.startswith(b" ") else spaced
        after_space = spaced.endswith(b" ")


def _refuse_unseen(source: TextFile, *, dropped: bytes, where: str) -> None:
    # a symbol that training never shows has no trained probability: the test loss would measure the initial weights
    unseen = [value for value in source.unseen if value not in dropped]
    if unseen:
        shown = ", ".join(f"0x{value:02x}" for value in unseen[:8])
        raise DataError(
            f"{where}: {len(unseen)} byte values in valid or test of {source.path} never occur in train ({shown}); "
            "use alphabet: letters, or unseen: allow"
        )


def _byte_table(symbols: Iterable[int], *, dropped: bytes) -> npt.NDArray[np.int64]:
    """Return the id of each of the 256 byte values; bytes that do not occur have id -1."""
    kept = [value for value in symbols if value not in dropped]
    # -1 and no other symbol's id: a byte that does not occur must not pass for one that does.
    table = np.full(256, -1, dtype=np.int64)
    table[kept] = np.arange(len(kept))
    return table
