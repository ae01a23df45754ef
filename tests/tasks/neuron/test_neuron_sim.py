"""The simulated neuron behind neuronio-mini."""

from pathlib import Path

import numpy as np
import pytest

from tasks.loaders import load_task
from tasks.neuron import neuron_sim, neuronio_files
from tasks.neuron.neuron_sim import Simulation, draw_inputs, simulate, write_simulations
from tasks.neuron.neuronio_files import open_converted
from tests.tasks.neuron.pickled import SEGMENTS, apart


def test_the_simulated_neuron_sums_inhibits_and_fires() -> None:
    quiet = np.zeros((4, neuron_sim.DURATION_MS, SEGMENTS), dtype=bool)
    excitatory, inhibitory = quiet.copy(), quiet.copy()
    excitatory[1:, 1000, :16] = True  # all synapses of one branch
    excitatory[2:, 1000:1020:4, ::4] = True  # and a volley everywhere
    inhibitory[3, 995:1200:5, :] = True
    found = simulate(excitatory, inhibitory)
    rest, one, volley, inhibited = found.voltage
    assert np.ptp(rest) < 0.01
    assert rest.mean() < -70
    assert rest[1500] + 0.1 < one[1001:1100].max() < -60
    assert [len(times) for times in found.output[:2]] == [0, 0]
    assert len(found.output[2]) >= 1
    assert len(found.output[3]) == 0
    assert 1000 < found.output[2][0] < 1100
    assert inhibited.max() < volley.max()


def test_nmda_makes_clustered_input_last() -> None:
    quiet = np.zeros((2, neuron_sim.DURATION_MS, SEGMENTS), dtype=bool)
    spread = quiet.copy()
    spread[0, 1000, :12] = True  # one branch
    spread[1, 1000, np.arange(12) * 16] = True  # twelve branches
    clustered, scattered = simulate(spread, quiet).voltage - simulate(quiet, quiet).voltage
    decay = [trace[1040] / trace[1000:1100].max() for trace in (clustered, scattered)]
    assert decay[0] > decay[1] > 0


def test_simulations_survive_the_original_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuron_sim, "DURATION_MS", 1000)
    simulation = simulate(*draw_inputs(np.random.default_rng(0), 2))
    simulation = Simulation(*simulation[:2], [np.array([3.5, 700.0]), np.array([])], simulation.voltage)
    write_simulations(tmp_path / "x_sim__0.p", simulation)
    for number in (1, 2):  # the other splits hold something else
        draw = draw_inputs(np.random.default_rng(number), 1)
        write_simulations(tmp_path / f"x_sim__{number}.p", simulate(*draw))
    neuronio_files.convert(apart(tmp_path), tmp_path / "out")
    split = open_converted(tmp_path / "out", "task").splits["train"]
    for number in range(2):
        cells = split.cells[split.offsets[number] : split.offsets[number + 1]]
        dense = np.zeros((1000, 2 * SEGMENTS), dtype=bool)
        dense.ravel()[cells] = True
        assert np.array_equal(dense[:, :SEGMENTS], simulation.excitatory[number])
        assert np.array_equal(dense[:, SEGMENTS:], simulation.inhibitory[number])
    assert np.flatnonzero(split.spikes[0]).tolist() == [3, 699]
    assert split.spikes[1].sum() == 0
    assert split.voltage == pytest.approx(simulation.voltage, abs=0.04)


def test_neuronio_mini_fires_about_once_per_second_around_the_published_bias() -> None:
    task = load_task("neuronio", {})
    assert task.data_name == "neuronio-mini"
    spikes, voltage, count = 0.0, 0.0, 0.0
    for batch in task.eval_batches("test", batch_size=16, length=500, max_batches=None):
        assert batch.weight is not None
        spikes += float((batch.y[..., 0] * batch.weight).sum())
        voltage += float((batch.y[..., 1] * batch.weight).sum())
        count += float(batch.weight.sum())
    assert count == 16 * 5500
    assert 0.3 < spikes / count * 1000 < 2.0
    assert -0.3 < voltage / count < 0.3
