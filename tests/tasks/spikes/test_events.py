import hashlib
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import DataError
from tasks.spikes.events import Recordings, binned, check_events, read_recordings, write_recordings


def make(*parts: list[int], labels: list[int] | None = None) -> Recordings:
    n = len(parts)
    return Recordings(
        cells=np.concatenate([np.asarray(part, dtype=np.int32) for part in parts]) if parts else np.zeros(0, np.int32),
        offsets=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
        label=np.asarray(labels or [0] * n, dtype=np.int64),
        speaker=np.arange(n, dtype=np.int64),
        split=np.zeros(n, dtype=np.int64),
        about={"name": "made-up", "bin_ms": 1, "classes": ["zero", "one"], "speakers": ["a"]},
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    recordings = make([0, 0, 5, 699_999], [], [7], [3, 70_000], [], labels=[0, 1, 1, 0, 0])
    write_recordings(tmp_path / "r.npz", recordings)
    again = read_recordings(tmp_path / "r.npz")
    for name in ("cells", "offsets", "label", "speaker", "split"):
        assert np.array_equal(getattr(again, name), getattr(recordings, name)), name
    assert again.about == recordings.about


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("a.npz", "b.npz"):
        write_recordings(tmp_path / name, make([1, 2], [3]))
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_late_times_are_dropped_and_cells_sorted() -> None:
    times = np.array([0.9996, 1.0, 0.0, 0.0021], dtype=np.float32)
    cells = binned(times, np.array([5, 7, 8, 9], dtype=np.uint16), bin_ms=2, duration_ms=1000)
    assert cells.tolist() == [8, 709, 499 * 700 + 5]


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [
        ([0.1, np.nan], [1, 2], "r has the time nan; times are seconds and finite"),
        ([0.1, np.inf], [1, 2], "r has the time inf"),
        ([0.1, -0.001], [1, 2], "r has the time -0.001; times are seconds from the start"),
        ([0.1, 0.2], [-1, 2], "r has a spike in channel -1; valid are 0 to 699"),
        ([0.1, 0.2], [1, 700], "r has a spike in channel 700"),
        ([0.1, 0.2], [1, 2.5], "r has a spike in channel 2.5"),
        ([0.1], [1, 2], "r has 1 times and 2 channels"),
        (["a"], [1], "r holds times of type <U1; expected numbers"),
    ],
)
def test_events_out_of_range_are_refused(times: list, units: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_events(np.array(times), np.array(units), "r")


def test_bad_recordings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    with pytest.raises(DataError, match="must be sorted"):
        write_recordings(path, make([5, 3]))
    write_recordings(path, make([1], labels=[2]))
    with pytest.raises(DataError, match=r"r\.npz: label 2 is out of range; valid are 0 to 1"):
        read_recordings(path)
    write_recordings(path, make())
    with pytest.raises(DataError, match="holds no recordings"):
        read_recordings(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"r\.npz: not a recordings file"):
        read_recordings(path)
    np.savez(path, counts=np.zeros(1))
    with pytest.raises(DataError, match=r"not a recordings file .*expected the arrays counts, planes"):
        read_recordings(path)


@pytest.mark.parametrize("about", [b"{", b"[]", b'{"bin_ms": 1}', b'{"bin_ms": "1", "classes": ["a"]}', b"\xff"])
def test_recordings_whose_description_is_damaged_are_refused_by_name(tmp_path: Path, about: bytes) -> None:
    path = tmp_path / "r.npz"
    write_recordings(path, make([1]))
    with np.load(path) as archive:
        held = {name: archive[name] for name in archive.files}
    np.savez(path, **{**held, "about": np.frombuffer(about, dtype=np.uint8)})
    with pytest.raises(DataError, match=r"r\.npz: not a recordings file"):
        read_recordings(path)
