"""The simple models that networks must beat: right on made-up data, and where the tasks' page says on real data."""

import numpy as np
import pytest

from studies.yardsticks import linear_accuracy, linear_model, ngram


def clouds(n: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts of six channels of which each class of three has its own pair of louder ones."""
    random = np.random.default_rng(draw)
    labels = random.integers(3, size=n)
    rates = np.full((n, 6), 5.0)
    for pair in range(2):
        rates[np.arange(n), 2 * labels + pair] = 20.0
    return random.poisson(rates).astype(float), labels


def test_classes_that_a_line_separates_are_told_apart_and_others_are_not():
    train, test = clouds(300, 0), clouds(200, 1)
    assert linear_accuracy(train, [train, test], penalty=0.1)[1] > 0.97
    shuffled = (train[0], np.random.default_rng(2).permutation(train[1]))
    assert linear_accuracy(shuffled, [test], penalty=0.1)[0] < 0.5


def test_a_strong_penalty_leaves_the_most_frequent_class():
    inputs, labels = clouds(300, 0)
    inputs, labels = np.vstack([inputs, inputs[labels == 1]]), np.concatenate([labels, labels[labels == 1]])
    (accuracy,) = linear_accuracy((inputs, labels), [(inputs, labels)], penalty=1e6)
    assert accuracy == pytest.approx(np.mean(labels == 1))


def test_a_channel_that_is_always_silent_does_no_harm():
    inputs, labels = clouds(300, 0)
    silent = np.hstack([inputs, np.zeros((len(inputs), 1))])
    assert linear_accuracy((silent, labels), [(silent, labels)], penalty=0.1)[0] > 0.97


def test_more_text_makes_a_better_n_gram_that_never_beats_the_whole_text():
    letters = {"alphabet": "letters"}
    few, many = (ngram(letters, steps=steps, batch_size=4, length=32) for steps in (50, 400))
    assert few.name.endswith("of the 6,400 characters read")
    # 2.417 of all 4.7 million training characters (benchmarks.text_baselines with order 3).
    assert few.value > many.value > 2.417


@pytest.mark.slow
def test_spoken_digits_are_as_hard_for_counts_alone_as_the_tasks_page_says():
    found = linear_model("shd", {"data": "embedded", "bin_ms": 10})
    assert found.tests == 140
    assert found.value == pytest.approx(0.49, abs=0.03)
