"""`python -m benchmarks.text_baselines [DATA ...]`: what n-grams reach on texts, the yardsticks of the task `text`.

The models are those of Witten and Bell 1991, method C. The order-1 column is where the baseline of a task specification
(tasks/text/spec.py) comes from.
"""

import itertools

import click
import numpy as np
import numpy.typing as npt

from tasks.loaders import load_task
from tasks.text.text import TextTask

VARIANTS: tuple[dict[str, str], ...] = ({}, {"newline": "drop"}, {"alphabet": "letters"})
"""options of the task whose yardsticks are printed"""
_ORDERS = (0, 1, 2)
_MOST_COUNTERS = 1 << 24
"""Counters of 8 bytes that are held at once: 128 MiB (assumption)."""


@click.command()
@click.argument("data", nargs=-1)
def main(data: tuple[str, ...]) -> None:
    """Print bits per character of n-grams of order 0, 1 and 2 on the valid and test split of every variant.

    DATA is what a grid may give as `data` of the task `text`; the embedded text where nothing is given.
    """
    click.echo(f"{'data':<24} {'split':<6} characters" + "".join(f" order {order}" for order in _ORDERS))
    for source, options in itertools.product(data or ("embedded",), VARIANTS):
        task = load_task("text", {"data": source, **options})
        assert isinstance(task, TextTask)
        # The task's own symbols and splits, so that the yardstick is measured on exactly what networks read.
        train, *others = (task.ids(task.stream(split).characters) for split in ("train", "valid", "test"))
        for split, other in zip(("valid", "test"), others, strict=True):
            bpc = [witten_bell_bpc(train, other, order=order, n_symbols=task.spec.n_in) for order in _ORDERS]
            click.echo(
                f"{task.data_name:<24} {split:<6} {len(other):>10,}" + "".join(f" {value:>7.3f}" for value in bpc)
            )


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


if __name__ == "__main__":
    main()
