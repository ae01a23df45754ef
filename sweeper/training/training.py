"""Train one trial from its spec, in this process: `train_trial(spec)`. No Ray here; a debugger works.

Every random choice is a function of the spec's seed and the step, so a resumed trial goes on exactly as it would have.
"""

import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from model.cell.flat import FlatParameters
from model.cell.interface import Output
from model.cell.state import detach_state, rebuilt, zero_rows
from model.network import build_network
from sweeper.errors import SweeperError
from sweeper.plan.trial import PREDICTIONS, TrialSpec
from sweeper.training.checkpoint import Checkpoints, progress_state, restore_progress
from sweeper.training.optimizer import Optimizer
from sweeper.training.outcomes import Diverged, Stopped
from sweeper.training.predictions import Predictions
from sweeper.training.progress import Evaluation, TrialProgress
from sweeper.training.running import RunningMean, RunningRecord, StepLoss
from sweeper.training.schedule import learning_rate_at, reset_probability
from tasks.facts import data_facts
from tasks.loaders import Batch, Split, Task, load_task
from tasks.losses import MetricAccumulator, training_loss

_MASK_STREAM, _RESET_STREAM = 1, 2
"""Kinds of random choice of one step; each has a stream of its own, so that neither shifts the other's numbers."""
_FINAL_SPLITS: tuple[Split, ...] = ("valid", "test", "train")
"""In this order, since train is cut to the number of batches that valid had: it may be hundreds of times longer."""


def train_trial(
    spec: TrialSpec,
    *,
    progress: TrialProgress | None = None,
    on_step: Callable[[int], bool] | None = None,
    device: str = "cpu",
    checkpoints: Checkpoints | None = None,
) -> TrialProgress:
    """Train and evaluate one trial.

    Args:
        spec: what to train.
        progress: filled as the trial goes on; a new one when None.
        on_step: called with the number of steps done; False stops the trial.
        device: torch device.
        checkpoints: where the trial is saved now and then, and resumed from when it was saved before. A resumed trial
            gives the same bits as an undisturbed one on a CPU.

    Returns:
        `progress`, with `final` and `best` evaluations of train, valid and test.

    Raises:
        Diverged: the loss or the gradient norm is not finite.
        Stopped: `on_step` returned False.
    """
    progress = progress if progress is not None else TrialProgress()
    return TrialRun(spec, progress, on_step or (lambda step: True), device, checkpoints).run()


class TrialRun:
    """One training run: network, optimiser, data and the carried state."""

    def __init__(
        self,
        spec: TrialSpec,
        progress: TrialProgress,
        on_step: Callable[[int], bool],
        device: str,
        checkpoints: Checkpoints | None,
        backend: str = "auto",
    ) -> None:
        self.started = time.perf_counter()
        self.spec, self.training, self.progress, self.on_step = spec, spec.training, progress, on_step
        self.device, self.checkpoints = torch.device(device), checkpoints
        if checkpoints is None:  # before hours of training, at whose end there would be no place
            for name, asked in (
                ("save: final", spec.training.save == "final"),
                ("record: predictions", PREDICTIONS in spec.training.recorded),
            ):
                if asked:
                    raise SweeperError(f"training.{name} needs a results directory; `train_trial` was given none")
        self.task: Task = load_task(spec.task, spec.task_options)
        dtype = getattr(torch, self.training.dtype)
        self.network = build_network(spec.model, seed=spec.seed, dtype=dtype, backend=backend)
        # Moved first: moving it afterwards would part its parameters from the one tensor that the optimiser changes.
        self.network.to(self.device)
        self.flat = FlatParameters(self.network)
        self.optimizer = Optimizer([self.flat.values], kind=self.training.optimizer, lr=self.training.learning_rate)
        self.state: Any = None
        self.running, self.recorded = RunningMean(), RunningRecord()
        self.best_weights: dict[str, Tensor] | None = None
        progress.data_name, progress.data_sha256 = self.task.data_name, self.task.data_sha256
        progress.data_facts = data_facts(self.task)
        progress.backend, progress.device = self.network.backend_name, str(self.device)

    def run(self) -> TrialProgress:
        """Train to the end."""
        self.resume()
        for step in range(self.progress.steps_done, self.training.steps):
            began = time.perf_counter()
            self.train_step(step)
            self.end_step(step, time.perf_counter() - began)
            go_on = self.on_step(step + 1)
            # After the whole step, evaluation included: a resumed trial must not evaluate a step twice.
            if self.checkpoints is not None and (not go_on or self.checkpoints.is_due()):
                self.checkpoints.save(self.state_dict())
            if not go_on:
                raise Stopped(f"stopped at step {step + 1} of {self.training.steps}")
        self.evaluate_at_end()
        return self.progress

    def state_dict(self) -> dict[str, Any]:
        """Everything the rest of the run depends on; batches, masks and resets follow from seed and step."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "carried": None if self.state is None else list(self.state),
            "best_weights": self.best_weights,
            "running": asdict(self.running),
            "recorded": asdict(self.recorded),
            "progress": progress_state(self.progress),
        }

    def resume(self) -> None:
        """Go on from the trial's checkpoint, where there is one."""
        saved = None if self.checkpoints is None else self.checkpoints.load()
        if saved is None:
            return
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if saved["carried"] is not None:
            zero = self.network.zero_state(self.training.batch_size)
            self.state = rebuilt(zero, (tensor.to(self.device) for tensor in saved["carried"]))
        self.best_weights = saved["best_weights"]
        self.running = RunningMean(**saved["running"])
        # Checkpoints of earlier versions have none, and go on all the same.
        self.recorded = RunningRecord(**saved.get("recorded", {}))
        # Filled in place: the lane holds this object and makes the rows from it.
        restore_progress(self.progress, saved["progress"])

    def train_step(self, step: int) -> None:
        """Take one optimiser step."""
        training = self.training
        # At each step, since an evaluation switches dropout off.
        self.network.train()
        batch = self.training_batch(step)
        self.seed_masks(step)
        output = self.network(batch.x, self.carried_state(step, batch))
        loss = self.loss(output, batch)
        # Without `zero_grad`: `clip_grad` below takes the gradients away, so that the next pass adds to nothing.
        total = loss.total
        total.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        norm = self.flat.clip_grad(training.clip_norm)
        # Before the optimiser's step, which would make weights of a gradient that is not finite: the trial could then
        # not even show how good it was.
        self.check_finite(step, total.item(), norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, training)
        self.optimizer.step()
        self.progress.backend = self.network.backend_name  # a recording that fails makes it another
        self.note(output, batch, loss, norm)

    def training_batch(self, step: int) -> Batch:
        """The data of one step."""
        sizes = {"batch_size": self.training.batch_size, "length": self.training.length}
        return _to(self.task.train_batch(step, seed=self.spec.seed, **sizes), self.device)

    def seed_masks(self, step: int) -> None:
        """Make the dropout masks of a step follow from seed and step."""
        seed = _stream_seed(self.spec.seed, step, _MASK_STREAM)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # torch.manual_seed takes 0.3 ms where CUDA is not initialised
        else:
            torch.manual_seed(seed)

    def check_finite(self, step: int, loss: float, norm: float) -> None:
        """Raise `Diverged` unless loss and gradient norm are numbers."""
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise Diverged(f"loss {loss}, gradient norm {norm} at step {step + 1} of {self.training.steps}")

    def loss(self, output: Output, batch: Batch) -> StepLoss:
        """What a step makes smaller: the task's loss and the regularisers."""
        training = self.training
        return StepLoss(
            training_loss(self.task.spec, output.logits, batch, label_smoothing=training.label_smoothing),
            training.reg_mlp * output.mlp_out_magnitude,
            training.reg_activity * output.population_activity,
        )

    def note(self, output: Output, batch: Batch, loss: StepLoss, norm: float) -> None:
        """Keep what a step leaves: its share in the running means, and the state for the next one."""
        if self.training.recorded:
            self.recorded.add(loss, norm)
        # Training loss and metric come from the batches that are trained on anyway: they cost no pass of their own, but
        # are those of many weights, with dropout, and not of the last ones.
        metrics = MetricAccumulator(self.task.spec)
        metrics.update(output.logits.detach(), batch)
        self.running.add(metrics.result(), self.task.spec.metric)
        # Detached, so that gradients end at the segment: otherwise each step would go back through all steps before it.
        self.state = detach_state(output.state) if self.task.spec.carry_state else None

    def end_step(self, step: int, seconds: float) -> None:
        """Count a step that took so long; evaluate where it is time to."""
        self.progress.train_s += seconds
        self.progress.steps_done = step + 1
        if (step + 1) % self.training.eval_every == 0 or step + 1 == self.training.steps:
            loss, metric = self.running.take()
            recorded = self.recorded.take(self.training.recorded)
            measured = {"loss": loss, self.task.spec.metric: metric, **recorded}
            self.record("train", measured, learning_rate_at(step, self.training))
            self.validate(step)

    def carried_state(self, step: int, batch: Batch) -> Any:
        """The state to start a segment from: single rows are reset with a probability that falls over training."""
        if self.state is None or batch.starts_fresh:
            return None
        # On the CPU wherever the network is, so that a seed resets the same rows on every device.
        generator = torch.Generator().manual_seed(_stream_seed(self.spec.seed, step, _RESET_STREAM))
        reset = torch.rand(batch.x.shape[0], generator=generator) < reset_probability(step, self.training)
        return zero_rows(self.state, reset.to(self.device))

    def validate(self, step: int) -> None:
        """Evaluate a few batches of the validation split; keep the weights where they are the best so far."""
        result = self.evaluate("valid", self.training.eval_batches)
        evaluation = self.record("valid", result, learning_rate_at(step, self.training))
        # Kept in memory: the final evaluation needs the weights of the best step, which is known only at the end.
        best = self.progress.best.get("valid")
        if best is None or _is_better(evaluation.metric, best.metric, self.task.spec.direction):
            self.progress.best["valid"] = evaluation
            self.best_weights = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def evaluate_at_end(self) -> None:
        """Evaluate all splits with the last weights and with those of the best validation."""
        training, best_step = self.training, self.progress.best["valid"].step
        predictions = Predictions(self.task.spec, self.spec.trial_id) if PREDICTIONS in training.recorded else None
        self.progress.final = self.evaluate_splits(training.steps, predictions)
        # Before the weights of the best validation take their place, and before the trial has its row: a finished trial
        # has its network and its predictions.
        if training.save == "final":
            assert self.checkpoints is not None
            self.checkpoints.keep_network(self.spec.canonical, self.network.state_dict())
        if predictions is not None:
            assert self.checkpoints is not None
            self.checkpoints.keep_predictions(predictions.table())
        if best_step == training.steps:  # the same weights: evaluating them again would give the same numbers
            self.progress.best = self.progress.final
            return
        assert self.best_weights is not None
        self.network.load_state_dict(self.best_weights)
        self.progress.best = self.evaluate_splits(best_step)

    def evaluate_splits(self, step: int, predictions: Predictions | None = None) -> dict[str, Evaluation]:
        """Evaluate every split with the present weights, which are those after `step` steps.

        Args:
            step: steps done.
            predictions: takes what is predicted of the test split.
        """
        results: dict[str, Evaluation] = {}
        for split in _FINAL_SPLITS:
            batches = self.training.final_eval_batches
            if split == "train" and batches is None:
                batches = self.valid_batches
            # Without a learning rate, by which `record` tells the final evaluations from those of the curve.
            taken = self.evaluate(split, batches, predictions if split == "test" else None)
            results[split] = self.record(split, taken, None, step=step)
        return results

    @torch.no_grad()
    def evaluate(
        self, split: Split, max_batches: int | None, predictions: Predictions | None = None
    ) -> dict[str, float]:
        """Mean loss, metric and whatever else the task measures of a split."""
        # Dropout off; what is measured is the network and not one of its thinned copies.
        self.network.eval()
        metrics, state, count = MetricAccumulator(self.task.spec), None, 0
        for batch in self.eval_batches(split, max_batches):
            output = self.network(batch.x, None if batch.starts_fresh else state)
            state = output.state if self.task.spec.carry_state else None
            metrics.update(output.logits, batch)
            if predictions is not None:
                predictions.add(output.logits, batch)
            count += 1
        if split == "valid":
            self.valid_batches = count  # what the final evaluation takes of the training split
        result = metrics.result()
        # The metric may be undefined for good reasons; a loss that is not finite means that the weights are lost.
        if not math.isfinite(result["loss"]):
            raise Diverged(f"{split} loss {result['loss']} after {self.progress.steps_done} steps")
        return result

    def eval_batches(self, split: Split, max_batches: int | None) -> Iterator[Batch]:
        """The batches of a split."""
        training = self.training
        for batch in self.task.eval_batches(
            split, batch_size=training.eval_batch_size, length=training.length, max_batches=max_batches
        ):
            yield _to(batch, self.device)

    def record(
        self, split: str, measured: Mapping[str, float], learning_rate: float | None, *, step: int | None = None
    ) -> Evaluation:
        """Make an evaluation; one made while training, with its learning rate, becomes part of the curve."""
        evaluation = Evaluation(
            step=self.progress.steps_done if step is None else step,
            split=split,
            loss=measured["loss"],
            metric=measured[self.task.spec.metric],
            learning_rate=learning_rate,
            wall_s=time.perf_counter() - self.started,
            others={name: value for name, value in measured.items() if name not in ("loss", self.task.spec.metric)},
        )
        if learning_rate is not None:
            self.progress.evaluations.append(evaluation)
        return evaluation


def peak_memory_bytes(device: str | None) -> int:
    """Peak memory of this process so far: resident, or on the GPU where the trial ran on one."""
    if device is not None and device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux gives KiB


def _stream_seed(seed: int, step: int, stream: int) -> int:
    """A seed for one kind of random choice at one step: a hash of the three numbers (the finaliser of splitmix64)."""
    # Mixed well, because seeds that differ in few bits may start generators off alike.
    value = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + stream * 0x94D049BB133111EB) & (2**64 - 1)
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (value ^ (value >> 31)) >> 1


def _is_better(value: float, best: float, direction: str) -> bool:
    if math.isnan(value) or math.isnan(best):  # an undefined metric, such as the area of a set without spikes
        return math.isnan(best) and not math.isnan(value)
    return value < best if direction == "min" else value > best


def _to(batch: Batch, device: torch.device) -> Batch:
    """Move a batch to a device."""
    if device.type == "cpu":
        return batch
    weight = None if batch.weight is None else batch.weight.to(device)
    return batch._replace(x=batch.x.to(device), y=batch.y.to(device), weight=weight)
