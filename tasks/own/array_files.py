"""Arrays of a person's own files: opened without a copy where that can be, checked once, and described.

No torch: a plan needs the description.
"""

import hashlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster.errors import choices_hint, path_hint
from tasks.base import Options, Place
from tasks.data.cache import noted_sha256, quick_sha256
from tasks.errors import DataError
from tasks.own.notes import noted
from tasks.packages import package

Array = npt.NDArray[Any]
SPLITS = ("train", "valid", "test")
_NEEDED = tuple(f"{part}_{split}" for split in SPLITS for part in ("x", "y"))
_OPTIONAL = tuple(f"{part}_{split}" for split in SPLITS for part in ("weight", "length"))
_BLOCK = 1 << 22
"""Numbers that are looked at in one go: 32 MiB of them as float64."""
_MOST_SPIKES = 255
"""Spikes of one channel in one step; they are stored as bytes."""
_NOTE_VERSION = "arrays 1"
"""Raised whenever `_facts` finds something else in the same files."""


class SplitArrays(NamedTuple):
    """The arrays of one split, n sequences of T steps."""

    x: Array
    """[n, T] or [n, T, n_in]"""
    y: Array
    """[n], [n, T] or either with a last axis of outputs"""
    weight: Array | None
    """[n] or [n, T], at least 0"""
    length: Array | None
    """steps that a sequence has, [n]; the others are padding"""


class Described(NamedTuple):
    """How the arrays of a file are to be read."""

    splits: Mapping[str, SplitArrays]
    input_kind: str
    """`ids`, `spikes` or `real`"""


def files_of(data: str, where: str) -> list[Path]:
    """Return the files that hold the arrays, in the order of their names.

    Raises:
        DataError: there is no such file, or it is of no kind that is read.
    """
    path = Path(data)
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        if not files:
            raise DataError(f"{where}.data: folder {path} holds no .npy files")
        return files
    if not path.is_file():
        raise DataError(f"{where}.data: no such file or folder: {path}{path_hint(path, Path.exists)}")
    if path.suffix not in (".npz", ".h5", ".hdf5"):
        raise DataError(f"{where}.data: {path} is no .npz, .h5 or .hdf5 file and no folder of .npy files")
    return [path]


def open_arrays(data: str, where: str) -> dict[str, Array]:
    """Open the arrays of a file by name, memory-mapped where the file holds them as they are.

    Raises:
        DataError: it cannot be read.
    """
    try:
        files = files_of(data, where)
        if Path(data).is_dir():
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in files}
        return _of_npz(files[0]) if files[0].suffix == ".npz" else _of_hdf5(files[0])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        reason = " ".join(str(error).split())
        raise DataError(f"{where}.data: cannot read {data} ({reason})") from error


def _of_npz(path: Path) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as held:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            # Compressed members, which `numpy.savez_compressed` writes, can only be read as a whole.
            stored = member.compress_type == zipfile.ZIP_STORED
            arrays[name] = _mapped(path, archive, member) if stored else held[name]
    return arrays


def _mapped(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Map a member that lies in the archive as it is, which `numpy.load` does not."""
    with archive.open(member) as inside:
        version = np.lib.format.read_magic(inside)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, column_order, dtype = read(inside)
        header = inside.tell()
    if dtype.hasobject:
        raise DataError(f"{path}: {member.filename} holds Python objects; store numbers")
    with path.open("rb") as file:
        # The local header repeats the name and may have other extra fields than the directory at the end says.
        file.seek(member.header_offset + 26)
        name_length, extra_length = np.frombuffer(file.read(4), dtype="<u2").tolist()
    start = member.header_offset + 30 + name_length + extra_length + header
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape, "F" if column_order else "C")


def _of_hdf5(path: Path) -> dict[str, Array]:
    h5py = package("h5py", f"reading {path.name}")
    arrays: dict[str, Array] = {}
    with h5py.File(path, "r") as file:
        for name, held in file.items():
            if not isinstance(held, h5py.Dataset):
                continue
            offset = held.id.get_offset()  # None where it lies in chunks, packed or not
            plain = offset is not None and held.dtype.kind in "biuf" and held.size
            arrays[name] = np.memmap(path, held.dtype, "r", offset, held.shape) if plain else held[()]
    return arrays


def described(options: Options, where: str) -> Described:
    """Open the arrays and look at their names, shapes and types.

    Raises:
        DataError: an array is missing, or its shape or type does not go with the others or with the options.
    """
    data = str(options["data"])
    place, arrays = f"{where}.data: {data}", open_arrays(data, where)
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise DataError(f"{place} lacks {', '.join(missing)}; it holds {', '.join(arrays) or 'nothing'}")
    for name in arrays:
        if name.endswith(tuple(f"_{split}" for split in SPLITS)) and name not in _NEEDED + _OPTIONAL:
            raise DataError(f"{place}: {name}: nothing reads such an array{choices_hint(name, _NEEDED + _OPTIONAL)}")
    splits = {
        split: SplitArrays(*(arrays.get(f"{part}_{split}") for part in SplitArrays._fields))  # type: ignore[arg-type]
        for split in SPLITS
    }
    kind = _input_kind(str(options["x"]), splits["train"].x, place)
    first = splits["train"]
    for split, part in splits.items():
        if not len(part.x.shape) or not len(part.x):
            raise DataError(f"{place}: x_{split} is empty: it holds no sequences")
        _check_x(part.x, first.x, kind, f"{place}: x_{split}")
        _check_counts(split, part, place)
        _check_y(part.y, part.x, first.y, options, f"{place}: y_{split}")
    return Described(splits, kind)


def _input_kind(asked: str, x: Array, place: str) -> str:
    if x.dtype.kind not in "biuf":
        raise DataError(
            f"{place}: x_train holds {x.dtype}; valid are whole numbers (ids, spikes) and fractions (values)"
        )
    if asked != "auto":
        return "real" if asked == "values" else asked
    return "real" if x.dtype.kind == "f" else "ids" if x.ndim == 2 else "spikes"


def _check_x(x: Array, first: Array, kind: str, place: str) -> None:
    axes = {"ids": (2,), "spikes": (3,), "real": (2, 3)}[kind]
    if x.ndim not in axes:
        wanted = {"ids": "[sequences, steps]", "spikes": "[sequences, steps, channels]"}
        listed = wanted.get(kind, "[sequences, steps] or [sequences, steps, channels]")
        raise DataError(f"{place} has shape {x.shape}; {'values' if kind == 'real' else kind} have {listed}")
    if x.dtype.kind not in ("biuf" if kind == "real" else "biu"):
        raise DataError(
            f"{place} holds {x.dtype}, and {'values are numbers' if kind == 'real' else f'{kind} are whole'}"
        )
    if x.shape[1:] != first.shape[1:] or not all(x.shape[1:]):
        raise DataError(f"{place} has shape {x.shape}; x_train has {first.shape}: steps and channels must be the same")


def _check_counts(split: str, part: SplitArrays, place: str) -> None:
    for name in ("y", "weight", "length"):
        array = getattr(part, name)
        if array is not None and (not array.ndim or len(array) != len(part.x)):
            have = len(array) if array.ndim else "no"
            raise DataError(f"{place}: x_{split} has {len(part.x)} sequences and {name}_{split} has {have}")
    if part.weight is not None and part.weight.shape not in (part.x.shape[:1], part.x.shape[:2]):
        raise DataError(
            f"{place}: weight_{split} has shape {part.weight.shape}; give one of each sequence, {part.x.shape[:1]}, or "
            f"of each step, {part.x.shape[:2]}"
        )
    if part.length is not None and (part.length.ndim != 1 or part.length.dtype.kind not in "iu"):
        raise DataError(
            f"{place}: length_{split} is {part.length.dtype} {part.length.shape}; give one whole number each"
        )


def _check_y(y: Array, x: Array, first: Array, options: Options, place: str) -> None:
    each = x.shape[:1] if options["loss_on"] == "last_step" else x.shape[:2]
    if options["loss"] == "cross_entropy":
        if y.dtype.kind not in "biu":
            raise DataError(f"{place} holds {y.dtype}; labels of a cross entropy are whole numbers")
        if y.shape != each:
            raise DataError(
                f"{place} has shape {y.shape}; labels with `loss_on: {options['loss_on']}` have shape {each}"
            )
        return
    if y.dtype.kind not in "biuf":
        raise DataError(f"{place} holds {y.dtype}; targets of {options['loss']} are numbers")
    if y.shape[: len(each)] != each or y.ndim > len(each) + 1 or 0 in y.shape:
        raise DataError(
            f"{place} has shape {y.shape}; targets with `loss_on: {options['loss_on']}` have shape {each}, or one more "
            "axis of outputs"
        )
    if outputs(y, options) != outputs(first, options):
        raise DataError(f"{place} has {outputs(y, options)} outputs; y_train has {outputs(first, options)}")


def outputs(y: Array, options: Options) -> int:
    """Return the number of values per target of a loss without classes."""
    axes = 1 if options["loss_on"] == "last_step" else 2
    return int(y.shape[axes]) if y.ndim > axes else 1


def noted_facts(options: Options, place: Place) -> dict[str, Any]:
    """Return what one pass over the arrays finds, from a note where the files are the ones of an earlier pass.

    Raises:
        DataError: the arrays are missing or unusable; the message names the array, the sequence and the value.
    """
    return noted(
        _NOTE_VERSION,
        files_of(str(options["data"]), place.where),
        options,
        place,
        lambda: _facts(described(options, place.where), options, place),
        ("data_name", "n_in", "n_out", "length", "input_kind", "chance", "baseline"),
    )


def sha256_of_arrays(data: str, directory: Path, where: str) -> str:
    """Return the SHA-256 of the one file, or of the names and SHA-256 of all files of a folder."""
    files = files_of(data, where)
    return _joint_sha256(data, files, [noted_sha256(path, directory) for path in files])


def quick_sha256_of_arrays(data: str, directory: Path, where: str) -> str | None:
    """Return the same where the files are noted or small; None where they take long to read."""
    files = files_of(data, where)
    hashes = [sha256 for path in files if (sha256 := quick_sha256(path, directory)) is not None]
    return _joint_sha256(data, files, hashes) if len(hashes) == len(files) else None


def _joint_sha256(data: str, files: Sequence[Path], hashes: Sequence[str]) -> str:
    if not Path(data).is_dir():
        return hashes[0]
    named = "".join(f"{path.name} {digest}\n" for path, digest in zip(files, hashes, strict=True))
    return hashlib.sha256(named.encode()).hexdigest()


def _facts(data: Described, options: Options, place: Place) -> dict[str, Any]:
    where, loss = f"{place.where}.data: {options['data']}", options["loss"]
    padded = options["loss_on"] == "last_step" and any(part.length is not None for part in data.splits.values())
    n_in = _inputs(data, padded=padded, where=where)
    for split, part in data.splits.items():
        _check_lengths_and_weights(split, part, where)
    if loss == "cross_entropy":
        n_out = _classes(data.splits, int(options["classes"]), where)
    else:
        n_out = outputs(data.splits["train"].y, options)
        for split, part in data.splits.items():
            _check_values(part.y, f"{where}: y_{split}", answers=loss == "bce")
    train, test = (_targets(data.splits[split], n_out, str(loss)) for split in ("train", "test"))
    chance, baseline = _trivial(str(loss), n_out, train, test)
    return {
        "data_name": Path(str(options["data"])).name,
        "n_in": n_in,
        "n_out": n_out,
        "length": int(data.splits["train"].x.shape[1]),
        "input_kind": data.input_kind,
        "chance": chance,
        "baseline": baseline,
    }


def _blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """Yield the array in blocks of sequences, with the number of the first one."""
    rows = max(1, _BLOCK // max(1, array[0].size))
    for start in range(0, len(array), rows):
        yield start, np.asarray(array[start : start + rows])


def _first_where(start: int, bad: npt.NDArray[np.bool_]) -> str:
    """Name the first place where a block is bad, by sequence and, where there are such, by step and channel."""
    sequence, *rest = (int(i) for i in np.argwhere(bad)[0])
    return f"[{', '.join(str(i) for i in (start + sequence, *rest))}]"


def _inputs(data: Described, *, padded: bool, where: str) -> int:
    """Check every input and return how many a network reads; sequences padded in front have a symbol of their own."""
    largest = 0
    for split, part in data.splits.items():
        for start, block in _blocks(part.x):
            if data.input_kind == "real":
                bad = ~np.isfinite(block)
                what = "is not finite"
            else:
                most = _MOST_SPIKES if data.input_kind == "spikes" else np.iinfo(np.int32).max
                bad = (block < 0) | (block > most)
                what = f"is no number of {data.input_kind} (0 to {most})"
                largest = max(largest, int(block.max()))
            if bad.any():
                value = block[tuple(np.argwhere(bad)[0])]
                raise DataError(f"{where}: x_{split}{_first_where(start, bad)} = {value} {what}")
    if data.input_kind == "ids":
        return largest + 1 + padded
    x = data.splits["train"].x
    return int(x.shape[2]) if x.ndim == 3 else 1


def _check_lengths_and_weights(split: str, part: SplitArrays, where: str) -> None:
    steps = part.x.shape[1]
    if part.length is not None:
        bad = (part.length < 1) | (part.length > steps)
        if bad.any():
            value = part.length[np.argmax(bad)]
            raise DataError(f"{where}: length_{split}{_first_where(0, bad)} = {value} is not from 1 to {steps}")
    if part.weight is not None:
        bad = ~(np.isfinite(part.weight) & (part.weight >= 0))
        if bad.any():
            value = part.weight[tuple(np.argwhere(bad)[0])]
            raise DataError(f"{where}: weight_{split}{_first_where(0, bad)} = {value} is not a number of at least 0")
        empty = ~(
            weights_of(part, np.arange(len(part.x)), every_step=part.weight.ndim == 2).reshape(len(part.x), -1) > 0
        )
        if empty.all(axis=1).any():
            number = int(np.argmax(empty.all(axis=1)))
            raise DataError(f"{where}: weight_{split}[{number}] is 0 throughout; leave that sequence out")


def _classes(splits: Mapping[str, SplitArrays], asked: int, where: str) -> int:
    """Check every label and return the number of classes."""
    present = {split: np.unique(part.y[inside_of(part)]) for split, part in splits.items()}
    classes = asked or int(present["train"].max()) + 1
    for split, values in present.items():
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= classes:
            told = "" if asked else ", from the labels of y_train; `classes:` sets another number"
            raise DataError(f"{where}: y_{split} holds labels from {low} to {high}; valid are 0 to {classes - 1}{told}")
    if len(present["train"]) < 2:
        raise DataError(f"{where}: y_train holds one class only ({int(present['train'][0])}); nothing can be learnt")
    return classes


def _check_values(y: Array, name: str, *, answers: bool) -> None:
    for start, block in _blocks(y):
        bad = ~np.isfinite(block)
        what = "is not finite"
        if answers and not bad.any():
            bad, what = (block != 0) & (block != 1), "is neither 0 nor 1, which bce asks for"
        if bad.any():
            raise DataError(f"{name}{_first_where(start, bad)} = {block[tuple(np.argwhere(bad)[0])]} {what}")


def inside_of(part: SplitArrays) -> npt.NDArray[np.bool_]:
    """Return which targets are no padding, in the shape of y without its outputs."""
    every = part.y.ndim > 1 and part.y.shape[1] == part.x.shape[1]
    if not every or part.length is None:
        return np.ones(part.y.shape[: 1 + every], bool)
    return np.arange(part.x.shape[1]) < np.asarray(part.length)[:, None]


def weights_of(part: SplitArrays, numbers: npt.NDArray[np.int64], *, every_step: bool) -> npt.NDArray[np.float32]:
    """Return the weights of numbered sequences, padding at 0: [n, T] or [n]."""
    steps = part.x.shape[1]
    shape = (len(numbers), steps) if every_step else (len(numbers),)
    weight = np.ones(shape, np.float32)
    if part.weight is not None:
        given = np.asarray(part.weight[numbers], np.float32)
        if every_step:
            weight *= given if given.ndim == 2 else given[:, None]
        else:
            weight *= given if given.ndim == 1 else given[:, -1]
    if every_step and part.length is not None:
        weight *= np.arange(steps) < np.asarray(part.length[numbers])[:, None]
    return weight


class _Targets(NamedTuple):
    """Targets of a split in one row each, [m] labels or [m, n_out] values, and their weights, [m]."""

    y: Array
    weight: npt.NDArray[np.float64]


def _targets(part: SplitArrays, n_out: int, loss: str) -> _Targets:
    labels = loss == "cross_entropy"
    rows = part.y.size if labels else part.y.size // n_out
    every = rows != len(part.x) or (part.y.ndim > 1 and part.x.shape[1] == 1 and n_out == 1)
    weight = weights_of(part, np.arange(len(part.x)), every_step=every).reshape(-1).astype(np.float64)
    y = np.asarray(part.y).reshape(-1) if labels else np.asarray(part.y, np.float64).reshape(-1, n_out)
    return _Targets(y, weight)


def _trivial(
    loss: str, n_out: int, train: _Targets, test: _Targets
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Return each metric of a uniform guess, and on the test split of what is known of the training targets alone."""
    weight = test.weight / test.weight.sum()
    if loss == "cross_entropy":
        counted = np.bincount(train.y.astype(np.int64), weights=train.weight, minlength=n_out)
        shares = (counted + 1) / (counted.sum() + n_out)  # one more of each, so that no label is impossible
        named = test.y.astype(np.int64)
        return {"accuracy": 1 / n_out, "loss": float(np.log(n_out))}, {
            "accuracy": float(weight @ (named == counted.argmax())),
            "loss": float(-(weight @ np.log(shares[named]))),
        }
    mean = (train.weight / train.weight.sum()) @ train.y
    if loss == "bce":
        share = np.clip(mean, 1e-6, 1 - 1e-6)
        entropy = -(test.y * np.log(share) + (1 - test.y) * np.log(1 - share))
        right = (test.y > 0.5) == (mean > 0.5)
        return {"accuracy": 0.5, "loss": float(np.log(2))}, {
            "accuracy": float(weight @ right.mean(-1)),
            "loss": float(weight @ entropy.mean(-1)),
        }
    error = test.y - mean
    spread = weight @ (test.y - weight @ test.y) ** 2
    r2 = float(np.mean(1 - (weight @ error**2) / spread)) if (spread > 0).all() else None
    return {"mse": None, "mae": None, "r2": 0.0}, {
        "mse": float((weight @ error**2).mean()),
        "mae": float((weight @ np.abs(error)).mean()),
        "r2": r2,
    }
