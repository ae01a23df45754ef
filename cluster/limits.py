"""The one table of limits on what people and files may ask for, each with its reason.

They are checked before anything is expanded, so that a slip of the keyboard (`seeds: 1000000000`) ends in one line and
not in a machine without memory. README.md of `sweeper` shows the table; a test holds the two together.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from cluster.errors import SettingError


class LimitError(SettingError):
    """A value of the right kind outside of its limits."""


class Limit(NamedTuple):
    """The smallest and largest value of one quantity."""

    least: float
    """Smallest value, included."""
    most: float
    """Largest value, included."""
    quantity: str
    """What is counted or measured, for messages and the table."""
    reason: str
    """Why there is a limit, and why there."""


LARGEST_WHOLE = 2**53 - 1
_YEAR_H = 8_760
_YEAR_S = 3600 * _YEAR_H

LIMITS: Mapping[str, Limit] = {
    # Files
    "file": Limit(0, 2**20, "bytes of a YAML file", "a grid that lists 10,000 trials one by one has 0.5 MB"),
    "depth": Limit(0, 20, "levels of nesting of a YAML file", "grids and profiles have up to six"),
    "values": Limit(
        0, 200_000, "values of a YAML file, aliases written out", "a few references can stand for billions"
    ),
    "text": Limit(0, 4_096, "characters of one value", "no path of Linux is longer"),
    "number": Limit(-1e30, 1e30, "any number", "float32 ends at 3.4e38, and squares must still be finite in float64"),
    "whole": Limit(-LARGEST_WHOLE, LARGEST_WHOLE, "any whole number", "JSON and float64 hold no larger one exactly"),
    "name": Limit(1, 100, "characters of a sweep's name", "file names end at 255 bytes, and endings are added to it"),
    # What a grid expands to
    "points": Limit(
        1, 200_000, "points of a grid, replicates included", "planning them takes half a minute and 100 MB"
    ),
    "count": Limit(2, 1_000, "values of a range", "a figure shows no finer steps, and axes multiply"),
    "seeds": Limit(
        1, 10_000, "replicates", "the noise of a mean falls with their root: 10,000 leave a hundredth of it"
    ),
    "seed": Limit(0, LARGEST_WHOLE, "a seed", "JSON and float64 hold no larger whole number exactly"),
    "trials": Limit(1, 10_000, "trials of a search, and of one batch", "every batch is chosen from all rows before it"),
    # Networks
    "budget": Limit(1, 10**10, "a parameter budget P", "with gradient and two moments 160 GB: no device holds more"),
    "size": Limit(0, 10_000_000, "one size of a network", "a larger one alone exceeds the largest budget"),
    "target": Limit(1, 10**10, "a k_e or k_c to come near to", "as the largest budget"),
    "l_mlp": Limit(
        0, 64, "hidden layers of a neuron's MLP", "they are trained one after the other, at every time step"
    ),
    # Training
    "steps": Limit(1, 1_000_000_000, "optimiser steps", "at 1 ms each they take 12 days"),
    "warmup_steps": Limit(0, 1_000_000_000, "steps of warm-up", "as the optimiser steps"),
    "batch_size": Limit(1, 100_000, "sequences of a batch", "one batch must fit the memory of one device"),
    "length": Limit(1, 1_000_000, "time steps of a sequence", "gradients go back through all of them"),
    "tokens": Limit(1, 100_000_000, "batch_size x length", "the symbols of such a batch alone take 0.8 GB"),
    "exponent": Limit(-10, 10, "an exponent of a learning-rate rule", "measured ones lie between -1 and 1"),
    "learning_rate": Limit(0, 100, "a learning rate", "Adam moves each weight by about as much in one step"),
    # Commands
    "hours": Limit(0, _YEAR_H, "hours of a launch, or to spend", "a year"),
    "minutes": Limit(0, 60 * _YEAR_H, "minutes of a launch", "a year"),
    "seconds": Limit(0, _YEAR_S, "seconds of a trial, of a job or between checkpoints", "a year"),
    "lanes": Limit(1, 100_000, "lanes", "the queue was measured with thousands of them"),
    "threads": Limit(1, 1_000, "threads of a trial", "no machine has more cores that share their memory fast"),
    "packed": Limit(1, 1_000, "trials that share a GPU, or are trained in one go", "each has weights of its own"),
    "starts": Limit(8, 10_000, "searches per fit", "they are held in memory together"),
    "draws": Limit(0, 100_000, "bootstrap draws", "the ends of a 95 % interval are then known to 1 % of its width"),
    "port": Limit(0, 65_535, "a port", "TCP has no more"),
    # Clusters
    "nodes": Limit(0, 100_000, "nodes of a cluster", "no cluster has more"),
    "per_node": Limit(0, 10_000, "CPU cores or GPUs of a node", "no machine has more"),
    "memory": Limit(1, 2**30, "MiB of memory of a node", "a pebibyte: no machine has more"),
    "preemptions": Limit(0, 60, "preemptions of a node per hour", "a node lost each minute ends no trial"),
    "spread": Limit(0, 10, "standard deviation of a logarithm", "a factor of e^10 = 22,000 is no forecast any more"),
    "times": Limit(0, 1_000_000, "repetitions of a job", "each takes seconds at least"),
}


def check_limit(key: str, value: float, place: str) -> None:
    """Refuse a value outside of its limits.

    Args:
        key: of `LIMITS`.
        value: what was asked for; NaN is outside of every limit.
        place: path of the setting in its file, or the option.

    Raises:
        LimitError: the value is outside; the message names place, value, limit and reason.
    """
    limit = LIMITS[key]
    # As one comparison, which NaN fails.
    if limit.least <= value <= limit.most:
        return
    raise LimitError(f"{place}: {shown(value)} is not allowed; {limit.quantity}: {allowed(key)}")


def allowed(key: str) -> str:
    """A limit in words, with its reason."""
    limit = LIMITS[key]
    return f"{_number(limit.least)} to {_number(limit.most)} ({limit.reason})"


def shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    # Python refuses to write out integers of more than 4,300 digits, so that the message itself would fail.
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a whole number of about {round(value.bit_length() * math.log10(2))} digits"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text):,} characters)"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
