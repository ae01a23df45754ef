"""How trials are trained where a grid does not say: recipes by task and size, measured in `studies/defaults`.

`training: {preset: paper}` in a grid takes the published Enwik8 settings instead, which are the defaults of
`TrainingConfig`: they are made for 40,000 steps and more.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sweeper.plan.rate_rule import DIGITS
from tasks.base import TaskSpec

MEASURED, PAPER = "measured", "paper"
PRESETS = (MEASURED, PAPER)
"""What `training.preset` may be; `measured` unless a grid says otherwise. Stored grids name theirs: whoever changes a
recipe gives the preset a new name, so that grids that were launched keep their trials."""
STEPS = 1000
"""Steps where a grid gives none; the rates of the recipes are those of so many."""
LEAST_WARMUP = 5
"""Steps of warm-up below which the first updates are those of a cold Adam (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train one kind of task: its learning rate follows sizes and steps, all else is fixed."""

    rate: float
    """Peak learning rate of a network with n_rec = d_m = 1, for `STEPS` steps."""
    n_rec: float = 0.0
    """Exponent of the rate in n_rec."""
    d_m: float = 0.0
    """Exponent of the rate in d_m."""
    steps: float = 0.0
    """Exponent of the rate in `STEPS` / steps: the fewer steps, the larger the best rate."""
    low: float
    """Smallest rate that was tried."""
    high: float
    """Largest rate that was tried."""
    warmup: float
    """Share of the steps in which the rate rises."""
    batch_size: int
    """Sequences per step."""
    length: int | None = None
    """Time steps per segment; None: the task's."""
    optimizer: str = "adam"
    """Optimiser."""
    reg_mlp: float = 0.0
    """Weight of the penalty on MLP outputs."""
    final_eval_batches: int | None = None
    """Batches of the final evaluation; None: the whole split."""

    def rate_of(self, model: Any, steps: int) -> float:
        """The peak learning rate of a network that is trained for so many steps."""
        sizes = float(model.n_rec) ** self.n_rec * float(getattr(model, "d_m", 1)) ** self.d_m
        rate = self.rate * sizes * (STEPS / steps) ** self.steps
        # Rounded, since it enters the trial's id and powers differ in their last bit between libraries.
        return float(f"{min(self.high, max(self.low, rate)):.{DIGITS}g}")


TEXT = Recipe(
    rate=0.0197, n_rec=-0.129, d_m=-0.13, steps=0.5, low=0.003, high=0.036, warmup=0.25, batch_size=32, length=32,
    reg_mlp=0.01, final_eval_batches=40,
)  # fmt: skip
"""Streams of symbols whose state is carried on; the exponents in n_rec and d_m are those of the first study's pilot."""
SEQUENCES = Recipe(rate=0.011, d_m=-0.4, steps=0.25, low=0.005, high=0.02, warmup=0.25, batch_size=32, reg_mlp=0.01)
"""Whole sequences with one answer, such as `images`."""
RECIPES: Mapping[str, Recipe] = {
    "text": TEXT,
    "images": SEQUENCES,
    "shd": Recipe(rate=0.0087, steps=0.25, low=0.005, high=0.02, warmup=0.25, batch_size=32, reg_mlp=0.01),
    "shd_adding": Recipe(
        rate=0.01, low=0.005, high=0.02, warmup=0.05, batch_size=16, optimizer="adamax", final_eval_batches=40
    ),
    "listops": Recipe(rate=0.006, steps=0.25, low=0.003, high=0.01, warmup=0.1, batch_size=32, final_eval_batches=40),
    "pathfinder": Recipe(
        rate=0.0021, steps=0.5, low=0.001, high=0.003, warmup=0.05, batch_size=32, final_eval_batches=40
    ),
    "neuronio": Recipe(rate=0.01, low=0.005, high=0.02, warmup=0.3, batch_size=8, length=300, final_eval_batches=10),
}
"""By task; others take that of their kind."""
SINGLE_NEURON = Recipe(rate=0.09, low=0.01, high=0.12, warmup=0.05, batch_size=8, length=300, final_eval_batches=10)
"""The single ELM neuron on `neuronio`."""


def recipe_of(task: TaskSpec, architecture: str) -> Recipe:
    """The recipe of a task: its own, or that of its kind."""
    if architecture == "elm_neuron" and task.name == "neuronio":
        return SINGLE_NEURON
    return RECIPES.get(task.name, TEXT if task.carry_state else SEQUENCES)


def recommended(task: TaskSpec, architecture: str, model: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The training settings of one network.

    Args:
        task: what is learnt.
        architecture: key of the network's class.
        model: its sizes.
        given: settings of the grid, which go before the recipe's.
    """
    steps = given.get("steps", STEPS)
    recipe = recipe_of(task, architecture)
    fixed = _fixed(recipe, task.length, steps)
    return {**fixed, "learning_rate": recipe.rate_of(model, steps), **given}


@lru_cache(maxsize=1000)
def _fixed(recipe: Recipe, task_length: int, steps: int) -> dict[str, Any]:
    length = task_length if recipe.length is None else min(recipe.length, task_length)
    return {
        "steps": steps,
        "batch_size": recipe.batch_size,
        "length": length,
        "optimizer": recipe.optimizer,
        "warmup_steps": min(steps, max(LEAST_WARMUP, round(recipe.warmup * steps))),
        "reg_mlp": recipe.reg_mlp,
        "reg_activity": 0.0,
        "reset_steps": steps,
        "eval_every": max(1, math.ceil(steps / 4)),
        "final_eval_batches": recipe.final_eval_batches,
    }
