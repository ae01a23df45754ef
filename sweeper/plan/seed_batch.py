"""Which trials are trained in one go, and in what order that makes them run: the rules behind `--seed-batch`.

Replicates, and trials that differ in no more than `OWN_SETTINGS`, may share a run of
`sweeper.training.joint.train_jointly`. Bringing later replicates forward delays the coarse sub-grid of the first one,
so by itself (`auto`) a launch brings trials together

- only where `sweeper.plan.cost.pays` says that it saves a good part of the time,
- of one replicate (such as the learning rates tried at a point) always,
- of several replicates only where the launch is expected to end within `SHORT_S` and was given no `--max-hours`: then
  nobody reads off a half-done sweep. Coarse levels still come first.

A number of trials given by the user holds for every shape that can be joined, across replicates.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from model.registry import architecture_of
from sweeper.plan.cost import pays
from sweeper.plan.expand import PlanRow
from sweeper.plan.trial import TrainingConfig, TrialSpec, field_types

OWN_SETTINGS = (
    "learning_rate",
    "warmup_steps",
    "schedule",
    "clip_norm",
    "label_smoothing",
    "reg_mlp",
    "reg_activity",
    "reset_start",
    "reset_end",
    "reset_steps",
)
"""Training settings in which trials of one group may differ: each trial is given its own."""
_COMMON_SETTINGS = tuple(name for name in field_types(TrainingConfig) if name not in OWN_SETTINGS)
SHORT_S = 3600.0
"""A launch expected to take no longer is waited for, so that its order matters less (assumption)."""


class Place(NamedTuple):
    """A trial in the order of execution."""

    row: PlanRow
    """The trial."""
    key: int | None
    """Neighbours with the same key may be trained in one go; None for a trial that is trained by itself."""
    most: int
    """The most trials to train in one go."""


def joint_key(spec: TrialSpec) -> Hashable | None:
    """What trials share that may be trained in one go; None for architectures that cannot be joined."""
    if not architecture_of(spec.model).joint:
        return None
    # Sorted: the order in which options were written makes no difference to the data.
    options = tuple(sorted(spec.task_options.items()))
    return spec.task, options, spec.model, tuple(getattr(spec.training, name) for name in _COMMON_SETTINGS)


def arrange(rows: Sequence[PlanRow], *, choice: str | int, device: str, hurry: bool) -> list[Place]:
    """Bring trials together that are to be trained in one go; the order is kept otherwise.

    Args:
        rows: trials in the order of execution.
        choice: `auto`, `off`, or the number of trials to train in one go.
        device: torch device of the trials.
        hurry: whether the launch may be cut short, so that later replicates must not come before earlier ones.
    """
    lots: list[list[Place]] = []
    open_lots: dict[tuple[int | None, int], list[Place]] = {}
    numbers: dict[Hashable, int] = {}
    for row in rows:
        most = _most(row, choice, device)
        shared = joint_key(row.spec) if row.spec is not None and most > 1 else None
        # A small number stands for the long tuple, which every later comparison would have to walk through.
        key = None if shared is None else numbers.setdefault(shared, len(numbers))
        place = Place(row, key, most)
        # Where the launch may be cut short, no lot brings trials of a later replicate forward.
        kin = (key, row.tier[0] if hurry and choice == "auto" else 0)
        lot = open_lots.get(kin)
        # A lot runs where its first trial stood, so that coarse levels still begin in their order; a trial without a
        # key always opens a lot of its own, which nothing joins.
        if key is None or lot is None or len(lot) == most:
            lots.append([place])
            open_lots[kin] = lots[-1]
        else:
            lot.append(place)
    return [place for lot in lots for place in lot]


def _most(row: PlanRow, choice: str | int, device: str) -> int:
    if choice == "off" or row.spec is None:
        return 1
    # A number that somebody chose holds also where it was not measured to pay, GPUs included.
    return pays(row.spec, device) if choice == "auto" else int(choice)
