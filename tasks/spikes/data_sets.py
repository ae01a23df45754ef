"""Data sets of spoken digits: where they come from, what they must hash to, and under which licence."""

import hashlib
from collections.abc import Sequence

from tasks.base import DataSet, RemoteFile

H5_FILES = ("shd_train.h5", "shd_test.h5")
"""Files of a folder of recordings."""
_SHD_MIRRORS = ("https://zenkelab.org/datasets/", "https://compneuro.net/datasets/")


def joint_sha256(hashes: Sequence[str]) -> str:
    """Return the one SHA-256 of some files: that of a single one, or that of all of theirs in a row."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _shd_file(split: str, packed_md5: str, unpacked_md5: str) -> RemoteFile:
    name = f"shd_{split}.h5"
    return RemoteFile(
        name=f"{name}.gz",
        urls=tuple(f"{mirror}{name}.gz" for mirror in _SHD_MIRRORS),
        size=None,
        digest=f"md5:{packed_md5}",
        packing="gzip",
        unpacked=name,
        unpacked_digest=f"md5:{unpacked_md5}",
    )


SHD_MINI = DataSet(
    name="shd-mini",
    summary="960 spoken digits in English and German from speech synthesisers, through the cochlea model of SHD",
    tasks=("shd", "shd_adding"),
    kind="embedded",
    check="tasks.spikes.recordings:check_embedded_recordings",
    licence="MIT, like this software (the output of espeak-ng and flite is not bound by their licences)",
    citation="this software; cochlea: Cramer et al. 2020; speech: espeak-ng 1.51 and flite 2.2",
)
DIGITS_GEN = DataSet(
    name="digits-gen",
    summary="spoken digits in English and German as spikes of 700 channels, by a model of formants, drawn without end",
    tasks=("shd", "shd_adding"),
    kind="generated",
    check="tasks.spikes.generated:check_generated",
    licence="MIT, like this software",
    citation="this software; formants: Klatt 1980, JASA 67, 971, doi 10.1121/1.383940",
)
SHD = DataSet(
    name="shd",
    summary="Spiking Heidelberg Digits: 10,420 spoken digits in English and German as spikes of 700 channels",
    tasks=("shd", "shd_adding"),
    kind="download",
    licence="CC BY 4.0",
    citation="Cramer, Stradmann, Schemmel and Zenke 2020, IEEE TNNLS, doi 10.1109/TNNLS.2020.3044364",
    files=(
        _shd_file("train", "d47c9825dee33347913e8ce0f2be08b0", "8e9877c85f29a28dd353ea6a54402667"),
        _shd_file("test", "3062a80ec0c5719404d5b02e166543b1", "207ad1295a0ab611e22d1734989c254e"),
    ),
)
