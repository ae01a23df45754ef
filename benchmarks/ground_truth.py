"""Trials of a known law instead of training: what the whole platform is tested with at 10,000 trials on a laptop.

A ground-truth trial computes its metric from a closed form with seeded noise and misbehaves at set rates: it may raise,
diverge, run out of memory, kill its process or dawdle. What a trial does is a function of its id, its attempt and the
settings, so two runs of one sweep have the same rows.
"""

import hashlib
import math
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from model.backends.native.build import kernel
from model.budget import counts
from sweeper.lane.trainer import TrialContext
from sweeper.plan.trial import TrialSpec
from sweeper.queue.messages import Assignment
from sweeper.training.joint import OnEnd
from sweeper.training.outcomes import Diverged, Stopped
from sweeper.training.progress import Evaluation, TrialProgress

_STEPS_SHOWN = 4
"""Points of a trial's made-up curve."""
_PARTS = 6
"""Pieces of a trial that saves itself: it is saved and stopped between two of them."""
_NO_SUCH_MEMORY = 1 << 50
"""Bytes: a pebibyte, which no machine gives, whether or not a limit is set."""


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    """A trainer (see `sweeper.lane.trainer.Trainer`) whose results follow ``E + A n_rec^-a + B k_e^-b`` plus noise.

    The rates are probabilities per trial; a trial of a rate misbehaves on its first attempt, except for crashes and
    divergence, which happen on every attempt.
    """

    seconds: float = 0.0
    """Wall time of a trial."""
    noise: float = 0.003
    """Standard deviation of the metric over seeds."""
    floor: float = 1.2
    """Irreducible metric, E."""
    amplitude_n: float = 6.0
    """Amplitude of the term in n_rec, A."""
    exponent_n: float = 0.5
    """Exponent of the term in n_rec, a."""
    amplitude_k: float = 8.0
    """Amplitude of the term in k_e, B."""
    exponent_k: float = 0.6
    """Exponent of the term in k_e, b."""
    crash_rate: float = 0.0
    """Trials that raise, every time."""
    diverge_rate: float = 0.0
    """Trials whose loss becomes NaN, every time."""
    memory_rate: float = 0.0
    """Trials that ask for more memory than there is unless they run alone."""
    kill_rate: float = 0.0
    """Trials whose first attempt kills its process."""
    straggler_rate: float = 0.0
    """Trials that take ten times as long."""

    def __call__(self, assignment: Assignment, progress: TrialProgress, context: TrialContext) -> None:
        """Run one trial."""
        # From the id, so that a trial has the same fate on every lane and in every launch; all are drawn before any is
        # looked at, so that one rate does not change what another one hits.
        draw = random.Random(int(hashlib.sha256(assignment.trial_id.encode()).hexdigest()[:12], 16))
        fate = {name: draw.random() for name in ("crash", "diverge", "memory", "kill", "straggler")}
        first = assignment.attempt == 1
        # SIGKILL, because it is what the kernel sends when memory runs out, and nothing can catch it.
        if first and fate["kill"] < self.kill_rate:
            os.kill(os.getpid(), signal.SIGKILL)
        if fate["crash"] < self.crash_rate:
            raise RuntimeError(f"made to fail (draw {fate['crash']:.6f})")
        if first and fate["memory"] < self.memory_rate:
            bytearray(_NO_SUCH_MEMORY)
        # A lane that is draining must be able to stop a trial before it has begun.
        if not context.on_step(0):
            raise Stopped("stopped before the first step")
        self._wait(self.seconds * (10.0 if fate["straggler"] < self.straggler_rate else 1.0), assignment.spec, context)
        if fate["diverge"] < self.diverge_rate:
            raise Diverged("loss nan, gradient norm nan at step 1")
        self._measure(assignment.spec, progress, draw.gauss(0.0, self.noise))

    def jointly(
        self,
        assignments: Sequence[Assignment],
        progresses: Sequence[TrialProgress],
        contexts: Sequence[TrialContext],
        on_end: OnEnd,
    ) -> None:
        """Run several trials in one go; a crash, or want of memory, takes those along that have not ended."""
        for place, (assignment, progress, context) in enumerate(zip(assignments, progresses, contexts, strict=True)):
            try:
                self(assignment, progress, context)
            # Divergence is one trial's own end; any other exception leaves the loop and takes the group along.
            except Diverged as error:
                on_end(place, error)
            else:
                on_end(place, None)

    def metric(self, spec: TrialSpec) -> float:
        """Return the metric by the law, without noise."""
        # Counted by the product itself, so that a fit of these rows sees the sizes that it would see of real ones.
        n_rec, k_e = float(spec.model.units), float(counts(spec.model).k_e)
        neurons, complexity = n_rec**-self.exponent_n, k_e**-self.exponent_k
        return float(self.floor + self.amplitude_n * neurons + self.amplitude_k * complexity)

    def _wait(self, seconds: float, spec: TrialSpec, context: TrialContext) -> None:
        ends, total = time.monotonic() + seconds, spec.training.steps
        while (left := ends - time.monotonic()) > 0:
            if not context.on_step(int(total * (1 - left / seconds))):
                raise Stopped("stopped by its lane")
            time.sleep(min(left, 0.05))  # in short naps, or a lane that stops would have to wait for its trial

    def _measure(self, spec: TrialSpec, progress: TrialProgress, noise: float) -> None:
        steps, value = spec.training.steps, self.metric(spec) + noise
        for part in range(1, _STEPS_SHOWN + 1):
            step = steps * part // _STEPS_SHOWN
            # A curve that falls towards the final value, as training curves do.
            shown = value * (1 + 0.5 * math.exp(-5 * part / _STEPS_SHOWN))
            progress.evaluations.append(_evaluation("valid", step, shown))
        # All splits alike: the law is about sizes, and generalisation is no part of it.
        progress.final = {split: _evaluation(split, steps, value) for split in ("train", "valid", "test")}
        # not 0 seconds, by which the throughput is divided
        progress.best, progress.steps_done, progress.train_s = progress.final, steps, max(self.seconds, 1e-6)
        progress.data_name, progress.data_sha256, progress.backend = "ground truth", "0" * 64, "ground truth"


class SavedTruth(GroundTruth):
    """A ground-truth trial that loads the native kernel, saves itself and is resumed, as real ones do.

    Its noise is added up piece by piece, so that a state that is not the one that was saved shows in its metric.
    """

    def __call__(self, assignment: Assignment, progress: TrialProgress, context: TrialContext) -> None:
        """Run one trial."""
        kernel(torch.float32)
        saved = context.checkpoints.load() or {"parts": 0, "noise": 0.0}
        parts, noise = saved["parts"], saved["noise"]
        while parts < _PARTS:
            going_on = context.on_step(assignment.spec.training.steps * parts // _PARTS)
            if not going_on or context.checkpoints.is_due():
                context.checkpoints.save({"parts": parts, "noise": noise})
            if not going_on:
                raise Stopped("stopped by its lane")
            time.sleep(self.seconds / _PARTS)
            noise += random.Random(f"{assignment.trial_id} {parts}").gauss(0.0, self.noise / math.sqrt(_PARTS))
            parts += 1
        self._measure(assignment.spec, progress, noise)


def _evaluation(split: str, step: int, metric: float) -> Evaluation:
    return Evaluation(step=step, split=split, loss=metric * math.log(2), metric=metric, learning_rate=None, wall_s=0.0)
