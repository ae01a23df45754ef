import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tasks.batch import Split
from tasks.errors import DataError, TaskError
from tasks.loaders import load_task
from tasks.neuron import neuron_sim, neuronio_files
from tasks.neuron.neuron_sim import Simulation, draw_inputs, simulate, write_simulations
from tasks.neuron.neuronio_files import open_converted, output_bits

SEGMENTS, SECONDS, PER_FILE = 639, 2, 3


def everywhere(paths: list[Path]) -> dict[Split, list[Path]]:
    return {"train": paths, "valid": paths, "test": paths}


def apart(folder: Path) -> dict[Split, list[Path]]:
    return {split: [folder / f"x_sim__{number}.p"] for number, split in enumerate(("train", "valid", "test"))}


def made_up(random: np.random.Generator) -> dict[str, Any]:
    """One simulation as NeuronIO stores it: only segments with spikes are listed."""
    times = {int(s): sorted(random.integers(2000, size=4).tolist()) for s in random.permutation(SEGMENTS)[:300]}
    others = {int(s): sorted(random.integers(2000, size=3).tolist()) for s in random.permutation(SEGMENTS)[:300]}
    return {
        "exInputSpikeTimes": times,
        "inhInputSpikeTimes": others,
        "outputSpikeTimes": np.sort(random.uniform(520, 1999, 4)).astype(np.float16),
        "somaVoltageLowRes": random.uniform(-80, -40, 2000).astype(np.float16),
        "recordingTimeHighRes": np.zeros(3, dtype=np.float32),
    }


def write_pickle(path: Path, seed: int, **changes: Any) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    simulations = [made_up(random) | changes for _ in range(PER_FILE)]
    params = {"allSegmentsType": ["basal"] * SEGMENTS, "totalSimDurationInSec": SECONDS}
    content = pickle.dumps({"Params": params, "Results": {"listOfSingleSimulationDicts": simulations}}, protocol=2)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.replace(b"numpy._core", b"numpy.core"))
    return simulations


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """A converted folder and the simulations that went into it."""
    root = tmp_path_factory.mktemp("neuronio")
    held = {
        "train": write_pickle(root / "a" / "x_sim__0.p", 0) + write_pickle(root / "b" / "x_sim__1.p", 1),
        "valid": write_pickle(root / "c" / "x_sim__2.p", 2),
        "test": write_pickle(root / "d" / "x_sim__3.p", 3),
    }
    (root / "a" / "notes.txt").write_text("not a simulation")
    folders = ["--train", root / "a", "--train", root / "b", "--valid", root / "c", "--test", root / "d"]
    done = CliRunner().invoke(neuronio_files.main, [str(root / "out"), *map(str, folders)], catch_exceptions=False)
    assert done.output.splitlines()[0].startswith("train: 6 simulations")
    return root / "out", held


def reference_window(simulation: dict[str, Any], start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Input and target as the published loader makes them."""
    dense = np.zeros((2 * SEGMENTS, 2000))
    for key, first in (("exInputSpikeTimes", 0), ("inhInputSpikeTimes", SEGMENTS)):
        for segment, times in simulation[key].items():
            for time in times:
                dense[first + segment, time] = 1
    dense[SEGMENTS:] *= -1
    target = np.zeros((2000, 2))
    target[(simulation["outputSpikeTimes"].astype(float) - 0.5).astype(int), 0] = 1
    voltage = simulation["somaVoltageLowRes"].astype(float)
    target[:, 1] = (np.minimum(voltage, -55.0) + 67.7) / 10
    return dense.T[start : start + length], target[start : start + length]


def test_windows_equal_the_reference(original: tuple[Path, dict[str, list[dict[str, Any]]]]) -> None:
    folder, held = original
    task = load_task("neuronio", {"data": str(folder), "burn_in": 50})
    batches = list(task.eval_batches("test", batch_size=4, length=200, max_batches=None))
    starts = list(range(450, 1950, 150))
    windows = [(number, start) for number in range(PER_FILE) for start in starts]
    assert len(batches) == -(-len(windows) // 4)
    for index, (number, start) in enumerate(windows):
        batch, row = batches[index // 4], index % 4
        x, y = reference_window(held["test"][number], start, 200)
        assert batch.x.dtype == torch.float32
        assert np.array_equal(batch.x[row, : len(x)].numpy(), x)
        assert batch.y[row, : len(y)].numpy() == pytest.approx(y, abs=1e-6)
        assert not batch.x[row, len(x) :].any()


def test_every_ms_is_evaluated_once(original: tuple[Path, dict[str, list[dict[str, Any]]]]) -> None:
    task = load_task("neuronio", {"data": str(original[0]), "burn_in": 50})
    for length, batch_size in ((200, 4), (130, 7), (1500, 1)):
        batches = list(task.eval_batches("test", batch_size=batch_size, length=length, max_batches=None))
        weights = [batch.weight for batch in batches if batch.weight is not None]
        assert sum(float(weight.sum()) for weight in weights) == PER_FILE * 1500
        wanted = torch.cat([batch.y[weight > 0] for batch, weight in zip(batches, weights, strict=True)])
        assert wanted[:, 0].sum() == sum(
            output_bits(simulation, duration=2000, where="")[500:].sum() for simulation in original[1]["test"]
        )
        assert all(batch.starts_fresh for batch in batches)


def test_training_windows_avoid_the_start_and_weigh_no_burn_in(
    original: tuple[Path, dict[str, list[dict[str, Any]]]],
) -> None:
    task = load_task("neuronio", {"data": str(original[0])})
    batch = task.train_batch(3, seed=1, batch_size=16, length=400)
    assert batch.weight is not None
    assert not batch.weight[:, :150].any()
    assert batch.weight[:, 150:].all()
    again = load_task("neuronio", {"data": str(original[0])}).train_batch(3, seed=1, batch_size=16, length=400)
    assert torch.equal(batch.x, again.x)
    assert torch.equal(batch.y, again.y)
    assert not torch.equal(batch.x, task.train_batch(4, seed=1, batch_size=16, length=400).x)
    voltages = np.concatenate([s["somaVoltageLowRes"][None].astype(float) for s in original[1]["train"]])
    targets = (np.minimum(voltages, -55.0) + 67.7) / 10
    for row in range(4):
        y = batch.y[row, :, 1].numpy()
        matches = [
            start for trace in targets for start in range(1601) if np.allclose(trace[start : start + 400], y, atol=1e-6)
        ]
        assert len(matches) == 1
        assert matches[0] >= 500


def test_lengths_that_leave_nothing_to_train_on_are_refused(
    original: tuple[Path, dict[str, list[dict[str, Any]]]],
) -> None:
    task = load_task("neuronio", {"data": str(original[0])})
    for length in (150, 1501):
        with pytest.raises(TaskError, match=rf"^neuronio: length {length} is not possible; give more than burn_in"):
            task.train_batch(0, seed=0, batch_size=1, length=length)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exInputSpikeTimes": {639: [1]}}, "exInputSpikeTimes names segment 639; valid are 0 to 638"),
        ({"inhInputSpikeTimes": {0: [2000]}}, "an input spike of inhInputSpikeTimes at 2000 ms; valid are 0 to 1999"),
        ({"outputSpikeTimes": np.array([2002.0])}, "an output spike at 2002 ms; valid are 0 to 1999"),
        ({"exInputSpikeTimes": {0: [5.0, float("nan")]}}, "an input spike of exInputSpikeTimes at nan ms; valid are 0"),
        ({"exInputSpikeTimes": {0: [-1]}}, "an input spike of exInputSpikeTimes at -1 ms; valid are 0"),
        ({"outputSpikeTimes": np.array([np.inf])}, "an output spike at inf ms; valid are 0 to 1999"),
        ({"exInputSpikeTimes": [[0, 1]]}, "exInputSpikeTimes is a list; expected a dictionary by segment"),
        ({"exInputSpikeTimes": {0: "soon"}}, "an input spike of exInputSpikeTimes: times are str; expected a list"),
        ({"exInputSpikeTimes": {"a": [1]}}, "exInputSpikeTimes names segment a; valid are 0 to 638"),
        ({"somaVoltageLowRes": np.zeros(7)}, r"somaVoltageLowRes has shape \(7,\) or is not finite"),
        ({"somaVoltageLowRes": np.full(2000, np.nan)}, "somaVoltageLowRes has shape .* or is not finite"),
        ({"extra": Bomb()}, r"refused: the pickle asks for posix\.mkdir"),
    ],
)
def test_unexpected_pickles_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_pickle(tmp_path / "x_sim__0.p", 0, **changes)
    sources = everywhere([tmp_path / "x_sim__0.p"])
    with pytest.raises(DataError, match=rf"x_sim__0\.p.*: {message}"):
        neuronio_files.convert(sources, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not Path("exploded").exists()


def test_other_pickles_and_empty_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x_sim__0.p").write_bytes(pickle.dumps({"Params": {}}))
    sources = everywhere([tmp_path / "x_sim__0.p"])
    with pytest.raises(DataError, match=r"not a NeuronIO simulation file \(no 'allSegmentsType'\)"):
        neuronio_files.convert(sources, tmp_path / "out")
    with pytest.raises(DataError, match=r"no files named \*sim__\* for the train split"):
        neuronio_files.convert(everywhere([]), tmp_path / "out")


def test_a_file_in_two_splits_is_refused(tmp_path: Path) -> None:
    """A network tested on what it was trained on reaches anything."""
    write_pickle(tmp_path / "x_sim__0.p", 0)
    sources = everywhere([tmp_path / "x_sim__0.p"])
    with pytest.raises(DataError, match=r"x_sim__0\.p \(valid\) holds the same bytes as .*x_sim__0\.p \(train\)"):
        neuronio_files.convert(sources, tmp_path / "out")


def test_simulations_without_any_input_spike_are_refused(tmp_path: Path) -> None:
    for number in range(3):
        write_pickle(tmp_path / f"x_sim__{number}.p", number, exInputSpikeTimes={}, inhInputSpikeTimes={})
    with pytest.raises(DataError, match="no simulation of the train split has an input spike"):
        neuronio_files.convert(apart(tmp_path), tmp_path / "out")


def test_a_simulation_that_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    params = {"allSegmentsType": ["basal"] * SEGMENTS, "totalSimDurationInSec": SECONDS}
    held = {"Params": params, "Results": {"listOfSingleSimulationDicts": [["exInputSpikeTimes"]]}}
    (tmp_path / "x_sim__0.p").write_bytes(pickle.dumps(held, protocol=2))
    with pytest.raises(DataError, match="a simulation is no dictionary"):
        neuronio_files.convert(everywhere([tmp_path / "x_sim__0.p"]), tmp_path / "out")


def test_folders_that_are_missing_damaged_or_real_are_refused(
    original: tuple[Path, dict[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^task\.data: .*nowhere is no converted NeuronIO folder"):
        load_task("neuronio", {"data": str(tmp_path / "nowhere")})
    with pytest.raises(DataError, match=r"^task\.data: NeuronIO cannot be fetched by a program; download"):
        load_task("neuronio", {"data": "real"})
    for path in original[0].rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(original[0])
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes()[:-1] if path.name == "cells.i32" else path.read_bytes())
    with pytest.raises(DataError, match=r"cells\.i32: missing or damaged; convert again"):
        open_converted(tmp_path, "task")


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
