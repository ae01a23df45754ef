import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data directory for the session, so that each data set is prepared once."""
    return tmp_path_factory.mktemp("elm-data")


@pytest.fixture(autouse=True)
def _default_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELM_DATA_DIR", os.fspath(cache))
