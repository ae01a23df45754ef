"""A machine that joins a cluster is looked at before a trial is run there."""

import os
import shutil
import socket
from dataclasses import replace

import pytest

from sweeper.errors import OutageError
from sweeper.lane import place
from sweeper.lane.options import LaneOptions, lane_config
from sweeper.lane.place import misfit_of_node
from sweeper.queue.journal import Journal
from sweeper.store.store import ResultsStore


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Of the lanes of a launch that runs."""
    monkeypatch.setattr(place, "PATIENCE_S", 0.0)
    store = ResultsStore.create(tmp_path / "r")
    with Journal(store, "s", total=1):
        yield lane_config("s", store.local_path(), LaneOptions(), None)


def test_the_launchers_own_machine_fits(config):
    assert config.launcher == (socket.gethostname(), os.getpid())
    assert misfit_of_node(config) is None


def test_a_machine_of_other_versions_does_not(config):
    other = replace(config, versions={**config.versions, "torch": "9.9"})
    assert misfit_of_node(other) == f"it has torch {config.versions['torch']} instead of 9.9"


def test_a_machine_that_sees_another_directory_does_not(config, tmp_path):
    elsewhere = tmp_path / "local disk"
    missing = misfit_of_node(replace(config, store_uri=str(elsewhere)))
    assert missing.startswith(f"{elsewhere}: not a results directory")
    ResultsStore.create(elsewhere)  # as an earlier launch there may have left it
    assert "is another directory there than the launcher's" in misfit_of_node(replace(config, store_uri=str(elsewhere)))
    shutil.copytree(tmp_path / "r" / "launches", elsewhere / "launches")
    assert misfit_of_node(replace(config, store_uri=str(elsewhere), launcher=("other", 1))) is not None


def test_an_outage_of_the_storage_is_no_fault_of_the_machine(config, monkeypatch):
    def no_answer(*_):
        raise OutageError("the storage does not answer")

    monkeypatch.setattr(ResultsStore, "texts", no_answer)
    assert misfit_of_node(config) is None
