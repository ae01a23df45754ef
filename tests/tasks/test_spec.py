import math
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.errors import DataError, TaskError
from tasks.spec import canonical_options, task_options, task_spec, tasks_with_data


def test_the_text_task_is_described_without_its_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ELM_DATA_DIR", str(tmp_path / "untouched"))
    spec = task_spec("text", {})
    assert (spec.data_name, spec.n_in, spec.n_out) == ("enwiki-mini", 201, 201)
    assert spec.chance == pytest.approx(math.log2(201))
    letters = task_spec("text", {"alphabet": "letters"})
    assert (letters.data_name, letters.n_in) == ("enwiki-mini/letters", 27)
    assert task_spec("text", {"newline": "drop"}).n_out == 200
    assert not (tmp_path / "untouched").exists()


def test_describing_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from tasks.spec import task_spec, tasks_with_data\n"
        "[task_spec(name, {}) for name in tasks_with_data()]\n"
        "print(sorted({'torch', 'numpy', 'ray', 'platformdirs', 'filelock'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", tasks_with_data())
def test_every_task_declares_documented_options_with_valid_defaults(name: str) -> None:
    assert all(option.help for option in task_options(name))
    defaults = {option.name: option.default for option in task_options(name)}
    assert canonical_options(name, defaults) == canonical_options(name, {}) == defaults


@pytest.mark.parametrize("name", tasks_with_data())
def test_baseline_is_at_least_as_good_as_chance(name: str) -> None:
    spec = task_spec(name, {})
    assert spec.baseline is not None
    sign = 1 if spec.direction == "max" else -1
    assert sign * spec.baseline >= sign * spec.chance


def test_a_users_file_is_scanned_for_its_symbols(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"abc\n" * 100)
    assert task_spec("text", {"data": str(path)}).n_in == 4
    assert task_spec("text", {"data": str(path), "newline": "drop"}).n_in == 3
    assert task_spec("text", {"data": str(path), "alphabet": "letters"}).data_name == "mine.txt/letters"
    path.write_bytes(b"abcd\n" * 100)
    assert task_spec("text", {"data": str(path)}).n_in == 5


def test_unknown_names_are_refused_with_a_proposal() -> None:
    with pytest.raises(TaskError, match=r"^grid\.task\.name: 'txt' is no task; did you mean 'text'\? Valid: "):
        task_spec("txt", {}, where="grid.task")
    with pytest.raises(TaskError, match=r"^task\.alphabet: 'letter' is not valid; did you mean 'letters'\? Valid: "):
        task_spec("text", {"alphabet": "letter"})
    with pytest.raises(
        TaskError, match=r"^task\.alfabet: task 'text' has no such option; did you mean 'alphabet'\? Valid: "
    ):
        task_spec("text", {"alfabet": "letters"})
    with pytest.raises(TaskError, match=r"^task\.newline: 'drop' goes with alphabet: bytes"):
        task_spec("text", {"alphabet": "letters", "newline": "drop"})


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^task\.data: no such file: .*nowhere\.txt"):
        task_spec("text", {"data": str(tmp_path / "nowhere.txt")})
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match=r"^task\.data: .*empty\.txt is empty"):
        task_spec("text", {"data": str(tmp_path / "empty.txt")})
