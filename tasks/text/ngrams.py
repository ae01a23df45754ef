"""What n-grams reach on a text, the yardsticks of networks that read it (Witten and Bell 1991, method C)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.data.cache import read_note, sealed, write_atomically
from tasks.errors import DataError

ORDERS = (1, 2, 3)
"""Symbols of context of the yardsticks."""

MOST_TRAIN, MOST_TEST = 4_000_000, 1_000_000
"""Characters, the last ones of the training split and the first ones of the test split, that the yardsticks read, so
that a text of any size takes a few seconds and 0.2 GB (assumption)."""

_MOST_COUNTERS = 1 << 24
"""Counters of 8 bytes that are held at once: 128 MiB (assumption)."""


def ngram_yardsticks(
    name: str,
    directory: Path,
    streams: Callable[[int, int], tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    symbols: int,
) -> Mapping[str, float]:
    """Bits per character of n-grams on the test split, by name; a note spares every later trial the counting.

    Args:
        name: of the note; must change with the data and with how they are split.
        directory: data directory.
        streams: gives symbol ids, of the end of the training split and of the beginning of the test split, at most as
            many as it is asked for.
        symbols: size of the alphabet.
    """
    note = directory / "yardsticks" / f"{name}.json"
    counted: list[dict[str, float]] = []  # what this process counted, also where the note cannot be written

    def build() -> None:
        train, test = streams(MOST_TRAIN, MOST_TEST)
        counted.append(
            {
                f"order-{order} n-gram": witten_bell_bpc(train, test, order=order, n_symbols=symbols)
                for order in ORDERS
                if min(len(train), len(test)) > order
            }
        )
        with write_atomically(note) as file:
            file.write(sealed(counted[0]))

    try:
        return read_note(note, build, _read_yardsticks)
    except DataError:  # a data directory that others own may be read-only
        if not counted:
            raise
        return counted[0]


def _read_yardsticks(note: Any) -> dict[str, float]:
    values = {str(name): float(value) for name, value in note.items()}
    if not all(value > 0 for value in values.values()):
        raise ValueError("not what n-grams reach")
    return values


def witten_bell_bpc(train: npt.NDArray[np.int64], other: npt.NDArray[np.int64], *, order: int, n_symbols: int) -> float:
    """Train an interpolated n-gram on one stream and measure it on another.

    p_k(c | h) = (count(h, c) + types(h) p_{k-1}(c | h')) / (count(h) + types(h)), where h is the last k symbols, h' the
    last k - 1 of them, and p_{-1} = 1 / n_symbols; a context that train lacks falls back to the shorter one.

    Args:
        train: symbol ids, [n].
        other: symbol ids of the stream to be predicted, [m]; its first `order` symbols are context only.
        order: number of context symbols, 0..5 (a context and its symbol must fit 63 bits).
        n_symbols: size of the alphabet.

    Returns:
        Mean of -log2 p over other[order:].
    """
    # Built up from the uniform distribution, one order at a time: each is mixed with the one below it.
    probability = np.full(len(other) - order, 1.0 / n_symbols)
    for k in range(order + 1):
        keys, contexts = _grams(train, k, n_symbols)
        other_keys, other_contexts = (part[order - k :] for part in _grams(other, k, n_symbols))
        pairs, pair_counts = _counted(keys, n_symbols ** (k + 1))
        context_keys, context_counts = _counted(contexts, n_symbols**k)
        # a pair's number over the number of symbols is its context, so equal quotients count the distinct symbols
        types = np.unique(pairs // n_symbols, return_counts=True)[1]
        n = _look_up(context_keys, context_counts, other_contexts)
        t = _look_up(context_keys, types, other_contexts)
        c = _look_up(pairs, pair_counts, other_keys)
        # A context that train lacks says nothing, so the shorter one's probability stays.
        probability = np.where(n > 0, (c + t * probability) / np.maximum(n + t, 1), probability)
    return float(-np.log2(probability).mean())


def _grams(ids: npt.NDArray[np.int64], k: int, n_symbols: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, for every position from k on, the number of (context, symbol) and of the context alone."""
    context = np.zeros(len(ids) - k, dtype=np.int64)
    for lag in range(k):
        # A context is a number in base n_symbols, so that contexts can be sorted and looked up as integers.
        context = context * n_symbols + ids[lag : len(ids) - k + lag]
    return context * n_symbols + ids[k:], context


def _counted(keys: npt.NDArray[np.int64], end: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the distinct keys below `end` in rising order, and how often each occurs."""
    if end > _MOST_COUNTERS:
        distinct, counts = np.unique(keys, return_counts=True)
        return distinct, counts.astype(np.int64)
    # A counter for every possible key, since sorting tens of millions of them takes half a minute.
    counters = np.bincount(keys, minlength=1)
    distinct = np.flatnonzero(counters)
    return distinct, counters[distinct]


def _look_up(
    keys: npt.NDArray[np.int64], values: npt.NDArray[np.int64], queries: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the value of every wanted key, 0 where it is missing; `keys` are sorted."""
    position = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    return np.where(keys[position] == queries, values[position], 0)
