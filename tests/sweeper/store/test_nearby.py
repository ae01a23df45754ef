"""Whoever names a place that is no results directory is told which one is near."""

import pytest

from sweeper.errors import StoreError
from sweeper.store.store import ResultsStore


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ResultsStore.create("results/mine")
    (tmp_path / "resulds").mkdir()


@pytest.mark.parametrize("written", ["results", "results/mne", "result/mine", "mine", "./results/mine2"])
def test_the_one_that_is_near_is_named(written):
    with pytest.raises(StoreError, match=r"not a results directory \(no store.json\); did you mean 'results/mine'\?"):
        ResultsStore.open(written)


def test_several_below_it_are_listed():
    ResultsStore.create("results/other")
    with pytest.raises(StoreError, match=r"; it holds some: results/mine, results/other\. `sweeper launch"):
        ResultsStore.open("results")


def test_nothing_is_made_up():
    with pytest.raises(StoreError, match=r"elsewhere: not a results directory \(no store.json\)\. `sweeper launch"):
        ResultsStore.open("elsewhere")
