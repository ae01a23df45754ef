"""What forges and registries read says the same everywhere: versions, Pythons, extras, and files that parse."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PYTHONS = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if "Python :: 3." in name]
FILES = sorted([*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_for_the_forge_is_yaml(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_versions_agree():
    changes = re.findall(r"^## (\d+\.\d+\.\d+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert CITATION["version"] == changes[0] == PROJECT["version"]
    assert (CITATION["title"], CITATION["license"]) == (PROJECT["name"], PROJECT["license"])


def test_every_promised_python_is_tried():
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    for name, job in (("check", "test"), ("release", "try")):
        workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
        assert workflow["jobs"][job]["strategy"]["matrix"]["python"] == PYTHONS


def test_every_pinned_package_installs_on_the_first_release_of_the_oldest_promised_python():
    refused = []
    for name in re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE):
        try:
            needed = metadata(name).get("Requires-Python", "")
        except PackageNotFoundError:  # pinned for another platform or extra
            continue
        if not SpecifierSet(needed).contains(f"{PYTHONS[0]}.0"):
            refused.append(f"{name} {needed}")
    assert refused == []


def test_the_page_about_installing_lists_every_extra():
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(PROJECT["optional-dependencies"])
