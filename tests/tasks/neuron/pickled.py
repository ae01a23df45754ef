"""Made-up simulations in the layout of NeuronIO."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from tasks.batch import Split

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
