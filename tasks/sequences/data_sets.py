"""Data sets of images, nested lists and paths: where they come from and under which licence."""

from tasks.base import DataSet, RemoteFile

SDIGITS = DataSet(
    name="sdigits",
    summary="1,797 hand-written digits of 8 x 8 pixels, shipped inside the scikit-learn wheel",
    tasks=("images",),
    kind="embedded",
    check="tasks.sequences.images:read_digits",
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    citation="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, doi 10.24432/C50P49",
)
CIFAR10 = DataSet(
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
            # The digest that the authors publish.
            digest="md5:c58f30108f718f92721af3b95e74349a",
            packing="none",
            unpacked="cifar-10-python.tar.gz",
            unpacked_digest="md5:c58f30108f718f92721af3b95e74349a",
        ),
    ),
)
LISTOPS_GEN = DataSet(
    name="listops-gen",
    summary="nested expressions over digits, drawn by the rules of the Long Range Arena",
    tasks=("listops",),
    kind="generated",
    licence="MIT, like this software",
    citation="Nangia and Bowman 2018, ListOps; Tay et al. 2020, Long Range Arena",
)
PATHFINDER_GEN = DataSet(
    name="pathfinder-gen",
    summary="images of dashed paths with two markers, drawn so that only the connection tells the answer",
    tasks=("pathfinder",),
    kind="generated",
    licence="MIT, like this software",
    citation="Linsley et al. 2018, NeurIPS; Tay et al. 2020, Long Range Arena",
)
