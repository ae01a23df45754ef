"""The study of the defaults: its table is that of its rows, and the recipes keep their promise on text."""

import pytest

from studies.defaults.__main__ import HERE, comparison, replicated, replicated_table, rows, table


@pytest.fixture(scope="module")
def compared():
    return comparison(rows())


@pytest.fixture(scope="module")
def with_seeds():
    return replicated(rows())


def test_the_page_shows_the_tables_of_the_stored_rows(compared, with_seeds):
    page = (HERE / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in [*table(compared), *replicated_table(with_seeds)] if line not in page] == []


def test_text_without_a_training_section_is_within_2_percent_of_tuned(compared):
    worse = [one["worse"]["test"] for one in compared if one["default"]["task"] == "text"]
    assert len(worse) >= 12
    assert max(worse) < 2


def test_images_and_spoken_digits_are_not_told_from_tuned_beyond_2_percent(with_seeds):
    """On test data, which chose nothing, by means of seeds that chose nothing: 2 % and twice the standard error."""
    seen = [one for one in with_seeds if one["default"][0]["task"] in ("images", "shd")]
    assert len(seen) >= 5
    for one in seen:
        assert one["worse"]["test"] < 2 + 2 * one["error"]["test"], one["data_name"]
        assert len(one["default"]) == 3


def test_a_tuned_setting_has_the_seeds_of_the_default(with_seeds):
    for one in with_seeds:
        assert [trial["seed"] for trial in one["tuned"]] == [trial["seed"] for trial in one["default"]]
