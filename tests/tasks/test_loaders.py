"""Tasks are found by what their room declares, and by nothing else."""

import dataclasses
import sys
from pathlib import Path

import pytest

import tasks.spec
from tasks.base import Entry, Options, Place, TaskSpec
from tasks.loaders import load_task
from tasks.options import Option


class Toy:
    """A task that a room could declare."""

    def __init__(self, spec: TaskSpec, options: Options, *, cache_dir: object, where: str) -> None:
        self.spec, self.options = spec, options


def toy_spec(options: Options, place: Place) -> TaskSpec:
    return dataclasses.replace(tasks.spec.task_spec("listops", {}), name="toy")


def test_a_declared_task_is_loaded_without_another_table(monkeypatch: pytest.MonkeyPatch) -> None:
    (level,) = options = (Option(name="level", default=3, help="how hard it is"),)
    entry = Entry(options, toy_spec, "tests_of_a_toy:Toy")
    monkeypatch.setitem(sys.modules, "tests_of_a_toy", sys.modules[__name__])
    monkeypatch.setitem(tasks.spec._TASKS, "toy", entry)
    task = load_task("toy", {"level": 5})
    assert isinstance(task, Toy)
    assert (task.spec.name, task.options) == ("toy", {level.name: 5})


def test_the_tables_name_no_task() -> None:
    for table in ("loaders", "spec", "data_sets", "verify"):
        text = Path(tasks.spec.__file__).with_name(f"{table}.py").read_text()
        assert [name for name in tasks.spec.task_names() if f'"{name}"' in text] == []
