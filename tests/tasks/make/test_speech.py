import functools
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
from click.testing import CliRunner

from tasks.loaders import load_task
from tasks.make import cochlea, speech
from tasks.spikes.events import read_recordings


@pytest.fixture(autouse=True)
def _few_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cochlea, "_SHORTEST_FFT", 0.1)
    monkeypatch.setattr(speech, "spikes", functools.partial(cochlea.spikes, channels=12))


def write_digits(folder: Path, names: list[str]) -> None:
    folder.mkdir()
    for number, name in enumerate(names):
        rate = (8000, 16000, 22050)[number % 3]
        sound = np.sin(2 * np.pi * (300 + 100 * number) * np.arange(rate // 5) / rate) * 20_000
        scipy.io.wavfile.write(folder / name, rate, sound.astype(np.int16))


def convert(*arguments: object) -> str:
    result = CliRunner().invoke(speech.main, ["convert", *map(str, arguments)])
    return result.output


def test_ones_own_recordings_become_a_task(tmp_path: Path) -> None:
    write_digits(tmp_path / "fsdd", [f"{d}_{s}_0.wav" for d in (3, 7) for s in ("ann", "bob", "cyd")])
    assert "6 recordings" in convert(tmp_path / "fsdd", tmp_path / "mine.npz")
    recordings = read_recordings(tmp_path / "mine.npz")
    assert recordings.about["speakers"] == ["ann", "bob", "cyd"]
    assert recordings.label.tolist() == [3, 3, 3, 7, 7, 7]
    assert recordings.split.tolist() == [0, 1, 2, 0, 1, 2]
    task = load_task("shd", {"data": str(tmp_path / "mine.npz"), "bin_ms": 10})
    assert task.data_name == "mine.npz"
    batch = next(task.eval_batches("test", batch_size=2, length=100, max_batches=None))
    assert batch.y.tolist() == [3, 7]
    assert batch.x[:, :25].sum() > 20
    assert batch.x[:, 25:].sum() == 0


def test_held_out_speakers_and_languages(tmp_path: Path) -> None:
    names = [
        f"lang-{g}_speaker-0{s}_trial-1_digit-{d}.wav" for g, d in (("german", 2), ("english", 4)) for s in range(3)
    ]
    write_digits(tmp_path / "hd", names)
    convert(tmp_path / "hd", tmp_path / "hd.npz", "--test", "00", "--valid", "01")
    recordings = read_recordings(tmp_path / "hd.npz")
    assert sorted(zip(recordings.label.tolist(), recordings.split.tolist(), strict=True)) == [
        (4, 0), (4, 1), (4, 2), (12, 0), (12, 1), (12, 2),
    ]  # fmt: skip
    assert "no speaker '09'; choose among 00, 01, 02" in convert(tmp_path / "hd", tmp_path / "x.npz", "--test", "09")


def test_folders_that_cannot_be_understood(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no wav or flac files" in convert(tmp_path / "empty", tmp_path / "x.npz")
    write_digits(tmp_path / "odd", ["hello.wav"])
    assert "the name tells no digit and speaker; give --pattern" in convert(tmp_path / "odd", tmp_path / "x.npz")
    write_digits(tmp_path / "one", ["1_ann_0.wav"])
    assert "only 1 speakers" in convert(tmp_path / "one", tmp_path / "x.npz")
