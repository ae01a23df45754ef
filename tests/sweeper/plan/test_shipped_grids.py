"""Every shipped grid plans, and every task trains from its grid on embedded data."""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from sweeper.plan.expand import RUNNABLE, expand
from sweeper.plan.grid import load_grid
from sweeper.plan.trial import TrialSpec
from sweeper.training.progress import TrialProgress
from sweeper.training.training import train_trial
from tasks.loaders import load_task
from tasks.spec import task_spec, tasks_with_data

ROOT = Path(__file__).resolve().parents[3]
GRIDS = sorted([*(ROOT / "sweeper" / "grids").glob("*.yaml"), *(ROOT / "studies").glob("*/grids/*.yaml")])
IDS = json.loads((Path(__file__).parent / "ids_of_grids.json").read_text())
"""Beginning of the SHA-256 of the sorted trial ids, one a line, by grid."""
PUBLISHED = {
    "enwik8_published": [2398, 1500, 1024, 742, 561, 440, 353, 290, 243, 206, 153, 118, 85, 64],
    "shd_adding_published": [155, 130, 111, 96, 73, 57, 46, 32, 21, 15],
}
# Trainable parameters of single neurons on NeuronIO: the first paper's public models, then the second paper's table.
PUBLISHED_NEURONS = [
    4601, 4708, 4823, 5077, 5363, 5852, 6827, 8002, 9377, 10952, 14702, 19252, 34127, 54002,
    4708, 4823, 5077, 5363, 5852, 6827, 8002, 9377, 12727, 19252, 34127, 54002,
]  # fmt: skip
PLANNED_ONLY = {*PUBLISHED, "neuronio_published", "neuron_shd_published", "neuron_lra", "pathfinder_x"}
"""Grids that want downloads, or minutes for a single step."""


class Smoke(NamedTuple):
    """A trial of a shipped grid, cut to a few seconds, and what it must reach."""

    d_m: int
    """Which of the grid's trials."""
    steps: int
    """Training steps; the shipped grid has more."""
    test: float
    """Test metric it must beat: between the trivial baseline and what was measured, well away from both."""
    task: dict[str, int] = {}  # noqa: RUF012
    """Task options that tell the grid's blocks apart, or make the data smaller."""
    architecture: str = "elm"
    """Architecture, where the grid has several."""
    seed: int = 0
    """Seed; some leave a plateau sooner."""


FEW = {"train_examples": 50, "valid_examples": 50, "test_examples": 400}
"""Sizes of a generated task: 1.7 ms an image, 0.1 ms an expression."""
# shd_adding stays on its plateau for a thousand steps (tasks/README.md); plain shd stands for it.
SMOKES = {
    "text": Smoke(d_m=4, steps=400, test=3.4),
    "shd": Smoke(d_m=5, steps=150, test=0.15),
    "images": Smoke(d_m=5, steps=150, test=0.3),
    "images-1024-steps": Smoke(d_m=5, steps=100, test=0.2, task={"upsample": 4}),
    "listops": Smoke(d_m=8, steps=1000, test=0.15, task={"train_examples": 20_000}),
    "pathfinder": Smoke(d_m=5, steps=1000, test=0.58, task={**FEW, "train_examples": 4000}, seed=2),
    "neuronio": Smoke(d_m=10, steps=200, test=0.75, architecture="elm_neuron"),
}


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_it_plans(path):
    plan = expand(load_grid(path))
    assert plan.name == path.stem
    assert set(IDS) <= {one.stem for one in GRIDS}
    states = {row.state for row in plan.rows}
    assert states == {RUNNABLE} or ("studies" in path.parts and RUNNABLE in states)  # a study has limits, and overlaps


@pytest.mark.parametrize("path", [path for path in GRIDS if path.stem in IDS], ids=lambda path: path.stem)
def test_it_asks_for_the_trials_that_were_run(path):
    """Whoever has rows of a shipped grid or study keeps them, whatever becomes of the defaults."""
    ids = sorted(expand(load_grid(path)).trials)
    assert hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] == IDS[path.stem]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_grids_have_the_published_sizes(name):
    (path,) = [path for path in GRIDS if path.stem == name]
    rows = [row for row in expand(load_grid(path)).rows if row.spec.seed == 0]
    assert [row.spec.model.n_rec for row in rows] == PUBLISHED[name]


def rows_of(name):
    (path,) = [path for path in GRIDS if path.stem == name]
    return expand(load_grid(path)).rows


def test_the_published_neurons_have_the_published_sizes():
    assert [row.counts.trainable_params for row in rows_of("neuronio_published")] == PUBLISHED_NEURONS


def test_neurons_on_digits_count_time_in_milliseconds():
    """A step is a bin of 10 ms; 6,514 of the 8,156 recordings train, by the published draw of those that do not."""
    digits, sums = (row.spec for row in rows_of("neuron_shd_published"))
    training = 8156 - int(np.random.default_rng(0).binomial(1, 0.2, size=8156).sum())
    assert digits.training.steps == 10 * (training // 8)
    for spec in (digits, sums):
        assert spec.model.dt == spec.task_options["bin_ms"] == 10
    assert (digits.training.length, sums.training.length) == (100, 200)


def test_pathfinder_x_is_the_hard_set_read_pixel_by_pixel():
    for row in rows_of("pathfinder_x"):
        assert (row.spec.training.length, row.spec.model.n_in) == (128 * 128, 1)
        assert row.spec.task_options["dashes"] == 14


@pytest.mark.parametrize(
    "path", [p for p in GRIDS if p.stem not in PLANNED_ONLY and "defaults" not in p.stem], ids=lambda path: path.stem
)
def test_it_trains(path):
    row = next(iter(expand(load_grid(path)).trials.values()))
    # Without a results directory there is no place for a network.
    few = {"steps": 2, "eval_every": 1, "eval_batches": 1, "final_eval_batches": 1, "save": "none"}
    short = dataclasses.replace(row.spec.training, **few)
    options = {**row.spec.task_options, **{name: FEW[name] for name in row.spec.task_options if name in FEW}}
    progress = train_trial(dataclasses.replace(row.spec, training=short, task_options=options))
    assert progress.final["valid"].loss > 0
    assert progress.steps_done == 2
    assert progress.data_name
    assert len(progress.data_sha256) == 64
    assert ("n-gram" in (progress.data_facts or "")) == (row.spec.task == "text")
    assert json.loads(row.spec.canonical)["task"] == row.spec.task


def smoke_spec(name: str) -> TrialSpec:
    """The first trial of the grid that fits, with fewer steps and evaluations."""
    smoke = SMOKES[name]
    (path,) = [path for path in GRIDS if path.stem == name.split("-")[0]]
    for row in expand(load_grid(path)).rows:
        spec = row.spec
        sizes = (spec.architecture, spec.model.d_m) == (smoke.architecture, smoke.d_m)
        if sizes and smoke.task.get("upsample", spec.task_options.get("upsample")) == spec.task_options.get("upsample"):
            training = dataclasses.replace(
                spec.training, steps=smoke.steps, eval_every=smoke.steps, eval_batches=1, final_eval_batches=30
            )
            options = {**spec.task_options, **smoke.task}
            return dataclasses.replace(spec, training=training, task_options=options, seed=smoke.seed)
    raise AssertionError(f"no trial of {path} fits {smoke}")


@pytest.mark.parametrize(
    "name", [name if name in ("text", "shd") else pytest.param(name, marks=pytest.mark.slow) for name in SMOKES]
)
def test_a_trial_of_seconds_beats_the_trivial_baseline(name):
    spec, smoke = smoke_spec(name), SMOKES[name]
    task = task_spec(spec.task, spec.task_options)
    sign = 1 if task.direction == "max" else -1
    assert sign * smoke.test > sign * task.baseline
    assert sign * trained(name).final["test"].metric > sign * smoke.test


@functools.cache
def trained(name: str) -> TrialProgress:
    return train_trial(smoke_spec(name))


@pytest.mark.slow
def test_the_single_neuron_knows_the_voltage_far_better_than_its_mean():
    """The loss is half the squared error, in units of 10 mV, and half the spikes' cross entropy, never negative."""
    batches = load_task("neuronio", {}).eval_batches("test", batch_size=32, length=500, max_batches=None)
    voltage = torch.cat([batch.y[..., 1][batch.weight > 0] for batch in batches])
    mean_predictor_mv = 10 * float(voltage.std())
    assert mean_predictor_mv > 4
    assert 10 * (2 * trained("neuronio").final["test"].loss) ** 0.5 < mean_predictor_mv / 3


def test_every_task_with_data_has_a_smoke_trial():
    assert {name.split("-")[0] for name in SMOKES} == set(tasks_with_data()) - {"shd_adding"}


@pytest.mark.parametrize(("name", "options"), [("shd", {"bin_ms": 10}), ("images", {})])
def test_the_amount_of_training_data_is_that_of_the_loader(name, options):
    assert task_spec(name, options).train_size == len(load_task(name, options)._splits["train"].order)
