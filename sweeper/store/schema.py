"""The Parquet contract: one record class per table, from which the Arrow schemas are derived.

The writer owns the contract: every file carries ``SCHEMA_VERSION`` in its metadata and a reader refuses another one.
A missing value is null, never 0: a failed trial has a status and null metrics. A column may be added at the end of a
table without a new version if it is nullable: in older files it reads as null.
"""

import types
import typing
from dataclasses import dataclass, fields
from datetime import datetime

import pyarrow as pa

SCHEMA_VERSION = 1
VERSION_KEY = b"sweeper.schema_version"

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"
OUT_OF_MEMORY, TIMED_OUT, QUARANTINED, PRUNED = "out_of_memory", "timed_out", "quarantined", "pruned"
STATUSES = (FINISHED, DIVERGED, FAILED, OUT_OF_MEMORY, TIMED_OUT, QUARANTINED, PRUNED)
"""Final states of a trial. Only `finished` rows have final metrics."""
LOST, PREEMPTED = "lost", "preempted"
"""States of an attempt that end no trial: its lane died with it, or was told to stop."""

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One row of `trials`: the final state of one trial (its last attempt)."""

    trial_id: str
    """Content hash of the trial's spec: equal specs have equal ids on every machine."""
    hash_scheme: int
    """Version of the rule that makes `trial_id` from a spec."""
    attempt: int
    """Number of the attempt that made this row, from 1."""
    sweep: str
    """Name of the grid that asked for the trial first."""
    status: str
    """How it ended."""
    reason: str | None
    """Why the trial did not finish, in one line."""

    task: str
    """Task name, such as `text`."""
    data_name: str | None
    """Name of the data actually read, such as `enwiki-mini/letters`."""
    data_sha256: str | None
    """SHA-256 of that data."""
    metric: str
    """Name of the task's metric, such as `bpc`."""
    direction: str
    """`min` or `max`: which way the metric improves."""
    chance: float | None
    """Metric of a model that knows nothing, where the task defines it."""
    architecture: str
    """Architecture name: `elm`, `lstm`, ..."""
    budget: int | None
    """Parameter budget P that was asked for; null where all sizes were given."""
    n_in: int
    """Input channels."""
    n_out: int
    """Output classes or values."""
    n_rec: int
    """N: neurons of the recurrent layer."""
    d_m: int | None
    """Memory units per neuron; null for architectures without ELM neurons."""
    d_mlp: int | None
    """Hidden width of the neuron's MLP."""
    l_mlp: int | None
    """Hidden layers of the neuron's MLP."""
    d_tree: int | None
    """Dendritic branches per neuron."""
    d_branch: int | None
    """Synapses per branch."""
    rho_rec: float | None
    """Probability that a synapse reads a hidden neuron."""
    tau_m_max: float | None
    """Longest memory timescale, in the unit of the setting `dt`: in time steps where that is 1."""
    seed: int
    """Replicate: seeds wiring, weights and data order."""
    learning_rate: float
    """Peak learning rate."""
    batch_size: int
    """Sequences per step."""
    length: int
    """Time steps per sequence."""
    steps: int
    """Optimiser steps asked for."""
    spec: str
    """The whole spec as canonical JSON; `trial_id` is its hash."""

    k_e: float
    """Effective complexity: trained scalars of one neuron apart from its synapses."""
    k_c: float
    """Connectivity: trained synapses of one neuron."""
    trainable_params: int
    """P achieved: trainable scalars of the whole network."""
    recurrent_params: int
    """Trainable scalars of the recurrent layer."""
    readout_params: int
    """Trainable scalars of everything behind the recurrent layer."""
    total_params: int
    """With wiring indices and timescales; reported, never an axis."""

    final_step: int | None
    """Step of the final evaluation."""
    final_train_loss: float | None
    """Training-split loss at the end: nats, or squared error."""
    final_train_metric: float | None
    """Training-split metric at the end."""
    final_valid_loss: float | None
    """Validation loss at the end: nats, or squared error."""
    final_valid_metric: float | None
    """Validation metric at the end."""
    final_test_loss: float | None
    """Test loss at the end: nats, or squared error."""
    final_test_metric: float | None
    """Test metric at the end."""
    best_step: int | None
    """Step of the best validation metric; the three best values are taken there."""
    best_train_metric: float | None
    """Training-split metric at `best_step`; null where only the validation split was evaluated there."""
    best_valid_metric: float | None
    """Best validation metric over all evaluations."""
    best_test_metric: float | None
    """Test metric at `best_step`; null where only the validation split was evaluated there."""

    steps_done: int
    """Optimiser steps carried out."""
    tokens: int
    """Sequence elements trained on: steps x batch x length."""
    tokens_per_s: float | None
    """Training throughput, evaluation excluded, per wall second."""
    flops_per_token: float | None
    """Floating-point operations of one training step per token, from the configuration."""
    backend: str | None
    """Which implementation of the network ran."""
    device: str | None
    """Device it ran on."""
    wall_s: float
    """Wall time of the attempt, seconds; its share of it where `trained_with` others."""
    cpu_s: float | None
    """Process CPU time of the attempt, seconds; its share of it where `trained_with` others."""
    peak_memory_bytes: int | None
    """Peak resident memory of the process (device memory on a GPU)."""
    started_at: datetime
    """Start of the attempt, UTC."""
    ended_at: datetime
    """End of the attempt, UTC."""
    host: str
    """Machine name."""
    lane: str
    """Lane that ran it."""
    code_version: str
    """Version of this package, with the git commit where there is one."""
    trained_with: int | None
    """Trials it was trained in one go with, itself not included; null in rows older than this column."""
    final_test_others: str | None = None
    """What else the task measures on the test split at the end, as JSON; null where there is nothing else."""
    data_facts: str | None = None
    """What is known of the data, as JSON: `leaks` (how much of valid and test also stands in train), `yardsticks` (test
    metric of simple models, by name) and `train_size`; null in rows older than this column."""


@dataclass(frozen=True, kw_only=True)
class CurveRecord:
    """One row of `curves`: one evaluation of one split during an attempt."""

    trial_id: str
    """The trial."""
    attempt: int
    """The attempt."""
    step: int
    """Optimiser steps done before the evaluation."""
    tokens: int
    """Sequence elements trained on so far."""
    split: str
    """`train` (running mean since the last evaluation while training), `valid` or `test`."""
    loss: float | None
    """Mean loss: nats, or squared error."""
    metric: float | None
    """The task's metric."""
    learning_rate: float | None
    """Learning rate at that step."""
    wall_s: float
    """Wall time since the attempt began, seconds."""
    gradient_norm: float | None = None
    """Mean global norm of the gradient before clipping, over the steps since the last evaluation; of `train` rows of
    trials with `training.record: gradients`."""
    gradient_norm_max: float | None = None
    """Its largest value over these steps."""
    task_loss: float | None = None
    """Mean of what training made smaller without the penalties, label smoothing included, over the same steps; of
    `train` rows of trials with `training.record: losses`."""
    penalty: float | None = None
    """Mean of the penalties (`reg_mlp`, `reg_activity`) that were added to it, with their weights."""


@dataclass(frozen=True, kw_only=True)
class PredictionRecord:
    """One row of `predictions/<trial_id>.parquet`: a test sequence under the weights after the last step.

    Kept of trials with `training.record: predictions`.
    """

    trial_id: str
    """The trial."""
    sequence: int
    """Number of the sequence in the order of the split; of the stream where the task carries its state."""
    segment: int
    """Number of the segment of the stream, from 0; 0 where sequences stand alone."""
    targets: float
    """Targets that count: the sum of their weights."""
    loss: float
    """Mean loss of these targets: nats, or squared error."""
    bpc: float | None
    """The loss in bits per character, of texts."""
    correct: float | None
    """Share of the targets whose most probable class is the right one; null without classes."""
    target: int | None
    """Class of the sequence; null where it has none, or one at every step."""
    predicted: int | None
    """The most probable class."""
    log_probability: float | None
    """Natural logarithm of the probability that the class of the sequence was given."""


@dataclass(frozen=True, kw_only=True)
class AttemptRecord:
    """One row of `attempts`: the history of every try, also of those a later try replaced."""

    trial_id: str
    """The trial."""
    attempt: int
    """Number of the try, from 1."""
    status: str
    """How the try ended."""
    reason: str | None
    """Why it did not finish, in one line."""
    traceback: str | None
    """The whole traceback of a trial that raised."""
    host: str | None
    """Machine name."""
    lane: str
    """Lane that ran it."""
    started_at: datetime | None
    """Start, UTC."""
    ended_at: datetime
    """End, UTC."""
    wall_s: float | None
    """Wall time, seconds."""


_ARROW_TYPES: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    # With the zone, or readers on machines of other zones would take the times for their own.
    datetime: pa.timestamp("us", tz="UTC"),
}


def _arrow_field(name: str, annotation: object) -> pa.Field:
    arguments = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    # Unpacked into exactly one, so that a field with a union of two types fails at import.
    (base,) = [a for a in arguments if a is not type(None)]
    # Not nullable where the record says so: Arrow refuses to write a row that lacks such a value.
    return pa.field(name, _ARROW_TYPES[typing.cast(type, base)], nullable=type(None) in arguments)


def _arrow_schema(record: type) -> pa.Schema:
    hints = typing.get_type_hints(record)
    return pa.schema(
        [_arrow_field(f.name, hints[f.name]) for f in fields(record)],
        # In each file and not in the directory's marker alone, so that a file copied elsewhere still says what it is.
        metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
    )


RECORDS: dict[str, type] = {"trials": TrialRecord, "curves": CurveRecord, "attempts": AttemptRecord}
SCHEMAS: dict[str, pa.Schema] = {name: _arrow_schema(record) for name, record in RECORDS.items()}
PREDICTIONS: pa.Schema = _arrow_schema(PredictionRecord)
"""Of a file beside the tables, which holds the predictions of one trial."""
KEYS: dict[str, tuple[str, ...]] = {
    "trials": ("trial_id",),
    "curves": ("trial_id", "attempt", "split", "step"),
    "attempts": ("trial_id", "attempt"),
}
"""What names one row; where a key occurs twice, the row of the highest attempt counts."""
