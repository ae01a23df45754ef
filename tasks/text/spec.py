"""Specification of the next-symbol task, known without loading its text."""

import math
from typing import Any

from tasks.base import Options, Place, Room, TaskDefinition, TaskSpec, loaded_by
from tasks.errors import TaskError
from tasks.options import Option
from tasks.text.data_sets import ANARCHISM, DOWNLOADED, ENWIK8, ENWIKI_MINI, GCIDE

_TEXT_SOURCES = {"embedded": ENWIKI_MINI.name} | {name: source.name for name, source in DOWNLOADED.items()}
"""Names of data sets by what a grid calls them."""
_TEXT_OPTIONS = (
    Option(
        name="data",
        default="embedded",
        names=tuple(_TEXT_SOURCES),
        help="'embedded' (enwiki-mini), 'real' (enwik8), 'gcide' or 'anarchism' (Debian packages), fetched once, "
        "or the path of any file, read as bytes",
    ),
    Option(
        name="alphabet",
        default="bytes",
        choices=("bytes", "letters"),
        help="bytes: every distinct byte is a symbol; letters: a-z without case, one space for each run of other bytes",
    ),
    Option(
        name="newline",
        default="keep",
        choices=("keep", "drop"),
        help="drop removes line feeds, as in the 204-symbol stream of published enwik8 results (alphabet: bytes only)",
    ),
    Option(
        name="unseen",
        default="refuse",
        choices=("refuse", "allow"),
        help="what to do when valid or test hold a byte that train lacks (alphabet: bytes)",
    ),
)


_LETTERS = 27
"""a to z and the space"""
# Distinct bytes of files that are pinned by their hashes, so that these numbers cannot change.
_BYTE_SYMBOLS = {"enwiki-mini": 201, "enwik8": 205, "gcide": 96, "anarchism": 112}
# As the loader counts them.
_TRAIN_SYMBOLS = {
    "enwiki-mini": 5_480_771,
    "enwiki-mini/letters": 4_705_586,
    "enwiki-mini/no-newlines": 5_444_705,
    "enwik8": 90_000_000,
    "gcide": 31_740_006,
    "gcide/letters": 25_109_668,
    "gcide/no-newlines": 30_854_227,
    "anarchism": 10_260_569,
    "anarchism/letters": 9_815_071,
    "anarchism/no-newlines": 10_241_966,
}

# Test bits per character of the order-1 Witten-Bell model of the train split:
# `python -m benchmarks.text_baselines embedded gcide anarchism`.
_ORDER_1_BPC = {
    "enwiki-mini": 3.919,
    "enwiki-mini/letters": 3.510,
    "enwiki-mini/no-newlines": 3.921,
    "gcide": 3.618,
    "gcide/letters": 3.475,
    "gcide/no-newlines": 3.627,
    "anarchism": 3.514,
    "anarchism/letters": 3.343,
    "anarchism/no-newlines": 3.518,
}


class Text(TaskDefinition):
    """Predict the next symbol of a text."""

    options = _TEXT_OPTIONS

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """See `TaskDefinition`. A user's own text file is scanned once for its symbols."""
        letters, drop = options["alphabet"] == "letters", options["newline"] == "drop"
        if letters and drop:
            # Letters turn line feeds into spaces anyway, so that the option would have no effect.
            raise TaskError(
                f"{place.where}.newline: 'drop' goes with alphabet: bytes; with alphabet: letters leave it out"
            )
        source, symbols, size = _text_source(str(options["data"]), letters=letters, drop=drop, place=place)
        data_name = source + ("/letters" if letters else "/no-newlines" if drop else "")
        return TaskSpec(
            name="text",
            data_name=data_name,
            n_in=symbols,
            n_out=symbols,
            length=100,
            loss="cross_entropy",
            loss_on="every_step",
            metric="bpc",
            direction="min",
            chance=math.log2(symbols),
            # A user's own text has no stored baseline, and training its n-gram model would need the data.
            baseline=_ORDER_1_BPC.get(data_name),
            input_kind="ids",
            # Text goes on from one segment to the next, as published networks read it.
            carry_state=True,
            train_size=_TRAIN_SYMBOLS.get(data_name, size),
        )

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """See `TaskDefinition`."""
        return loaded_by("tasks.text.text:TextTask", spec, options, place)

    def packages(self, options: Options, place: Place) -> tuple[str, ...]:
        """Return gensim, which carries the embedded text, or what unpacks a Debian package, until that is done."""
        from tasks.data.fetch import is_present
        from tasks.text.corpus import embedded_path

        data = str(options["data"])
        if data == "embedded":
            return () if embedded_path(place.cache_dir).exists() else ("gensim",)
        packed = data in DOWNLOADED and any(file.packing == "deb" for file in DOWNLOADED[data].files)
        return ("arpy",) if packed and not is_present(DOWNLOADED[data], place.cache_dir) else ()

    def reads_files(self, options: Options) -> bool:
        """Return whether the text is the user's own."""
        return options["data"] not in _TEXT_SOURCES

    def data_sha256(self, options: Options, place: Place) -> str | None:
        """Return that of the user's own text; the others are pinned."""
        if options["data"] in _TEXT_SOURCES:
            return None
        from tasks.text.corpus import quick_sha256_of_text

        return quick_sha256_of_text(str(options["data"]), cache_dir=place.cache_dir, where=f"{place.where}.data")


def _text_source(data: str, *, letters: bool, drop: bool, place: Place) -> tuple[str, int, int | None]:
    """Return the name of the source, its number of symbols, and the bytes that train: at least the symbols that do."""
    # Known sources are described without touching a file.
    if data in _TEXT_SOURCES:
        name = _TEXT_SOURCES[data]
        return name, _LETTERS if letters else _BYTE_SYMBOLS[name] - drop, None
    # Cache and network modules take twice the time of all specifications together (measured: 40 of 65 ms).
    from tasks.text.corpus import open_text, split_borders

    text = open_text(data, cache_dir=place.cache_dir, where=f"{place.where}.data")
    symbols = _LETTERS if letters else len(text.symbols) - (drop and b"\n"[0] in text.symbols)
    return text.name, symbols, split_borders(text.size)[1]


ROOM = Room(tasks={"text": Text()}, data_sets=(ENWIKI_MINI, ENWIK8, GCIDE, ANARCHISM))
