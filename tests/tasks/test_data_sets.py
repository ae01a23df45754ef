"""Every data set says what it is and where it comes from."""

import pytest

from tasks.base import DataSet
from tasks.data_sets import DATA_SETS
from tasks.spec import task_names


@pytest.mark.parametrize("entry", DATA_SETS.values(), ids=lambda entry: entry.name)
def test_every_data_set_is_described(entry: DataSet) -> None:
    assert entry.licence
    assert entry.citation
    assert set(entry.tasks) <= set(task_names())
    assert bool(entry.files) == (entry.kind == "download")
    assert bool(entry.steps) == (entry.kind == "manual")
    assert entry.check or entry.kind != "embedded"
    assert not entry.check or entry.kind in ("embedded", "generated")
    for file in entry.files:
        assert bool(file.urls) != bool(file.package)
        assert bool(file.extract) == (file.packing == "deb")
        for digest in (file.digest, file.unpacked_digest):
            algorithm, _, value = digest.partition(":")
            assert len(value) == {"md5": 32, "sha256": 64}[algorithm]
