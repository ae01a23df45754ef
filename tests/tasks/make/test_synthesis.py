"""Spoken digits from synthesisers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile

from tasks.errors import DataError
from tasks.make import synthesis
from tasks.make.synthesis import utterances


def test_shd_mini_speaks_every_digit_with_unheard_voices_held_out() -> None:
    listed = utterances(np.random.default_rng(1))
    assert len(listed) == 960
    voices = {split: {u.speaker for u in listed if u.split == split} for split in ("train", "valid", "test")}
    assert {split: len(names) for split, names in voices.items()} == {"train": 18, "valid": 4, "test": 4}
    assert len(set.union(*voices.values())) == 26
    assert all(u.label < 10 for u in listed if u.speaker.startswith("flite"))
    counts = np.bincount([u.label for u in listed if u.split == "test"])
    assert counts.tolist() == [8] * 10 + [6] * 10


def test_a_missing_synthesiser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(DataError, match="espeak-ng: not installed; on Debian or Ubuntu run 'apt-get install"):
        synthesis.speak(("espeak-ng", "x"))


def test_a_failing_synthesiser_is_reported() -> None:
    with pytest.raises(DataError, match="failed with code 3: no voice"):
        synthesis.speak(("sh", "-c", "echo no voice >&2; exit 3"))


def test_waves_from_a_pipe_are_read_and_trimmed(tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(1000), np.full(2000, 9000), np.zeros(1000)]).astype(np.int16)
    scipy.io.wavfile.write(tmp_path / "s.wav", 24_000, sound)
    content = bytearray((tmp_path / "s.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\x7f"
    (tmp_path / "s.wav").write_bytes(content)
    spoken = synthesis.speak(("cat", str(tmp_path / "s.wav")))
    assert len(spoken) == pytest.approx(4000, abs=100)
    placed = synthesis.placed(spoken, np.random.default_rng(0))
    assert 0.05 * 48_000 < len(placed) - len(spoken) < 0.21 * 48_000
