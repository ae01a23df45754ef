"""The study of the defaults: its table is that of its rows, and the recipes keep their promise on text."""

import pytest

from studies.defaults.__main__ import HERE, comparison, rows, table


@pytest.fixture(scope="module")
def compared():
    return comparison(rows())


def test_the_page_shows_the_table_of_the_stored_rows(compared):
    page = (HERE / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in table(compared) if line not in page] == []


def test_text_without_a_training_section_is_within_2_percent_of_tuned(compared):
    worse = [one["worse"]["test"] for one in compared if one["default"]["task"] == "text"]
    assert len(worse) >= 12
    assert max(worse) < 2
