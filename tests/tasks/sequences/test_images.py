import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.errors import DataError, TaskError
from tasks.loaders import load_task
from tasks.sequences import images
from tasks.sequences.sequences import SequenceTask
from tasks.spec import data_sha256


def load(**options: object) -> SequenceTask:
    task = load_task("images", options)
    assert isinstance(task, SequenceTask)
    return task


def everything(task: SequenceTask, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    batches = task.eval_batches(split, batch_size=1, length=task.spec.length, max_batches=None)  # type: ignore[arg-type]
    x, y = zip(*((batch.x, batch.y) for batch in batches), strict=True)
    return torch.cat(x), torch.cat(y)


def test_digits_are_split_once_and_for_all() -> None:
    from sklearn.datasets import load_digits

    task = load()
    parts = [everything(task, split) for split in ("train", "valid", "test")]
    assert [len(x) for x, _ in parts] == [1257, 270, 270]
    rows = torch.cat([torch.cat([x[..., 0] * 16, y[:, None]], dim=1) for x, y in parts]).numpy()
    bunch = load_digits()
    expected = np.concatenate([bunch.data, bunch.target[:, None]], axis=1)
    assert np.array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])
    assert task.spec.baseline == pytest.approx(task.majority("test"))


def test_upsampling_repeats_pixels_row_by_row() -> None:
    small = load().train_batch(0, seed=0, batch_size=3, length=64)
    large = load(upsample=4).train_batch(0, seed=0, batch_size=3, length=1024)
    assert large.x.shape == (3, 1024, 1)
    assert large.x.dtype == torch.float32
    assert torch.equal(large.y, small.y)
    assert torch.equal(large.x.view(3, 8, 4, 8, 4)[:, :, 2, :, 1], small.x.view(3, 8, 8))


def test_upsampling_goes_with_digits_only() -> None:
    with pytest.raises(TaskError, match=r"^task\.upsample: 4 goes with data: embedded"):
        load(data="real", upsample=4)


def test_other_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "DIGITS_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"sdigits: the digits of scikit-learn have SHA-256 87ff0c9e.*, expected 0000"):
        load()


def write_cifar(path: Path, per_file: int = 20, skip: str = "", **changes: object) -> np.ndarray:
    """Writes an archive in the layout of CIFAR-10 with pickles as Python 2 makes them; returns the colours."""
    random, every = np.random.default_rng(0), []
    with tarfile.open(path, "w:gz") as archive:
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            colours = random.integers(256, size=(per_file, 3072), dtype=np.uint8)
            every.append(colours)
            held = {"data": colours, "labels": [i % 10 for i in range(per_file)], "batch_label": name} | changes
            content = pickle.dumps(held, protocol=2).replace(b"numpy._core", b"numpy.core")
            if name != skip:
                info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return np.concatenate(every)


def test_cifar_is_grey_in_row_order_with_the_last_training_images_held_out(tmp_path: Path) -> None:
    colours = write_cifar(tmp_path / "cifar.tar.gz")
    task = load(data=str(tmp_path / "cifar.tar.gz"))
    parts = [everything(task, split) for split in ("train", "valid", "test")]
    assert [len(x) for x, _ in parts] == [90, 10, 20]
    assert parts[0][0].shape[1:] == (1024, 1)
    red, green, blue = colours.reshape(-1, 3, 1024).transpose(1, 0, 2).astype(float)
    expected = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    assert torch.cat([x for x, _ in parts])[..., 0].numpy() == pytest.approx(expected, abs=0.51 / 255)
    assert torch.cat([y for _, y in parts]).tolist() == [i % 10 for i in range(20)] * 6
    assert (task.data_name, task.spec.length) == ("cifar10-grey", 1024)
    assert data_sha256("images", {"data": str(tmp_path / "cifar.tar.gz")}) == task.data_sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"skip": "data_batch_3"}, "has no cifar-10-batches-py/data_batch_3"),
        ({"labels": [10] * 20}, "has labels from 10 to 10; valid are 0 to 9"),
        ({"labels": [1]}, r"holds uint8 data of shape \(20, 3072\), not uint8 \(n, 3072\)"),
        ({"data": np.zeros((20, 3072))}, "holds float64 data"),
    ],
)
def test_unexpected_archives_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    write_cifar(tmp_path / "cifar.tar.gz", **changes)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=rf"cifar\.tar\.gz: .*{message}"):
        load(data=str(tmp_path / "cifar.tar.gz"))


def test_truncated_and_missing_archives_are_refused(tmp_path: Path) -> None:
    write_cifar(tmp_path / "cifar.tar.gz")
    content = (tmp_path / "cifar.tar.gz").read_bytes()
    (tmp_path / "cifar.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cifar\.tar\.gz: (not the CIFAR-10 python archive|.*damaged pickle)"):
        load(data=str(tmp_path / "cifar.tar.gz"))
    with pytest.raises(DataError, match=r"^task\.data: no such file: .*nowhere"):
        load(data=str(tmp_path / "nowhere"))
