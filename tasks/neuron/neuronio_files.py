"""From the pickles of NeuronIO to arrays that are memory-mapped: converted once, without running code from a pickle.

Convert the downloaded folders with `python -m tasks.neuron.neuronio_files --help`; the result is what `data:` of the
task `neuronio` names.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import click
import numpy as np
import numpy.typing as npt

from cluster.command_line import Command
from tasks.batch import SPLITS, Split
from tasks.data.cache import explained, sha256_of, write_atomically
from tasks.data.pickles import restricted_load
from tasks.errors import DataError
from tasks.neuron.manifest import MANIFEST, read_manifest

PATTERN = "*sim__*"
# Whatever else a simulation holds is ignored.
_KEYS = ("exInputSpikeTimes", "inhInputSpikeTimes", "outputSpikeTimes", "somaVoltageLowRes")


class Simulations(NamedTuple):
    """Simulations of one split, memory-mapped."""

    cells: npt.NDArray[np.int32]
    """ms * channels + channel of every input spike, sorted within a simulation, [events]."""
    offsets: npt.NDArray[np.int64]
    """Start of every simulation in `cells`, and the end, [n + 1]."""
    voltage: npt.NDArray[np.float16]
    """Soma voltage, mV, [n, duration]."""
    spikes: npt.NDArray[np.uint8]
    """1 in every ms with an output spike, [n, duration]."""


class Converted(NamedTuple):
    """A converted data set."""

    sha256: str
    """Hash of the hashes of the source files in the order of the manifest."""
    channels: int
    """Input channels: excitatory ones, then as many inhibitory ones."""
    duration: int
    """Length of a simulation, ms."""
    splits: dict[Split, Simulations]
    """The simulations."""


def parse_simulations(path: Path) -> tuple[int, int, list[Mapping[str, Any]]]:
    """Read one pickle.

    Returns:
        Number of segments, duration in ms and one dictionary per simulation.

    Raises:
        DataError: not the layout of NeuronIO, or a pickle that asks for code.
    """
    content = restricted_load(path.read_bytes(), str(path))
    try:
        # The file says how long and how wide it is; nothing is assumed, so that other neurons in this layout can be
        # read.
        segments = len(content["Params"]["allSegmentsType"])
        duration = int(content["Params"]["totalSimDurationInSec"] * 1000)
        simulations = list(content["Results"]["listOfSingleSimulationDicts"])
        missing = {key for simulation in simulations for key in _KEYS if key not in simulation}
    except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: not a NeuronIO simulation file (no {error})") from error
    if not all(isinstance(simulation, Mapping) for simulation in simulations):
        raise DataError(f"{path}: not a NeuronIO simulation file (a simulation is no dictionary)")
    if missing or not simulations:
        raise DataError(f"{path}: not a NeuronIO simulation file (lacks {', '.join(sorted(missing)) or 'simulations'})")
    return segments, duration, simulations


def input_cells(simulation: Mapping[str, Any], *, segments: int, duration: int, where: str) -> npt.NDArray[np.int32]:
    """Return the sorted ms * channels + channel of a simulation's input spikes; inhibitory channels come second.

    Raises:
        DataError: a segment or a time is out of range.
    """
    channels, times = [], []
    # Inhibitory synapses sit on the same segments and so get the channels behind all excitatory ones.
    for key, first in (("exInputSpikeTimes", 0), ("inhInputSpikeTimes", segments)):
        by_segment, told = simulation[key], f"{where}: an input spike of {key}"
        if not isinstance(by_segment, Mapping):
            raise DataError(f"{where}: {key} is a {type(by_segment).__name__}; expected a dictionary by segment")
        for segment in by_segment:
            if not isinstance(segment, int | np.integer) or not 0 <= segment < segments:
                raise DataError(f"{where}: {key} names segment {segment}; valid are 0 to {segments - 1}")
        # the empty array stands for a simulation without any spike, since nothing cannot be concatenated
        found = [np.zeros(0), *(_numbers(spike_times, where=told) for spike_times in by_segment.values())]
        times.append(_in_ms(np.concatenate(found), duration=duration, where=told))
        channels.append(np.repeat([0, *(first + segment for segment in by_segment)], [len(each) for each in found]))
    time, channel = np.concatenate(times), np.concatenate(channels)
    # unique: inputs are 0 or 1 in every ms
    return np.unique(time * (2 * segments) + channel).astype(np.int32)


def _numbers(values: Any, *, where: str) -> npt.NDArray[np.float64]:
    """Return spike times as they stand in a file, [n].

    Raises:
        DataError: not a list of numbers.
    """
    try:
        times = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: times are {type(values).__name__}; expected a list of numbers") from error
    if times.ndim != 1:
        raise DataError(f"{where}: times have {times.ndim} dimensions; expected a list of numbers")
    return times


def _in_ms(times: npt.NDArray[np.float64], *, duration: int, where: str, shift: float = 0.0) -> npt.NDArray[np.int64]:
    """Return the ms int(t + shift) of spike times t, [n].

    Raises:
        DataError: a time that is not finite or outside the simulation; it is named.
    """
    # Compared as floating-point numbers: turned into integers first, NaN would be named as the smallest of them.
    ms = np.trunc(times + shift)
    inside = (times >= 0) & (ms < duration)
    if not inside.all():
        raise DataError(f"{where} at {times[~inside][0]:g} ms; valid are 0 to {duration - 1}")
    return ms.astype(np.int64)


def output_bits(simulation: Mapping[str, Any], *, duration: int, where: str) -> npt.NDArray[np.uint8]:
    """Return 1 for every ms with an output spike; a time t falls into ms int(t - 0.5), as in the reference.

    The times are stored in float16, so that late in a simulation they are multiples of 2 or 4 ms.
    """
    bits = np.zeros(duration, dtype=np.uint8)
    told = f"{where}: an output spike"
    times = _numbers(simulation["outputSpikeTimes"], where=told)
    bits[_in_ms(times, duration=duration, where=told, shift=-0.5)] = 1
    return bits


def convert(sources: Mapping[Split, Sequence[Path]], target: Path) -> None:
    """Write the simulations of all pickles as raw arrays into `target`; the manifest comes last.

    Args:
        sources: pickles of every split.
        target: folder to be made.

    Raises:
        DataError: a file is not as expected, files differ in segments or duration, or the disk is full.
    """
    manifest: dict[str, Any] = {"files": []}
    # the same bytes twice would count twice, and in two splits be tested on after being trained on
    first_with: dict[str, tuple[Split, Path]] = {}
    for split in SPLITS:
        if not sources[split]:
            raise DataError(f"{target}: no files named {PATTERN} for the {split} split")
        with explained(target):
            (target / split).mkdir(parents=True, exist_ok=True)
        # Simulations are written one after the other, and an offset after each says where the next one begins.
        offsets = [0]
        with (
            write_atomically(target / split / "cells.i32") as cells,
            write_atomically(target / split / "voltage.f16") as voltage,
            write_atomically(target / split / "spikes.u8") as spikes,
        ):
            for path in sources[split]:
                shape = _append(path, cells, voltage, spikes, offsets)
                if manifest.setdefault("shape", shape) != shape:
                    raise DataError(f"{path}: segments and duration are {shape}, not {manifest['shape']} as before")
                sha256 = sha256_of(path)
                if (earlier := first_with.setdefault(sha256, (split, path))) != (split, path):
                    raise DataError(f"{path} ({split}) holds the same bytes as {earlier[1]} ({earlier[0]})")
                manifest["files"].append([split, path.name, path.stat().st_size, sha256])
        # An empty file could not be memory-mapped.
        if offsets[-1] == 0:
            raise DataError(f"{target}: no simulation of the {split} split has an input spike")
        with write_atomically(target / split / "offsets.npy") as file:
            np.save(file, np.array(offsets, dtype=np.int64))
    # last: a folder without manifest is a conversion that did not end, and is refused
    with write_atomically(target / MANIFEST) as file:
        file.write(json.dumps(manifest, indent=1).encode())


def _append(path: Path, cells: BinaryIO, voltage: BinaryIO, spikes: BinaryIO, offsets: list[int]) -> list[int]:
    """Append the simulations of one pickle; return its segments and duration."""
    segments, duration, simulations = parse_simulations(path)
    for number, simulation in enumerate(simulations):
        where = f"{path}, simulation {number}"
        cells_of_one = input_cells(simulation, segments=segments, duration=duration, where=where)
        # float16 as the files have it: more would double the disk space and add no digit
        trace = np.asarray(simulation["somaVoltageLowRes"], dtype=np.float16)
        if trace.shape != (duration,) or not np.isfinite(trace).all():
            raise DataError(f"{where}: somaVoltageLowRes has shape {trace.shape} or is not finite; expected {duration}")
        cells.write(cells_of_one.tobytes())
        voltage.write(trace.tobytes())
        spikes.write(output_bits(simulation, duration=duration, where=where).tobytes())
        offsets.append(offsets[-1] + len(cells_of_one))
    return [segments, duration]


def open_converted(folder: Path, where: str) -> Converted:
    """Memory-map what `convert` wrote.

    Raises:
        DataError: no such folder, or damaged.
    """
    segments, duration, sha256 = read_manifest(folder, where)
    splits: dict[Split, Simulations] = {}
    for split in SPLITS:
        place = folder / split
        offsets = _load_offsets(place / "offsets.npy")
        size = (len(offsets) - 1) * duration
        # raw arrays say nothing of their length, and a file cut short would be mapped all the same
        expected = {"cells.i32": 4 * int(offsets[-1]), "voltage.f16": 2 * size, "spikes.u8": size}
        for name, size_expected in expected.items():
            if not (place / name).is_file() or (place / name).stat().st_size != size_expected:
                raise DataError(f"{place / name}: missing or damaged; convert again")
        # Mapped and not read: the published set takes 115 GB as pickles.
        splits[split] = Simulations(
            np.memmap(place / "cells.i32", np.int32, "r"),
            offsets,
            np.memmap(place / "voltage.f16", np.float16, "r", shape=(len(offsets) - 1, duration)),
            np.memmap(place / "spikes.u8", np.uint8, "r", shape=(len(offsets) - 1, duration)),
        )
    return Converted(sha256, 2 * segments, duration, splits)


def _load_offsets(path: Path) -> npt.NDArray[np.int64]:
    """Read where simulations begin.

    Raises:
        DataError: missing, or not what `convert` wrote.
    """
    try:
        offsets: npt.NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: missing or damaged ({error}); convert again") from error
    if offsets.ndim != 1 or len(offsets) < 2 or offsets.dtype != np.int64 or offsets[0] or (np.diff(offsets) < 0).any():
        raise DataError(f"{path}: damaged; convert again")
    return offsets


def _pickles_in(folders: Iterable[Path]) -> list[Path]:
    # Sorted, so that the hash of a conversion does not depend on the file system's order.
    return sorted(path for folder in folders for path in folder.glob(PATTERN) if path.is_file())


_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(cls=Command)
@click.argument("target", type=click.Path(file_okay=False, path_type=Path))
@click.option("--train", multiple=True, required=True, type=_FOLDER, help="Folder of training pickles (repeatable).")
@click.option("--valid", multiple=True, required=True, type=_FOLDER, help="Folder of validation pickles (repeatable).")
@click.option("--test", multiple=True, required=True, type=_FOLDER, help="Folder of test pickles (repeatable).")
def main(target: Path, train: tuple[Path, ...], valid: tuple[Path, ...], test: tuple[Path, ...]) -> None:
    """Convert NeuronIO pickles (files named *sim__*) into TARGET, which `data:` of the task neuronio then names.

    As published: train on full_ergodic_train_batch_2 to 10, validate on batch_1, test on Data_test.
    """
    try:
        convert({"train": _pickles_in(train), "valid": _pickles_in(valid), "test": _pickles_in(test)}, target)
    except DataError as error:
        raise click.ClickException(str(error)) from error
    for split, simulations in open_converted(target, "neuronio").splits.items():
        click.echo(f"{split}: {len(simulations.voltage)} simulations, {len(simulations.cells)} input spikes")


if __name__ == "__main__":
    main()
