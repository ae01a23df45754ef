"""One list of packages: what is built is what is type-checked, and what is shipped to the nodes of a cluster."""

import tomllib
from pathlib import Path

from cluster.attach.connect import PACKAGES

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
BUILT = {name for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] if "*" not in name}


def test_nodes_of_a_cluster_are_given_every_package():
    assert set(PACKAGES) == BUILT


def test_every_package_is_checked():
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == BUILT
    assert set(PROJECT["tool"]["mypy"]["packages"]) >= BUILT
