"""What a plan should be told of before it is launched: settings that can be run and are rarely meant."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from sweeper.plan.expand import PlanRow
from sweeper.plan.recipes import recipe_of
from sweeper.plan.trial import TrialSpec
from sweeper.words import counted
from tasks.base import TaskSpec
from tasks.errors import DataError, TaskError
from tasks.spec import task_spec

READ_OUT_SHARE = 1 / 3
"""Of the trainable parameters; above it a budget says little about the neurons (assumption)."""
LEAST_WARMUP = 10
"""Steps; with 5 instead of 100 of 300 steps, text lost 0.07 bpc (studies/defaults)."""
MOST_EPOCHS = 20
"""Above it small data are learnt by heart (assumption)."""
STUDIED_STEPS = 4000
"""Steps beyond which the rates that were tried say nothing: long trainings want smaller ones."""
FEWEST_NEURONS = 4
"""Below it a layer is hardly one (assumption)."""


def advice(rows: Iterable[PlanRow]) -> Iterator[str]:
    """One sentence per kind of setting that is rarely meant, with how many trials have it.

    Args:
        rows: of a plan, to be run.
    """
    planned = [(row, row.spec) for row in rows if row.spec is not None]
    for note in (_long_warm_up, _short_warm_up, _epochs, _read_out, _rate, _ends):
        yield from note(planned)


_Planned = list[tuple[PlanRow, TrialSpec]]


def _those(planned: _Planned, holds: Callable[[PlanRow, TrialSpec], bool]) -> _Planned:
    return [pair for pair in planned if holds(*pair)]


def _trials(some: _Planned) -> str:
    return counted(len(some), "trial")


def _long_warm_up(planned: _Planned) -> Iterator[str]:
    # Not refused, since tiny grids that only try something out keep the published warm-up.
    some = _those(planned, lambda row, spec: spec.training.warmup_steps > spec.training.steps)
    if some:
        end, their = ("ends", "its") if len(some) == 1 else ("end", "their")
        yield (
            f"{_trials(some)} {end} before {their} warm-up does, so that {their} learning rate never "
            "reaches its peak; training.warmup_steps shortens it."
        )


def _short_warm_up(planned: _Planned) -> Iterator[str]:
    some = _those(planned, lambda row, spec: spec.training.warmup_steps < min(LEAST_WARMUP, spec.training.steps / 4))
    if some:
        yield (
            f"{_trials(some)} with fewer than {LEAST_WARMUP} steps of warm-up; a quarter of the steps did best on "
            "short trainings (training.warmup_steps)."
        )


def _epochs(planned: _Planned) -> Iterator[str]:
    seen = [(pair, epochs) for pair in planned if (epochs := _epochs_of(pair[1])) is not None]
    unfinished = [(pair, epochs) for pair, epochs in seen if epochs < 1]
    if unfinished:
        yield (
            f"{_trials([pair for pair, _ in unfinished])} end before they have seen all training data once (at least "
            f"{min(epochs for _, epochs in unfinished):.0%} of it): more training.steps or a larger batch would."
        )
    often = [(pair, epochs) for pair, epochs in seen if epochs > MOST_EPOCHS]
    if often:
        yield (
            f"{_trials([pair for pair, _ in often])} see all training data up to "
            f"{max(epochs for _, epochs in often):.0f} times: "
            "compare training with validation, and look at the best step as well as at the last."
        )


def _epochs_of(spec: TrialSpec) -> float | None:
    """How often a trial sees the training data; None where their amount is not known."""
    task = _task(spec)
    if task is None or task.train_size is None:
        return None
    training = spec.training
    return training.steps * training.batch_size * (training.length if task.carry_state else 1) / task.train_size


def _read_out(planned: _Planned) -> Iterator[str]:
    def share(row: PlanRow) -> float:
        return row.counts.readout_params / row.counts.trainable_params if row.counts is not None else 0.0

    some = _those(planned, lambda row, spec: share(row) > READ_OUT_SHARE)
    if some:
        worst = max((row for row, _ in some), key=share)
        remedy = "larger budgets leave more to the neurons"
        if any(spec.task_options.get("alphabet") == "bytes" for _, spec in some):
            remedy += ", and so do fewer symbols (task: {name: text, alphabet: letters})"
        yield (
            f"the read-out takes more than a third of the parameters in {_trials(some)}, up to {share(worst):.0%}"
            f"{'' if worst.budget is None else f' at P = {worst.budget:,}'}; {remedy}."
        )


def _rate(planned: _Planned) -> Iterator[str]:
    for side, word in ((-1, "below"), (1, "above")):
        ends: dict[tuple[str, float], _Planned] = {}
        for row, spec in planned:
            known = _task(spec)
            if known is None:
                continue
            recipe = recipe_of(known, spec.architecture)
            end = recipe.low if side < 0 else recipe.high
            if spec.training.steps <= STUDIED_STEPS and side * spec.training.learning_rate > side * end:
                ends.setdefault((spec.task, end), []).append((row, spec))
        for (task, end), some in ends.items():
            yield (
                f"{_trials(some)} of task {task} with a learning rate {word} {end:g}, the "
                f"{'smallest' if side < 0 else 'largest'} that was tried with so few steps (studies/defaults)."
            )


def _task(spec: TrialSpec) -> TaskSpec | None:
    return _known_task(spec.task, json.dumps(dict(spec.task_options)))


@lru_cache(maxsize=100)
def _known_task(name: str, options: str) -> TaskSpec | None:
    try:
        return task_spec(name, json.loads(options))
    except (TaskError, DataError):  # its file has gone; what it asks for is not known any more
        return None


def _ends(planned: _Planned) -> Iterator[str]:
    few = _those(
        planned,
        lambda row, spec: spec.architecture == "elm" and getattr(spec.model, "n_rec", FEWEST_NEURONS) < FEWEST_NEURONS,
    )
    if few:
        yield (
            f"{_trials(few)} with fewer than {FEWEST_NEURONS} neurons: an end of what can be built, where an optimum "
            "has no other side; limits: {n_rec: [4, null]} leaves them out."
        )
    single = _those(planned, lambda row, spec: getattr(spec.model, "d_m", 0) == 1)
    if single:
        yield f"{_trials(single)} with d_m = 1, which cannot be less: an optimum there has no other side."
