"""The task `listops`: the value of a nested expression over digits (Nangia and Bowman 2018; rules of the arena)."""

import hashlib
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.base import TaskSpec
from tasks.batch import Split
from tasks.data.cache import build_verified, data_directory, write_atomically
from tasks.errors import DataError
from tasks.options import OptionValue
from tasks.sequences.sequences import Numbers, SequenceTask, SplitData

PADDING, FIRST_DIGIT, FIRST_OPERATOR, CLOSE = 0, 1, 11, 15
OPERATORS = ("MIN", "MAX", "MED", "SM")
SYMBOLS = 16
"""Padding, ten digits, four operators with their opening bracket, and the closing bracket."""
# A node is a digit with this probability, and always at the deepest level.
_DIGIT_SHARE = 0.75
# A constant and no option: every trial sees the same expressions, and its own seed only changes their order.
_SEED = 0


class Rules(NamedTuple):
    """What expressions are kept; a length counts operators, digits and closing brackets."""

    above: int
    """Expressions are longer than this."""
    below: int
    """Expressions are shorter than this; also the length of the padded sequence."""
    max_depth: int
    """Deepest level; the root is at level 1."""
    max_arguments: int
    """Most arguments of an operator; the fewest are 2."""


RULES = {"small": Rules(20, 100, 6, 5), "lra": Rules(500, 2000, 10, 10)}
"""`lra` as in the Long Range Arena; `small` is an assumption, for trials of minutes on a laptop."""


def expression(source: random.Random, rules: Rules) -> tuple[list[int], int]:
    """Draw one expression.

    Only `source.random()` is used, whose sequence Python guarantees for all versions.

    Args:
        source: random numbers.
        rules: depth and number of arguments.

    Returns:
        Symbol ids in reading order, and the value 0..9.
    """
    symbols: list[int] = []
    return symbols, _node(source, rules, 1, symbols)


def _node(source: random.Random, rules: Rules, depth: int, symbols: list[int]) -> int:
    # A digit is drawn before an operator is, and at the deepest level without asking, so that every expression ends.
    if depth >= rules.max_depth or source.random() < _DIGIT_SHARE:
        # Ten digits alike, drawn by `random` as everything else here.
        value = int(source.random() * 10)
        symbols.append(FIRST_DIGIT + value)
        return value
    operator = int(source.random() * len(OPERATORS))
    # An operator and its opening bracket are one symbol, as in the arena's files.
    symbols.append(FIRST_OPERATOR + operator)
    count = 2 + int(source.random() * (rules.max_arguments - 1))
    values = [_node(source, rules, depth + 1, symbols) for _ in range(count)]
    symbols.append(CLOSE)
    return evaluate(OPERATORS[operator], values)


def evaluate(operator: str, values: list[int]) -> int:
    """Apply an operator: the median is cut to a whole number, the sum is taken modulo 10."""
    match operator:
        case "MIN":
            return min(values)
        case "MAX":
            return max(values)
        case "MED":
            ordered, middle = sorted(values), len(values) // 2
            return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) // 2
        case _:
            return sum(values) % 10


def distinct_expressions(rules: Rules, count: int) -> Iterator[tuple[bytes, int]]:
    """Yield `count` different expressions of a length within the rules, always the same ones."""
    source, drawn = random.Random(_SEED), set[bytes]()  # distinct, or the test set would repeat the training set
    # Three quarters of all expressions are single digits, and many others have a length that the rules do not keep.
    while len(drawn) < count:
        symbols, value = expression(source, rules)
        if rules.above < len(symbols) < rules.below and (key := bytes(symbols)) not in drawn:
            drawn.add(key)
            yield key, value


class Expressions:
    """Stored expressions."""

    def __init__(
        self, symbols: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], values: Numbers, length: int
    ) -> None:
        self._symbols, self._offsets, self._values, self._length = symbols, offsets, values, length

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return symbol ids, int64 [B, T]; padding comes first, so that the expression ends at the last step."""
        ids = np.full((len(numbers), self._length), PADDING, dtype=np.int64)
        for row, number in enumerate(numbers):
            symbols = self._symbols[self._offsets[number] : self._offsets[number + 1]]
            ids[row, self._length - len(symbols) :] = symbols
        return torch.from_numpy(ids)

    def targets(self, numbers: Numbers) -> Numbers:
        """Return the values 0..9, [B]."""
        values: Numbers = self._values[numbers]
        return values


def load_listops(
    spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
) -> SequenceTask:
    """Load the task `listops`; the expressions are drawn once and kept in the cache directory."""
    rules = RULES[str(options["size"])]
    # test and valid come first in the stream of expressions, so that more training examples leave them as they are
    sizes = [int(options[f"{split}_examples"]) for split in ("test", "valid", "train")]
    # Everything that the expressions depend on, so that a change of any of them makes new ones.
    tag = f"{rules}|{sum(sizes)}|{_SEED}"
    store = data_directory(cache_dir) / "listops" / hashlib.sha256(tag.encode()).hexdigest()[:24]
    build_verified(store.with_suffix(".npy"), lambda: _write(store, rules, sum(sizes)))
    symbols = np.load(store.with_suffix(".npy"), mmap_mode="r")
    with np.load(store.with_suffix(".npz")) as arrays:
        offsets, values, sha256 = arrays["offsets"], arrays["values"].astype(np.int64), str(arrays["sha256"])
    if len(symbols) != offsets[-1]:
        raise DataError(f"{store}.npy: damaged; delete it and {store.name}.npz and start again")
    expressions = Expressions(symbols, offsets, values, spec.length)
    borders = np.cumsum([0, *sizes])
    splits: dict[Split, SplitData] = {
        "test": SplitData(expressions, np.arange(borders[0], borders[1])),
        "valid": SplitData(expressions, np.arange(borders[1], borders[2])),
        "train": SplitData(expressions, np.arange(borders[2], borders[3])),
    }
    return SequenceTask(spec, sha256, splits, where=where)


def _write(store: Path, rules: Rules, count: int) -> None:
    keys, values = zip(*distinct_expressions(rules, count), strict=True)
    # One long array and offsets, since expressions differ in length.
    symbols = np.frombuffer(b"".join(keys), dtype=np.uint8)
    classes = np.array(values, dtype=np.uint8)
    with write_atomically(store.with_suffix(".npy")) as file:
        np.save(file, symbols)
    with write_atomically(store.with_suffix(".npz")) as file:
        np.savez(
            file,
            offsets=np.concatenate([[0], np.cumsum([len(key) for key in keys])]),
            values=classes,
            sha256=hashlib.sha256(symbols.tobytes() + classes.tobytes()).hexdigest(),
        )
