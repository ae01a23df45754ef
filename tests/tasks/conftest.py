import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data directory for the session and all of its workers, so that each data set is prepared once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "elm-data"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _default_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELM_DATA_DIR", os.fspath(cache))
