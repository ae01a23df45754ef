import math

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.text_baselines import VARIANTS, main
from tasks.spec import task_spec
from tasks.text import ngrams
from tasks.text.ngrams import witten_bell_bpc


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


@pytest.mark.parametrize("most_counters", [1 << 24, 30])  # 30: pairs are counted, triples are sorted
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_equals_the_definition(order: int, most_counters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "_MOST_COUNTERS", most_counters)
    random = np.random.default_rng(1)
    train, other = random.integers(0, 5, 60), random.integers(0, 6, 40)
    measured = witten_bell_bpc(train, other, order=order, n_symbols=6)
    assert measured == pytest.approx(reference(train.tolist(), other.tolist(), order, 6), rel=1e-12)


def test_the_command_prints_the_baselines_that_the_specification_holds() -> None:
    output = CliRunner().invoke(main, catch_exceptions=False).output
    rows = [line.split() for line in output.splitlines()[1:]]
    assert [(row[0], row[1], int(row[2].replace(",", "")), *map(float, row[3:])) for row in rows] == [
        ("enwiki-mini", "valid", 304_487, 5.133, 4.0, 3.195),
        ("enwiki-mini", "test", 304_488, 5.086, 3.919, 3.183),
        ("enwiki-mini/no-newlines", "valid", 302_885, 5.113, 4.003, 3.203),
        ("enwiki-mini/no-newlines", "test", 302_958, 5.065, 3.921, 3.189),
        ("enwiki-mini/letters", "valid", 266_415, 4.168, 3.559, 2.962),
        ("enwiki-mini/letters", "test", 269_429, 4.161, 3.510, 2.953),
    ]
    baselines = [task_spec("text", options).baseline for options in VARIANTS]
    assert baselines == [3.919, 3.921, 3.510]
