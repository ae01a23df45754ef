"""Specifications of the spoken digits and of their sums, known without loading recordings."""

import math
from pathlib import Path
from typing import Any

from tasks.base import Options, Place, Room, Split, TaskDefinition, TaskSpec, loaded_by
from tasks.errors import TaskError
from tasks.options import MOST_EXAMPLES, Option
from tasks.spikes.data_sets import DIGITS_GEN, H5_FILES, SHD, SHD_MINI, joint_sha256

DURATION_MS = 1000
"""Length of a recording; spikes from here on are dropped."""

_SHD_SOURCES = {"embedded": SHD_MINI.name, "real": SHD.name, "generated": DIGITS_GEN.name}
"""Names of data sets by what a grid calls them."""
_SHD_OPTIONS = (
    Option(
        name="data",
        default="embedded",
        names=tuple(_SHD_SOURCES),
        help="'embedded' (shd-mini), 'generated' (digits-gen, drawn without end), 'real' (SHD, downloaded once), a "
        "folder with shd_train.h5 and shd_test.h5, or a file made by 'python -m tasks.make.speech convert'",
    ),
    Option(
        name="bin_ms",
        default=2,
        minimum=1,
        maximum=DURATION_MS,
        help="width of a time bin; a recording lasts 1000 ms, and its last bin is shorter where the width does not "
        "divide them",
    ),
    Option(
        name="validation",
        default="speakers",
        choices=("speakers", "random"),
        help="speakers: voices that train lacks; random: 20 % of the recordings, as in the published preprocessing",
    ),
)


_SHD_ADDING_OPTIONS = (
    *_SHD_OPTIONS,
    Option(name="valid_pairs", default=4000, minimum=1, maximum=MOST_EXAMPLES, help="size of the fixed validation set"),
    Option(name="test_pairs", default=16000, minimum=1, maximum=MOST_EXAMPLES, help="size of the fixed test set"),
)


_DRAWN_BIN_S = 5e-6
"""CPU seconds to draw a bin of a generated recording (measured by `python -m benchmarks.tasks`: 0.5 ms of 100 bins)."""
_MOST_GENERATED_MS = 10
"""Widest bin of generated digits, in which a channel spikes at most once."""
GENERATED_VALID, GENERATED_TEST = 2_000, 10_000
"""Generated digits that validate and test: the standard error of an accuracy on the latter is at most 0.005."""

# shd-mini: 8 of its 140 test recordings; digits-gen: the most frequent word of its test recordings. shd_adding: ten of
# a hundred pairs of equally frequent digits sum to 9.
_SHD_MAJORITY, _ADDING_MAJORITY = {"embedded": 8 / 140, "generated": 540 / GENERATED_TEST}, 0.1


class Shd(TaskDefinition):
    """Name a spoken digit."""

    options = _SHD_OPTIONS

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """See `TaskDefinition`."""
        baseline = _SHD_MAJORITY.get(str(options["data"]))
        return _spikes_spec("shd", options, place, digits=1, classes=20, baseline=baseline)

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """See `TaskDefinition`."""
        return loaded_by("tasks.spikes.shd:load_shd", spec, options, place)

    def draw_seconds(self, options: Options, split: Split) -> float:
        """See `TaskDefinition`."""
        return _draw_seconds(options, digits=1)

    def data_sha256(self, options: Options, place: Place) -> str | None:
        """Return that of recordings of one's own; the others are pinned."""
        return _sha256_of_recordings(str(options["data"]), place)


class ShdAdding(TaskDefinition):
    """Name the sum of two spoken digits."""

    options = _SHD_ADDING_OPTIONS

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """See `TaskDefinition`."""
        baseline = _ADDING_MAJORITY if options["data"] in ("embedded", "generated") else None
        return _spikes_spec("shd_adding", options, place, digits=2, classes=19, baseline=baseline)

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """See `TaskDefinition`."""
        return loaded_by("tasks.spikes.shd:load_shd_adding", spec, options, place)

    def draw_seconds(self, options: Options, split: Split) -> float:
        """See `TaskDefinition`."""
        return _draw_seconds(options, digits=2)

    def data_sha256(self, options: Options, place: Place) -> str | None:
        """Return that of recordings of one's own; the others are pinned."""
        return _sha256_of_recordings(str(options["data"]), place)


def _draw_seconds(options: Options, digits: int) -> float:
    # Evaluation sets are drawn too, each time: none is kept.
    drawn = options["data"] == "generated"
    return digits * _DRAWN_BIN_S * bins_of_recording(int(options["bin_ms"])) if drawn else 0.0


def _sha256_of_recordings(data: str, place: Place) -> str | None:
    if data in _SHD_SOURCES:
        return None
    # Cache and hashes take time to import that all specifications together do not.
    from tasks.data.cache import data_directory, quick_sha256

    path, directory = Path(data), data_directory(place.cache_dir)
    files = [path / name for name in H5_FILES] if path.is_dir() else [path]
    hashes = [sha256 for file in files if (sha256 := quick_sha256(file, directory)) is not None]
    return joint_sha256(hashes) if len(hashes) == len(files) else None


_TRAIN_RECORDINGS = 680
"""Of the embedded recordings, those of the voices that train."""


def bins_of_recording(bin_ms: int) -> int:
    """Count the bins of a recording, the last of which may be shorter than the others."""
    return math.ceil(DURATION_MS / bin_ms)


def _spikes_spec(
    name: str, options: Options, place: Place, *, digits: int, classes: int, baseline: float | None
) -> TaskSpec:
    data = str(options["data"])
    if data == "generated":
        _check_generated_options(options, place.where)
    return TaskSpec(
        name=name,
        data_name=_SHD_SOURCES.get(data, Path(data).name),
        n_in=700,  # events.CHANNELS
        n_out=classes,
        # Two recordings follow each other in shd_adding, each with whole bins of its own.
        length=digits * bins_of_recording(int(options["bin_ms"])),
        loss="cross_entropy",
        loss_on="last_step",
        metric="accuracy",
        direction="max",
        chance=1 / classes,
        # Of other recordings only the data can tell how frequent a class is.
        baseline=baseline,
        input_kind="spikes",
        carry_state=False,
        # Pairs and generated digits are drawn anew without end.
        train_size=_TRAIN_RECORDINGS if data == "embedded" and digits == 1 else None,
    )


def _check_generated_options(options: Options, where: str) -> None:
    if int(options["bin_ms"]) > _MOST_GENERATED_MS:
        raise TaskError(
            f"{where}.bin_ms: {options['bin_ms']} does not go with data: generated, whose channels spike at most once "
            f"in a bin; give 1 to {_MOST_GENERATED_MS}"
        )
    # An option that would have no effect is refused, so that no row claims it.
    if options["validation"] != "speakers":
        raise TaskError(
            f"{where}.validation: {options['validation']!r} does not go with data: generated, where every recording "
            "has a voice of its own; leave it out"
        )


ROOM = Room(tasks={"shd": Shd(), "shd_adding": ShdAdding()}, data_sets=(SHD_MINI, DIGITS_GEN, SHD))
