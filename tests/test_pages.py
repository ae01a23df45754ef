"""The page for contributors says where things are, and every file says in its first line what it holds."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sweeper", "model", "tasks", "theory", "analysis", "cluster")


def test_what_the_table_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("## What is where") : text.index("## How to add")]
    named = []
    for place, _, first in re.findall(r"^\| (`.*?) \|(.*)\|(.*)\|$", table, re.M):
        (folder,) = re.findall(r"`([^`]+)`", place)
        named += [folder, *(f"{folder}{name}" for name in re.findall(r"`([^`]+)`", first))]
    assert set(PACKAGES) <= {name.rstrip("/") for name in named}
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_file_begins_with_what_it_holds():
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert [file for file in files if not re.match(r'r?"""[\w`][^\n]{10,}', file.read_text())] == []
