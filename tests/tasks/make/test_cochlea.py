import numpy as np
import pytest
import scipy.integrate
from scipy import special

from tasks.make import cochlea
from tasks.make.cochlea import NEURON_RATE, RMS_LEVEL, SAMPLE_RATE, membrane_velocity, spikes


def velocity_by_quadrature(frequency: float, position: float) -> complex:
    """The membrane of Sieroka et al. 2006 with its path integral done numerically."""
    omega, alpha, height = 2 * np.pi * frequency, 3.0, 0.1

    def impedance(x: float) -> complex:
        damping = 0.15 * np.sqrt(1e9 * 0.05) * np.exp(-alpha * x / 2)
        return 1e9 * np.exp(-alpha * x) - 3500 - 0.05 * omega**2 - 1j * omega * damping

    def wave(x: float) -> complex:
        return complex(omega * np.sqrt(1 / (height * impedance(x))))

    def pressure(x: float) -> complex:
        path = scipy.integrate.quad(wave, 0, x, limit=500, complex_func=True)[0]
        phase = 2 / alpha * wave(0) + path
        return complex(np.sqrt(phase / wave(x)) * special.hankel1(0, phase))

    y = 2 * omega / alpha * np.sqrt(2 / (height * 1e9))
    entry = np.sqrt(2e9 / height) * (1j * special.j0(y) + special.y0(y)) / (special.j1(y) - 1j * special.y1(y))
    return complex(2 * omega / impedance(position) * pressure(position) / pressure(0.0) * entry)


@pytest.mark.parametrize("position", [0.0, 0.7, 1.9, 3.5])
def test_the_closed_form_equals_the_integral(position: float) -> None:
    frequency = np.array([80.0, 400.0, 1500.0, 6000.0])
    expected = [velocity_by_quadrature(f, position) for f in frequency]
    assert membrane_velocity(frequency, position) == pytest.approx(np.array(expected), rel=1e-6, abs=1e-12)


def test_the_hair_cell_rests_follows_and_adapts() -> None:
    rest = cochlea._hair_cell(np.zeros(2000))
    drive = 2000 * 5 / 305  # Meddis 1986: the pools in equilibrium at rest
    cleft = 5.05 * drive / (2500 * drive + 5.05 * (2500 + 6580))
    assert rest == pytest.approx(np.full(2000, cleft * 50_000 / NEURON_RATE), rel=1e-9)
    pushed = cochlea._hair_cell(np.concatenate([np.zeros(100), np.full(4000, 200.0)]))
    assert pushed[100:400].max() > 3 * pushed[-1] > 4 * rest[0]


def test_fibres_follow_the_law_of_bernoulli_trials_with_a_refractory_time() -> None:
    random = np.random.default_rng(0)
    steps, refractory = 30_000, NEURON_RATE // 1000
    probability = 0.03 * (1 + np.sin(np.arange(steps) / 300))
    counts = cochlea._fibre_spikes(probability, np.array([5], dtype=np.uint64))
    trials = random.random((steps, 40)) < probability[:, None]
    expected = np.zeros(steps)
    for fibre in range(40):
        last = -refractory
        for step in np.flatnonzero(trials[:, fibre]):
            if step - last >= refractory:
                expected[step] += 1
                last = step
    assert counts.sum() == pytest.approx(expected.sum(), rel=0.02)
    for part, other in zip(np.split(counts, 10), np.split(expected, 10), strict=True):
        assert part.sum() == pytest.approx(other.sum(), abs=5 * np.sqrt(other.sum()))


def tone(frequency: float) -> np.ndarray:
    return RMS_LEVEL * np.sqrt(2) * np.sin(2 * np.pi * frequency * np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE)


@pytest.fixture(autouse=True)
def _short_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cochlea, "_SHORTEST_FFT", 0.1)


def test_low_tones_excite_high_channels() -> None:
    places = [np.median(spikes(tone(frequency), seed=1, channels=60)[1]) for frequency in (300.0, 1000.0, 3000.0)]
    assert places[0] > places[1] + 5 > places[2] + 10


def test_spikes_are_ordered_refractory_and_a_function_of_the_seed() -> None:
    times, units = spikes(tone(500.0), seed=1, channels=30)
    assert (np.diff(times) >= 0).all()
    assert 0 <= times.min() <= times.max() < 0.1
    for unit in np.unique(units):
        assert (np.diff(times[units == unit]) >= 0.001 - 1e-9).all()
    again, other = spikes(tone(500.0), seed=1, channels=30), spikes(tone(500.0), seed=2, channels=30)
    assert np.array_equal(times, again[0])
    assert np.array_equal(units, again[1])
    assert len(other[0]) != len(times) or not np.array_equal(other[0], times)
