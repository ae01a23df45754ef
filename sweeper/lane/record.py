"""From an assignment and its outcome to the rows of the store. No torch: a launcher records lost trials with it too."""

import json
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from model.budget import counts
from model.flops import flops
from sweeper.plan.trial import HASH_SCHEME
from sweeper.queue.messages import Assignment
from sweeper.store.schema import FINISHED, AttemptRecord, CurveRecord, TrialRecord
from sweeper.training.progress import RECORDED_COLUMNS, Evaluation, TrialProgress
from tasks.spec import task_spec


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended."""

    status: str
    """One of `sweeper.store.schema.STATUSES`."""
    reason: str | None = None
    """Why it did not finish, in one line."""
    traceback: str | None = None
    """Whole traceback of a trial that raised."""
    started_at: datetime
    """Start, UTC."""
    ended_at: datetime
    """End, UTC."""
    lane: str
    """Lane that ran it."""
    code_version: str
    """See `code_version`."""
    cpu_s: float | None = None
    """Process CPU time, seconds."""
    peak_memory_bytes: int | None = None
    """Peak memory of the process."""
    host: str | None = None
    """Machine name; this machine's when None."""
    share_s: float | None = None
    """Its share of the wall time of the trials that it was trained in one go with, seconds; None: by itself."""
    trained_with: int = 0
    """Trials it was trained in one go with, itself not included."""

    @property
    def wall_s(self) -> float:
        """Wall time of the attempt, or its share, seconds: what it cost its lane."""
        return (self.ended_at - self.started_at).total_seconds() if self.share_s is None else self.share_s


def trial_record(assignment: Assignment, outcome: Outcome, progress: TrialProgress | None = None) -> TrialRecord:
    """The final row of a trial; metrics stay null unless it finished."""
    measured = progress if progress is not None else TrialProgress()
    spec, model, training = assignment.spec, assignment.spec.model, assignment.spec.training
    task = assignment.task or task_spec(spec.task, spec.task_options)
    total = counts(model)
    # Of the steps done and not of those asked for: a trial that was ended early has seen less.
    tokens = measured.steps_done * training.batch_size * training.length
    # A trial that diverged or was stopped may have evaluations behind it, but none is its result: a fit that forgot to
    # look at the status would take a number of an unfinished training for one.
    finished = outcome.status == FINISHED
    final, best = (measured.final, measured.best) if finished else ({}, {})
    return TrialRecord(
        trial_id=assignment.trial_id,
        hash_scheme=HASH_SCHEME,
        attempt=assignment.attempt,
        sweep=assignment.sweep,
        status=outcome.status,
        reason=outcome.reason,
        task=spec.task,
        data_name=measured.data_name,
        data_sha256=measured.data_sha256,
        metric=task.metric,
        direction=task.direction,
        chance=task.chance,
        architecture=spec.architecture,
        budget=assignment.budget,
        n_in=model.n_in,
        n_out=model.n_out,
        n_rec=model.units,
        # Baselines have no neurons with such parts: their configs lack these fields, and the columns stay null.
        d_m=getattr(model, "d_m", None),
        # The width that was built, since `d_mlp` itself may be left to a default that depends on d_m.
        d_mlp=getattr(model, "mlp_width", getattr(model, "d_mlp", None)),
        l_mlp=getattr(model, "l_mlp", None),
        d_tree=getattr(model, "d_tree", None),
        d_branch=getattr(model, "d_branch", None),
        rho_rec=getattr(model, "rho_rec", None),
        tau_m_max=getattr(model, "tau_m_max", None),
        seed=spec.seed,
        learning_rate=training.learning_rate,
        batch_size=training.batch_size,
        length=training.length,
        steps=training.steps,
        spec=spec.canonical,
        k_e=float(total.k_e),
        k_c=float(total.k_c),
        trainable_params=total.trainable_params,
        recurrent_params=total.recurrent_params,
        readout_params=total.readout_params,
        total_params=total.total_params,
        final_step=final["valid"].step if final else None,
        final_train_loss=_loss(final, "train"),
        final_train_metric=_metric(final, "train"),
        final_valid_loss=_loss(final, "valid"),
        final_valid_metric=_metric(final, "valid"),
        final_test_loss=_loss(final, "test"),
        final_test_metric=_metric(final, "test"),
        best_step=best["valid"].step if best else None,
        best_train_metric=_metric(best, "train"),
        best_valid_metric=_metric(best, "valid"),
        best_test_metric=_metric(best, "test"),
        steps_done=measured.steps_done,
        tokens=tokens,
        # Over the time of training steps alone: how often a trial is evaluated says nothing about its speed.
        tokens_per_s=tokens / measured.train_s if measured.train_s > 0 else None,
        flops_per_token=float(flops(model).training),
        backend=measured.backend,
        device=measured.device,
        wall_s=outcome.wall_s,
        cpu_s=outcome.cpu_s,
        peak_memory_bytes=outcome.peak_memory_bytes,
        started_at=outcome.started_at,
        ended_at=outcome.ended_at,
        host=outcome.host or socket.gethostname(),
        lane=outcome.lane,
        code_version=outcome.code_version,
        trained_with=outcome.trained_with,
        final_test_others=_others(final, "test"),
        data_facts=measured.data_facts,
    )


def curve_records(assignment: Assignment, evaluations: list[Evaluation]) -> list[CurveRecord]:
    """The rows of a trial's curve."""
    per_step = assignment.spec.training.batch_size * assignment.spec.training.length
    return [
        CurveRecord(
            trial_id=assignment.trial_id,
            attempt=assignment.attempt,
            step=evaluation.step,
            tokens=evaluation.step * per_step,
            split=evaluation.split,
            loss=evaluation.loss,
            metric=defined(evaluation.metric),
            learning_rate=evaluation.learning_rate,
            wall_s=evaluation.wall_s,
            **{name: evaluation.others[name] for name in RECORDED_COLUMNS if name in evaluation.others},
        )
        for evaluation in evaluations
    ]


def attempt_record(assignment: Assignment, outcome: Outcome) -> AttemptRecord:
    """The row of one try in the history."""
    return AttemptRecord(
        trial_id=assignment.trial_id,
        attempt=assignment.attempt,
        status=outcome.status,
        reason=outcome.reason,
        traceback=outcome.traceback,
        host=outcome.host or socket.gethostname(),
        lane=outcome.lane,
        started_at=outcome.started_at,
        ended_at=outcome.ended_at,
        wall_s=outcome.wall_s,
    )


def _loss(evaluations: Mapping[str, Evaluation], split: str) -> float | None:
    return evaluations[split].loss if split in evaluations else None


def _metric(evaluations: Mapping[str, Evaluation], split: str) -> float | None:
    return defined(evaluations[split].metric) if split in evaluations else None


def _others(evaluations: Mapping[str, Evaluation], split: str) -> str | None:
    others = evaluations[split].others if split in evaluations else {}
    # One column of JSON: what is measured beside the metric differs from task to task, and a column for each would make
    # the table's schema depend on the tasks there are.
    return json.dumps({name: defined(value) for name, value in others.items()}) if others else None


def defined(value: float) -> float | None:
    """A number, or None where it is not one: missing stays missing."""
    # A NaN makes the mean of its whole column a NaN in Arrow and in SQL, where a null is left out; JSON knows no NaN.
    return value if math.isfinite(value) else None
