"""The README names every file of the six packages, so that the tree in it cannot fall behind."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("package", ["sweeper", "model", "tasks", "theory", "analysis", "cluster"])
def test_every_file_is_named(package):
    text = (ROOT / "README.md").read_text()
    tree = text[text.index("## What is where") : text.index("## Results")]
    section = tree[tree.index(f"\n{package}/") :]
    missing = [
        p.name for p in (ROOT / package).glob("*.py") if p.name != "__init__.py" and f"  {p.name} " not in section
    ]
    assert missing == []
