"""What a model that anybody can train in seconds reaches on a task: networks below it are untrained.

Text has the n-gram of order 3, sequences with one label each have logistic regression on the sums over time.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax

from tasks.batch import SPLITS, Split, Task
from tasks.loaders import load_task
from tasks.text.ngrams import witten_bell_bpc
from tasks.text.text import TextTask

FloatArray = npt.NDArray[np.float64]
Labelled = tuple[FloatArray, npt.NDArray[np.int64]]
"""Inputs, not negative [n, F], and labels [n]."""

ORDER = 3
"""Symbols of context of the n-gram."""

PENALTIES = (0.1, 0.3, 1.0)
"""Weights of the squared coefficients that logistic regression chooses among by the validation split. Smaller ones take
a hundred times as long on shd-mini and change its test accuracy by one recording."""


class Yardstick(NamedTuple):
    """What a simple model reaches on the test split."""

    name: str
    """The model, as a phrase."""
    value: float
    """In the task's metric: bits per character, or accuracy."""
    tests: int
    """Test targets behind it: characters or sequences."""


def ngram(options: Mapping[str, object], *, steps: int, batch_size: int, length: int) -> Yardstick:
    """Train the n-gram of order 3 on the very characters that networks of the task `text` have read.

    Args:
        options: the task's options, as a grid gives them.
        steps: training steps of the networks.
        batch_size: sequences of each step.
        length: characters of each sequence.
    """
    task = load_task("text", options)
    assert isinstance(task, TextTask)
    batches = [task.train_batch(step, seed=0, batch_size=batch_size, length=length).x for step in range(steps)]
    # One stream after the other, as the batches continue them; the few joins between streams change nothing.
    read = np.concatenate([batch.numpy() for batch in batches], axis=1).ravel()
    test = task.ids(task.stream("test").characters)
    value = witten_bell_bpc(read, test, order=ORDER, n_symbols=task.spec.n_in)
    return Yardstick(f"the n-gram of order {ORDER} of the {len(read):,} characters read", value, len(test) - ORDER)


def linear_model(task: str, options: Mapping[str, object]) -> Yardstick:
    """Train logistic regression on the sums over time of a task whose sequences have one label each.

    Args:
        task: name of such a task, with counts or values that are not negative.
        options: the task's options, as a grid gives them.
    """
    loaded = load_task(task, options)
    train, valid, test = (_sums(loaded, split) for split in SPLITS)
    # Chosen by the validation split, as learning rates of networks are.
    tried = [linear_accuracy(train, [valid, test], penalty=penalty) for penalty in PENALTIES]
    return Yardstick("logistic regression on the counts of each channel", max(tried)[1], len(test[1]))


def _sums(task: Task, split: Split) -> Labelled:
    batches = task.eval_batches(split, batch_size=64, length=task.spec.length, max_batches=None)
    inputs, labels = [], []
    for batch in batches:
        # The last batch is filled up with sequences of weight 0.
        real = slice(None) if batch.weight is None else batch.weight.numpy() > 0
        inputs.append(batch.x.numpy().sum(axis=1, dtype=np.float64)[real])
        labels.append(batch.y.numpy()[real])
    return np.concatenate(inputs), np.concatenate(labels)


def linear_accuracy(
    train: Labelled,
    others: Sequence[Labelled],
    *,
    penalty: float,
) -> list[float]:
    """Fit multinomial logistic regression and measure its accuracy on other sets.

    Inputs are taken as ln(1 + x) and scaled to mean 0 and variance 1 of the training set. The loss is the mean cross
    entropy plus half the penalty times the sum of squared coefficients; the intercepts are free.

    Args:
        train: inputs and labels to fit.
        others: inputs and labels, one pair for each accuracy wanted.
        penalty: weight of the squared coefficients, above 0.
    """
    logs, labels = np.log1p(train[0]), train[1]
    mean, spread = logs.mean(axis=0), logs.std(axis=0)
    # A channel that never changes says nothing, and has no spread to divide by.
    spread[spread == 0] = 1.0
    x, classes = (logs - mean) / spread, int(labels.max()) + 1
    target = np.eye(classes)[labels]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        weights, intercepts = _unpacked(flat, classes)
        logs_p = log_softmax(x @ weights + intercepts, axis=1)
        wrong = (np.exp(logs_p) - target) / len(x)
        value = -(logs_p * target).sum() / len(x) + penalty / 2 * (weights**2).sum()
        return float(value), np.vstack([x.T @ wrong + penalty * weights, wrong.sum(axis=0)]).ravel()

    start = np.zeros((x.shape[1] + 1) * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-7})
    weights, intercepts = _unpacked(found.x, classes)
    guesses = [((np.log1p(inputs) - mean) / spread @ weights + intercepts).argmax(axis=1) for inputs, _ in others]
    return [float(np.mean(guess == right)) for guess, (_, right) in zip(guesses, others, strict=True)]


def _unpacked(flat: FloatArray, classes: int) -> tuple[FloatArray, FloatArray]:
    rows = flat.reshape(-1, classes)
    return rows[:-1], rows[-1]
