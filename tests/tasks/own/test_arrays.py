"""Arrays of one's own: read from every kind of file, described once, batched as they say, and refused in one line."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tasks.errors import DataError, TaskError
from tasks.loaders import load_task
from tasks.losses import MetricAccumulator, training_loss
from tasks.own.array_files import open_arrays
from tasks.own.arrays import arrays_task
from tasks.spec import data_sha256, task_spec

SIZES = {"train": 24, "valid": 8, "test": 10}
Arrays = dict[str, Any]


def labelled(steps: int = 6, channels: int = 2) -> Arrays:
    """Values whose first channel's mean tells the label, 0 to 2."""
    random = np.random.default_rng(0)
    arrays: Arrays = {}
    for split, count in SIZES.items():
        labels = np.arange(count) % 3
        arrays[f"y_{split}"] = labels
        noise = random.normal(size=(count, steps, channels))
        arrays[f"x_{split}"] = (noise + labels[:, None, None]).astype(np.float32)
    return arrays


def saved(folder: Path, arrays: Arrays, kind: str = "npz") -> str:
    """Write arrays as one kind of file and return its path."""
    path = folder / f"mine.{kind.split('-')[0]}"
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "npz-packed":
        np.savez_compressed(path, **arrays)
    elif kind.startswith("h5"):
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression="gzip" if kind == "h5-packed" else None)
    else:
        path = folder / "mine"
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    return str(path)


@pytest.mark.parametrize("kind", ["npz", "npz-packed", "h5", "h5-packed", "npy-folder"])
def test_every_kind_of_file_gives_the_same_batches(tmp_path: Path, kind: str) -> None:
    arrays = labelled()
    data = saved(tmp_path, arrays, kind)
    mapped = [isinstance(array, np.memmap) for array in open_arrays(data, "task").values()]
    assert mapped == [not kind.endswith("packed")] * 6
    task = load_task("arrays", {"data": data})
    assert data_sha256("arrays", {"data": data}) == task.data_sha256
    assert (task.spec.n_in, task.spec.n_out, task.spec.length, task.spec.input_kind) == (2, 3, 6, "real")
    assert (task.spec.metric, task.spec.loss_on, task.spec.chance) == ("accuracy", "last_step", pytest.approx(1 / 3))
    assert task.data_name == Path(data).name
    batches = list(task.eval_batches("test", batch_size=4, length=6, max_batches=None))
    assert np.array_equal(torch.cat([batch.x for batch in batches])[:10], arrays["x_test"])
    assert torch.cat([batch.y for batch in batches])[:10].tolist() == arrays["y_test"].tolist()
    assert batches[-1].weight is not None
    assert batches[-1].weight.tolist() == [1, 1, 0, 0]
    first, again = (task.train_batch(3, seed=5, batch_size=8, length=6) for _ in range(2))
    assert torch.equal(first.x, again.x)
    assert first.x.dtype == torch.float32


def test_the_description_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(tmp_path, labelled())
    before = task_spec("arrays", {"data": data})
    monkeypatch.setattr("tasks.own.array_files._facts", lambda *args: pytest.fail("looked at all of the data again"))
    assert task_spec("arrays", {"data": data}) == before
    assert task_spec("arrays", {"data": data, "metric": "loss"}).direction == "min"


def test_ids_and_spikes_are_told_by_type_and_axes(tmp_path: Path) -> None:
    ids = {name: array if name[0] == "y" else array[:, :, 0].astype(int) ** 2 for name, array in labelled().items()}
    largest = max(int(array.max()) for name, array in ids.items() if name[0] == "x")
    spec = task_spec("arrays", {"data": saved(tmp_path, ids)})
    assert (spec.input_kind, spec.n_in) == ("ids", largest + 1)
    (tmp_path / "b").mkdir()
    spikes = {name: array if name[0] == "y" else (array > 1).astype(np.uint8) for name, array in labelled().items()}
    task = load_task("arrays", {"data": saved(tmp_path / "b", spikes)})
    assert (task.spec.input_kind, task.spec.n_in) == ("spikes", 2)
    assert task.train_batch(0, seed=0, batch_size=3, length=6).x.dtype == torch.uint8
    assert task_spec("arrays", {"data": str(tmp_path / "b" / "mine.npz"), "x": "values"}).input_kind == "real"


def test_shorter_sequences_end_at_the_last_step_where_it_alone_has_a_target(tmp_path: Path) -> None:
    arrays = labelled()
    arrays["x_test"] = np.arange(60).reshape(10, 6) % 5
    arrays |= {name: np.zeros((SIZES[name[2:]], 6), int) for name in ("x_train", "x_valid")}
    arrays["length_test"] = np.array([2, 6, 1, 3, 4, 5, 6, 6, 6, 6])
    task = load_task("arrays", {"data": saved(tmp_path, arrays)})
    (batch,) = task.eval_batches("test", batch_size=10, length=6, max_batches=None)
    assert task.spec.n_in == 6  # five symbols, and one that stands for padding
    assert batch.x[:3].tolist() == [[5, 5, 5, 5, 0, 1], [1, 2, 3, 4, 0, 1], [5, 5, 5, 5, 5, 2]]
    assert batch.weight is None


def test_padding_counts_for_nothing_where_every_step_has_a_target(tmp_path: Path) -> None:
    arrays = labelled()
    for split, count in SIZES.items():
        arrays[f"y_{split}"] = np.tile([0, 1, 2], (count, 2))
    arrays["length_test"] = np.full(10, 4)
    arrays["weight_train"] = np.arange(1, 25)
    task = load_task("arrays", {"data": saved(tmp_path, arrays), "loss_on": "every_step"})
    batches = list(task.eval_batches("test", batch_size=8, length=6, max_batches=None))
    assert [float(batch.weight.sum()) for batch in batches if batch.weight is not None] == [32, 8]
    assert torch.cat([batch.weight for batch in batches if batch.weight is not None])[0].tolist() == [1, 1, 1, 1, 0, 0]
    trained = task.train_batch(0, seed=0, batch_size=24, length=6).weight
    assert trained is not None
    assert sorted(trained[:, 0].tolist()) == list(range(1, 25))


def values(loss: str) -> Arrays:
    """Two values per sequence, or two answers."""
    arrays = labelled()
    for split, count in SIZES.items():
        y = np.random.default_rng(count).normal(3, 2, size=(count, 2))
        arrays[f"y_{split}"] = y if loss == "mse" else (y > 2).astype(np.uint8)
    return arrays


@pytest.mark.parametrize(("loss", "metrics"), [("mse", ("mse", "mae", "r2")), ("bce", ("accuracy", "loss"))])
def test_baselines_are_what_the_training_targets_alone_tell(
    tmp_path: Path, loss: str, metrics: tuple[str, ...]
) -> None:
    arrays = values(loss)
    data = saved(tmp_path, arrays)
    task = load_task("arrays", {"data": data, "loss": loss})
    mean = torch.from_numpy(arrays["y_train"].astype(float).mean(0))
    answer = mean if loss == "mse" else torch.logit(mean)
    accumulator = MetricAccumulator(task.spec)
    for batch in task.eval_batches("test", batch_size=4, length=6, max_batches=None):
        accumulator.update(answer.expand(4, 6, 2), batch)
        assert training_loss(task.spec, answer.expand(4, 6, 2), batch).isfinite()
    for metric in metrics:
        spec = task_spec("arrays", {"data": data, "loss": loss, "metric": metric})
        assert spec.baseline == pytest.approx(accumulator.result()[metric], rel=1e-5)


def test_baselines_of_classes_are_the_most_frequent_one_and_the_shares(tmp_path: Path) -> None:
    arrays = labelled()
    arrays["y_train"][:12] = 1
    data = saved(tmp_path, arrays)
    assert task_spec("arrays", {"data": data}).baseline == pytest.approx(np.mean(arrays["y_test"] == 1))
    shares = (np.bincount(arrays["y_train"]) + 1) / (24 + 3)
    loss = task_spec("arrays", {"data": data, "metric": "loss"})
    assert loss.baseline == pytest.approx(-np.log(shares[arrays["y_test"]]).mean())
    assert loss.chance == pytest.approx(np.log(3))


def test_repeated_sequences_are_named_with_their_share(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = labelled()
    arrays["x_test"][:4] = arrays["x_train"][5:9]
    load_task("arrays", {"data": saved(tmp_path, arrays)})
    assert "mine.npz: 4 of 10 sequences of test (40.0%) also stand in train" in caplog.text


def test_arrays_of_a_task_of_ones_own_are_searched_too(caplog: pytest.LogCaptureFixture) -> None:
    spec = dataclasses.replace(task_spec("listops", {}), data_name="drawn", n_in=5, n_out=5, length=4)
    x, y = np.arange(80).reshape(20, 4) % 5, np.arange(20) % 5
    task = arrays_task(spec, train=(x, y), valid=(x[:2] + 0, y[:2]), test=(4 - x[:2], y[:2]))
    assert "drawn: 2 of 2 sequences of valid (100.0%) also stand in train" in caplog.text
    assert task.train_batch(0, seed=0, batch_size=3, length=4).x.dtype == torch.int64


def test_a_damaged_note_is_made_anew(tmp_path: Path) -> None:
    data = saved(tmp_path, labelled())
    before = task_spec("arrays", {"data": data}, cache_dir=tmp_path)
    (note,) = (tmp_path / "own").glob("*.json")
    note.write_text("{}")
    assert task_spec("arrays", {"data": data}, cache_dir=tmp_path) == before


def without(name: str) -> Callable[[Arrays], Any]:
    return lambda arrays: arrays.pop(name)


def put(name: str, place: Any, value: Any) -> Callable[[Arrays], Any]:
    return lambda arrays: arrays[name].__setitem__(place, value)


def change(name: str, made: Callable[[Any], Any]) -> Callable[[Arrays], Any]:
    return lambda arrays: arrays.__setitem__(name, made(arrays[name]))


BAD: list[tuple[Callable[[Arrays], Any], dict[str, Any], str]] = [
    (without("y_valid"), {}, "lacks y_valid; it holds y_train, x_train, x_valid"),
    (lambda a: a.update(weights_train=a["y_train"]), {}, "weights_train: nothing reads such an array"),
    (change("y_train", lambda y: y[:-1]), {}, "x_train has 24 sequences and y_train has 23"),
    (change("x_test", lambda x: x[:0]), {}, "x_test is empty"),
    (change("x_valid", lambda x: x[:, :-1]), {}, "x_valid has shape (8, 5, 2); x_train has (24, 6, 2)"),
    (change("x_train", lambda x: x.astype(str)), {}, "x_train holds <U32; valid are whole numbers"),
    (put("x_valid", (3, 4, 1), np.nan), {}, "x_valid[3, 4, 1] = nan is not finite"),
    (change("y_train", lambda y: y + 0.5), {}, "y_train holds float64; labels of a cross entropy are whole numbers"),
    (
        change("y_train", lambda y: y[:, None]),
        {},
        "y_train has shape (24, 1); labels with `loss_on: last_step` have shape (24,)",
    ),
    (put("y_test", 0, 3), {}, "y_test holds labels from 0 to 3; valid are 0 to 2, from the labels of y_train"),
    (put("y_train", 0, -1), {}, "y_train holds labels from -1 to 2"),
    (lambda a: None, {"classes": 2}, "y_train holds labels from 0 to 2; valid are 0 to 1"),
    (change("y_train", lambda y: y * 0), {"classes": 3}, "y_train holds one class only (0)"),
    (lambda a: a.update(length_test=np.zeros(10, int)), {}, "length_test[0] = 0 is not from 1 to 6"),
    (lambda a: a.update(weight_test=-np.ones(10)), {}, "weight_test[0] = -1.0 is not a number of at least 0"),
    (lambda a: a.update(weight_train=np.eye(24)[1]), {}, "weight_train[0] is 0 throughout"),
    (lambda a: a.update(weight_train=np.ones((24, 2))), {}, "weight_train has shape (24, 2); give one of each"),
    (lambda a: None, {"x": "ids"}, "x_train has shape (24, 6, 2); ids have [sequences, steps]"),
    (lambda a: None, {"x": "spikes"}, "x_train holds float32, and spikes are whole"),
    (change("x_train", lambda x: x.astype(int) - 9), {"x": "auto"}, "is no number of spikes (0 to 255)"),
    (lambda a: None, {"loss": "bce"}, "y_train[2] = 2 is neither 0 nor 1"),
    (lambda a: None, {"loss": "mse", "metric": "accuracy"}, "'accuracy' does not go with loss: mse. Valid: mse"),
    (put("y_test", 1, np.inf), {"loss": "mse"}, "y_test[1] = inf is not finite"),
]


@pytest.mark.parametrize(("spoil", "options", "line"), BAD, ids=[line for _, _, line in BAD])
def test_bad_arrays_are_one_line(tmp_path: Path, spoil: Any, options: dict[str, Any], line: str) -> None:
    arrays = labelled()
    if options == {"loss": "mse"}:
        arrays |= {name: array.astype(float) for name, array in arrays.items() if name[0] == "y"}
    if options == {"x": "auto"}:
        arrays |= {name: np.abs(array).astype(int) for name, array in arrays.items() if name[0] == "x"}
    spoil(arrays)
    with pytest.raises((DataError, TaskError)) as error:
        task_spec("arrays", {"data": saved(tmp_path, arrays), **options}, where="blocks[1].task")
    assert str(error.value).startswith("blocks[1].task.")
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("none.npz", None, "task.data: no such file or folder: "),
        ("text.txt", b"x", "is no .npz, .h5 or .hdf5 file and no folder"),
        ("broken.npz", b"PK not really", "task.data: cannot read "),
        ("broken.h5", b"not really", "task.data: cannot read "),
    ],
)
def test_files_that_are_none_are_one_line(tmp_path: Path, name: str, content: bytes | None, line: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        task_spec("arrays", {"data": str(tmp_path / name)})
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_pickled_objects_are_never_run(tmp_path: Path) -> None:
    arrays = labelled() | {"y_test": np.array([{}] * 10, dtype=object)}
    with pytest.raises(DataError, match="objects"):
        task_spec("arrays", {"data": saved(tmp_path, arrays)})


def test_data_must_be_given() -> None:
    with pytest.raises(TaskError, match=r"^task\.data: task 'arrays' needs it: an \.npz file"):
        task_spec("arrays", {})


def test_a_description_is_plain(tmp_path: Path) -> None:
    spec = task_spec("arrays", {"data": saved(tmp_path, values("mse")), "loss": "mse"})
    assert {type(value) for value in dataclasses.asdict(spec).values()} <= {str, int, float, bool, dict, type(None)}
