"""Train several trials of one shape in one go: `train_jointly`. Each gets the numbers it would get alone.

The trials share clipping and the optimiser's step and, where torch runs the networks, the passes through them. Data
order, dropout masks, carried state, curve, checkpoint and divergence stay each trial's own.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from model.cell.interface import DropoutMasks, Output
from model.cell.state import ElmState
from model.networks.stacking import stack_networks
from sweeper.plan.trial import TrialSpec
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.joint_parameters import JointParameters
from sweeper.training.outcomes import Diverged, Stopped
from sweeper.training.progress import TrialProgress
from sweeper.training.training import TrialRun
from tasks.loaders import Batch


@dataclass(frozen=True, kw_only=True)
class JointTrial:
    """One of several trials that are trained in one go."""

    spec: TrialSpec
    """What to train."""
    progress: TrialProgress
    """Filled as the trial goes on."""
    checkpoints: Checkpoints | None = None
    """Where it is saved now and then, and resumed from."""


OnEnd = Callable[[int, Exception | None], None]
"""Called with the trial's place in the list as soon as it has ended, and with the error if it diverged."""


def train_jointly(
    trials: Sequence[JointTrial],
    *,
    on_end: OnEnd,
    on_step: Callable[[int], bool] | None = None,
    device: str = "cpu",
) -> None:
    """Train and evaluate trials with one `sweeper.plan.seed_batch.joint_key`; see
    `sweeper.training.training.train_trial`.

    Trials whose checkpoints are at different steps are trained one group after the other.

    Args:
        trials: what to train.
        on_end: told of every trial that ended.
        on_step: called with the number of steps done by all; False saves and stops them.
        device: torch device.

    Raises:
        Stopped: `on_step` returned False.
    """
    go_on = on_step or (lambda step: True)
    runs = [TrialRun(t.spec, t.progress, go_on, device, t.checkpoints) for t in trials]
    at_step: dict[int, dict[int, TrialRun]] = defaultdict(dict)
    for place, run in enumerate(runs):
        # Before they are grouped: a trial may have been saved alone, or in another group, at another step.
        run.resume()
        at_step[run.progress.steps_done][place] = run
    for group in at_step.values():
        JointRun(group, on_end, go_on).run()


class JointRun:
    """Runs that are at the same step, by their place in the list."""

    def __init__(self, runs: dict[int, TrialRun], on_end: OnEnd, on_step: Callable[[int], bool]) -> None:
        ordered = sorted(runs.items(), key=lambda item: repr(item[1].training))  # equal ones share an optimiser step
        self.runs, self.on_end, self.on_step = dict(ordered), on_end, on_step
        first = ordered[0][1]
        # The first run's settings stand for those that all have in common, such as the number of steps.
        self.training, self.start = first.training, first.progress.steps_done
        # The native kernel gains nothing from a stack, and the reference cannot run one.
        self.stacks = first.network.backend_name in ("torch", "cuda_graph", "triton", "triton_graph")
        self.join()

    def join(self) -> None:
        """Put the parameters of the present runs into one matrix."""
        runs = list(self.runs.values())
        self.parameters = JointParameters(runs)
        self.stack = stack_networks([run.network for run in runs]) if self.stacks else None
        if self.stack is not None:
            self.parameters.share(self.stack)

    def run(self) -> None:
        """Train all to their ends."""
        for step in range(self.start, self.training.steps):
            began, together = time.perf_counter(), len(self.runs)
            self.train_step(step)
            # Divided by those that took the step, the ones that diverged in it included.
            share = (time.perf_counter() - began) / together
            for place, run in list(self.runs.items()):
                # An evaluation can find a loss that is not finite where training has not met one.
                self.unless_diverged(place, partial(run.end_step, step, share))
            if not self.runs:
                return
            go_on = self.on_step(step + 1)
            self.save(stopped=not go_on)
            if not go_on:
                raise Stopped(f"stopped at step {step + 1} of {self.training.steps}")
        for place, run in list(self.runs.items()):
            if self.unless_diverged(place, run.evaluate_at_end):
                self.on_end(place, None)

    def unless_diverged(self, place: int, action: Callable[[], None]) -> bool:
        """Do something for one run; one that diverges ends, and the others go on."""
        try:
            action()
        except Diverged as error:
            self.leave({place: error})
            return False
        return True

    def leave(self, errors: dict[int, Diverged]) -> None:
        """End runs that diverged and go on with the rest."""
        if not errors:
            return
        # The matrices are made anew without the runs that leave, from what each run's own optimiser holds.
        self.parameters.give_state()
        for place, error in errors.items():
            del self.runs[place]
            self.on_end(place, error)
        if self.runs:
            self.join()

    def save(self, *, stopped: bool) -> None:
        """Save the runs for which it is time, or all that are stopped."""
        due = [run for run in self.runs.values() if run.checkpoints and (stopped or run.checkpoints.is_due())]
        if due:
            self.parameters.give_state()
        for run in due:
            assert run.checkpoints is not None
            run.checkpoints.save(run.state_dict())

    def train_step(self, step: int) -> None:
        """Take one optimiser step with all runs; those that diverged leave."""
        runs = list(self.runs.values())
        batches = [run.training_batch(step) for run in runs]
        outputs = self.forward(step, runs, batches)
        parts = [run.loss(o, b) for run, o, b in zip(runs, outputs, batches, strict=True)]
        losses_K = torch.stack([part.total for part in parts])
        # Nothing is shared between the networks, so the gradient of the sum holds each one's own gradient.
        self.parameters.backward(losses_K.sum())
        norms_K = self.parameters.clip()
        # All rows take the step, those that diverged too: nobody reads them again.
        self.parameters.step(step)
        errors = {}
        for (place, run), loss, norm, output, batch, part in zip(
            self.runs.items(), losses_K.tolist(), norms_K.tolist(), outputs, batches, parts, strict=True
        ):
            try:
                run.check_finite(step, loss, norm)
            except Diverged as error:
                errors[place] = error
                continue
            run.progress.backend = (self.stack or run.network).backend_name
            run.note(output, batch, part, norm)
        self.leave(errors)

    def forward(self, step: int, runs: list[TrialRun], batches: list[Batch]) -> list[Output]:
        """Run every network on its own data."""
        states = [run.carried_state(step, batch) for run, batch in zip(runs, batches, strict=True)]
        if self.stack is None:
            outputs = []
            for run, batch, state in zip(runs, batches, states, strict=True):
                run.network.train()
                run.seed_masks(step)
                outputs.append(run.network(batch.x, state))
            return outputs
        size = batches[0].x.shape[0]
        # Where a trial starts afresh its state is zero, which the stack has to be given: it takes one state for all.
        full = [
            state if state is not None else run.network.zero_state(size)
            for run, state in zip(runs, states, strict=True)
        ]
        joined = ElmState(*(torch.stack(tensors) for tensors in zip(*full, strict=True)))
        self.stack.train()
        output = self.stack(torch.stack([batch.x for batch in batches]), joined, masks=_masks(step, runs, size))
        return [_one_of(output, k) for k in range(len(runs))]


def _masks(step: int, runs: list[TrialRun], size: int) -> DropoutMasks | None:
    """Draw each run's masks as it would alone."""
    drawn = []
    for run in runs:
        run.seed_masks(step)
        masks = run.network.draw_masks(size)
        # Networks without dropout draw none, and all of a group have the same dropout or none.
        if masks is None:
            return None
        drawn.append(masks)
    return DropoutMasks(*(torch.stack(tensors) for tensors in zip(*drawn, strict=True)))


def _kth(values: Tensor | float, k: int) -> Tensor:
    assert isinstance(values, Tensor), "a stack of ELM Networks has regularisers"
    return values[k]


def _one_of(output: Output, k: int) -> Output:
    return Output(
        logits=output.logits[k],
        state=ElmState(*(tensor[k] for tensor in output.state)),
        mlp_out_magnitude=_kth(output.mlp_out_magnitude, k),
        population_activity=_kth(output.population_activity, k),
    )
