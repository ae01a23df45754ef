"""The table of data sets: where they come from, what they must hash to, and under which licence."""

from dataclasses import dataclass
from typing import Literal

from tasks.errors import DataError, choices_hint


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file to download, and what is left of it after unpacking."""

    name: str
    """File name of the download."""
    urls: tuple[str, ...]
    """Mirrors, tried in this order."""
    size: int | None
    """Bytes of the download; None where no source states them."""
    digest: str
    """"sha256:..." or "md5:..." of the download."""
    packing: Literal["none", "zip", "gzip"]
    """How the download is packed; a zip holds one member."""
    unpacked: str
    """File name that the loaders read."""
    unpacked_digest: str
    """"sha256:..." or "md5:..." of that file."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set and how to get it."""

    name: str
    """Name in results, before any "/variant"."""
    summary: str
    """What it is, in one line."""
    tasks: tuple[str, ...]
    """Tasks that use it."""
    kind: Literal["embedded", "generated", "download", "manual"]
    """embedded: installed with the software; generated: made on first use; manual: cannot be fetched by a program."""
    licence: str
    """Licence of the data."""
    citation: str
    """What to cite."""
    files: tuple[RemoteFile, ...] = ()
    """Downloads."""
    steps: str = ""
    """What a person has to do, for manual data sets."""


_SHD_MIRRORS = ("https://zenkelab.org/datasets/", "https://compneuro.net/datasets/")


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


_ALL = (
    DataSet(
        name="enwiki-mini",
        summary="6.1 MB of a genuine Wikipedia XML export (May 2016), shipped inside the gensim wheel",
        tasks=("text",),
        kind="embedded",
        licence="Wikipedia text: CC BY-SA and GFDL",
        citation="Wikipedia contributors, English Wikipedia; packaged by Rehurek and Sojka, gensim",
    ),
    DataSet(
        name="enwik8",
        summary="the first 100 MB of the English Wikipedia XML of 3 March 2006",
        tasks=("text",),
        kind="download",
        licence="Wikipedia text: CC BY-SA and GFDL",
        citation="Mahoney, Large Text Compression Benchmark, mattmahoney.net/dc/textdata.html",
        files=(
            RemoteFile(
                name="enwik8.zip",
                urls=("https://mattmahoney.net/dc/enwik8.zip", "https://data.deepai.org/enwik8.zip"),
                size=36_445_475,
                digest="sha256:547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
                packing="zip",
                unpacked="enwik8",
                unpacked_digest="sha256:2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
            ),
        ),
    ),
    DataSet(
        name="shd-mini",
        summary="960 spoken digits in English and German from speech synthesisers, through the cochlea model of SHD",
        tasks=("shd", "shd_adding"),
        kind="embedded",
        licence="MIT, like this software (the output of espeak-ng and flite is not bound by their licences)",
        citation="this software; cochlea: Cramer et al. 2020; speech: espeak-ng 1.51 and flite 2.2",
    ),
    DataSet(
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
    ),
    DataSet(
        name="sdigits",
        summary="1,797 hand-written digits of 8 x 8 pixels, shipped inside the scikit-learn wheel",
        tasks=("images",),
        kind="embedded",
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
        citation="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, doi 10.24432/C50P49",
    ),
    DataSet(
        name="cifar10",
        summary="60,000 colour photographs of 32 x 32 pixels in 10 classes; read in grey, pixel by pixel",
        tasks=("images",),
        kind="download",
        licence="none stated by the authors",
        citation="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        files=(
            RemoteFile(
                name="cifar-10-python.tar.gz",
                urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
                size=170_498_071,
                digest="md5:c58f30108f718f92721af3b95e74349a",
                packing="none",
                unpacked="cifar-10-python.tar.gz",
                unpacked_digest="md5:c58f30108f718f92721af3b95e74349a",
            ),
        ),
    ),
    DataSet(
        name="listops-gen",
        summary="nested expressions over digits, drawn by the rules of the Long Range Arena",
        tasks=("listops",),
        kind="generated",
        licence="MIT, like this software",
        citation="Nangia and Bowman 2018, ListOps; Tay et al. 2020, Long Range Arena",
    ),
    DataSet(
        name="pathfinder-gen",
        summary="images of dashed paths with two markers, drawn so that only the connection tells the answer",
        tasks=("pathfinder",),
        kind="generated",
        licence="MIT, like this software",
        citation="Linsley et al. 2018, NeurIPS; Tay et al. 2020, Long Range Arena",
    ),
    DataSet(
        name="neuronio-mini",
        summary="96 simulations of 6 s of a small multi-branch NMDA neuron, simulated on first use",
        tasks=("neuronio",),
        kind="generated",
        licence="MIT, like this software",
        citation="this software; layout and protocol after Beniaguev et al. 2021",
    ),
    DataSet(
        name="neuronio",
        summary="simulations of a detailed layer-5 pyramidal cell: input and output spikes, soma voltage (115 GB)",
        tasks=("neuronio",),
        kind="manual",
        licence="see the Kaggle pages",
        citation="Beniaguev, Segev and London 2021, Neuron 109, doi 10.1016/j.neuron.2021.07.002",
        steps="download single-neurons-as-deep-nets-nmda-train-data and -test-data of selfishgene from Kaggle (account "
        "needed), convert them with 'python -m tasks.neuron.neuronio_files' and give that folder as data:",
    ),
)
DATA_SETS = {data_set.name: data_set for data_set in _ALL}


def data_set(name: str) -> DataSet:
    """Returns a data set by name.

    Raises:
        DataError: no such data set.
    """
    if name not in DATA_SETS:
        raise DataError(f"{name!r} is no data set; {choices_hint(name, DATA_SETS)}")
    return DATA_SETS[name]
