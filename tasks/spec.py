"""What a task asks of a network, known without loading its data: sizes, loss, metric and baselines."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from tasks.errors import TaskError, choices_hint
from tasks.options import Option, OptionValue, resolve_options

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


class _Place(NamedTuple):
    where: str
    cache_dir: str | Path | None


class _Entry(NamedTuple):
    options: tuple[Option, ...]
    build: Callable[[Options, _Place], TaskSpec]


def task_names() -> tuple[str, ...]:
    """Returns the names of all tasks."""
    return tuple(_TASKS)


def task_options(name: str, *, where: str = "task") -> tuple[Option, ...]:
    """Returns the options that a task declares.

    Raises:
        TaskError: no such task.
    """
    if name not in _TASKS:
        raise TaskError(f"{where}.name: {name!r} is no task; {choices_hint(name, _TASKS)}")
    return _TASKS[name].options


def canonical_options(name: str, options: Mapping[str, object], *, where: str = "task") -> dict[str, OptionValue]:
    """Checks a task's options and fills in the defaults, so that equal tasks compare equal.

    Args:
        name: task name.
        options: options as given in the grid file.
        where: path of the task in the grid file, for messages.

    Raises:
        TaskError: unknown task, unknown option or invalid value.
    """
    return resolve_options(options, task_options(name, where=where), task=name, where=where)


def task_spec(
    name: str, options: Mapping[str, object], *, where: str = "task", cache_dir: str | Path | None = None
) -> TaskSpec:
    """Describes a task without loading its data.

    Embedded and published data sets are described from constants. A user's own text file with `alphabet: bytes` is
    scanned once for its distinct bytes; the result is kept in the cache directory.

    Args:
        name: task name.
        options: options as given in the grid file.
        where: path of the task in the grid file, for messages.
        cache_dir: data directory; None for $ELM_DATA_DIR or the user's cache directory.

    Raises:
        TaskError: unknown task, unknown option or invalid value.
        DataError: the user's file is missing or unusable.
    """
    checked = canonical_options(name, options, where=where)
    return _TASKS[name].build(checked, _Place(where, cache_dir))


_TEXT_OPTIONS = (
    Option(
        name="data",
        default="embedded",
        help="'embedded' (enwiki-mini), 'real' (enwik8, downloaded once) or the path of any file, read as bytes",
    ),
    Option(
        name="alphabet",
        default="bytes",
        choices=("bytes", "letters"),
        help="bytes: every distinct byte is a symbol; letters: a-z without case, one space for each run of other bytes",
    ),
    Option(
        name="newline",
        default="keep",
        choices=("keep", "drop"),
        help="drop removes line feeds, as in the 204-symbol stream of published enwik8 results (alphabet: bytes only)",
    ),
    Option(
        name="unseen",
        default="refuse",
        choices=("refuse", "allow"),
        help="what to do when valid or test hold a byte that train lacks (alphabet: bytes)",
    ),
)
_LETTERS = 27
# Distinct bytes of the pinned files; the loader compares them with the data.
_BYTE_SYMBOLS = {"enwiki-mini": 201, "enwik8": 205}
_TEXT_SOURCES = {"embedded": "enwiki-mini", "real": "enwik8"}
# Test bits per character of the order-1 Witten-Bell model of tasks.ngram, trained on the train split.
_ORDER_1_BPC = {"enwiki-mini": 3.919, "enwiki-mini/letters": 3.510, "enwiki-mini/no-newlines": 3.921}


def _text_spec(options: Options, place: _Place) -> TaskSpec:
    letters, drop = options["alphabet"] == "letters", options["newline"] == "drop"
    if letters and drop:
        raise TaskError(f"{place.where}.newline: 'drop' goes with alphabet: bytes; with alphabet: letters leave it out")
    source, symbols = _text_source(str(options["data"]), letters=letters, drop=drop, place=place)
    data_name = source + ("/letters" if letters else "/no-newlines" if drop else "")
    return TaskSpec(
        name="text",
        data_name=data_name,
        n_in=symbols,
        n_out=symbols,
        length=100,
        loss="cross_entropy",
        loss_on="every_step",
        metric="bpc",
        direction="min",
        chance=math.log2(symbols),
        baseline=_ORDER_1_BPC.get(data_name),
        input_kind="ids",
        carry_state=True,
    )


def _text_source(data: str, *, letters: bool, drop: bool, place: _Place) -> tuple[str, int]:
    """Returns the name of the source and its number of symbols."""
    if data in _TEXT_SOURCES:
        name = _TEXT_SOURCES[data]
        return name, _LETTERS if letters else _BYTE_SYMBOLS[name] - drop
    from tasks.corpus import open_text  # only a user's file needs the cache directory

    text = open_text(data, cache_dir=place.cache_dir, where=f"{place.where}.data")
    return text.name, _LETTERS if letters else len(text.symbols) - (drop and b"\n"[0] in text.symbols)


_SHD_OPTIONS = (
    Option(
        name="data",
        default="embedded",
        help="'embedded' (shd-mini), 'real' (SHD, downloaded once), a folder with shd_train.h5 and shd_test.h5, "
        "or a file made by 'python -m tasks.speech convert'",
    ),
    Option(name="bin_ms", default=2, choices=(1, 2, 4, 5, 10), help="width of a time bin; a recording lasts 1000 ms"),
    Option(
        name="validation",
        default="speakers",
        choices=("speakers", "random"),
        help="speakers: voices that train lacks; random: 20 % of the recordings, as in the published preprocessing",
    ),
)
_SHD_ADDING_OPTIONS = (
    *_SHD_OPTIONS,
    Option(name="valid_pairs", default=4000, minimum=1, help="size of the fixed validation set"),
    Option(name="test_pairs", default=16000, minimum=1, help="size of the fixed test set"),
)
_SHD_SOURCES = {"embedded": "shd-mini", "real": "shd"}
_RECORDING_MS = 1000
# shd-mini: 8 of its 140 test recordings. shd_adding: ten of a hundred pairs of equally frequent digits sum to 9.
_SHD_MINI_MAJORITY, _ADDING_MAJORITY = 8 / 140, 0.1


def _shd_spec(options: Options, place: _Place) -> TaskSpec:
    return _spikes_spec("shd", options, digits=1, classes=20, baseline=_SHD_MINI_MAJORITY)


def _shd_adding_spec(options: Options, place: _Place) -> TaskSpec:
    return _spikes_spec("shd_adding", options, digits=2, classes=19, baseline=_ADDING_MAJORITY)


def _spikes_spec(name: str, options: Options, *, digits: int, classes: int, baseline: float | None) -> TaskSpec:
    data = str(options["data"])
    return TaskSpec(
        name=name,
        data_name=_SHD_SOURCES.get(data, Path(data).name),
        n_in=700,
        n_out=classes,
        length=digits * _RECORDING_MS // int(options["bin_ms"]),
        loss="cross_entropy",
        loss_on="last_step",
        metric="accuracy",
        direction="max",
        chance=1 / classes,
        baseline=baseline if data == "embedded" else None,
        input_kind="spikes",
        carry_state=False,
    )


_IMAGES_OPTIONS = (
    Option(
        name="data",
        default="embedded",
        help="'embedded' (sdigits), 'real' (CIFAR-10 in grey, downloaded once) or the path of cifar-10-python.tar.gz",
    ),
    Option(
        name="upsample",
        default=1,
        choices=(1, 4),
        help="embedded only: enlarge the 8 x 8 digits, so that a sequence has 64 or 1024 steps",
    ),
)
# The most frequent digit of the 270 test images; CIFAR-10 has equally many images of every class.
_SDIGITS_MAJORITY, _CIFAR_MAJORITY = 39 / 270, 0.1


def _images_spec(options: Options, place: _Place) -> TaskSpec:
    embedded, upsample = options["data"] == "embedded", int(options["upsample"])
    if not embedded and upsample != 1:
        raise TaskError(f"{place.where}.upsample: {upsample} goes with data: embedded; leave it out")
    return TaskSpec(
        name="images",
        data_name=("sdigits" if upsample == 1 else f"sdigits/x{upsample}") if embedded else "cifar10-grey",
        n_in=1,
        n_out=10,
        length=64 * upsample**2 if embedded else 1024,
        loss="cross_entropy",
        loss_on="last_step",
        metric="accuracy",
        direction="max",
        chance=0.1,
        baseline=_SDIGITS_MAJORITY if embedded else _CIFAR_MAJORITY,
        input_kind="real",
        carry_state=False,
    )


_LISTOPS_OPTIONS = (
    Option(
        name="size",
        default="small",
        choices=("small", "lra"),
        help="small: 21 to 99 symbols, 5 arguments, depth 6; lra: 501 to 1999 symbols, 10 arguments, depth 10",
    ),
    Option(name="train_examples", default=96000, minimum=1, help="size of the training set"),
    Option(name="valid_examples", default=2000, minimum=1, help="size of the validation set"),
    Option(name="test_examples", default=2000, minimum=1, help="size of the test set"),
)
_LISTOPS_LENGTH = {"small": 100, "lra": 2000}
# Share of the most frequent value in the default test set.
_LISTOPS_MAJORITY = {"small": 0.133, "lra": 0.1725}


def _listops_spec(options: Options, place: _Place) -> TaskSpec:
    size = str(options["size"])
    return TaskSpec(
        name="listops",
        data_name=f"listops-gen/{size}",
        n_in=16,
        n_out=10,
        length=_LISTOPS_LENGTH[size],
        loss="cross_entropy",
        loss_on="last_step",
        metric="accuracy",
        direction="max",
        chance=0.1,
        baseline=_LISTOPS_MAJORITY[size] if options["test_examples"] == 2000 else None,
        input_kind="ids",
        carry_state=False,
    )


_PATHFINDER_OPTIONS = (
    Option(
        name="side", default=32, choices=(16, 32, 64, 128), help="pixels of a side; a sequence has side * side steps"
    ),
    Option(name="dashes", default=9, choices=(3, 6, 9, 14), help="dashes of the two paths; 14 is the arena's hard set"),
    Option(
        name="patch",
        default=1,
        choices=(1, 2, 4, 8),
        help="pixels of the side of the squares that are read one a step; 1, pixel by pixel, is the arena's way",
    ),
    Option(
        name="train_examples",
        default=160000,
        minimum=1,
        help="size of the training set, up to 20000 drawn once and kept, else drawn on the fly",
    ),
    Option(name="valid_examples", default=1000, minimum=1, help="size of the validation set"),
    Option(name="test_examples", default=1000, minimum=1, help="size of the test set"),
)


def _pathfinder_spec(options: Options, place: _Place) -> TaskSpec:
    side, patch = int(options["side"]), int(options["patch"])
    return TaskSpec(
        name="pathfinder",
        data_name=f"pathfinder-gen/{side}/{options['dashes']}" + (f"/patch{patch}" if patch > 1 else ""),
        n_in=patch * patch,
        n_out=2,
        length=(side // patch) ** 2,
        loss="cross_entropy",
        loss_on="last_step",
        metric="accuracy",
        direction="max",
        chance=0.5,
        baseline=0.5,  # a fair coin decides the answer
        input_kind="real",
        carry_state=False,
    )


_NEURONIO_OPTIONS = (
    Option(
        name="data",
        default="embedded",
        help="'embedded' (neuronio-mini) or a folder made by 'python -m tasks.neuronio_files' from the downloads",
    ),
    Option(name="burn_in", default=150, minimum=0, help="ms at the start of a window without loss, as published"),
)


def _neuronio_spec(options: Options, place: _Place) -> TaskSpec:
    data = str(options["data"])
    return TaskSpec(
        name="neuronio",
        data_name="neuronio-mini" if data == "embedded" else Path(data).name,
        n_in=1278,
        n_out=2,
        length=500,
        loss="spikes_and_voltage",
        loss_on="every_step",
        metric="auc",
        direction="max",
        chance=0.5,
        baseline=0.5,  # whatever does not depend on the input
        input_kind="real",
        carry_state=False,
    )


_TASKS: dict[str, _Entry] = {
    "text": _Entry(_TEXT_OPTIONS, _text_spec),
    "shd": _Entry(_SHD_OPTIONS, _shd_spec),
    "shd_adding": _Entry(_SHD_ADDING_OPTIONS, _shd_adding_spec),
    "images": _Entry(_IMAGES_OPTIONS, _images_spec),
    "listops": _Entry(_LISTOPS_OPTIONS, _listops_spec),
    "pathfinder": _Entry(_PATHFINDER_OPTIONS, _pathfinder_spec),
    "neuronio": _Entry(_NEURONIO_OPTIONS, _neuronio_spec),
}
