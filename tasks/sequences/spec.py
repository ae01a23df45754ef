"""Specifications of images, nested lists and paths, known without generating any."""

from pathlib import Path
from typing import Any

from tasks.base import Options, Place, Room, Split, TaskDefinition, TaskSpec, loaded_by
from tasks.errors import TaskError
from tasks.options import MOST_EXAMPLES, Option
from tasks.sequences.data_sets import CIFAR10, LISTOPS_GEN, PATHFINDER_GEN, SDIGITS

_IMAGES_OPTIONS = (
    Option(
        name="data",
        default="embedded",
        names=("embedded", "real"),
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


_IMAGES_TRAIN = 1257
"""Digits of the embedded training split."""


class Images(TaskDefinition):
    """Classify an image that is read pixel by pixel."""

    options = _IMAGES_OPTIONS

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """See `TaskDefinition`."""
        embedded, upsample = options["data"] == "embedded", int(options["upsample"])
        # An option that would have no effect is refused, so that no row claims it.
        if not embedded and upsample != 1:
            raise TaskError(f"{place.where}.upsample: {upsample} goes with data: embedded; leave it out")
        return TaskSpec(
            name="images",
            # Variants of a data set have names of their own, because their results cannot be compared.
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
            train_size=_IMAGES_TRAIN if embedded else None,
        )

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """See `TaskDefinition`."""
        return loaded_by("tasks.sequences.images:load_images", spec, options, place)

    def data_sha256(self, options: Options, place: Place) -> str | None:
        """Return that of an archive of one's own; the others are pinned."""
        if options["data"] in ("embedded", "real"):
            return None
        from tasks.data.cache import data_directory, quick_sha256

        return quick_sha256(Path(str(options["data"])), data_directory(place.cache_dir))

    def packages(self, options: Options, place: Place) -> tuple[str, ...]:
        """Return scikit-learn, which carries the embedded digits."""
        return ("sklearn",) if options["data"] == "embedded" else ()


_LISTOPS_OPTIONS = (
    Option(
        name="size",
        default="small",
        choices=("small", "lra"),
        help="small: 21 to 99 symbols, 5 arguments, depth 6; lra: 501 to 1999 symbols, 10 arguments, depth 10",
    ),
    Option(name="train_examples", default=96000, minimum=1, maximum=MOST_EXAMPLES, help="size of the training set"),
    Option(name="valid_examples", default=2000, minimum=1, maximum=MOST_EXAMPLES, help="size of the validation set"),
    Option(name="test_examples", default=2000, minimum=1, maximum=MOST_EXAMPLES, help="size of the test set"),
)


# Written again from `listops.RULES`, because that file loads torch.
_LISTOPS_LENGTH = {"small": 100, "lra": 2000}

# Share of the most frequent value in the default test set.
_LISTOPS_MAJORITY = {"small": 0.133, "lra": 0.1725}


class ListOps(TaskDefinition):
    """Evaluate a nested expression."""

    options = _LISTOPS_OPTIONS

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """See `TaskDefinition`."""
        size = str(options["size"])
        return TaskSpec(
            name="listops",
            data_name=f"listops-gen/{size}",
            n_in=16,  # listops.SYMBOLS and below ten digits, written again because that file loads torch
            n_out=10,
            length=_LISTOPS_LENGTH[size],
            loss="cross_entropy",
            loss_on="last_step",
            metric="accuracy",
            direction="max",
            chance=0.1,
            # The share was counted on the default test set; another size has another one, which the loader counts.
            baseline=_LISTOPS_MAJORITY[size] if options["test_examples"] == 2000 else None,
            input_kind="ids",
            carry_state=False,
            train_size=int(options["train_examples"]),
        )

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """See `TaskDefinition`."""
        return loaded_by("tasks.sequences.listops:load_listops", spec, options, place)


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
        maximum=MOST_EXAMPLES,
        help="size of the training set, up to 20000 drawn once and kept, else drawn on the fly",
    ),
    Option(name="valid_examples", default=1000, minimum=1, maximum=MOST_EXAMPLES, help="size of the validation set"),
    Option(name="test_examples", default=1000, minimum=1, maximum=MOST_EXAMPLES, help="size of the test set"),
)


MOST_KEPT = 20_000
"""A split with more images is not stored but drawn whenever it is read."""
_PATHFINDER_DRAWN_S = {3: 1.7e-3, 6: 3e-3, 9: 4.2e-3, 14: 37e-3}
"""CPU seconds to draw an image, by dashes (measured for 3 and 14; for 9 from its ratio to 3 in `python -m
benchmarks.tasks`; 6 lies between, assumption)."""


class Pathfinder(TaskDefinition):
    """Say whether two markers are joined by a path."""

    options = _PATHFINDER_OPTIONS

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """See `TaskDefinition`."""
        side, patch = int(options["side"]), int(options["patch"])
        return TaskSpec(
            name="pathfinder",
            data_name=f"pathfinder-gen/{side}/{options['dashes']}" + (f"/patch{patch}" if patch > 1 else ""),
            # A square is read at one step, all of its pixels side by side.
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
            train_size=int(options["train_examples"]),
        )

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """See `TaskDefinition`."""
        return loaded_by("tasks.sequences.pathfinder:load_pathfinder", spec, options, place)

    def draw_seconds(self, options: Options, split: Split) -> float:
        """See `TaskDefinition`."""
        kept = int(options[f"{split}_examples"]) <= MOST_KEPT
        return 0.0 if kept else _PATHFINDER_DRAWN_S[int(options["dashes"])]


ROOM = Room(
    tasks={"images": Images(), "listops": ListOps(), "pathfinder": Pathfinder()},
    data_sets=(SDIGITS, CIFAR10, LISTOPS_GEN, PATHFINDER_GEN),
)
