"""Every shipped grid plans, and every task trains from its grid on embedded data."""

import dataclasses
import json
from pathlib import Path

import pytest

from sweeper.grid import load_grid
from sweeper.plan import RUNNABLE, expand
from sweeper.training import train_trial

GRIDS = sorted((Path(__file__).resolve().parents[2] / "grids").glob("*.yaml"))
PUBLISHED = {
    "enwik8_published": [2398, 1500, 1024, 742, 561, 440, 353, 290, 243, 206, 153, 118, 85, 64],
    "shd_adding_published": [155, 130, 111, 96, 73, 57, 46, 32, 21, 15],
}


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_it_plans(path):
    plan = expand(load_grid(path))
    assert plan.name == path.stem
    states = {row.state for row in plan.rows}
    assert states == {RUNNABLE} or (path.stem.startswith("study_") and RUNNABLE in states)  # a study has its limits


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_grids_have_the_published_sizes(name):
    (path,) = [path for path in GRIDS if path.stem == name]
    rows = [row for row in expand(load_grid(path)).rows if row.spec.seed == 0]
    assert [row.spec.model.n_rec for row in rows] == PUBLISHED[name]


@pytest.mark.parametrize("path", [p for p in GRIDS if p.stem not in PUBLISHED], ids=lambda path: path.stem)
def test_it_trains(path):
    row = next(iter(expand(load_grid(path)).trials.values()))
    short = dataclasses.replace(row.spec.training, steps=2, eval_every=1, eval_batches=1, final_eval_batches=1)
    progress = train_trial(dataclasses.replace(row.spec, training=short))
    assert progress.final["valid"].loss > 0
    assert progress.steps_done == 2
    assert progress.data_name
    assert len(progress.data_sha256) == 64
    assert json.loads(row.spec.canonical)["task"] == row.spec.task
