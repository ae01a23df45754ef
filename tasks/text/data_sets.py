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
