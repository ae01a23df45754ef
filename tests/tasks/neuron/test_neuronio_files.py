"""NeuronIO's pickles become arrays, or are refused by name."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.errors import DataError
from tasks.neuron import neuronio_files
from tests.tasks.neuron.pickled import SECONDS, SEGMENTS, apart, everywhere, write_pickle


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
