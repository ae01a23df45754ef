"""A task in a person's own file: found, hashed, checked member by member, and told in one line where it is wrong."""

import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import tasks.spec
from cluster import code
from tasks.errors import TaskError
from tasks.loaders import load_task
from tasks.spec import full_name, task_options, task_spec

MINE = """
from tasks.base import TaskDefinition, TaskSpec
from tasks.options import Option


class Mine(TaskDefinition):
    options = (Option(name="size", default=3, minimum=1, help="symbols"),)

    def spec(self, options, place):
        return TaskSpec(
            name="mine", data_name=f"mine/{options['size']}", n_in=options["size"], n_out=2, length=7,
            loss="cross_entropy", loss_on="last_step", metric="accuracy", direction="max", chance=0.5, baseline=0.5,
            input_kind="ids", carry_state=False,
        )

    def load(self, spec, options, place):
        return "loaded", spec, place.where
"""


def named(folder: Path, text: str = MINE, name: str = "Mine") -> str:
    """The full name of a class in a file of this content."""
    (folder / "mine.py").write_text(text)
    return full_name(f"mine.py:{name}", [folder])


def test_a_file_is_a_task_under_its_name_and_hash(tmp_path: Path) -> None:
    name = named(tmp_path)
    assert name == f"mine.py:Mine@{hashlib.sha256(MINE.encode()).hexdigest()[:12]}"
    assert (task_spec(name, {"size": 5}).n_in, [option.name for option in task_options(name)]) == (5, ["size"])
    assert load_task(name, {}, where="here") == ("loaded", task_spec(name, {}), "here")
    with pytest.raises(TaskError, match=r"^task\.size: 0 is not valid; give a whole number of at least 1"):
        task_spec(name, {"size": 0})


@pytest.mark.parametrize(
    ("line", "sibling"),
    [
        ("import helpers", "helpers.py"),
        ("import os, helpers.deep as h", "helpers"),
        ("def later():\n    from helpers import one", "helpers.py"),
    ],
)
def test_an_import_of_a_file_beside_it_is_refused(tmp_path: Path, line: str, sibling: str) -> None:
    """No lane elsewhere would have it, and an edit of it would be no other task."""
    named(tmp_path, f"{MINE}\n{line}\n")  # wherever it comes from, it is not beside the file
    (tmp_path / sibling).mkdir() if sibling == "helpers" else (tmp_path / sibling).write_text("one = 1\n")
    expected = rf"^task: .*mine\.py, line \d+: imports helpers, which lies beside it \({sibling}\): it would be neither"
    with pytest.raises(TaskError, match=expected):
        named(tmp_path, f"{MINE}\n{line}\n")


def test_an_import_of_what_is_installed_is_none_of_what_happens_to_lie_beside_the_file(tmp_path: Path) -> None:
    for name in ("json.py", "numpy.py", "tasks"):
        (tmp_path / name).mkdir()
    named(tmp_path, f"{MINE}\nimport json, numpy\n")


def test_another_version_of_a_file_is_another_task(tmp_path: Path) -> None:
    first, second = named(tmp_path), named(tmp_path, MINE.replace("n_out=2", "n_out=4"))
    assert first != second
    assert [task_spec(name, {}).n_out for name in (first, second)] == [2, 4]


def test_a_version_that_was_asked_for_and_is_not_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE + "# edited\n")
    with pytest.raises(TaskError, match=r"^task: .*mine\.py is another version .* than the one asked for \(0{12}\);"):
        full_name(f"mine.py:Mine@{'0' * 12}", [tmp_path])


def test_the_file_is_looked_for_in_each_folder_with_and_without_its_own(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    (deep / "mine.py").write_text(MINE)
    expected = full_name("mine.py:Mine", [tmp_path / "nowhere", deep])
    assert full_name("deep/mine.py:Mine", [tmp_path]) == full_name("other/mine.py:Mine", [deep]) == expected
    with pytest.raises(TaskError, match=r"^blocks\[1\]\.task: no such file: yours\.py \(looked for .*yours\.py\)$"):
        full_name("yours.py:Mine", [tmp_path], where="blocks[1].task")


BROKEN = {
    "class Mine:\n    options = ()\n": "class Mine lacks spec, load, packages, reads_files",
    "from tasks.base import TaskDefinition\nclass Mine(TaskDefinition):\n    def spec(self, o, p): ...\n": (
        "class Mine lacks load; see tasks.base.TaskDefinition"
    ),
    MINE.replace("(Option(name", "[Option(name").replace('"symbols"),)', '"symbols")]'): "options must be a tuple",
    "Mine = 3\n": "Mine is no class",
    "class Yours: ...\n": "has no Mine. Valid: Yours",
    "def f(:\n": "mine.py, line 1: SyntaxError",
    "\nimport no_such_package\n": "mine.py, line 2: ModuleNotFoundError: No module named 'no_such_package'",
    MINE + "\n    load = 3\n": "load must be a method",
    MINE + "\n    def __init__(self, x): ...\n": "cannot be made without arguments",
    MINE.replace("return TaskSpec(", "1 / 0\n        return TaskSpec("): "line 10: ZeroDivisionError",
    MINE.replace("return TaskSpec(", "return dict("): "returned dict, not a tasks.base.TaskSpec",
    MINE.replace("length=7", "length=0"): "spec.length: 0 is not a whole number of at least 1",
    MINE.replace('"cross_entropy"', '"cross_entrop"'): "did you mean 'cross_entropy'",
    MINE.replace('"max"', '"min"'): "'accuracy' (min) does not go with loss 'cross_entropy'. Valid: accuracy (max)",
}


@pytest.mark.parametrize("text", BROKEN, ids=BROKEN.get)
def test_a_class_that_does_not_follow_the_interface_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(TaskError) as error:
        task_spec(named(tmp_path, text), {})
    assert BROKEN[text] in str(error.value)
    assert str(error.value).startswith("task: ")
    assert "\n" not in str(error.value)


def test_a_process_that_was_not_given_the_file_says_so(tmp_path: Path) -> None:
    name = named(tmp_path)
    asked = f"from tasks.spec import task_spec; task_spec({name!r}, {{}})"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert f"the file of {name} is not here" in done.stderr
    (digest,) = code.sources_of([name])
    given = f"from cluster import code; code.register({code.sources()[digest]!r}); {asked}"
    subprocess.run([sys.executable, "-c", given], check=True)


def test_an_installed_package_offers_tasks_by_entry_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "package_of_a_test.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    points = importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(name, value, tasks.spec.ENTRY_POINTS)
        for name, value in (("offered", "package_of_a_test:Mine"), ("gone", "package_of_a_test:Yours"))
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points.select(group=group))
    assert task_spec("offered", {"size": 4}).n_in == 4
    with pytest.raises(TaskError, match=r"^task\.name: package_of_a_test:Yours: AttributeError: "):
        task_spec("gone", {})
    with pytest.raises(TaskError, match=r"did you mean 'offered'"):
        task_spec("ofered", {})
    tasks.spec._others_definition.cache_clear()
