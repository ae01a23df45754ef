"""Benchmark of seed batches: `python -m benchmarks.seed_batches`. Time of a trial in one go with others over alone.

The real training loop with data, loss, clipping and optimiser; evaluations are left out. The numbers of trials take
turns, so that a change of the machine's load meets all of them. `sweeper.plan.cost.pays` rests on these figures.
"""

import statistics
import time
from collections.abc import Callable

import click
import torch

from model.config import ElmConfig
from sweeper.plan.trial import TrainingConfig, TrialSpec
from sweeper.training.joint import JointRun
from sweeper.training.progress import TrialProgress
from sweeper.training.training import TrialRun

_CASES = (
    (8, 2, 8, 16),
    (8, 2, 8, 32),
    (16, 3, 16, 32),
    (16, 3, 16, 64),
    (32, 4, 16, 64),
    (64, 5, 16, 64),
    (64, 5, 32, 64),
)
"""n_rec, d_m, sequences per step, time steps."""
_TOGETHER = (1, 2, 4, 8)
_TURN_S = 0.1
"""Processor time of a turn: long against the clock's resolution, short against changes of the machine's load."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--backend", type=click.Choice(["native", "torch"]), default="native", show_default=True)
@click.option("--rounds", default=9, show_default=True, help="Turns of every number of trials; their median is shown.")
def main(backend: str, rounds: int) -> None:
    """Measure what training several trials in one go saves."""
    # One thread, as a lane trains.
    torch.set_num_threads(1)
    print("| n_rec | d_m | batch | length | activities | alone, ms/step | K=2 | K=4 | K=8 |\n|" + "---|" * 9)
    for n_rec, d_m, batch_size, length in _CASES:
        # The sizes that a laptop's sweep is made of, where training in one go may pay.
        model = ElmConfig(n_in=27, n_out=27, n_rec=n_rec, d_m=d_m, d_tree=4, d_branch=4)
        training = TrainingConfig(batch_size=batch_size, length=length)
        seconds = measure(model, training, backend, rounds)
        ratios = " | ".join(f"{seconds[k] / seconds[1]:.2f}" for k in _TOGETHER[1:])
        sizes = f"| {n_rec} | {d_m} | {batch_size} | {length} | {n_rec * batch_size * length:,} "
        print(f"{sizes}| {1000 * seconds[1]:.2f} | {ratios} |", flush=True)


def measure(model: ElmConfig, training: TrainingConfig, backend: str, rounds: int) -> dict[int, float]:
    """Median processor seconds per step and trial, by the number of trials that are trained in one go."""
    # The same configuration under several seeds, which is what may be trained in one go.
    specs = [
        TrialSpec(task="text", task_options={"alphabet": "letters"}, model=model, training=training, seed=seed)
        for seed in range(_TOGETHER[-1])
    ]
    actions = {k: _stepper(specs[:k], backend) for k in _TOGETHER}
    step_seconds: dict[int, list[float]] = {k: [] for k in _TOGETHER}
    step = 0
    for turn in range(rounds + 1):
        for k, action in actions.items():
            # the first turn warms up and tells how many steps fill a turn; it is left out of the median
            steps = max(2, int(_TURN_S / (k * step_seconds[k][-1]))) if turn else 3
            began = time.process_time()
            for _ in range(steps):
                action(step)
                step += 1
            step_seconds[k].append((time.process_time() - began) / steps / k)
    return {k: statistics.median(values[1:]) for k, values in step_seconds.items()}


def _stepper(specs: list[TrialSpec], backend: str) -> Callable[[int], None]:
    runs = [TrialRun(spec, TrialProgress(), lambda step: True, "cpu", None, backend=backend) for spec in specs]
    if len(runs) == 1:
        return runs[0].train_step
    # Nothing is stopped or reported here: only the step itself is timed.
    return JointRun(dict(enumerate(runs)), lambda place, error: None, lambda step: True).train_step


if __name__ == "__main__":
    main()
