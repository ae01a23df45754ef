import os
import pickle

import numpy as np
import pytest

from tasks.data.pickles import restricted_load
from tasks.errors import DataError


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


class Quiet:
    pass


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_containers_of_arrays_are_read(protocol: int) -> None:
    held = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": [np.float32(2.5), 1, "x", None], 3: (np.int64(7),)}
    again = restricted_load(pickle.dumps(held, protocol=protocol), "file")
    assert np.array_equal(again["a"], held["a"])
    assert again["a"].dtype == np.float16
    assert again["b"] == held["b"]
    assert again[3] == (7,)


def test_python_2_names_and_bytes_are_read() -> None:
    content = pickle.dumps({"a": np.arange(3)}, protocol=2).replace(b"numpy._core", b"numpy.core")
    assert restricted_load(content, "file")["a"].tolist() == [0, 1, 2]
    assert restricted_load(b"(dp0\nS'caf\\xe9'\np1\nI1\ns.", "file") == {"caf\xe9": 1}


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_code_is_refused_and_not_run(protocol: int, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    with pytest.raises(DataError, match=r"^evil\.p: refused: the pickle asks for posix\.mkdir; only numpy arrays"):
        restricted_load(pickle.dumps([Bomb()], protocol=protocol), "evil.p")
    assert not os.path.exists("exploded")


@pytest.mark.parametrize("name", ["builtins\neval", "numpy\nload", "numpy.core.multiarray\nfromfile", "os\nsystem"])
def test_other_functions_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="refused"):
        restricted_load(f"c{name}\n(S'1'\ntR.".encode(), "file")


def test_own_classes_and_damage_are_refused() -> None:
    with pytest.raises(DataError, match="refused"):
        restricted_load(pickle.dumps(Quiet()), "file")
    content = pickle.dumps(np.arange(100))
    with pytest.raises(DataError, match=r"^file: (damaged|refused)"):
        restricted_load(content[:-20], "file")
    with pytest.raises(DataError, match=r"^file: damaged pickle"):
        restricted_load(b"", "file")
