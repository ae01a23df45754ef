"""The interface of a task, `TaskDefinition`, and what a room of tasks declares.

Standard library alone: planning a sweep must not wait for torch. A definition therefore imports what reads data inside
of its `load`.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from tasks.options import Option, OptionValue

Options = Mapping[str, OptionValue]
Loss = Literal["cross_entropy", "mse", "bce", "spikes_and_voltage"]
Direction = Literal["min", "max"]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
METRICS: Mapping[Loss, Mapping[str, Direction]] = {
    "cross_entropy": {"accuracy": "max", "loss": "min", "bpc": "min"},
    "mse": {"mse": "min", "mae": "min", "r2": "max"},
    "bce": {"accuracy": "max", "loss": "min"},
    "spikes_and_voltage": {"auc": "max"},
}
"""Metrics that a task with each loss may call its own, with the better end of each; the first one is usual."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Everything that planning, training and reporting need to know about a task."""

    name: str
    """Task name as in the grid file."""
    # Results never say "enwik8" or "shd" of an embedded stand-in: numbers on it cannot be compared with published ones.
    data_name: str
    """Name of the data set that results must carry, such as "enwiki-mini/letters"."""
    n_in: int
    """Input channels of the network (symbols for ids)."""
    n_out: int
    """Outputs of the network."""
    length: int
    """Default sequence length in time steps."""
    loss: Loss
    """Training loss: of classes, of values (mse), of yes-or-no answers (bce), or of a neuron's spikes and voltage."""
    loss_on: Literal["every_step", "last_step"]
    """Time steps that the loss and the metric look at."""
    metric: str
    """Name of the main metric, one of `METRICS` of the loss."""
    direction: Direction
    """Whether a smaller or a larger metric is better."""
    chance: float | None
    """Metric of a network that knows nothing: uniform guesses. None for errors of values, which have no such limit."""
    baseline: float | None
    """Test metric of the trivial baseline (order-1 n-gram, majority class, mean); None when only the data can tell."""
    input_kind: Literal["ids", "spikes", "real"]
    """ids: int64 [B, T] to be one-hot encoded; spikes: uint8 counts [B, T, n_in]; real: float32 [B, T, n_in]."""
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Test metric of each trivial answer by name, where there are several; `baseline` is the best of them."""
    carry_state: bool = False
    """Whether consecutive batches continue each other, so that the state is carried."""
    train_size: int | None = None
    """What there is to train on: sequences, or time steps where the state is carried. None where only the data can
    tell, or examples are drawn anew without end."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file to download, and what is left of it after unpacking."""

    name: str
    """File name of the download."""
    # Several, because data sets outlive the sites that host them.
    urls: tuple[str, ...] = ()
    """Mirrors, tried in this order."""
    package: str = ""
    """In place of URLs: "name=version" of the Debian package that the file is, fetched by apt-get from its mirror."""
    # A wrong size is noticed while the file arrives, a wrong digest only at the end.
    size: int | None
    """Bytes of the download; None where no source states them."""
    digest: str
    """"sha256:..." or "md5:..." of the download."""
    packing: Literal["none", "zip", "gzip", "deb"]
    """How the download is packed; a zip holds one member."""
    extract: str = ""
    """For Debian packages: "module:name" of a function from the open archive (tarfile.TarFile) to the blocks of the
    unpacked file."""
    unpacked: str
    """File name that the loaders read."""
    # A digest of its own, so that a file that somebody unpacked by hand can be checked too.
    unpacked_digest: str
    """"sha256:..." or "md5:..." of that file."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set and how to get it."""

    name: str
    """Name in results, before any "/variant"."""
    summary: str
    """What it is, in one line."""
    tasks: tuple[str, ...]
    """Tasks that use it."""
    kind: Literal["embedded", "generated", "download", "manual"]
    """embedded: installed with the software; generated: made on first use; manual: cannot be fetched by a program."""
    licence: str
    """Licence of the data."""
    citation: str
    """The publication to cite."""
    files: tuple[RemoteFile, ...] = ()
    """Files to download."""
    # Some data need an account or a form, which no program should fill in for a person.
    steps: str = ""
    """What a person has to do, for manual data sets."""
    check: str = ""
    """For embedded ones, and generated ones that are pinned: "module:name" of the function that hashes them anew and
    raises a DataError."""


class Place(NamedTuple):
    """Where a specification is asked for."""

    where: str
    """path of the task in the grid file, for messages"""
    cache_dir: str | Path | None
    """data directory; None for $ELM_DATA_DIR or the user's cache directory"""


class TaskDefinition:
    """A task: what it asks of a network, known without loading data, and how its data are loaded.

    Every task is a class like this, ours and yours. `spec` and `load` must be given; the rest has defaults. An instance
    is made without arguments, once per process, and keeps nothing between calls.
    """

    # A tuple and no function of the options: what a grid may set must be known before any value is.
    options: ClassVar[tuple[Option, ...]] = ()
    """What a grid may set, with defaults."""

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """Describe the task without loading its data and without torch.

        Args:
            options: every declared option with its checked value.
            place: where the description is asked for.

        Raises:
            TaskError: the options do not go together.
            DataError: a file that the description follows from is missing or unusable.
        """
        raise NotImplementedError

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """Load the data: a `tasks.batch.Task`. What this needs, torch too, is imported here.

        Args:
            spec: what `spec` returned.
            options: every declared option with its checked value.
            place: where the data are asked for.

        Raises:
            TaskError: the options do not go together.
            DataError: missing or damaged data.
        """
        raise NotImplementedError

    def packages(self, options: Options, place: Place) -> tuple[str, ...]:
        """Return import names of what loading the data needs beside the core, numpy and torch."""
        return ()

    def reads_files(self, options: Options) -> bool:
        """Return whether `spec` follows from files, so that it is kept with the grid beside the rows of a sweep.

        It always is for tasks that do not come with this software.
        """
        return False

    def draw_seconds(self, options: Options, split: Split) -> float:
        """Return the CPU seconds in which one sequence of a split is drawn anew; 0 where it is read.

        What a trial costs is forecast by it, so it matters where drawing is no small part of a step.
        """
        return 0.0

    def data_sha256(self, options: Options, place: Place) -> str | None:
        """Return the `data_sha256` that `load` would find now, without torch and in a second.

        Rows whose data have changed since are told by it, also where nothing is left to train. None, the default, where
        the data cannot change (they come with this software, or are pinned), or where it would take longer.

        Raises:
            DataError: missing or damaged data.
        """
        return None


def loaded_by(path: str, spec: TaskSpec, options: Options, place: Place) -> Any:
    """Load a task by a function of ours that is named as text, so that declaring a task does not import its code.

    Args:
        path: "module:name" of a function of spec and options, and of `cache_dir` and `where` by name.
        spec: what the task asks of a network.
        options: checked options.
        place: where the data are asked for.
    """
    return pkgutil.resolve_name(path)(spec, options, cache_dir=place.cache_dir, where=place.where)


class Room(NamedTuple):
    """What one folder of tasks declares: its tasks, and the data sets that they read."""

    tasks: Mapping[str, TaskDefinition]
    """by name, in the order in which they are listed"""
    data_sets: tuple[DataSet, ...]
    """in the order in which they are listed"""
