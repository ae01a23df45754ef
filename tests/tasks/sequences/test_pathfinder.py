import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tasks.loaders import load_task
from tasks.sequences import pathfinder
from tasks.sequences.pathfinder import Scene, draw_scene, example, render

COUNT = 600
FEW = {"dashes": 6, "valid_examples": 6, "test_examples": 10}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return drawn(6)


@functools.cache
def drawn(dashes: int) -> list[Scene]:
    return [draw_scene(np.random.default_rng([9, number]), dashes) for number in range(COUNT)]


def auc_of(scenes: list[Scene], values: list[float]) -> float:
    return float(roc_auc_score([scene.joined for scene in scenes], values))


# With 300 scenes of either kind the area has a standard error of about 0.024.
TOLERANCE = 0.075


@pytest.mark.parametrize("dashes", [3, 6])
def test_nothing_but_the_connection_tells_the_answer(dashes: int) -> None:
    scenes = drawn(dashes)
    images = [render(scene, 32) for scene in scenes]
    hints = {
        "answer share": [0.0] * COUNT,
        "marker distance": [float(np.linalg.norm(np.diff(scene.markers, axis=0))) for scene in scenes],
        "brightness": [float(image.mean()) for image in images],
        "lit pixels": [float((image > 127).sum()) for image in images],
        "white pixels": [float((image == 255).sum()) for image in images],
        "number of paths": [float(len(scene.paths)) for scene in scenes],
        "markers from the centre": [float(np.abs(scene.markers - 16).sum()) for scene in scenes],
        "second marker": [float(scene.markers[1].sum()) for scene in scenes],
    }
    assert {name: auc_of(scenes, values) for name, values in hints.items()} == pytest.approx(
        dict.fromkeys(hints, 0.5), abs=TOLERANCE
    )
    assert np.mean([scene.joined for scene in scenes]) == pytest.approx(0.5, abs=0.07)


def test_markers_sit_at_ends_of_one_path_or_of_two(scenes: list[Scene]) -> None:
    for scene in scenes[:50]:
        first, second, *rest = scene.paths
        assert len(first) == len(second) == 7
        assert [len(path) for path in rest] == [3] * 6
        assert np.array_equal(scene.markers, [first[0], first[-1] if scene.joined else second[0]])


def test_the_answer_follows_from_the_pixels() -> None:
    """Floods an image with thickened dashes from one marker: it reaches the other one just when they are joined."""
    from scipy import ndimage

    right = 0
    for number in range(40):
        scene = draw_scene(np.random.default_rng([3, number]), 6)
        image = render(scene, 128) > 100
        regions, _ = ndimage.label(ndimage.binary_dilation(image, iterations=2))
        ends = [regions[tuple((marker * 4).astype(int))] for marker in scene.markers]
        right += (ends[0] == ends[1]) == scene.joined
    assert right == 40


def test_paths_stay_inside_and_apart(scenes: list[Scene]) -> None:
    for scene in scenes[:100]:
        points = np.concatenate(scene.paths)
        assert points.min() >= 2
        assert points.max() <= 30
        for number, path in enumerate(scene.paths):
            for other in scene.paths[:number]:
                assert np.linalg.norm(path[:, None] - other[None], axis=-1).min() > 2.4


def test_lines_and_discs_are_drawn_where_they_should_be() -> None:
    scene = Scene([np.array([[10.0, 5.0], [10.0, 7.3]])], np.array([[20.0, 20.0], [25.5, 8.5]]), False)
    image = render(scene, 32).astype(float)
    assert image[19:21, 19:21].min() == 255
    assert image.sum() / 255 == pytest.approx(2 * np.pi * 1.3**2 + 1.5 * 1.0 + np.pi * 0.25, rel=0.2)
    assert image[:, 12:15].sum() == image[:8].sum() + 0 == 0
    assert render(scene, 64)[40, 40] == 255


@pytest.mark.parametrize(("side", "dashes"), [(32, 9), (64, 14), (128, 6)])
def test_images_have_the_asked_size(side: int, dashes: int) -> None:
    image, joined = example("train", 3, side, dashes)
    assert image.shape == (side, side)
    assert 0.01 < (image > 127).mean() < 0.3
    assert joined == example("train", 3, 32, dashes)[1]


def test_patches_hold_the_squares_of_the_image_in_reading_order() -> None:
    by_pixel = load_task("pathfinder", FEW | {"side": 16, "train_examples": 8})
    by_patch = load_task("pathfinder", FEW | {"side": 16, "train_examples": 8, "patch": 4})
    assert (by_patch.spec.length, by_patch.spec.n_in) == (16, 16)
    assert by_patch.data_name == "pathfinder-gen/16/6/patch4"
    assert by_pixel.data_name == "pathfinder-gen/16/6"
    one = by_pixel.train_batch(1, seed=2, batch_size=3, length=256).x.view(3, 16, 16)
    patches = by_patch.train_batch(1, seed=2, batch_size=3, length=16).x
    assert patches.shape == (3, 16, 16)
    assert torch.equal(patches[:, 7].view(3, 4, 4), one[:, 4:8, 12:16])


def test_few_training_images_are_drawn_once_and_many_on_the_fly(monkeypatch: pytest.MonkeyPatch) -> None:
    options = FEW | {"side": 16, "train_examples": 9}
    once = load_task("pathfinder", options)
    kept = once.train_batch(3, seed=0, batch_size=4, length=256)
    monkeypatch.setattr(pathfinder, "MOST_KEPT", 8)
    on_the_fly = load_task("pathfinder", options)
    drawn = on_the_fly.train_batch(3, seed=0, batch_size=4, length=256)
    assert torch.equal(kept.x, drawn.x)
    assert torch.equal(kept.y, drawn.y)
    pathfinder.example.cache_clear()
    monkeypatch.setattr(pathfinder, "draw_scene", None)
    once.train_batch(1, seed=0, batch_size=4, length=256)
    with pytest.raises(TypeError):
        on_the_fly.train_batch(1, seed=0, batch_size=4, length=256)


def test_of_large_images_only_those_for_evaluation_are_stored(tmp_path: Path) -> None:
    options = {"side": 128, "dashes": 3, "valid_examples": 3, "test_examples": 2}
    task = load_task("pathfinder", options, cache_dir=tmp_path)  # 160,000 training images by default
    batch = task.train_batch(0, seed=0, batch_size=2, length=128 * 128)
    assert batch.x.shape == (2, 128 * 128, 1)
    for split, count in (("valid", 3), ("test", 2)):
        (whole,) = task.eval_batches(split, batch_size=count, length=128 * 128, max_batches=None)
        assert whole.x.shape == (count, 128 * 128, 1)
    stored = {path.name.split("-")[2]: path for path in (tmp_path / "pathfinder").glob("*[0-9].npy")}
    assert set(stored) == {"valid", "test"}
    assert np.load(stored["valid"], mmap_mode="r").nbytes == 3 * 128 * 128


def test_training_reads_more_images_than_its_evaluation() -> None:
    task = load_task("pathfinder", FEW | {"train_examples": 40})
    drawn = {
        row.numpy().tobytes()
        for step in range(10)
        for row in task.train_batch(step, seed=0, batch_size=4, length=1024).x
    }
    assert len(drawn) == 40
    assert len(list(task.eval_batches("train", batch_size=3, length=1024, max_batches=None))) == 2


def test_batches_are_drawn_by_number_and_splits_differ() -> None:
    task = load_task("pathfinder", FEW)
    batch = task.train_batch(2, seed=4, batch_size=3, length=1024)
    assert batch.x.shape == (3, 1024, 1)
    assert batch.x.dtype == torch.float32
    assert torch.equal(batch.x, load_task("pathfinder", FEW).train_batch(2, seed=4, batch_size=3, length=1024).x)
    firsts = [example(split, 0, 32, 6)[0] for split in ("train", "valid", "test")]
    assert not np.array_equal(firsts[0], firsts[1])
    assert not np.array_equal(firsts[1], firsts[2])


def test_evaluation_images_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("pathfinder", FEW, cache_dir=tmp_path)
    (batch,) = task.eval_batches("test", batch_size=10, length=1024, max_batches=None)
    expected = np.stack([example("test", number, 32, 6)[0] for number in range(10)])
    assert np.array_equal(np.rint(batch.x.numpy() * 255).reshape(10, 32, 32), expected)
    assert batch.y.tolist() == [example("test", number, 32, 6)[1] for number in range(10)]
    again = load_task("pathfinder", FEW, cache_dir=tmp_path)
    monkeypatch.setattr(pathfinder, "draw_scene", None)
    (kept,) = again.eval_batches("test", batch_size=10, length=1024, max_batches=None)
    assert torch.equal(kept.x, batch.x)
