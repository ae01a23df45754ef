"""What a task declares of itself: its specification, and the entry by which it is found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from tasks.options import Option, OptionValue

Options = Mapping[str, OptionValue]


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Everything that planning, training and reporting need to know about a task."""

    name: str
    """Task name as in the grid file."""
    data_name: str
    """Name of the data set that results must carry, such as "enwiki-mini/letters"."""
    n_in: int
    """Input channels of the network (symbols for ids)."""
    n_out: int
    """Outputs of the network."""
    length: int
    """Default sequence length in time steps."""
    loss: Literal["cross_entropy", "spikes_and_voltage"]
    """Training loss."""
    loss_on: Literal["every_step", "last_step"]
    """Time steps that the loss and the metric look at."""
    metric: str
    """Name of the main metric in result dictionaries: "bpc", "accuracy" or "auc"."""
    direction: Literal["min", "max"]
    """Whether a smaller or a larger metric is better."""
    chance: float
    """Metric of a network that knows nothing: uniform guesses."""
    baseline: float | None
    """Test metric of the trivial baseline (order-1 n-gram, majority class); None when only the data can tell."""
    input_kind: Literal["ids", "spikes", "real"]
    """ids: int64 [B, T] to be one-hot encoded; spikes: uint8 counts [B, T, n_in]; real: float32 [B, T, n_in]."""
    carry_state: bool
    """Whether consecutive batches continue each other, so that the state is carried."""


class Place(NamedTuple):
    """Where a specification is asked for."""

    where: str
    """path of the task in the grid file, for messages"""
    cache_dir: str | Path | None
    """data directory; None for $ELM_DATA_DIR or the user's cache directory"""


class Entry(NamedTuple):
    """A task as `tasks.spec` finds it by name."""

    options: tuple[Option, ...]
    """what a grid may set, with defaults"""
    build: Callable[[Options, Place], TaskSpec]
    """makes the specification from checked options"""
