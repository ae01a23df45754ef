"""The task `images`: classify an image that is read pixel by pixel, row after row."""

import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cluster.errors import path_hint
from tasks.base import TaskSpec
from tasks.batch import Split
from tasks.data.cache import build_verified, data_directory, noted_sha256, write_atomically
from tasks.data.fetch import fetch
from tasks.data.leaks import Hashes, sequence_hashes, sequence_leaks, warn_of_leaks
from tasks.data.pickles import restricted_load
from tasks.errors import DataError
from tasks.options import OptionValue
from tasks.packages import package
from tasks.sequences.data_sets import CIFAR10
from tasks.sequences.sequences import Numbers, SequenceTask, SplitData

DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
_DIGITS_SPLIT_SEED = 0
_CIFAR_TRAIN = tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6))
_CIFAR_TEST = "cifar-10-batches-py/test_batch"
# The last 5,000 training images validate: one usual choice, nothing is prescribed.
_CIFAR_VALID = 5000
# ITU-R 601 luma, as image libraries convert colour to grey.
_LUMA = (0.299, 0.587, 0.114)


class Images:
    """Grey images of one size."""

    def __init__(self, pixels: npt.NDArray[np.uint8], labels: Numbers, *, white: int) -> None:
        self._pixels, self._labels, self._white = pixels, labels, white

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return brightness from 0 to 1, float32 [B, pixels, 1]."""
        # Kept as bytes and turned into numbers batch by batch, at a quarter of the memory.
        return torch.from_numpy(self._pixels[numbers].astype(np.float32) / self._white)[..., None]

    def hashes(self, numbers: Numbers) -> Hashes:
        """Return a hash of every numbered image, uint64 [n]."""
        return sequence_hashes(self._pixels[number] for number in numbers)

    def targets(self, numbers: Numbers) -> Numbers:
        """Return the classes 0..9, [B]."""
        classes: Numbers = self._labels[numbers]
        return classes


def load_images(
    spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
) -> SequenceTask:
    """Load the task `images`."""
    directory = data_directory(cache_dir)
    if options["data"] == "embedded":
        images, sha256, splits = _digits(int(options["upsample"]))
    else:
        images, sha256, splits = _cifar(str(options["data"]), directory, where)
    warn_of_leaks(
        spec.data_name,
        f"{sha256[:24]}-images",
        directory,
        lambda: sequence_leaks({split: images.hashes(order) for split, order in splits.items()}, "images"),
    )
    return SequenceTask(spec, sha256, {split: SplitData(images, order) for split, order in splits.items()}, where=where)


def read_digits() -> tuple[npt.NDArray[np.uint8], Numbers, str]:
    """Return scikit-learn's hand-written digits: brightness 0..16 [n, 8, 8], classes [n] and their SHA-256.

    Raises:
        DataError: the installed data are not the known ones.
    """
    bunch = package("sklearn.datasets", "sdigits").load_digits()  # slow to import
    pixels, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    sha256 = hashlib.sha256(pixels.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if sha256 != DIGITS_SHA256:
        raise DataError(f"sdigits: the digits of scikit-learn have SHA-256 {sha256}, expected {DIGITS_SHA256}")
    return pixels, labels, sha256


def _digits(upsample: int) -> tuple[Images, str, dict[Split, Numbers]]:
    pixels, labels, sha256 = read_digits()
    # Enlarged by repetition and not by interpolation: the sequence gets longer, the image stays the same.
    large = pixels.repeat(upsample, axis=1).repeat(upsample, axis=2).reshape(len(pixels), -1)
    # shuffled with a fixed seed before the cut, so that all three parts hold the same kinds of digits
    order = np.random.default_rng(_DIGITS_SPLIT_SEED).permutation(len(labels))
    train, valid = len(order) * 70 // 100, len(order) * 85 // 100  # 70, 15 and 15 per cent (assumption)
    splits: dict[Split, Numbers] = {"train": order[:train], "valid": order[train:valid], "test": order[valid:]}
    return Images(large, labels, white=16), sha256, splits  # the digits have 17 shades, from 0 to 16


def _cifar(data: str, directory: Path, where: str) -> tuple[Images, str, dict[Split, Numbers]]:
    archive = Path(data)
    if data == "real":
        archive = fetch(CIFAR10, cache_dir=directory) / "cifar-10-python.tar.gz"
    elif not archive.is_file():
        hint = (
            path_hint(archive, names=("embedded", "real"))
            or " (valid: 'embedded', 'real' or the path of cifar-10-python.tar.gz)"
        )
        raise DataError(f"{where}.data: no such file: {archive.absolute()}{hint}")
    sha256 = noted_sha256(archive, directory)
    store = directory / "images" / sha256[:24]
    build_verified(store.with_suffix(".npy"), lambda: _write_cifar(archive, store))
    pixels = np.load(store.with_suffix(".npy"), mmap_mode="r")
    with np.load(store.with_suffix(".npz")) as arrays:
        labels, trained = arrays["labels"], int(arrays["trained"])
    if len(pixels) != len(labels):
        raise DataError(f"{store}.npy: damaged; delete it and {store.name}.npz and start again")
    # In the order of the archive, whose batches hold the classes in random order.
    numbers = np.arange(len(labels))
    # A shortened archive, as tests make one, keeps most of its images for training.
    valid = trained - min(_CIFAR_VALID, trained // 10)
    splits: dict[Split, Numbers] = {
        "train": numbers[:valid],
        "valid": numbers[valid:trained],
        "test": numbers[trained:],
    }
    return Images(pixels, labels, white=255), sha256, splits


def _write_cifar(archive: Path, store: Path) -> None:
    """Turn the colour images of the archive into grey ones, training images first."""
    try:
        # Members are read and never unpacked, so that no name in the archive can write outside of a folder.
        with tarfile.open(archive, "r:gz") as members:
            batches = [_cifar_batch(members, name, archive) for name in (*_CIFAR_TRAIN, _CIFAR_TEST)]
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: not the CIFAR-10 python archive ({error})") from error
    pixels = np.concatenate([grey for grey, _ in batches])
    labels = np.concatenate([classes for _, classes in batches])
    with write_atomically(store.with_suffix(".npy")) as file:
        np.save(file, pixels)
    with write_atomically(store.with_suffix(".npz")) as file:
        np.savez(file, labels=labels, trained=len(labels) - len(batches[-1][1]))


def _cifar_batch(members: tarfile.TarFile, name: str, archive: Path) -> tuple[npt.NDArray[np.uint8], Numbers]:
    """Return the grey images, [n, 1024], and the classes, [n], of one file of the archive."""
    try:
        member = members.extractfile(name)
    except KeyError as error:
        raise DataError(f"{archive}: has no {name}; expected the CIFAR-10 python archive") from error
    assert member is not None
    content = restricted_load(member.read(), f"{archive}:{name}")
    if not isinstance(content, dict) or not {"data", "labels"} <= content.keys():
        raise DataError(f"{archive}: {name} has no entries 'data' and 'labels'")
    colours, labels = np.asarray(content["data"]), np.asarray(content["labels"], dtype=np.int64)
    if colours.shape != (len(labels), 3072) or colours.dtype != np.uint8:
        raise DataError(f"{archive}: {name} holds {colours.dtype} data of shape {colours.shape}, not uint8 (n, 3072)")
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        raise DataError(f"{archive}: {name} has labels from {labels.min()} to {labels.max()}; valid are 0 to 9")
    grey = np.tensordot(colours.reshape(-1, 3, 1024).astype(np.float32), np.array(_LUMA, dtype=np.float32), axes=(1, 0))
    # Rounded to bytes, as image libraries store grey.
    return np.rint(grey).astype(np.uint8), labels
