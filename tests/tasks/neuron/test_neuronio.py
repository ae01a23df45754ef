from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tasks.errors import DataError, TaskError
from tasks.loaders import load_task
from tasks.neuron import neuronio_files
from tasks.neuron.neuronio_files import open_converted, output_bits
from tasks.spec import data_sha256
from tests.tasks.neuron.pickled import PER_FILE, SEGMENTS, write_pickle


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """A converted folder and the simulations that went into it."""
    root = tmp_path_factory.mktemp("neuronio")
    held = {
        "train": write_pickle(root / "a" / "x_sim__0.p", 0) + write_pickle(root / "b" / "x_sim__1.p", 1),
        "valid": write_pickle(root / "c" / "x_sim__2.p", 2),
        "test": write_pickle(root / "d" / "x_sim__3.p", 3),
    }
    (root / "a" / "notes.txt").write_text("not a simulation")
    folders = ["--train", root / "a", "--train", root / "b", "--valid", root / "c", "--test", root / "d"]
    done = CliRunner().invoke(neuronio_files.main, [str(root / "out"), *map(str, folders)], catch_exceptions=False)
    assert done.output.splitlines()[0].startswith("train: 6 simulations")
    return root / "out", held


def reference_window(simulation: dict[str, Any], start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Input and target as the published loader makes them."""
    dense = np.zeros((2 * SEGMENTS, 2000))
    for key, first in (("exInputSpikeTimes", 0), ("inhInputSpikeTimes", SEGMENTS)):
        for segment, times in simulation[key].items():
            for time in times:
                dense[first + segment, time] = 1
    dense[SEGMENTS:] *= -1
    target = np.zeros((2000, 2))
    target[(simulation["outputSpikeTimes"].astype(float) - 0.5).astype(int), 0] = 1
    voltage = simulation["somaVoltageLowRes"].astype(float)
    target[:, 1] = (np.minimum(voltage, -55.0) + 67.7) / 10
    return dense.T[start : start + length], target[start : start + length]


def test_windows_equal_the_reference(original: tuple[Path, dict[str, list[dict[str, Any]]]]) -> None:
    folder, held = original
    task = load_task("neuronio", {"data": str(folder), "burn_in": 50})
    assert data_sha256("neuronio", {"data": str(folder)}) == task.data_sha256
    batches = list(task.eval_batches("test", batch_size=4, length=200, max_batches=None))
    starts = list(range(450, 1950, 150))
    windows = [(number, start) for number in range(PER_FILE) for start in starts]
    assert len(batches) == -(-len(windows) // 4)
    for index, (number, start) in enumerate(windows):
        batch, row = batches[index // 4], index % 4
        x, y = reference_window(held["test"][number], start, 200)
        assert batch.x.dtype == torch.float32
        assert np.array_equal(batch.x[row, : len(x)].numpy(), x)
        assert batch.y[row, : len(y)].numpy() == pytest.approx(y, abs=1e-6)
        assert not batch.x[row, len(x) :].any()


def test_every_ms_is_evaluated_once(original: tuple[Path, dict[str, list[dict[str, Any]]]]) -> None:
    task = load_task("neuronio", {"data": str(original[0]), "burn_in": 50})
    for length, batch_size in ((200, 4), (130, 7), (1500, 1)):
        batches = list(task.eval_batches("test", batch_size=batch_size, length=length, max_batches=None))
        weights = [batch.weight for batch in batches if batch.weight is not None]
        assert sum(float(weight.sum()) for weight in weights) == PER_FILE * 1500
        wanted = torch.cat([batch.y[weight > 0] for batch, weight in zip(batches, weights, strict=True)])
        assert wanted[:, 0].sum() == sum(
            output_bits(simulation, duration=2000, where="")[500:].sum() for simulation in original[1]["test"]
        )
        assert all(batch.starts_fresh for batch in batches)


def test_training_windows_avoid_the_start_and_weigh_no_burn_in(
    original: tuple[Path, dict[str, list[dict[str, Any]]]],
) -> None:
    task = load_task("neuronio", {"data": str(original[0])})
    batch = task.train_batch(3, seed=1, batch_size=16, length=400)
    assert batch.weight is not None
    assert not batch.weight[:, :150].any()
    assert batch.weight[:, 150:].all()
    again = load_task("neuronio", {"data": str(original[0])}).train_batch(3, seed=1, batch_size=16, length=400)
    assert torch.equal(batch.x, again.x)
    assert torch.equal(batch.y, again.y)
    assert not torch.equal(batch.x, task.train_batch(4, seed=1, batch_size=16, length=400).x)
    voltages = np.concatenate([s["somaVoltageLowRes"][None].astype(float) for s in original[1]["train"]])
    targets = (np.minimum(voltages, -55.0) + 67.7) / 10
    for row in range(4):
        y = batch.y[row, :, 1].numpy()
        matches = [
            start for trace in targets for start in range(1601) if np.allclose(trace[start : start + 400], y, atol=1e-6)
        ]
        assert len(matches) == 1
        assert matches[0] >= 500


def test_lengths_that_leave_nothing_to_train_on_are_refused(
    original: tuple[Path, dict[str, list[dict[str, Any]]]],
) -> None:
    task = load_task("neuronio", {"data": str(original[0])})
    for length in (150, 1501):
        with pytest.raises(TaskError, match=rf"^neuronio: length {length} is not possible; give more than burn_in"):
            task.train_batch(0, seed=0, batch_size=1, length=length)


def test_folders_that_are_missing_damaged_or_real_are_refused(
    original: tuple[Path, dict[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^task\.data: .*nowhere is no converted NeuronIO folder"):
        load_task("neuronio", {"data": str(tmp_path / "nowhere")})
    with pytest.raises(DataError, match=r"^task\.data: NeuronIO cannot be fetched by a program; download"):
        load_task("neuronio", {"data": "real"})
    for path in original[0].rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(original[0])
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes()[:-1] if path.name == "cells.i32" else path.read_bytes())
    with pytest.raises(DataError, match=r"cells\.i32: missing or damaged; convert again"):
        open_converted(tmp_path, "task")


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"shape": "ab", "files": []}', '{"shape": [1, 2], "files": 3}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, damage: str) -> None:
    (tmp_path / "manifest.json").write_text(damage)
    with pytest.raises(DataError, match=r"manifest\.json: damaged .*; convert again"):
        open_converted(tmp_path, "task")


def test_damaged_offsets_are_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"shape": [1, 10], "files": []}')
    (tmp_path / "train").mkdir()
    for offsets in (np.array([0.5]), np.array([5, 3]), np.zeros((2, 2), dtype=np.int64)):
        np.save(tmp_path / "train" / "offsets.npy", offsets)
        with pytest.raises(DataError, match=r"offsets\.npy: damaged; convert again"):
            open_converted(tmp_path, "task")
    (tmp_path / "train" / "offsets.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"offsets\.npy: missing or damaged"):
        open_converted(tmp_path, "task")
