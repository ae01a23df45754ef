"""A first grid for somebody's data: commented, with budgets and steps that fit the time there is."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from cluster.errors import path_hint
from cluster.yaml_reader import write_yaml
from sweeper.errors import GridError
from sweeper.plan.advice import READ_OUT_SHARE
from sweeper.plan.cost import CostModel, Forecast
from sweeper.plan.expand import Plan, described, expand
from sweeper.plan.grid import parse_grid
from sweeper.words import counted
from tasks.spec import tasks_with_data

STEPS = (200, 300, 400, 600, 800, 1000, 1500, 2000, 3000, 4000, 6000, 8000)
"""Lengths of training to choose from; with fewer than 200 steps hardly anything is learnt (studies/defaults)."""
SEEDS = (3, 2, 1)
"""Replicates to choose from: seed noise is known from two, and three are usual."""
LEAST_STEPS = 600
"""Smaller budgets and fewer seeds are taken before training is shorter than this (assumption)."""
BUDGETS = (8_000, 20_000, 50_000)
"""Where none are asked for; smaller ones are taken where these do not fit the time."""
SMALLEST = 3_000
"""Below it a network of any task has next to no neurons beside its read-out."""
USED_SHARE = 0.8
"""Of the time: the start, and the errors of a forecast, need the rest (assumption)."""
_D_M = [1, 2, 4, 8, 16]
_MODELS: Mapping[str, Mapping[str, Any]] = {
    "text": {"d_tree": 4, "d_branch": 4, "rho_rec": 0.5},
    "shd": {"d_tree": 8, "d_branch": 10, "rho_rec": 0.25, "tau_m_min": 1, "tau_m_max": 100, "tau_r": 5},
    "shd_adding": {"d_tree": 10, "d_branch": 10, "rho_rec": 0.25, "tau_m_min": 1, "tau_m_max": 200, "tau_r": 5},
    "neuronio": {
        "d_tree": 16, "d_branch": 20, "rho_rec": 0.1, "tau_m_min": 1, "tau_m_max": 150, "tau_r": None, "input_scale": 1
    },
}  # fmt: skip
"""Settings of the shipped grids, by task; other tasks take those of `_OTHERS`."""
_OTHERS = {"d_tree": 4, "d_branch": 4, "rho_rec": 0.5, "tau_m_min": 1, "tau_m_max": 100, "tau_r": None}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {"shd": {"bin_ms": 10}, "shd_adding": {"bin_ms": 10}}
_ARRAYS, _TABLES = (".npz", ".h5", ".hdf5"), (".csv", ".parquet")


class Draft(NamedTuple):
    """A grid and what it costs."""

    text: str
    """The grid file."""
    plan: Plan
    """What it asks for."""
    forecast: Forecast
    """What that takes."""
    fits: bool
    """Whether it is expected to end in the time there is."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person wants of a grid."""

    data: str
    """A file of one's own, or the name of a task with embedded data."""
    minutes: float
    """Wall time there is."""
    lanes: int
    """Trials at a time."""
    budgets: tuple[int, ...] = ()
    """Parameter budgets; empty: chosen."""
    target: str | None = None
    """Column to be predicted, of a table."""
    slowdown: float = 1.0
    """By how much trials take longer than on a quiet machine (`sweeper.plan.busy`)."""


def draft(wish: Wish, name: str, costs: CostModel) -> Draft:
    """The largest of the grids that fit the time, or the smallest there is.

    Args:
        wish: what it is for.
        name: of the sweep.
        costs: what trials take.

    Raises:
        GridError: there is neither such a file nor such a task, or no budget can be built.
        DataError: the file cannot be used.
    """
    tasks = _tasks(wish)
    best: Draft | None = None
    # Smaller budgets that are trained for long enough go before large ones that are not.
    for least in (LEAST_STEPS, STEPS[0]):
        for task in tasks:
            # Replicates before budgets and steps: more time must never cost the knowledge of what is noise.
            for seeds, budgets in product(SEEDS, [wish.budgets] if wish.budgets else list(_smaller(BUDGETS))):
                *longer, shortest = _lengths(least, seeds)
                one = _draft(wish, name, task, budgets, seeds, shortest, costs)
                if one is None or not (_leaves_room(one.plan) or task is tasks[-1]):
                    continue
                best = one
                if one.fits:  # else nothing longer does
                    drafts = (_draft(wish, name, task, budgets, seeds, steps, costs) for steps in longer)
                    return next((long for long in drafts if long is not None and long.fits), one)
    if best is None:
        raise GridError(_too_small(wish, name, tasks[-1]))
    return best


def minutes_for(one: Draft, lanes: int) -> float:
    """The minutes that a drafted grid needs on a number of lanes, rounded up."""
    minutes = one.forecast.wall_seconds(lanes) / 60 / USED_SHARE
    return math.ceil(minutes) if minutes > 2 else math.ceil(10 * minutes) / 10


def letters_lost(path: Path) -> tuple[float, str]:
    """How much of a text the alphabet `letters` turns into spaces.

    Args:
        path: a text in UTF-8; other bytes are passed over.

    Returns:
        Share of its letters that are not among a to z without regard to case, and the commonest of them.
    """
    letters = Counter(one for one in path.read_text("utf-8", errors="ignore").lower() if one.isalpha())
    others = Counter({one: count for one, count in letters.items() if not one.isascii()})
    return others.total() / max(letters.total(), 1), ", ".join(one for one, _ in others.most_common(3))


def _tasks(wish: Wish) -> list[dict[str, Any]]:
    """The task section, and a second where the first may leave too little to the neurons."""
    path, named = Path(wish.data), wish.data in tasks_with_data()
    if not path.exists():
        if wish.data == "text":
            return [{"name": "text", "alphabet": alphabet} for alphabet in ("bytes", "letters")]
        if named:
            return [{"name": wish.data, **_OPTIONS.get(wish.data, {})}]
        hint = path_hint(path, Path.exists, tasks_with_data())
        embedded = ", ".join(tasks_with_data())
        raise GridError(f"data: {wish.data!r} is no file here, and no task with embedded data ({embedded}){hint}")
    if path.is_dir() or path.suffix in _ARRAYS:
        return [{"name": "arrays", "data": wish.data}]
    if path.suffix in _TABLES:
        if wish.target is None:
            raise GridError(f"target: which column of {wish.data} is to be predicted?")
        return [{"name": "table", "data": wish.data, "target": [wish.target]}]
    return [{"name": "text", "data": wish.data, "alphabet": alphabet} for alphabet in ("bytes", "letters")]


def _smaller(budgets: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    while budgets[0] >= SMALLEST:
        yield budgets
        budgets = tuple(int(round(0.7 * budget, -2)) for budget in budgets)


def _lengths(least: int, seeds: int) -> list[int]:
    """Lengths of training, the longest first."""
    return [steps for steps in reversed(STEPS) if steps >= max(least, (seeds > 1) * LEAST_STEPS)]


def _leaves_room(plan: Plan) -> bool:
    """Whether the neurons get most of the smallest budget."""
    counted = [row.counts for row in plan.trials.values() if row.counts is not None]
    return all(counts.readout_params <= READ_OUT_SHARE * counts.trainable_params for counts in counted)


def _draft(
    wish: Wish,
    name: str,
    task: Mapping[str, Any],
    budgets: tuple[int, ...],
    seeds: int,
    steps: int,
    costs: CostModel,
) -> Draft | None:
    text = _text(wish, name, task, budgets, seeds, steps)
    plan = expand(described(parse_grid(text, default_name=name, folder=Path.cwd())))
    # A budget of which hardly a size can be built is none to ask for.
    if len({row.budget for row in plan.trials.values()}) < len(budgets):
        return None
    specs = [row.spec for row in plan.trials.values() if row.spec is not None]
    forecast = costs.forecast(specs, slowdown=wish.slowdown)
    fits = forecast.wall_seconds(wish.lanes) <= USED_SHARE * 60 * wish.minutes
    return Draft(text, plan, forecast, fits)


def _too_small(wish: Wish, name: str, task: Mapping[str, Any]) -> str:
    """Say which budgets cannot be built, why, and from which on they can."""

    def plan_of(budget: int) -> Plan:
        text = _text(wish, name, task, (budget,), SEEDS[-1], STEPS[0])
        return expand(described(parse_grid(text, default_name=name, folder=Path.cwd())))

    plans = {budget: plan_of(budget) for budget in wish.budgets or BUDGETS}
    small = {budget: plan for budget, plan in plans.items() if not plan.trials}
    low, high = max(small), 2 * max(small)
    while not plan_of(high).trials:
        low, high = high, 2 * high
    while high - low > high // 100:
        middle = (low + high) // 2
        low, high = (low, middle) if plan_of(middle).trials else (middle, high)
    # Of the simplest network, which is the smallest: the first value of d_m.
    reason = small[min(small)].rows[0].reason
    which = ", ".join(f"{budget:,}" for budget in small)
    return (
        f"budgets: {which} {'are' if len(small) > 1 else 'is'} too small for {wish.data} ({reason}). From about "
        f"{math.ceil(high / 100) * 100:,} on a network of at least 4 neurons can be built"
    )


def _text(wish: Wish, name: str, task: Mapping[str, Any], budgets: tuple[int, ...], seeds: int, steps: int) -> str:
    model = "\n".join(
        f"  {key}: {'null' if value is None else value}" for key, value in _MODELS.get(task["name"], _OTHERS).items()
    )
    return f"""\
# How should a budget of parameters be split between many simple and few complex neurons? Made by `sweeper new` for
# {wish.minutes:g} minutes on {counted(wish.lanes, "lane")}.
name: {write_yaml(name).splitlines()[0]}
# What is learnt; a path is one from the folder that the launch is started in.
task: {write_yaml(dict(task), flow=True).strip()}
# P: trainable parameters of the whole network. Each is met as nearly as whole neurons allow.
budgets: {list(budgets)}
model:
  # Memory units per neuron, the size that is compared: few complex neurons (large d_m) or many simple ones (small d_m).
  # n_rec, the number of neurons, is left out: it is solved from P.
  d_m: {_D_M}
  # Branches per neuron, synapses per branch, and the rest (docs/reference/grid_keys.md has every key).
{model}
# Replicates of every network; from two on the noise between seeds is known, and with it which differences are real.
seeds: {seeds}
# Learning rate, batch and all else follow from task, size and steps (studies/defaults); a value here goes before them.
training: {{steps: {steps}}}
# Networks of fewer than 4 neurons are left out.
limits: {{n_rec: [4, null]}}
"""
