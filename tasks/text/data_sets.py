"""Data sets of the text task: where they come from, what they must hash to, and under which licence."""

from tasks.base import DataSet, RemoteFile

ENWIKI_MINI = DataSet(
    name="enwiki-mini",
    summary="6.1 MB of a genuine Wikipedia XML export (May 2016), shipped inside the gensim wheel",
    tasks=("text",),
    kind="embedded",
    check="tasks.text.corpus:check_packed_corpus",
    licence="Wikipedia text: CC BY-SA and GFDL",
    citation="Wikipedia contributors, English Wikipedia; packaged by Rehurek and Sojka, gensim",
)
ENWIK8 = DataSet(
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
)


def _packaged(name: str, package: str, size: int, sha256: str, unpacked_sha256: str) -> tuple[RemoteFile, ...]:
    debian_name, version = package.split("=")
    return (
        RemoteFile(
            name=f"{debian_name}_{version}_all.deb",
            package=package,
            size=size,
            digest=f"sha256:{sha256}",
            packing="deb",
            extract=f"tasks.text.packaged:{name}",
            unpacked=f"{name}.txt",
            unpacked_digest=f"sha256:{unpacked_sha256}",
        ),
    )


GCIDE = DataSet(
    name="gcide",
    summary="35 MB of entries of the Collaborative International Dictionary of English, from a Debian package",
    tasks=("text",),
    kind="download",
    licence="GPL, version 2 or later",
    citation="The Collaborative International Dictionary of English 0.48 (Webster 1913 and WordNet), ed. P. Cassidy",
    files=_packaged(
        "gcide",
        "dict-gcide=0.48.5+nmu2",
        14_800_692,
        "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f",
        "a8620f0c66d6d32820d1bbe2199768accb220543252fd10ecb0b10f4d3c70ff5",
    ),
)
ANARCHISM = DataSet(
    name="anarchism",
    summary="11 MB of English prose, An Anarchist FAQ, from a Debian package",
    tasks=("text",),
    kind="download",
    licence="GPL, version 2",
    citation="The Anarchist FAQ Editorial Collective, An Anarchist FAQ, version 15.3",
    files=_packaged(
        "anarchism",
        "anarchism=15.3-3",
        6_915_556,
        "cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948",
        "bf43732b627250793c420bb7d60df372273e0a913e92797d9a01803511db020e",
    ),
)
DOWNLOADED = {"real": ENWIK8, "gcide": GCIDE, "anarchism": ANARCHISM}
"""Texts that are fetched once, by the name that a grid gives them; each is one file."""
