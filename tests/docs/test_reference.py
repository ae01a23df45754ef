"""The generated pages are what the code says today, and no key or column lacks its text."""

import subprocess
import sys

import pytest

from docs.reference import FOLDER, PAGES, field_docs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The pages as a process of its own writes them: click remembers in a command how it was asked for help before."""
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, "-m", "docs.reference", folder], cwd=FOLDER.parents[1], check=True)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_current(name, made):
    pages = [(folder / name).read_text(encoding="utf-8") for folder in (FOLDER, made)]
    assert pages[0] == pages[1], "run `python -m docs.reference`"


def test_no_other_page_lies_there():
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


def test_texts_of_a_parent_are_taken_over_and_may_be_replaced():
    class Parent:
        size: int = 1
        """one
        line"""
        kind: str = ""
        """a kind"""

    class Child(Parent):
        kind: str = ""
        """another kind"""

    assert field_docs(Child) == {"size": "one line", "kind": "another kind"}
