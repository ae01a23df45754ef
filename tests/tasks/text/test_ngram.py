import math

import numpy as np
import pytest

from tasks.loaders import load_task
from tasks.spec import task_spec
from tasks.text.ngram import witten_bell_bpc
from tasks.text.text import TextTask


def reference(train: list[int], other: list[int], order: int, n_symbols: int) -> float:
    def probability(context: tuple[int, ...], symbol: int) -> float:
        shorter = probability(context[1:], symbol) if context else 1 / n_symbols
        k = len(context)
        following = [train[i + k] for i in range(len(train) - k) if tuple(train[i : i + k]) == context]
        if not following:
            return shorter
        types = len(set(following))
        return (following.count(symbol) + types * shorter) / (len(following) + types)

    bits = [-math.log2(probability(tuple(other[i - order : i]), other[i])) for i in range(order, len(other))]
    return sum(bits) / len(bits)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_equals_the_definition(order: int) -> None:
    random = np.random.default_rng(1)
    train, other = random.integers(0, 5, 60), random.integers(0, 6, 40)
    measured = witten_bell_bpc(train, other, order=order, n_symbols=6)
    assert measured == pytest.approx(reference(train.tolist(), other.tolist(), order, 6), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "oracle"),
    [
        ({}, {0: (5.133, 5.086), 1: (4.000, 3.919), 2: (3.195, 3.183)}),
        ({"alphabet": "letters"}, {0: (4.168, 4.161), 1: (3.559, 3.510)}),
        ({"newline": "drop"}, {1: (4.003, 3.921)}),
    ],
)
def test_yardsticks_of_the_embedded_corpus(options: dict[str, str], oracle: dict[int, tuple[float, float]]) -> None:
    task = load_task("text", options)
    assert isinstance(task, TextTask)
    train, valid, test = (task.ids(task.stream(split).characters) for split in ("train", "valid", "test"))
    for order, (valid_bpc, test_bpc) in oracle.items():
        assert witten_bell_bpc(train, valid, order=order, n_symbols=task.spec.n_in) == pytest.approx(
            valid_bpc, abs=6e-4
        )
        assert witten_bell_bpc(train, test, order=order, n_symbols=task.spec.n_in) == pytest.approx(test_bpc, abs=6e-4)
    assert task_spec("text", options).baseline == oracle[1][1]
