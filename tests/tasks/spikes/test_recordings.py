import dataclasses
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tasks.errors import DataError, TaskError
from tasks.loaders import load_task
from tasks.spec import data_sha256, task_spec
from tasks.spikes import recordings as under_test
from tasks.spikes.events import binned
from tasks.spikes.recordings import prepare

SPEAKERS = {"train": 10, "test": 12}
COUNTS = {"train": 60, "test": 24}


def write_h5(path: Path, *, count: int, speakers: int, seed: int, labels: np.ndarray | None = None) -> None:
    """Writes a file in the layout of the Spiking Heidelberg Digits: vlen float16 times and uint16 units."""
    random = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (count,), dtype=h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (count,), dtype=h5py.vlen_dtype(np.uint16))
        for i in range(count):
            n = int(random.integers(1, 900))
            times[i] = np.sort(random.uniform(0, 1.3, n)).astype(np.float16)
            units[i] = random.integers(0, 700, n).astype(np.uint16)
        file["labels"] = np.arange(count) % 20 if labels is None else labels
        file["extra/speaker"] = np.arange(count) % speakers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("h5")
    for seed, split in enumerate(("train", "test")):
        write_h5(folder / f"shd_{split}.h5", count=COUNTS[split], speakers=SPEAKERS[split], seed=seed)
    return folder


PUBLISHED_WIDTHS = [1, 2, 4, 5, 10, 20, 50, 100]
"""Widths in ms that divide a recording, where the published preprocessing knows no other bins than these."""
WIDTHS = [*PUBLISHED_WIDTHS, 3, 6, 8, 300, 600, 1000]


def reference_batch(path: Path, numbers: list[int], bin_ms: int) -> np.ndarray:
    """Bins as the published preprocessing does: digitize over edges, count, drop the last row."""
    step = bin_ms / 1000
    edges = np.arange(0, 1.0 + step, step)
    dense = np.zeros((len(numbers), len(edges), 700), dtype=np.float32)
    with h5py.File(path) as file:
        for row, number in enumerate(numbers):
            bins = np.digitize(file["spikes/times"][number], edges) - 1
            np.add.at(dense[row], (bins, file["spikes/units"][number]), 1)
    return dense[:, :-1]


def counted_one_by_one(path: Path, numbers: list[int], bin_ms: int) -> np.ndarray:
    """Counts spike by spike in exact arithmetic; the last bin ends with the recording."""
    bins = -(-1000 // bin_ms)
    dense = np.zeros((len(numbers), bins, 700), dtype=np.int64)
    with h5py.File(path) as file:
        for row, number in enumerate(numbers):
            pairs = zip(file["spikes/times"][number], file["spikes/units"][number], strict=True)
            for time, unit in pairs:
                if time < 1:
                    dense[row, Fraction(float(time)) * 1000 // bin_ms, unit] += 1
    return dense


def all_times() -> np.ndarray:
    """Returns every float16 from 0 to 2 s."""
    times = np.arange(2**16, dtype=np.uint16).view(np.float16)
    return np.unique(times[np.isfinite(times) & (times >= 0) & (times < 2)])


@pytest.mark.parametrize("bin_ms", [1, 2, 4, 5, 10])
def test_binning_equals_digitize_for_every_float16_time(bin_ms: int) -> None:
    times, step = all_times(), bin_ms / 1000
    expected = np.digitize(times, np.arange(0, 1.0 + step, step)) - 1
    expected = expected[times < 1]
    found = binned(times, np.zeros(len(times), dtype=np.uint16), bin_ms=bin_ms, duration_ms=1000)
    assert np.array_equal(found // 700, np.sort(expected))
    assert found.max() // 700 == 1000 // bin_ms - 1


@pytest.mark.parametrize("bin_ms", WIDTHS)
def test_binning_is_exact_for_every_float16_time(bin_ms: int) -> None:
    times = all_times()
    expected = [Fraction(float(time)) * 1000 // bin_ms for time in times if time < 1]
    found = binned(times, np.zeros(len(times), dtype=np.uint16), bin_ms=bin_ms, duration_ms=1000)
    assert (found // 700).tolist() == expected
    assert found.max() // 700 == -(-1000 // bin_ms) - 1


@pytest.mark.parametrize("bin_ms", PUBLISHED_WIDTHS)
def test_batches_equal_the_reference_exactly(folder: Path, bin_ms: int) -> None:
    task = load_task("shd", {"data": str(folder), "bin_ms": bin_ms})
    batch = next(task.eval_batches("test", batch_size=24, length=1000 // bin_ms, max_batches=1))
    assert batch.x.dtype == torch.uint8
    expected = reference_batch(folder / "shd_test.h5", list(range(24)), bin_ms)
    assert expected.max() >= (2 if bin_ms > 2 else 1)
    assert np.array_equal(batch.x.numpy(), expected)
    assert batch.y.tolist() == [i % 20 for i in range(24)]


@pytest.mark.parametrize("bin_ms", WIDTHS)
def test_every_spike_of_a_recording_is_in_some_bin(folder: Path, bin_ms: int) -> None:
    """Also those of the last bin, where the width does not divide the recording."""
    task = load_task("shd", {"data": str(folder), "bin_ms": bin_ms})
    assert task.spec.length == -(-1000 // bin_ms)
    batch = next(task.eval_batches("test", batch_size=24, length=task.spec.length, max_batches=1))
    expected = counted_one_by_one(folder / "shd_test.h5", list(range(24)), bin_ms)
    assert expected[:, -1].sum() > 0
    assert np.array_equal(batch.x.numpy(), expected)


@pytest.mark.parametrize("bin_ms", [6, 300])
def test_embedded_recordings_are_joined_to_any_width(bin_ms: int) -> None:
    finest = prepare("embedded", bin_ms=1, validation="speakers", cache_dir=None, where="task")
    joined = prepare("embedded", bin_ms=bin_ms, validation="speakers", cache_dir=None, where="task")
    assert finest.sha256 == joined.sha256
    for number in (0, 500, 959):
        fine = finest.cells[finest.offsets[number] : finest.offsets[number + 1]]
        cells = fine // 700 // bin_ms * 700 + fine % 700
        assert np.array_equal(joined.cells[joined.offsets[number] : joined.offsets[number + 1]], np.sort(cells))


def test_a_pair_is_two_recordings_with_whole_bins_of_their_own() -> None:
    options = {"bin_ms": 300, "valid_pairs": 8, "test_pairs": 8}
    pairs, digits = load_task("shd_adding", options), load_task("shd", {"bin_ms": 300})
    assert (pairs.spec.length, digits.spec.length) == (8, 4)
    batch = next(pairs.eval_batches("test", batch_size=8, length=8, max_batches=1))
    singles = next(digits.eval_batches("test", batch_size=140, length=4, max_batches=1))
    known = {
        recording.numpy().tobytes(): int(label) % 10 for recording, label in zip(singles.x, singles.y, strict=True)
    }
    halves = [[known[half.numpy().tobytes()] for half in pair.split(4)] for pair in batch.x]
    assert [sum(pair) for pair in halves] == batch.y.tolist()


@pytest.mark.parametrize("bin_ms", [0, 1001, 2.5])
def test_widths_that_no_recording_has_are_refused(bin_ms: float) -> None:
    with pytest.raises(TaskError, match=rf"^task\.bin_ms: {bin_ms} is not valid; give a whole number"):
        load_task("shd", {"bin_ms": bin_ms})
    assert task_spec("shd", {"bin_ms": 10.0}) == task_spec("shd", {"bin_ms": 10})


def test_random_validation_is_the_published_draw(folder: Path) -> None:
    prepared = prepare(str(folder), bin_ms=10, validation="random", cache_dir=None, where="task")
    chosen = np.random.default_rng(0).binomial(1, 0.2, size=60).astype(bool)
    assert np.array_equal(prepared.members["valid"], np.flatnonzero(chosen))
    assert np.array_equal(prepared.members["train"], np.flatnonzero(~chosen))
    assert np.array_equal(prepared.members["test"], np.arange(60, 84))


def test_speaker_validation_shares_no_speaker_with_train(folder: Path) -> None:
    members = prepare(str(folder), bin_ms=10, validation="speakers", cache_dir=None, where="task").members
    speaker = np.arange(60) % 10
    assert set(speaker[members["valid"]]) == {8, 9}
    assert set(speaker[members["train"]]) == set(range(8))


def test_cells_are_binned_once_and_memory_mapped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(str(folder), bin_ms=4, validation="random", cache_dir=None, where="task")
    monkeypatch.setattr(under_test, "read_h5", None)
    again = prepare(str(folder), bin_ms=4, validation="speakers", cache_dir=None, where="task")
    assert isinstance(again.cells, np.memmap)
    assert first.sha256 == again.sha256
    assert np.array_equal(first.cells, again.cells)


def test_a_torn_cache_is_noticed_and_made_anew(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = prepare(str(folder), bin_ms=10, validation="random", cache_dir=tmp_path, where="task").cells
    cells = next((tmp_path / "recordings").glob("*.npy"))
    np.save(cells.with_name("torn.npy"), whole[:-1])
    cells.with_name("torn.npy").replace(cells)  # what is mapped must not be cut in place
    again = prepare(str(folder), bin_ms=10, validation="random", cache_dir=tmp_path, where="task").cells
    assert np.array_equal(again, whole)
    assert caplog.messages == [f"{cells}: damaged, making it anew"]


def broken(tmp_path: Path, folder: Path) -> Path:
    for name in ("shd_train.h5", "shd_test.h5"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


def expect(tmp_path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_task("shd", {"data": str(tmp_path)})
    assert "\n" not in str(caught.value)


def test_files_that_are_not_as_expected_are_refused(folder: Path, tmp_path: Path) -> None:
    expect(tmp_path, r"^task\.data: no such file: .*shd_train\.h5 \(a folder must hold")
    path = broken(tmp_path, folder) / "shd_test.h5"
    path.write_bytes(path.read_bytes()[:3000])
    expect(tmp_path, r"shd_test\.h5: not a readable HDF5 file")
    path.write_bytes(b"")
    expect(tmp_path, r"shd_test\.h5: not a readable HDF5 file")
    with h5py.File(path, "w") as file:
        file["labels"] = [1]
    expect(tmp_path, r"shd_test\.h5: has no dataset 'spikes/times'; expected spikes/times, spikes/units, labels")
    write_h5(path, count=3, speakers=2, seed=0, labels=np.array([0, 20, 3]))
    expect(tmp_path, r"shd_test\.h5: label 20 is out of range; valid are 0 to 19")
    write_h5(path, count=3, speakers=2, seed=0, labels=np.array([0, 1]))
    expect(tmp_path, r"datasets differ in length \(spikes/times 3, spikes/units 3, labels 2, extra/speaker 3\)")
    write_h5(path, count=0, speakers=2, seed=0)
    expect(tmp_path, r"^task\.data: .* has nothing in its test split")


def test_channels_out_of_range_are_refused(folder: Path, tmp_path: Path) -> None:
    with h5py.File(broken(tmp_path, folder) / "shd_test.h5", "r+") as file:
        file["spikes/units"][0] = np.full(len(file["spikes/units"][0]), 700, dtype=np.uint16)
    expect(tmp_path, r"shd_test\.h5: recording 0 has a spike in channel 700; valid are 0 to 699")


@pytest.mark.parametrize(("factor", "message"), [(1e3, "must be in seconds"), (1e6, "has the time inf")])
def test_times_in_another_unit_are_refused(folder: Path, tmp_path: Path, factor: float, message: str) -> None:
    """Without this, 76 of 80 recordings became empty and the network trained on silence."""
    with h5py.File(broken(tmp_path, folder) / "shd_train.h5", "r+") as file:
        for number in range(COUNTS["train"]):
            with np.errstate(over="ignore"):  # float16 ends at 65,504
                file["spikes/times"][number] = (file["spikes/times"][number].astype(float) * factor).astype(np.float16)
    expect(tmp_path, message)


def test_mostly_silent_recordings_are_refused(folder: Path, tmp_path: Path) -> None:
    with h5py.File(broken(tmp_path, folder) / "shd_train.h5", "r+") as file:
        for number in range(50):
            file["spikes/times"][number] = np.zeros(0, dtype=np.float16)
            file["spikes/units"][number] = np.zeros(0, dtype=np.uint16)
    expect(tmp_path, "50 of 84 recordings hold no spike in their first 1000 ms; are the times in seconds")


def test_files_without_speakers_serve_for_random_validation(folder: Path, tmp_path: Path) -> None:
    broken(tmp_path, folder)
    for name in ("shd_train.h5", "shd_test.h5"):
        with h5py.File(tmp_path / name, "r+") as file:
            del file["extra/speaker"]
    with pytest.raises(DataError, match=r"task\.validation: 'speakers' needs the dataset 'extra/speaker'"):
        load_task("shd", {"data": str(tmp_path)})
    assert load_task("shd", {"data": str(tmp_path), "validation": "random"}).spec.n_out == 20


def test_more_spikes_than_a_byte_counts_are_refused(folder: Path, tmp_path: Path) -> None:
    with h5py.File(broken(tmp_path, folder) / "shd_test.h5", "r+") as file:
        file["spikes/times"][3] = np.full(300, 0.5, dtype=np.float16)
        file["spikes/units"][3] = np.full(300, 7, dtype=np.uint16)
    expect(tmp_path, "recording 63 has more than 255 spikes in one channel and time bin")


def test_other_paths_are_refused(tmp_path: Path) -> None:
    expect(tmp_path / "nowhere", r"^task\.data: no such file or folder: .*nowhere \(valid: 'embedded', 'generated',")
    (tmp_path / "notes.txt").write_text("no recordings")
    expect(tmp_path / "notes.txt", r"notes\.txt: not a recordings file")


def test_real_means_shd_from_the_data_directory(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.data.fetch import digest_of

    files = tuple(
        dataclasses.replace(file, unpacked_digest=digest_of(folder / file.unpacked, "md5:"))
        for file in under_test.SHD.files
    )
    monkeypatch.setattr(under_test, "SHD", dataclasses.replace(under_test.SHD, files=files))
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "shd").mkdir()
    broken(tmp_path / "real" / "shd", folder)
    task = load_task("shd", {"data": "real", "bin_ms": 10}, cache_dir=tmp_path)
    assert task.data_name == "shd"
    assert task.data_sha256 == load_task("shd", {"data": str(folder), "bin_ms": 10}).data_sha256
    assert task.data_sha256 == data_sha256("shd", {"data": str(folder), "bin_ms": 10})
