"""The task `neuronio`: predict the spikes and the soma voltage of a detailed neuron from its synaptic input."""

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from tasks.base import TaskSpec
from tasks.batch import Batch, Split
from tasks.data.cache import build_once, data_directory, explained
from tasks.data.leaks import Hashes, Leak, sequence_hashes, sequence_leaks, warn_of_leaks
from tasks.errors import DataError, TaskError
from tasks.losses import MV_PER_UNIT
from tasks.neuron.data_sets import NEURONIO
from tasks.neuron.manifest import MANIFEST
from tasks.neuron.neuron_sim import draw_inputs, simulate, write_simulations
from tasks.neuron.neuronio_files import Converted, Simulations, convert, open_converted
from tasks.options import OptionValue

# Constants of the published preprocessing; voltages in mV.
CLIP_MV, BIAS_MV = -55.0, -67.7
IGNORED_MS = 500
"""Start of every simulation that is neither trained on nor evaluated."""
_MINI_SEED, _MINI_FILES = 1, {"train": 4, "valid": 1, "test": 1}
_MINI_SIMULATIONS_PER_FILE = 16


class NeuronioTask:
    """Windows of simulations. x: float32 [B, T, channels], 1 excitatory and -1 inhibitory; y: float32 [B, T, 2].

    y holds the output spike (0 or 1) and the voltage, clipped at CLIP_MV, less BIAS_MV, in units of MV_PER_UNIT. The
    first `burn_in` ms of a window have weight 0, since the state starts at zero.
    """

    def __init__(
        self, spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
    ) -> None:
        data = str(options["data"])
        if data == "real":
            raise DataError(f"{where}.data: NeuronIO cannot be fetched by a program; {NEURONIO.steps}")
        folder = _mini_folder(data_directory(cache_dir)) if data == "embedded" else Path(data)
        self._data: Converted = open_converted(folder, where)
        if self._data.channels != spec.n_in:
            raise DataError(f"{where}.data: {folder} has {self._data.channels} input channels, expected {spec.n_in}")
        self.spec, self.data_name, self.data_sha256 = spec, spec.data_name, self._data.sha256
        self._burn_in = int(options["burn_in"])
        name = f"{self._data.sha256[:24]}-simulations"
        warn_of_leaks(spec.data_name, name, data_directory(cache_dir), lambda: _leaks(self._data))

    def train_batch(self, step: int, *, seed: int, batch_size: int, length: int) -> Batch:
        """Return windows that start at random times of random simulations."""
        self._check(length)
        simulations = self._data.splits["train"]
        # A function of seed and step alone, so that a resumed trial needs no state of an iterator.
        random = np.random.default_rng([seed, step])
        numbers = random.integers(len(simulations.voltage), size=batch_size)
        starts = random.integers(IGNORED_MS, self._data.duration - length + 1, size=batch_size)
        weight = np.ones((batch_size, length), dtype=np.float32)
        weight[:, : self._burn_in] = 0
        return self._batch(simulations, numbers, starts, weight)

    def eval_batches(self, split: Split, *, batch_size: int, length: int, max_batches: int | None) -> Iterator[Batch]:
        """Yield overlapping windows, so that every ms from IGNORED_MS on has weight 1 exactly once."""
        self._check(length)
        simulations = self._data.splits[split]
        # each window begins with a burn-in that the window before it has evaluated
        first = IGNORED_MS - self._burn_in
        starts = np.arange(first, self._data.duration - self._burn_in, length - self._burn_in)
        # Simulation by simulation, so that the windows of one lie next to each other on disk.
        windows = np.stack(np.meshgrid(np.arange(len(simulations.voltage)), starts, indexing="ij"), -1).reshape(-1, 2)
        time = np.arange(length)
        for begin in range(0, len(windows), batch_size)[:max_batches]:
            members = windows[begin : begin + batch_size]
            weight = np.zeros((batch_size, length), dtype=np.float32)
            inside = (time >= self._burn_in) & (members[:, 1:] + time < self._data.duration)
            weight[: len(members)] = inside
            # the last batch is filled up with copies of weight 0, so that every batch has one shape
            padded = np.pad(members, ((0, batch_size - len(members)), (0, 0)), mode="edge")
            yield self._batch(simulations, padded[:, 0], padded[:, 1], weight)

    def _check(self, length: int) -> None:
        most = self._data.duration - IGNORED_MS
        if not self._burn_in < length <= most:
            raise TaskError(
                f"neuronio: length {length} is not possible; give more than burn_in ({self._burn_in}) and "
                f"at most {most}"
            )

    def _batch(
        self,
        simulations: Simulations,
        numbers: npt.NDArray[np.int64],
        starts: npt.NDArray[np.int64],
        weight: npt.NDArray[np.float32],
    ) -> Batch:
        size, length = weight.shape
        # Flat, so that a window's events are its indices.
        x = np.zeros((size, length * self._data.channels), dtype=np.float32)
        inhibitory = self._data.channels // 2
        y = np.zeros((size, length, 2), dtype=np.float32)
        y[..., 1] = BIAS_MV
        # A window may reach beyond its simulation when the last one of an evaluation does: those steps have weight 0.
        for row, (number, start) in enumerate(zip(numbers.tolist(), starts.tolist(), strict=True)):
            cells = self._window(simulations, number, start, length)
            x[row, cells] = np.where(cells % self._data.channels < inhibitory, 1, -1)
            end = min(start + length, self._data.duration)
            y[row, : end - start, 0] = simulations.spikes[number, start:end]
            # Spikes stand far above the rest of the voltage and are the other output's task, so they are clipped.
            y[row, : end - start, 1] = np.minimum(simulations.voltage[number, start:end], CLIP_MV)
        x = x.reshape(size, length, self._data.channels)
        # shifted and scaled so that a network's outputs begin near the targets
        y[..., 1] = (y[..., 1] - BIAS_MV) / MV_PER_UNIT
        return Batch(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(weight), True)

    def _window(self, simulations: Simulations, number: int, start: int, length: int) -> npt.NDArray[np.int64]:
        """Return (ms - start) * channels + channel of the input spikes of a window."""
        cells = simulations.cells[simulations.offsets[number] : simulations.offsets[number + 1]]
        # Events and no dense array, which would take 4 GB for one published file of 128 simulations. They are sorted by
        # time, so that a window is a run of them.
        low, high = np.searchsorted(cells, np.array([start, start + length]) * self._data.channels)
        return cells[low:high].astype(np.int64) - start * self._data.channels


def _leaks(data: Converted) -> list[Leak]:
    """Compare the input spikes of whole simulations: equal input means an equal simulation."""
    hashes: dict[str, Hashes] = {
        split: sequence_hashes(
            simulations.cells[start:end] for start, end in itertools.pairwise(simulations.offsets.tolist())
        )
        for split, simulations in data.splits.items()
    }
    return sequence_leaks(hashes, "simulations")


def _mini_folder(directory: Path) -> Path:
    """Simulate neuronio-mini on first use: pickles in the original layout, then the conversion of NeuronIO."""
    folder = directory / "neuronio" / "neuronio-mini-v1"
    build_once(folder / MANIFEST, lambda: _simulate_into(folder))
    return folder


def _simulate_into(folder: Path) -> None:
    with explained(folder):
        # On the same disk as the result: pickles of whole simulations may not fit into a small /tmp.
        scratch = tempfile.TemporaryDirectory(dir=folder)
    with scratch as name:
        sources: dict[Split, list[Path]] = {"train": [], "valid": [], "test": []}
        random = np.random.default_rng(_MINI_SEED)
        for split, files in sources.items():
            for number in range(_MINI_FILES[split]):
                path = Path(name) / f"{split}_sim__{number}.p"
                write_simulations(path, simulate(*draw_inputs(random, _MINI_SIMULATIONS_PER_FILE)))
                files.append(path)
        convert(sources, folder)
