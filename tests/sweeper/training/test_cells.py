"""Our cells train on every kind of input and by every loss, and resume to the same bits, the carried state included."""

import math

import numpy as np
import pytest

from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.store.store import ResultsStore
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.outcomes import Stopped
from sweeper.training.training import train_trial

GRID = """
task: TASK
architecture: ARCHITECTURE
model: {n_rec: 4}
training: {steps: 4, batch_size: 2, length: LENGTH, warmup_steps: 1, eval_every: 2, eval_batches: 1,
           final_eval_batches: 1, eval_batch_size: 2, dtype: DTYPE}
"""
TASKS = {
    "text": ("{name: text, alphabet: letters}", 12),
    "spikes": ("{name: shd}", 500),
    "spikes and voltage": ("{name: neuronio}", 160),
    "errors of values": ("{name: table, data: FOLDER/series.csv, target: [a], window: 6}", 6),
    "answers": ("{name: arrays, data: FOLDER/answers.npz, loss: bce}", 6),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (path / "series.csv").write_text("a,b\n" + "\n".join(f"{i % 7},{i % 5}" for i in range(200)) + "\n")
    arrays = {}
    for split in ("train", "valid", "test"):
        arrays[f"x_{split}"] = random.normal(size=(20, 6, 3)).astype(np.float32)
        arrays[f"y_{split}"] = (arrays[f"x_{split}"].mean((1, 2)) > 0).astype(np.float32)
    np.savez(path / "answers.npz", **arrays)
    return path


def spec_of(task, architecture, folder, dtype="float32"):
    text, length = TASKS[task]
    changes = {"TASK": text, "ARCHITECTURE": architecture, "LENGTH": str(length), "FOLDER": str(folder), "DTYPE": dtype}
    grid = GRID
    for old, new in changes.items():
        grid = grid.replace(old, new)
    (row,) = expand(parse_grid(grid)).trials.values()
    return row.spec


@pytest.mark.parametrize("architecture", ["lru", "min_gru"])
@pytest.mark.parametrize("task", TASKS)
def test_it_trains(task, architecture, folder):
    final = train_trial(spec_of(task, architecture, folder)).final
    assert all(math.isfinite(evaluation.loss) for evaluation in final.values())


@pytest.mark.parametrize("architecture", ["lru", "min_gru"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_stopped_trial_goes_on_with_the_carried_state_to_the_same_bits(architecture, dtype, folder, tmp_path):
    spec, store = spec_of("text", architecture, folder, dtype), ResultsStore.create(tmp_path / "r")
    with pytest.raises(Stopped):
        train_trial(spec, checkpoints=Checkpoints(store, spec.trial_id, 1e9), on_step=lambda step: step < 3)
    resumed = train_trial(spec, checkpoints=Checkpoints(store, spec.trial_id, 1e9))
    whole = train_trial(spec)
    assert resumed.final["test"].loss == whole.final["test"].loss
    assert [e.loss for e in resumed.evaluations] == [e.loss for e in whole.evaluations]
