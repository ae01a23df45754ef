"""Yardsticks for text: bits per character of Witten-Bell n-gram models (Witten and Bell 1991, method C)."""

import numpy as np
import numpy.typing as npt


def witten_bell_bpc(train: npt.NDArray[np.int64], other: npt.NDArray[np.int64], *, order: int, n_symbols: int) -> float:
    """Trains an interpolated n-gram on one stream and measures it on another.

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
    probability = np.full(len(other) - order, 1.0 / n_symbols)
    for k in range(order + 1):
        keys, contexts = _grams(train, k, n_symbols)
        other_keys, other_contexts = (part[order - k :] for part in _grams(other, k, n_symbols))
        pairs, pair_counts = np.unique(keys, return_counts=True)
        known, context_counts = np.unique(contexts, return_counts=True)
        types = np.unique(pairs // n_symbols, return_counts=True)[1]
        n = _look_up(known, context_counts, other_contexts)
        t = _look_up(known, types, other_contexts)
        c = _look_up(pairs, pair_counts, other_keys)
        probability = np.where(n > 0, (c + t * probability) / np.maximum(n + t, 1), probability)
    return float(-np.log2(probability).mean())


def _grams(ids: npt.NDArray[np.int64], k: int, n_symbols: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns, for every position from k on, the number of (context, symbol) and of the context alone."""
    context = np.zeros(len(ids) - k, dtype=np.int64)
    for lag in range(k):
        context = context * n_symbols + ids[lag : len(ids) - k + lag]
    return context * n_symbols + ids[k:], context


def _look_up(
    keys: npt.NDArray[np.int64], values: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Returns the value of every wanted key, 0 where it is missing; `keys` are sorted."""
    position = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[position] == wanted, values[position], 0)
