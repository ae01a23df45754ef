"""What one trial is: model, task, training settings and seed, and the content hash that names it."""

import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from cluster.errors import SettingError, unknown_name
from cluster.limits import LimitError, shown
from cluster.values import number, whole
from model.config import ModelConfig
from model.registry import DEFAULT, read_config
from sweeper.errors import GridError

HASH_SCHEME = 1
"""Raised whenever `canonical` changes; ids of different schemes are never compared."""

OPTIMIZERS = ("adam", "adamax")
SCHEDULES = ("cosine", "constant")
DTYPES = ("float32", "float64")
SAVES = ("none", "final")
GRADIENTS, LOSSES, PREDICTIONS = "gradients", "losses", "predictions"
RECORDED = (GRADIENTS, LOSSES, PREDICTIONS)
"""What a grid can ask to be kept beside the metrics."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How one trial is trained. Defaults follow the published Enwik8 recipe (arXiv 2605.12049)."""

    steps: int = 1000
    """Optimiser steps."""
    batch_size: int = 8
    """Sequences per step."""
    length: int = 100
    """Time steps per sequence (per segment where the state is carried over); a grid that gives none gets the task's."""
    optimizer: str = "adam"
    """`adam` (Enwik8, NeuronIO) or `adamax` (SHD-Adding)."""
    learning_rate: float = 5e-4
    """Peak learning rate."""
    warmup_steps: int = 100
    """Linear warm-up from 0, in steps."""
    schedule: str = "cosine"
    """After the warm-up: `cosine` to 0 at the last step, or `constant`."""
    clip_norm: float = 1.0
    """Gradients are clipped to this global norm."""
    label_smoothing: float = 0.0
    """Share of the target probability spread evenly over the classes, in training only."""
    reg_mlp: float = 0.01
    """Weight of the L2 penalty on the MLP output of the recurrent layer, in training only."""
    reg_activity: float = 1.0
    """Weight of the L1 penalty on the activity of the recurrent layer, in training only."""
    reset_start: float = 1.0
    """Probability at step 0 that a carried state is reset before a segment (tasks that carry their state)."""
    reset_end: float = 0.01
    """Probability after `reset_steps`, approached along a half cosine."""
    reset_steps: int = 40_000
    """Steps over which the reset probability falls."""
    eval_every: int = 250
    """Steps between validations."""
    eval_batches: int | None = 20
    """Batches per validation while training; null means the whole split."""
    final_eval_batches: int | None = None
    """Batches per split in the final evaluation; null means the whole split."""
    eval_batch_size: int = 32
    """Sequences per evaluation batch; its own number because the streams of a carried state depend on it."""
    dtype: str = "float32"
    """Floating-point type of weights and activity."""
    # No part of what names a trial: its numbers are the same whether its weights are kept or not.
    save: str = field(default="none", metadata={"names_trial": False})
    """`final` keeps the weights after the last step in the results directory, for `analysis activity`; or `none`."""
    record: str = field(default="none", metadata={"names_trial": False})
    """What to keep beside the metrics, one of these or a list: `gradients` (norm before clipping) and `losses` (the
    task's and the penalties), both in the curves; `predictions` of the test split, in a file per trial; or `none`."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "length", "eval_every", "eval_batch_size", "reset_steps"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("learning_rate", "clip_norm"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in ("reg_mlp", "reg_activity", "warmup_steps"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("label_smoothing", "reset_start", "reset_end"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        for name in ("eval_batches", "final_eval_batches"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "at least 1, or null for the whole split")
        for name, valid in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("dtype", DTYPES),
            ("save", SAVES),
        ):
            if getattr(self, name) not in valid:
                raise GridError(unknown_name(f"training.{name}", getattr(self, name), valid))
        for entry in self.recorded:
            if entry not in RECORDED:
                raise GridError(unknown_name("training.record", entry, ("none", *RECORDED)))

    @property
    def recorded(self) -> tuple[str, ...]:
        """The names in `record`."""
        return () if self.record == "none" else tuple(name.strip() for name in self.record.split(","))


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialSpec:
    """One trial: everything that decides its numbers. Launchers hold thousands: nothing is cached in it."""

    task: str
    """Task name."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """The task's options as given in the grid, such as `data` and `alphabet`."""
    architecture: str = DEFAULT
    """Full name of the architecture (`model.registry.full_name`)."""
    model: ModelConfig
    """Sizes and constants of the network."""
    training: TrainingConfig
    """How it is trained."""
    seed: int
    """Seeds wiring, weights and data order."""

    @property
    def content(self) -> dict[str, Any]:
        """The spec as plain containers."""
        whole = {name: getattr(self, name) for name in _names(type(self))}  # type: ignore[arg-type]  # a class is hashable
        parts = {"model": self.model.plain(), "training": _plain(self.training)}
        # The scheme is part of what is hashed, so that ids of two schemes cannot be equal by accident.
        return {"scheme": HASH_SCHEME, **whole, **parts, "task_options": dict(self.task_options)}

    @property
    def canonical(self) -> str:
        """The spec as JSON with sorted keys; equal specs give equal text."""
        return _CANONICAL.encode(self.content)

    @property
    def configuration(self) -> str:
        """What replicates share: the id of this spec with seed 0."""
        # The same for all replicates, which differ in nothing but the seed.
        return replace(self, seed=0).trial_id

    @property
    def trial_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of `canonical`."""
        # 64 bits: among a million trials the chance that two share an id is one in thirty million.
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:16]


# Everything that could differ between two machines is fixed: the order of keys, the spaces, and NaN, which JSON lacks.
# One encoder for all specs, since making one takes longer than encoding.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


@cache
def _names(config: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(config) if f.metadata.get("names_trial", True))


def _plain(config: Any) -> dict[str, Any]:
    """A flat config as a mapping; `dataclasses.asdict`, which copies deeply, takes ten times as long."""
    return {name: getattr(config, name) for name in _names(type(config))}  # type: ignore[arg-type]  # a class is hashable


def spec_from_canonical(text: str) -> TrialSpec:
    """The spec whose `canonical` text this is.

    Raises:
        GridError: the text was made by another hash scheme, or is no spec at all.
    """
    try:
        content = json.loads(text)
        if content.pop("scheme") != HASH_SCHEME:
            raise GridError(f"a stored spec has another hash scheme than {HASH_SCHEME}: {text[:80]}")
        model = read_config(content["architecture"], content.pop("model"))
        return TrialSpec(model=model, training=TrainingConfig(**content.pop("training")), **content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # damaged, or written by a stranger
        raise GridError(f"a stored spec is not one that this program writes: {shown(text)} ({error})") from error


def typed_value(annotation: Any, value: object, place: str) -> Any:
    """Check `value` against a type, such as `int | None`, and return it in that type.

    YAML reads ``1e-3`` as text and ``1`` as an integer where a fraction is meant; both are put right here.

    Raises:
        GridError: the value is of another type; the message names `place`.
        LimitError: it is larger than any setting may be.
    """
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if value is None and type(None) in options:
        return None
    # A number that is too large is called too large; any other refusal leaves the types that the field takes besides.
    if float in options:
        try:
            return number(value, place)
        except LimitError:
            raise
        except SettingError:  # an integer or a text may be allowed beside a number
            pass
    # `type(...) is`, because True would pass for an integer with `isinstance`.
    for option in (bool, int, str):
        if option in options and type(value) is option:
            return value
    if int in options and isinstance(value, float | str):
        try:
            return whole(None)(value, place)
        except LimitError:
            raise
        except SettingError:
            pass
    wanted = " or ".join("null" if o is type(None) else getattr(o, "__name__", str(o)) for o in options)
    raise GridError(f"{place}: expected {wanted}, got {shown(value)}")


@cache
def field_types(config: type) -> Mapping[str, Any]:
    """Names of a config class's fields, in order, with their types."""
    types_of = typing.get_type_hints(config)
    return {f.name: types_of[f.name] for f in fields(config)}


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise GridError(f"training.{name}: must be {wanted}, got {value!r}")
