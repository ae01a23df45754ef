import numpy as np
import pytest

from tasks.batch import SPLITS
from tasks.errors import DataError, TaskError
from tasks.loaders import load_task
from tasks.spec import task_spec
from tasks.spikes import generated
from tasks.spikes.events import CHANNELS
from tasks.spikes.generated import GeneratedDigits, check_generated, excitation, recording
from tasks.spikes.sounds import SOUNDS, WORDS, erb_number

OPTIONS = {"data": "generated", "bin_ms": 10}
PLACE = generated._PLACE


def neutral() -> np.ndarray:
    """Random numbers of a voice like Klatt's: usual pace, no slur, level 1.25, start at 85 ms."""
    shares = np.full(generated._DRAWN, 0.5)
    shares[1] = 0.16 / 0.36
    shares[2] = 0.3 / 0.7
    return shares


def test_this_machine_draws_what_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    check_generated()
    monkeypatch.setattr(generated, "_SPIKES_PER_MS", 0.0801)
    with pytest.raises(DataError, match=r"digits-gen: this machine draws other recordings \(SHA-256 .*, expected 7f79"):
        check_generated()


def test_every_number_and_split_has_a_recording_of_its_own() -> None:
    drawn = {(split, number): recording(split, number, 10).tobytes() for split in SPLITS for number in range(4)}
    assert len(set(drawn.values())) == len(drawn)
    assert drawn["valid", 3] == recording("valid", 3, 10).tobytes()


@pytest.mark.parametrize(("bin_ms", "bins"), [(1, 1000), (3, 334), (5, 200), (10, 100)])
def test_the_width_of_a_bin_changes_no_rates(bin_ms: int, bins: int) -> None:
    spikes = recording("test", 5, bin_ms)
    assert spikes.shape == (bins, CHANNELS)
    assert spikes.dtype == np.uint8
    assert set(np.unique(spikes)) == {0, 1}
    assert spikes.sum() == pytest.approx(recording("test", 5, 10).sum(), rel=0.1)


def test_a_vowel_excites_the_places_of_its_formants() -> None:
    three = WORDS.index((SOUNDS["th"], SOUNDS["r"], SOUNDS["iy"]))
    # the vowel's middle: 85 ms of silence, 100 of [th], 70 of [r], half of 140
    excited = excitation(three, neutral(), np.array([20.0, 325.0, 900.0]))
    assert excited[0].max() == 0
    assert excited[2].max() == 0
    peaks = [i for i in range(1, 99) if excited[1, i - 1] < excited[1, i] > excited[1, i + 1]]
    wanted = [erb_number(hertz) for hertz in (2960, 2020, 310)]
    # the fourth formant, 3300 Hz, lies so near to the third, which is stronger, that the two are one peak
    assert sorted(PLACE[peaks]) == pytest.approx(sorted(wanted), abs=0.5)
    assert excited[1].max() == pytest.approx(1.25 * SOUNDS["iy"].voicing, rel=0.1)


def test_a_hiss_excites_the_base_and_no_formants() -> None:
    six = WORDS.index((SOUNDS["s"], SOUNDS["ih"], SOUNDS["-"], SOUNDS["k"], SOUNDS["s"]))
    excited = excitation(six, neutral(), np.array([145.0]))[0]
    assert PLACE[excited.argmax()] == pytest.approx(28.0, abs=0.2)
    assert excited[PLACE < 15].max() < 0.05


def test_a_higher_voice_moves_formants_as_their_frequencies_rise() -> None:
    shares = neutral()
    shares[1] = 1.0
    values = generated._shift(np.array([310.0, 2020.0]))
    for hertz, shift in zip((310, 2020), values, strict=True):
        # the first-order shift against the exact place of a frequency that is 5 % higher
        assert 0.05 * shift == pytest.approx(erb_number(hertz * np.exp(0.05)) - erb_number(hertz), rel=0.03)
    three = WORDS.index((SOUNDS["th"], SOUNDS["r"], SOUNDS["iy"]))
    moved = excitation(three, shares, np.array([325.0]))[0]
    usual = excitation(three, neutral(), np.array([325.0]))[0]
    low = PLACE < 12
    assert PLACE[low][moved[low].argmax()] > PLACE[low][usual[low].argmax()] + 0.5


def test_the_place_scale_is_that_of_glasberg_and_moore() -> None:
    assert erb_number(1000) == pytest.approx(15.62, abs=0.01)
    assert erb_number(0) == 0


def test_an_example_of_two_words_is_two_recordings_and_the_sum_of_their_digits() -> None:
    single, pairs = GeneratedDigits("valid", 10, 1), GeneratedDigits("valid", 10, 2)
    numbers = np.arange(6)
    words = single.inputs(np.arange(12)).numpy()
    assert (pairs.inputs(numbers).numpy().reshape(12, 100, CHANNELS) == words).all()
    labels = single.targets(np.arange(12))
    assert labels.max() > 9
    assert (pairs.targets(numbers) == (labels % 10).reshape(6, 2).sum(axis=1)).all()


def test_spikes_tell_the_words_apart() -> None:
    """A linear read-out of counts in 50 ms and 35 channels, trained on 600, is far above 1 in 20 on others."""
    features, labels = {}, {}
    for split, count in (("train", 600), ("test", 200)):
        digits = GeneratedDigits(split, 10, 1)
        counts = digits.inputs(np.arange(count)).numpy().reshape(count, 20, 5, 20, 35).sum(axis=(2, 4))
        features[split] = np.c_[np.sqrt(counts.reshape(count, -1)), np.ones(count)]
        labels[split] = digits.targets(np.arange(count))
    x = features["train"]
    weights = np.linalg.solve(x.T @ x + 30 * np.eye(x.shape[1]), x.T @ np.eye(20)[labels["train"]])
    assert ((features["test"] @ weights).argmax(axis=1) == labels["test"]).mean() > 0.3


@pytest.mark.parametrize(("name", "length", "classes"), [("shd", 100, 20), ("shd_adding", 200, 19)])
def test_training_draws_new_examples_at_every_step_for_every_seed(name: str, length: int, classes: int) -> None:
    task = load_task(name, OPTIONS)
    assert task.data_name == "digits-gen"
    assert task.data_sha256 == generated.GENERATED_SHA256
    assert task.spec.train_size is None
    seen = set()
    for step, seed in ((0, 0), (1, 0), (0, 1)):
        batch = task.train_batch(step, seed=seed, batch_size=3, length=length)
        assert batch.x.shape == (3, length, CHANNELS)
        assert int(batch.y.max()) < classes
        seen |= {row.numpy().tobytes() for row in batch.x}
    assert len(seen) == 9
    again = task.train_batch(1, seed=0, batch_size=3, length=length)
    assert all(row.numpy().tobytes() in seen for row in again.x)


def test_training_is_not_confined_to_the_recordings_that_evaluation_reads() -> None:
    task = load_task("shd", OPTIONS)
    evaluated = {recording("train", number, 10).tobytes() for number in range(2000)}
    drawn = task.train_batch(0, seed=0, batch_size=8, length=100).x
    assert all(row.numpy().tobytes() not in evaluated for row in drawn)


def test_evaluation_reads_the_same_recordings_each_time_and_has_the_stated_baseline() -> None:
    task = load_task("shd", OPTIONS)
    first, second = (next(iter(task.eval_batches("test", batch_size=2, length=100, max_batches=1))) for _ in range(2))
    assert (first.x == second.x).all()
    assert (first.x[0].numpy() == recording("test", 0, 10)).all()
    assert sum(1 for _ in task.eval_batches("valid", batch_size=500, length=100, max_batches=None)) == 4
    assert task.spec.baseline == task.majority("test")


def test_options_that_would_have_no_effect_are_refused() -> None:
    with pytest.raises(TaskError, match=r"^task\.bin_ms: 20 does not go with data: generated, .*; give 1 to 10$"):
        task_spec("shd", {"data": "generated", "bin_ms": 20})
    with pytest.raises(TaskError, match=r"^task\.validation: 'random' does not go with data: generated"):
        task_spec("shd_adding", {"data": "generated", "validation": "random"})
