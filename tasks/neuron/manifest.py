"""The manifest of a converted NeuronIO folder, known without mapping what it lists."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from cluster.errors import path_hint
from tasks.errors import DataError

MANIFEST = "manifest.json"


class Manifest(NamedTuple):
    """What a conversion noted of its sources."""

    segments: int
    """Segments of the neuron."""
    duration: int
    """Length of a simulation, ms."""
    sha256: str
    """Hash of the hashes of the source files, in the order in which they were converted."""


def read_manifest(folder: Path, where: str) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        DataError: no such folder, or damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        hint = path_hint(folder, lambda other: (other / MANIFEST).is_file()) or (
            "; make one with 'python -m tasks.neuron.neuronio_files' or use data: embedded"
        )
        raise DataError(f"{where}.data: {folder.absolute()} is no converted NeuronIO folder (no {MANIFEST}){hint}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        segments, duration = (int(size) for size in content["shape"])
        # In the order of the manifest, so that the same files in other splits are another data set.
        joined = "".join(sha256 for *_, sha256 in content["files"])
    # A RecursionError comes from brackets nested thousands deep, an OverflowError from a size of 1e999.
    except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise DataError(f"{path}: damaged ({error}); convert again") from error
    # The hash of the hashes that were noted: the sources are large and need not be there any more.
    return Manifest(segments, duration, hashlib.sha256(joined.encode()).hexdigest())
