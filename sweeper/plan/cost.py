"""What a trial costs: seconds and memory from its configuration, calibrated by the trials that a store already holds.

The model of the time of a trial is ``start + steps x length x (a + batch x (b x n_rec + c x P))`` seconds: each time
step costs a fixed overhead and, per sequence, element-wise work and memory traffic in proportion to the neurons and
arithmetic in proportion to the trainable parameters P. The start holds also the time in which data are drawn and, in an
LSTM, recurrent dropout runs step by step. ``a``, ``b`` and ``c`` start as measured on one core of an AMD EPYC (Zen 5)
with the native kernel and are fitted to finished trials once there are some.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from model.architecture import Counts
from model.architectures.gated import GruConfig, LstmConfig
from model.budget import counts
from model.config import ModelConfig
from model.registry import architecture_of
from sweeper.plan.trial import TrainingConfig, TrialSpec, spec_from_canonical
from sweeper.store.schema import FINISHED
from tasks.spec import draw_seconds

START_S = 0.3
"""Building the network and opening the data (measured)."""
OVERHEAD_S = 4e-5
"""Seconds per time step apart from the rest (measured on small networks)."""
NEURON_S = 2e-8
"""Seconds per time step, neuron and sequence, training included (measured: 1.7 to 3e-8, rising with n_rec)."""
ARITHMETIC_S = 7e-11
"""Seconds per time step, parameter and sequence, training included (measured where neurons are few and complex)."""
LOOP_S = 1.5e-4
"""Seconds per time step of training that an LSTM with recurrent dropout takes longer, in a loop of Python (measured
with 32 to 300 units against torch's module; a GRU's loop is as fast as torch's)."""
LOOP_UNIT_S = 8e-8
"""The same per time step, unit and sequence."""
UNCALIBRATED_FACTOR = 3.0
"""Without history the truth lies within this factor (assumption)."""
LEAST_HISTORY = 6
"""Finished trials needed before the constants are fitted."""
JOINT_TRIALS = 4
"""Trials that are trained in one go where it pays (measured: more gain little)."""
JOINT_NUMBERS = 8_192
"""Activities (time steps x sequences x neurons) of one optimiser step up to which it pays (measured)."""
BYTES_PER_PROCESS = 350 * 1024**2
"""Resident memory of a process after its first, tiny trial (measured: 263 MiB of it are imports)."""
BYTES_PER_CUDA_CONTEXT = 450 * 1024**2
"""GPU memory of a process before its first tensor: 300 to 500 MB by GPU and driver (assumption)."""
LEAST_OWN_BYTES = 64 * 1024**2
"""Trials expected to need less say nothing about memory: the allocator's own holdings are as large (assumption)."""
_SPREAD_QUANTILE = 1.645
"""Normal quantile of a 90 % range, which leaves 5 % on each side."""


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Constants of the cost of a trial."""

    overhead_s: float = OVERHEAD_S
    """Seconds per time step apart from arithmetic."""
    neuron_s: float = NEURON_S
    """Seconds per time step, neuron and sequence."""
    arithmetic_s: float = ARITHMETIC_S
    """Seconds per time step, parameter and sequence."""
    log_spread: float = math.log(UNCALIBRATED_FACTOR) / _SPREAD_QUANTILE
    """Standard deviation of the logarithm of true over predicted seconds of one trial."""
    calibrated_on: int = 0
    """Finished trials the constants were fitted to."""
    memory_factor: float = 1.0
    """By how much trials went beyond their expected memory, at worst."""

    def memory_bytes(self, spec: TrialSpec, device: str = "cpu") -> int:
        """Expected peak memory of a trial: of its process, or on the GPU it runs on, context included."""
        # The factor is of the trial's own memory alone: what a process takes without it does not grow with the trial.
        base = BYTES_PER_PROCESS if device == "cpu" else BYTES_PER_CUDA_CONTEXT
        return base + int(self.memory_factor * _own_bytes(spec, device))

    def seconds(self, spec: TrialSpec) -> float:
        """Expected wall seconds of one trial on one lane."""
        steps, neurons, arithmetic = _features(spec)
        return _apart_s(spec) + self.overhead_s * steps + self.neuron_s * neurons + self.arithmetic_s * arithmetic

    def forecast(self, specs: Sequence[TrialSpec], *, slowdown: float = 1.0) -> "Forecast":
        """Lane-seconds of a set of trials with a 90 % range.

        Errors of single trials average out; an error common to all (another machine) does not, and half of the spread
        is taken to be common (assumption).

        Args:
            specs: the trials.
            slowdown: by how much they take longer where the machine is busy (`sweeper.plan.busy`). The lower end of the
                range is that of a machine that falls quiet.
        """
        expected = [self.seconds(spec) for spec in specs]
        total = sum(expected)
        if total == 0:
            return Forecast(seconds=0.0, low=0.0, high=0.0, longest=0.0, calibrated_on=self.calibrated_on)
        # By this factor independent errors shrink in a sum: 1/√n for n equal trials, near 1 where one long trial
        # dominates. Half of the spread is common, which leaves three quarters of the variance to average out.
        share = math.sqrt(sum((s / total) ** 2 for s in expected))
        # The built-in constants are wrong by the machine, hence for all trials alike: nothing averages out there.
        spread = self.log_spread * (math.sqrt(0.25 + 0.75 * share**2) if self.calibrated_on else 1.0)
        # Errors are of a factor, so the range is one of a logarithm: its ends are as far in ratio.
        factor = math.exp(_SPREAD_QUANTILE * spread)
        return Forecast(
            seconds=total * slowdown,
            low=total / factor,
            high=total * slowdown * factor,
            longest=max(expected) * slowdown,
            calibrated_on=self.calibrated_on,
            slowdown=slowdown,
        )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Expected lane-seconds of a set of trials."""

    seconds: float
    """Expected sum."""
    low: float
    """Lower end of the 90 % range."""
    high: float
    """Upper end of the 90 % range."""
    longest: float
    """The longest trial: no number of lanes is faster."""
    calibrated_on: int
    """Finished trials behind it; 0 means built-in constants."""
    slowdown: float = 1.0
    """By how much the trials were taken to run slower than on a quiet machine."""

    def wall_seconds(self, lanes: int) -> float:
        """Expected wall time on a number of lanes, start-up excluded."""
        return max(self.seconds / lanes, self.longest)

    def wall_range(self, lanes: int) -> tuple[float, float]:
        """The 90 % range of the wall time on a number of lanes, start-up excluded."""
        if self.seconds == 0:
            return 0.0, 0.0
        expected = self.wall_seconds(lanes)
        return expected * self.low / self.seconds, expected * self.high / self.seconds


def calibrate(rows: Sequence[Mapping[str, Any]]) -> CostModel:
    """Fit the constants to finished trials.

    Args:
        rows: `spec`, `wall_s`, `cpu_s` and, for the memory, `status`, `peak_memory_bytes`, `lane` and `device` of
            trials that finished or ran out of memory, oldest first.

    Returns:
        The fitted model, or the built-in one with fewer than `LEAST_HISTORY` trials.
    """
    finished = [row for row in rows if row.get("status", FINISHED) == FINISHED and row["wall_s"] > 0]
    known = [(spec_from_canonical(row["spec"]), _work_s(row)) for row in finished]
    memory_factor = _memory_factor(rows)
    if len(known) < LEAST_HISTORY:
        return CostModel(memory_factor=memory_factor)
    from scipy.optimize import nnls  # slow to load, and plans without a history do without

    features = np.array([_features(spec) for spec, _ in known])
    seconds = np.array([wall for _, wall in known])
    apart = np.array([_apart_s(spec) for spec, _ in known])
    # A trial shorter than the assumed start would divide by nothing, or turn its sign.
    above_start = np.maximum(seconds - apart, 0.05 * seconds)
    weighted = features / above_start[:, None]  # relative errors count alike for short and long trials
    # Not negative: plain least squares may give one term a negative cost, and a size that no trial had then comes out
    # as less than free.
    overhead, neuron, arithmetic = (float(c) for c in nnls(weighted, np.ones(len(known)))[0])
    model = CostModel(overhead_s=overhead, neuron_s=neuron, arithmetic_s=arithmetic)
    residuals = np.log(seconds) - np.log([model.seconds(spec) for spec, _ in known])
    # Three constants were fitted, and each takes a degree of freedom.
    spread = float(np.sqrt(np.sum(residuals**2) / max(1, len(known) - 3)))
    # Trials that are all alike can be fitted almost exactly; no forecast claims to be better than 2 %.
    return replace(model, log_spread=max(spread, 0.02), calibrated_on=len(known), memory_factor=memory_factor)


def pays(spec: TrialSpec, device: str) -> int:
    """How many trials of one shape are worth training in one go (see `sweeper.training.joint`); 1 where it saves too
    little.

    What is saved is the fixed cost of an optimiser step, so it pays where a step does little else (measured by
    `python -m benchmarks.seed_batches`; see README.md, "Seed batches"). Not measured on GPUs, and therefore not done
    there.
    """
    if not architecture_of(spec.model).joint or not device.startswith("cpu"):
        return 1
    training = spec.training
    numbers = training.batch_size * training.length * spec.model.units
    return JOINT_TRIALS if numbers <= JOINT_NUMBERS else 1


def memory_bytes(spec: TrialSpec, device: str = "cpu") -> int:
    """Expected peak memory of a trial: of its process, or on the GPU it runs on, context included."""
    return CostModel().memory_bytes(spec, device)


def _memory_factor(rows: Sequence[Mapping[str, Any]]) -> float:
    """How much more memory trials took than expected, at worst; 1 where it was no more.

    A process reports the peak of all it has run, so only trials that raised their lane's peak tell something. One that
    ran out of memory needed at least what it had.
    """
    worst, peaks = 1.0, dict[str, int]()
    for row in rows:
        peak, lane, device = row.get("peak_memory_bytes"), row.get("lane"), row.get("device") or "cpu"
        if peak is None or lane is None or peak <= peaks.get(lane, 0):
            continue
        peaks[lane] = peak
        expected = _own_bytes(spec_from_canonical(row["spec"]), device)
        if expected > LEAST_OWN_BYTES:
            worst = max(worst, (peak - (BYTES_PER_PROCESS if device == "cpu" else 0)) / expected)
    # Bounded, so that one odd peak does not make every trial look too large to be run beside others.
    return min(worst, UNCALIBRATED_FACTOR)


def _own_bytes(spec: TrialSpec, device: str) -> int:
    """Weights with gradient and two moments, what is kept for differentiation, the input and the loss's copies."""
    model, training, total = spec.model, spec.training, _counts(spec.model)
    width = 8 if training.dtype == "float64" else 4  # bytes of a number
    # Only the ELM Network's is measured; the others' are rough counts (`Architecture.saved_bytes`).
    kept = architecture_of(model).saved_bytes(
        model, device=device, batch=training.batch_size, steps=training.length, itemsize=width
    )
    # Four arrays of the output's size live at a time in the loss: the output, its log-probabilities and the gradients
    # of both (measured). Two more are for copies that the allocator keeps (assumption).
    inputs = training.length * training.batch_size * (model.n_in + 6 * model.n_out)
    return kept + width * (4 * total.total_params + inputs)


def relative_work(spec: TrialSpec) -> float:
    """Expected seconds with the built-in constants: what orders trials and weighs progress within a sweep."""
    return CostModel().seconds(spec)


@lru_cache(maxsize=10_000)
def _counts(config: ModelConfig) -> Counts:
    return counts(config)


def _work_s(row: Mapping[str, Any]) -> float:
    """Seconds that a finished trial takes where it has a core to itself: of the wall time what it was computing."""
    wall, cpu = float(row["wall_s"]), row.get("cpu_s")
    # A GPU computes while the processor waits; threads of one trial compute more seconds than pass.
    if cpu is None or not cpu > 0 or (row.get("device") or "cpu") != "cpu":
        return wall
    return min(wall, float(cpu))


def _apart_s(spec: TrialSpec) -> float:
    """Seconds that do not follow the fitted constants: the start, drawing the data, a loop of recurrent dropout."""
    training, model = spec.training, spec.model
    trained = training.steps * training.batch_size
    drawn = trained * draw_seconds(spec.task, spec.task_options, "train")
    drawn += _eval_batches(training) * training.eval_batch_size * draw_seconds(spec.task, spec.task_options, "valid")
    looped = 0.0
    if isinstance(model, LstmConfig) and not isinstance(model, GruConfig) and model.dropout_rec > 0:
        looped = training.length * (training.steps * LOOP_S + trained * model.units * LOOP_UNIT_S)
    return START_S + drawn + looped


def _eval_batches(training: TrainingConfig) -> float:
    """Batches of all evaluations of a trial."""
    evaluations = training.steps // training.eval_every + 1
    # Null means the whole split, whose size only the data know: 20 and 100 batches stand for it (assumption). Three
    # splits are evaluated at the end.
    return float(evaluations * (training.eval_batches or 20) + 3 * (training.final_eval_batches or 100))


def _features(spec: TrialSpec) -> tuple[float, float, float]:
    """Time steps of training and evaluation (which costs a third), and the same times sequences and neurons or P."""
    training, params = spec.training, _counts(spec.model).trainable_params
    steps = float(training.steps * training.length)
    # An evaluation has no backward pass, which multiplies by the weights twice (for the gradients of the inputs and of
    # the weights) where the forward pass does once: a third of the work, as `model.flops.Flops.training` counts it
    # (measured on laptop cases of `benchmarks.model`: 0.21 to 0.25 of a step's time natively, 0.32 to 0.36 by torch).
    eval_steps = _eval_batches(training) * training.length / 3
    sequences = steps * training.batch_size + eval_steps * training.eval_batch_size
    return steps + eval_steps, sequences * spec.model.units, sequences * params
